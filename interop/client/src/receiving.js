// What an envelope in this side's queue means. Nothing here is durable until the caller commits, and then ACKs.
import { concat, fromUtf8, isZero, sameBytes, toHex } from './bytes.js';
import { hash, newKeyPair } from './crypto.js';
import { TYPE_FLIGHT, TYPE_MESSAGE, openEnvelope, parseFlight } from './envelope.js';
import { EnvelopeError, FormatError } from './errors.js';
import { flightId, openFlight } from './handshake.js';
import { KIND, newUuid, parsePlaintext } from './messages.js';
import { applyReceipts } from './outbox.js';
import { highestReceived, receiveMessage } from './ratchet.js';
import {
  applyEcho, envelopeMark, excuse, isMissing, isRecent, makeDue, newSession, remember, seenAt, showLost,
} from './sessions.js';

const MAX_HELD = 128;
const NOTICE_TWO_DEVICES = 1;
export const NOTE_TAKEN_BACK = 'taken_back';

/** What the caller does: ACK it; leave it for later; or read this queue no further. */
export const VERDICT = { ack: 'ack', later: 'later', stop: 'stop' };

// A queue with a session

export function takeEnvelope(profile, session, envelope, now) {
  try {
    const { state, ...opened } = receiveMessage(session.ratchet, envelope, session.queue.QE, now);
    session.ratchet = state;
    acceptMessage(profile, session, envelope, opened, now);
    return VERDICT.ack;
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    return onRefusal(profile, session, envelope, error, now);
  }
}

function onRefusal(profile, session, envelope, { reason, seq }, now) {
  if (reason === 'rollback' || (reason === 'no-key' && seq > highestReceived(session.ratchet))) {
    session.stopped = reason;
    profile.note(session.label, 'stopped: this profile is an old copy');
    return VERDICT.stop;
  }
  if (reason === 'type') {
    takeSecondFlight(profile, session, envelope, now);
  } else if (reason === 'no-key' || reason === 'used') {
    takeKnownNumber(profile, session, envelope, reason, seq, now);
  } else {
    quarantine(profile, session.label, reason);
  }
  return VERDICT.ack;
}

function takeKnownNumber(profile, session, envelope, reason, seq, now) {
  const seen = seenAt(session, seq);
  if (seen && sameBytes(seen.hash, hash(envelope))) {
    takeDuplicate(profile, session, seen, now);
  } else if (seen) {
    quarantine(profile, session.label, 'another envelope with the same number');
    tellFork(profile, session);
  } else {
    if (isRecent(session, seq) && isMissing(session, seq)) showLost(profile, session, seq);
    quarantine(profile, session.label, reason);
  }
}

function takeDuplicate(profile, session, seen, now) {
  profile.contactFor(session.label).duplicates += 1;
  if (seen.wantsReceipt) makeDue(session, seen.seq, seen.hash.slice(0, 8), now);
}

/** A type that is not a message's, in a queue that has its session. */
function takeSecondFlight(profile, session, envelope, now) {
  const { type, rest } = openEnvelope(envelope, session.queue.QE);
  if (type !== TYPE_FLIGHT || !session.flight.th2) {
    quarantine(profile, session.label, 'type');
  } else if (sameBytes(flightId(parseFlight(rest), session.flight.h), session.flight.th2)) {
    takeDuplicate(profile, session, session.flight.seen, now);
  } else {
    profile.note(session.label, 'another guest has used the same invite');
  }
}

function quarantine(profile, label, reason) {
  profile.contactFor(label).quarantined += 1;
  profile.note(label, `quarantined: ${reason}`);
}

function tellFork(profile, session) {
  if (session.forkTold) return;
  session.forkTold = true;
  session.noticeDue = true;
  profile.note(session.label, 'two devices seem to send as this contact');
}

// A message that the ratchet accepted

function acceptMessage(profile, session, envelope, { plaintext, seq, echo, com }, now) {
  applyEcho(session, echo);
  const message = parseOrNull(plaintext, seq);
  const wantsReceipt = message !== null && message.kind !== KIND.control;
  remember(session, { seq, hash: hash(envelope), com, wantsReceipt });
  if (!message) {
    quarantine(profile, session.label, 'malformed message');
    return;
  }
  checkPrevious(profile, session, message);
  applyItems(profile, session, message);
  if (message.kind === KIND.text) addText(session, message);
  else if (message.kind !== KIND.control && message.kind !== KIND.first) addUnknown(session, message);
  if (wantsReceipt) makeDue(session, seq, envelopeMark(envelope), now);
}

