// Making an invite. Each step is durable before the next, so that a second run goes on where the first stopped.
//
// invite: {label, relay, tickets, key, keys, receiver, sender, ttl, expires, h, blob, offered, held}
import { inviteSecrets, newHostKeys, sealBundle } from './bundle.js';
import { issue, newQueue, offer } from './commands.js';
import { newKeyPair, random } from './crypto.js';
import { endOfLife } from './delivery.js';
import { CommandError, EXIT } from './errors.js';
import { encodeMeta } from './items.js';
import { connect } from './link.js';
import { encodeInvite } from './texts.js';

const TICKET_SIZE = 24;
const MAX_LIFE_SECONDS = 7 * 86_400;
const KEYS_OUTLIVE_MS = 15 * 86_400_000;

/** The text of a new invite. */
export async function makeInvite(profile, label) {
  if (!profile.home) throw new CommandError(EXIT.other, 'this profile has no relay: init first');
  const invite = unfinishedInvite(profile, label) ?? beginInvite(profile, label);
  const link = await connect(invite.relay);
  try {
    await link.request(issue(profile.home.grant, invite.tickets));
    if (!invite.h) await makeBundle(profile, invite, link);
    await link.request(offer(invite, inviteSecrets(invite.h).claim, { ...inviteSecrets(invite.h), ...invite }));
    invite.offered = true;
    invite.blob = null;
    profile.commit();
  } finally {
    await link.close();
  }
  return encodeInvite({ ...invite.relay, h: invite.h });
}

const unfinishedInvite = (profile, label) =>
  profile.invites.find((invite) => invite.label === label && !invite.offered);

function beginInvite(profile, label) {
  const invite = {
    label, relay: profile.home.relay,
    tickets: [random(TICKET_SIZE), random(TICKET_SIZE)], // this side's queue, the guest's queue
    key: newKeyPair(), keys: newHostKeys(),
    receiver: null, sender: null, ttl: 0, expires: 0, h: null, blob: null, offered: false, held: [],
  };
  profile.contactFor(label);
  profile.invites.push(invite);
  profile.commit();
  return invite;
}

async function makeBundle(profile, invite, link) {
  const [ownTicket, ...guestTickets] = invite.tickets;
  const { receiver, sender } = await link.request(newQueue(ownTicket, invite.key));
  const meta = encodeMeta({ name: profile.name ?? undefined, tickets: guestTickets });
  const { h, blob } = sealBundle(invite.keys, { fingerprint: invite.relay.fingerprint, sender, meta });
  const ttl = Math.max(1, Math.min(Math.floor(MAX_LIFE_SECONDS / link.limits.epochSeconds), link.limits.longestTtl));
  Object.assign(invite, { receiver, sender, h, blob, ttl, expires: endOfLife(ttl, Date.now(), link.limits) });
  profile.commit();
}

/** The private keys of an invite that nobody took die 15 days after its expiry. */
export function dropDeadInvites(profile, now) {
  profile.invites = profile.invites.filter(({ expires }) => expires === 0 || now < expires + KEYS_OUTLIVE_MS);
}
