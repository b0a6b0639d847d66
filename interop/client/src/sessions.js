// A session: everything about one contact's ratchet, both queues, and what is remembered of both directions.
import { hash, random } from './crypto.js';
import { toHex, zeros } from './bytes.js';
import { expireSkipped, highestReceived } from './ratchet.js';

const REMEMBERED = 2048;
const HOUR_MS = 3_600_000;
const CHECKED_DELAY_MS = 60_000;
const MARK_SIZE = 8;

/**
 * queue: this side's, {relay, receiver, key, QE}. peer: where to send, {relay, sender, claim, key, QE}.
 * flight: {h, th2, seen} at the host, {h} at the guest. ratchet: after the first flight. lastCom: its commitment as `prev`
 * of what this side seals next.
 */
export function newSession({ label, queue, peer, flight, ratchet, lastCom = zeros(32), peerName = null }) {
  return {
    id: toHex(random(8)), label, queue, flight, ratchet, lastCom, peerName,
    peer: { ...peer, registered: false, notBefore: 0 },
    checked: false, // the identity, by the digits
    stopped: null, // why this profile is an old copy
    ended: null, // why the relay refused the first flight for good

    seen: [], // {seq, hash, com, wantsReceipt}
    excused: [], // numbers that the peer listed as taken back or quiet
    lost: [], // numbers that were shown as lost
    accounted: 0, // gaps up to this number have been shown
    partials: [], // texts that are not whole yet
    inbox: [], // {id, position, text, note}: not shown yet; position: its (last) number

    due: [], // receipts: {seq, mark, at}
    takenBack: [], // {seq, listedIn}
    quiet: [], // own control envelopes that the echo does not cover yet
    noticeDue: false,
    forkTold: false,
  };
}

export const isUsable = (session) => Boolean(session) && !session.stopped && !session.ended;

export const envelopeMark = (envelope) => hash(envelope).slice(0, MARK_SIZE);

// Numbers of the peer

export const seenAt = (session, seq) => session.seen.find((entry) => entry.seq === seq);

export const isMissing = (session, seq) => !seenAt(session, seq) && !session.excused.includes(seq);

export const isRecent = (session, seq) => seq > highestReceived(session.ratchet) - REMEMBERED && seq > 0;

export function remember(session, entry) {
  session.seen.push(entry);
  const isKept = (seq) => isRecent(session, seq) || seq > session.accounted;
  session.seen = session.seen.filter(({ seq }) => isKept(seq));
  session.excused = session.excused.filter(isKept);
  session.lost = session.lost.filter(isKept);
}

export function excuse(session, numbers) {
  session.excused.push(...numbers.filter((seq) => !session.excused.includes(seq)));
}

/** Shown as lost, once. */
export function showLost(profile, session, seq) {
  if (session.lost.includes(seq)) return;
  session.lost.push(seq);
  profile.note(session.label, `message ${seq} is lost`);
}

/** Skipped keys die after 15 days. */
export function expireKeys(profile, session, now) {
  const { state, lost } = expireSkipped(session.ratchet, now);
  if (lost.length === 0) return;
  session.ratchet = state;
  for (const seq of lost) if (!session.excused.includes(seq)) showLost(profile, session, seq);
}

// Receipts to give

const dueTime = (session, now) =>
  session.checked ? now + Math.random() * CHECKED_DELAY_MS : Math.ceil((now + 1) / HOUR_MS) * HOUR_MS;

export function makeDue(session, seq, mark, now) {
  if (session.due.some((receipt) => receipt.seq === seq)) return;
  session.due.push({ seq, mark, at: dueTime(session, now) });
}

/** Receipts of an envelope that will not arrive. */
export function makeDueAgain(session, receipts) {
  session.due.push(...receipts.filter(({ seq }) => !session.due.some((receipt) => receipt.seq === seq)));
}

export function markChecked(session, now) {
  session.checked = true;
  for (const receipt of session.due) receipt.at = Math.min(receipt.at, dueTime(session, now));
}

// The peer's echo

export function applyEcho(session, echo) {
  session.takenBack = session.takenBack.filter(({ listedIn }) => listedIn === null || listedIn > echo);
  session.quiet = session.quiet.filter((seq) => seq > echo);
}