function parseOrNull(plaintext, seq) {
  try {
    const message = parsePlaintext(plaintext);
    return message.seq === seq ? message : null;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return null;
  }
}

function checkPrevious(profile, session, { seq, prev }) {
  const before = seenAt(session, seq - 1);
  const isWrong = seq === 1 ? !isZero(prev) : before && !sameBytes(before.com, prev);
  if (isWrong) tellFork(profile, session);
}

function applyItems(profile, session, { seq, items: { receipts, takenBack, quiet, notice } }) {
  if (receipts) applyReceipts(profile, session, receipts);
  if (quiet) excuse(session, quiet);
  if (takenBack) takeTakenBack(session, takenBack, seq);
  if (notice === NOTICE_TWO_DEVICES) profile.note(session.label, 'the contact says: two devices seem to send as you');
}

function addText(session, { id, seq, sent, deadline, flags, items }) {
  const bytes = items.text ?? new Uint8Array(0);
  if (!items.fragment) {
    session.inbox.push({ id, position: seq, text: fromUtf8(bytes), note: null });
    return;
  }
  const { index, count } = items.fragment;
  const key = [toHex(id), sent, deadline, flags, count].join(' ');
  let partial = session.partials.find((candidate) => candidate.key === key && !candidate.parts[index]);
  if (!partial) {
    partial = { key, id, parts: Array(count).fill(null), numbers: [] };
    session.partials.push(partial);
  }
  partial.parts[index] = bytes;
  partial.numbers.push(seq);
  if (!partial.parts.every(Boolean)) return;
  session.partials.splice(session.partials.indexOf(partial), 1);
  session.inbox.push({ id, position: Math.max(...partial.numbers), text: fromUtf8(concat(...partial.parts)), note: null });
}

/** Shown once for all that one envelope lists for the first time, before what that envelope says. What came stays. */
function takeTakenBack(session, numbers, position) {
  const isNew = numbers.some((number) => number < position && isMissing(session, number));
  excuse(session, numbers);
  if (isNew) session.inbox.push({ id: newUuid(), position, text: null, note: NOTE_TAKEN_BACK });
}

const addUnknown = (session, { id, seq }) =>
  session.inbox.push({ id, position: seq, text: null, note: 'newer_kind' });

// A queue without a session: the host's, until the first flight

export function takeBeforeSession(profile, invite, envelope, now) {
  try {
    const { type, rest } = openEnvelope(envelope, invite.keys.QEb);
    if (type === TYPE_MESSAGE) return hold(invite, envelope);
    if (type !== TYPE_FLIGHT) throw new EnvelopeError('type');
    acceptFlight(profile, invite, envelope, openFlight(parseFlight(rest), invite.keys, invite.h, now), now);
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    quarantine(profile, invite.label, error.reason);
  }
  return VERDICT.ack;
}

function hold(invite, envelope) {
  if (invite.held.length >= MAX_HELD) return VERDICT.later;
  invite.held.push(envelope);
  return VERDICT.ack;
}

/** The session begins, the invite's private keys end, and what came too early is opened: all in one commit. */
function acceptFlight(profile, invite, envelope, { state, plaintext, com, th2 }, now) {
  const message = parseOrNull(plaintext, 1);
  if (message?.kind !== KIND.first) throw new EnvelopeError('malformed first message');
  const isHere = ({ fingerprint }) => sameBytes(fingerprint, invite.relay.fingerprint);
  const target = message.items.queues?.find(isHere);
  if (!target) throw new EnvelopeError('no queue at the relay of the invite');

  const { sender, claim, QE } = target;
  const seen = { seq: 1, hash: hash(envelope), com, wantsReceipt: true };
  const session = newSession({
    label: invite.label,
    queue: { relay: invite.relay, receiver: invite.receiver, key: invite.key, QE: invite.keys.QEb },
    peer: { relay: invite.relay, sender, claim, QE, key: newKeyPair() },
    flight: { h: invite.h, th2, seen },
    ratchet: state,
    peerName: message.items.name ?? null,
  });
  remember(session, seen);
  makeDue(session, 1, envelopeMark(envelope), now);
  profile.sessions.push(session);
  profile.contactFor(invite.label).session = session.id;
  profile.invites.splice(profile.invites.indexOf(invite), 1);
  for (const early of invite.held) takeEnvelope(profile, session, early, now);
}
