// One exchange with every relay that this profile has to do with.
import { sameBytes } from './bytes.js';
import { Collector, ownQueues } from './collector.js';
import { Delivery } from './delivery.js';
import { NoConnection } from './errors.js';
import { dropDeadInvites } from './invites.js';
import { connect } from './link.js';
import { sealDueReceipts } from './outbox.js';
import { expireKeys, isUsable } from './sessions.js';

const POLL_MS = 1_000;

/**
 * options: {collect, waitUntil, again, backwards}. Never throws for a relay that cannot be reached or refuses:
 * {noConnection, refused} say so.
 */
export async function exchange(profile, options) {
  doUpkeep(profile, Date.now());
  const outcome = { noConnection: null, refused: null };
  const results = await Promise.allSettled(relaysOf(profile).map((relay) => withRelay(profile, relay, options, outcome)));
  for (const { reason } of results.filter(({ status }) => status === 'rejected')) {
    if (!(reason instanceof NoConnection)) throw reason;
    outcome.noConnection = reason;
  }
  return outcome;
}

async function withRelay(profile, relay, options, outcome) {
  const link = await connect(relay);
  try {
    const delivery = new Delivery(profile, link, relay, options);
    await delivery.flush();
    if (options.collect) await collect(profile, link, relay, delivery, options.waitUntil ?? 0);
    outcome.refused ??= delivery.refused;
    if (delivery.hasToWait) outcome.noConnection ??= new NoConnection('the relay takes nothing more just now');
  } finally {
    await link.close();
  }
}

async function collect(profile, link, relay, delivery, waitUntil) {
  const collector = new Collector(profile, link, relay);
  await collector.subscribe();
  await collector.drain();
  await sendReceipts(profile, collector, delivery);
  while (Date.now() < waitUntil && !hasUnshown(profile)) {
    const hasCome = await collector.next(Math.min(POLL_MS, waitUntil - Date.now()));
    if (!hasCome) await sendReceipts(profile, collector, delivery);
  }
}

/** Only behind what waited: it shows an old copy what it is, before that uses a number again. */
async function sendReceipts(profile, collector, delivery) {
  for (const session of profile.sessions) {
    if (isUsable(session) && collector.hasDrained(session)) sealDueReceipts(profile, session, Date.now());
  }
  profile.commit();
  await delivery.flush();
}

const hasUnshown = (profile) =>
  profile.sessions.some((session) => !session.stopped && session.inbox.length > 0);

function doUpkeep(profile, now) {
  for (const session of profile.sessions) expireKeys(profile, session, now);
  dropDeadInvites(profile, now);
  profile.commit();
}

function relaysOf(profile) {
  const relays = [];
  const candidates = [...ownQueues(profile).map(({ relay }) => relay), ...profile.sessions.map(({ peer }) => peer.relay)];
  for (const relay of candidates) {
    if (!relays.some(({ fingerprint }) => sameBytes(fingerprint, relay.fingerprint))) relays.push(relay);
  }
  return relays;
}
