// The guest's side of an invite.
//
// join: {h, key, QE, claim, ticket}, kept until its session exists, so that a second run makes the same queue.
import { inviteSecrets, openBundle } from './bundle.js';
import { sameBytes, zeros } from './bytes.js';
import { fetchBlob, newQueue, offer } from './commands.js';
import { newKeyPair, random } from './crypto.js';
import { CommandError, EXIT, FormatError } from './errors.js';
import { makeFlight } from './handshake.js';
import { parseMeta } from './items.js';
import { connect } from './link.js';
import { KIND, encodePlaintext } from './messages.js';
import { newMessage, newPart } from './outbox.js';
import { isUsable, newSession } from './sessions.js';
import { parseInvite } from './texts.js';

/** The session with its first flight stored. Nothing of it is sent yet. */
export async function prepareJoin(profile, inviteText, { name, label }) {
  const { h, ...relay } = parseInvite(inviteText);
  const existing = profile.sessions.find((session) => sameBytes(session.flight.h, h));
  if (existing) return existing;
  if (name !== undefined) profile.name = name;

  const link = await connect(relay);
  try {
    const bundle = await fetchBundle(link, relay, h);
    const meta = parseMeta(bundle.meta);
    const contact = chooseLabel(profile, label, meta.name);
    const join = profile.joins.find((candidate) => sameBytes(candidate.h, h)) ?? beginJoin(profile, h, meta);
    const queue = await makeQueue(link, meta.relays?.[0] ?? relay, join);
    return storeSession(profile, { contact, relay, h, bundle, join, queue });
  } finally {
    await link.close();
  }
}

async function fetchBundle(link, relay, h) {
  const { blob } = await link.request(fetchBlob(inviteSecrets(h).location));
  const bundle = openBundle(blob, h);
  if (!sameBytes(bundle.fingerprint, relay.fingerprint)) {
    throw new FormatError('bundle', 'bundle: it names another relay than the invite');
  }
  return bundle;
}

/** A live session is replaced only by somebody who names its label. */
function chooseLabel(profile, given, hostName) {
  const label = given ?? hostName;
  if (!label) throw new CommandError(EXIT.usage, 'the invite has no name: use --for LABEL');
  const session = profile.session(profile.contact(label)?.session);
  if (given === undefined && isUsable(session)) {
    throw new CommandError(EXIT.other, `there is a contact ${label} already: use --for LABEL`);
  }
  return label;
}

function beginJoin(profile, h, meta) {
  const join = { h, key: newKeyPair(), QE: newKeyPair(), claim: random(32), ticket: meta.tickets[0] };
  profile.joins.push(join);
  profile.commit();
  return join;
}

/** The guest's own queue: {relay, receiver, sender, key}. */
async function makeQueue(inviteLink, relay, { key, ticket, claim }) {
  const isElsewhere = !sameBytes(relay.fingerprint, inviteLink.fingerprint);
  const link = isElsewhere ? await connect(relay) : inviteLink;
  try {
    const { receiver, sender } = await link.request(newQueue(ticket, key));
    const queue = { relay, receiver, sender, key };
    await link.request(offer(queue, claim, null));
    return queue;
  } finally {
    if (isElsewhere) await link.close();
  }
}

/** One commit holds the session and the exact bytes of the flight. */
function storeSession(profile, { contact, relay, h, bundle, join, queue }) {
  const now = Date.now();
  const message = newMessage({ id: null }, KIND.first, now);
  const ownQueue = { ...queue.relay, sender: queue.sender, claim: join.claim, QE: join.QE.pub };
  const items = { name: profile.name ?? undefined, queues: [ownQueue] };
  const plaintext = encodePlaintext({ ...message, seq: 1, prev: zeros(32), items });
  const { state, envelope, com } = makeFlight(bundle, h, plaintext);
  const session = newSession({
    label: contact,
    queue: { relay: queue.relay, receiver: queue.receiver, key: queue.key, QE: join.QE },
    peer: { relay, sender: bundle.sender, claim: inviteSecrets(h).claim, QE: bundle.QEb, key: newKeyPair() },
    flight: { h }, ratchet: state, lastCom: com,
  });
  profile.sessions.push(session);
  profile.messages.push({ ...message, session: session.id, parts: [newPart(1, envelope)] });
  profile.contactFor(contact).session = session.id;
  profile.joins.splice(profile.joins.indexOf(join), 1);
  profile.commit();
  return session;
}
