// What this side has sealed: messages, each of one or several parts.
//
// message: {id, session, kind, sent, deadline, urgent, cancelled, parts}
// part:    {seq, messageId, envelope, mark, receipts, ok, until, receipted, cancelPending}
//   receipts: those that its envelope carries; until: when the class of its last PUT runs out.
import { sameBytes, utf8 } from './bytes.js';
import { random } from './crypto.js';
import { MAX_MESSAGE } from './envelope.js';
import { EXIT, CommandError } from './errors.js';
import { ITEM_HEAD, MAX_FRAGMENTS, MAX_LIST, NUMBER_SIZE, RECEIPT_SIZE, encodeItems } from './items.js';
import { KIND, MESSAGE_HEAD, encodePlaintext, newUuid, uuidText } from './messages.js';
import { sealMessage } from './ratchet.js';
import { envelopeMark, makeDueAgain } from './sessions.js';

const LIFE_MS = 14 * 24 * 3_600_000;
const PART_SIZE = 1400;
const NOTICE_TWO_DEVICES = 1;
const NOTICE_SIZE = ITEM_HEAD + 1;

export function newMessage(session, kind, now, urgent = false) {
  return {
    id: newUuid(), session: session.id, kind, sent: now, deadline: now + LIFE_MS, urgent, cancelled: false, parts: [],
  };
}

export const newPart = (seq, envelope, receipts = []) => ({
  seq, messageId: random(16), envelope, mark: envelopeMark(envelope), receipts, ok: false, until: 0,
  receipted: false, cancelPending: false,
});

// Sealing. The caller commits before anything leaves.

export function sealText(profile, session, text, urgent, now) {
  const bytes = utf8(text);
  const count = Math.max(1, Math.ceil(bytes.length / PART_SIZE));
  if (count > MAX_FRAGMENTS) throw new CommandError(EXIT.other, `a text has at most ${MAX_FRAGMENTS * PART_SIZE} bytes`);
  const message = newMessage(session, KIND.text, now, urgent);
  for (let index = 0; index < count; index += 1) {
    const part = bytes.slice(index * PART_SIZE, (index + 1) * PART_SIZE);
    sealPart(session, message, { text: part, fragment: count > 1 ? { index, count } : undefined });
  }
  profile.messages.push(message);
  return message;
}

/** Receipts whose time has come go alone, if nothing else took them along. */
export function sealDueReceipts(profile, session, now) {
  while (session.due.some(({ at }) => at <= now)) {
    const message = newMessage(session, KIND.control, now);
    sealPart(session, message, {});
    session.quiet.push(message.parts[0].seq);
    profile.messages.push(message);
  }
}

function sealPart(session, message, items) {
  const seq = session.ratchet.sent + 1;
  const room = MAX_MESSAGE - MESSAGE_HEAD - encodeItems(items).length;
  const beside = takeBeside(session, seq, room);
  const plaintext = encodePlaintext({ ...message, seq, prev: session.lastCom, items: { ...items, ...beside } });
  const { state, envelope, com } = sealMessage(session.ratchet, plaintext, session.peer.QE);
  session.ratchet = state;
  session.lastCom = com;
  message.parts.push(newPart(seq, envelope, beside.receipts));
}

/** What goes beside the text, as far as there is room: the notice, taken back, the newest quiet, receipts. */
function takeBeside(session, seq, room) {
  const beside = {};
  let left = room;
  const fits = (list, size) => list.slice(0, Math.max(0, Math.min(MAX_LIST, Math.floor((left - ITEM_HEAD) / size))));
  const use = (name, list, size) => {
    if (list.length === 0) return;
    beside[name] = list;
    left -= ITEM_HEAD + list.length * size;
  };

  if (session.noticeDue && left >= NOTICE_SIZE) {
    beside.notice = NOTICE_TWO_DEVICES;
    session.noticeDue = false;
    left -= NOTICE_SIZE;
  }
  const unlistedFirst = (a, b) => (a.listedIn ?? 0) - (b.listedIn ?? 0) || a.seq - b.seq;
  const takenBack = fits(session.takenBack.toSorted(unlistedFirst), NUMBER_SIZE);
  for (const entry of takenBack) entry.listedIn ??= seq;
  use('takenBack', takenBack.map((entry) => entry.seq).sort((a, b) => a - b), NUMBER_SIZE);

  const quiet = fits(session.quiet.toReversed(), NUMBER_SIZE).reverse();
  use('quiet', quiet, NUMBER_SIZE);

  const receipts = fits(session.due.toSorted((a, b) => a.seq - b.seq), RECEIPT_SIZE);
  use('receipts', receipts, RECEIPT_SIZE);
  session.due = session.due.filter((receipt) => !receipts.includes(receipt));
  return beside;
}

// What becomes of them

export const isDelivered = (message) => message.parts.every((part) => part.receipted);
export const isExpired = (message, now) => now > message.deadline;

export function stateOf(message, now) {
  if (isDelivered(message)) return 'delivered';
  if (message.cancelled) return 'cancelled';
  if (isExpired(message, now)) return 'expired';
  return message.parts.every((part) => part.ok) ? 'on_relay' : 'queued';
}

/** Receipts of the peer. One with another mark is of an envelope that this profile never sent. */
export function applyReceipts(profile, session, receipts) {
  const messages = profile.messages.filter((message) => message.session === session.id);
  const parts = messages.flatMap((message) => message.parts);
  for (const { seq, mark } of receipts) {
    const part = parts.find((candidate) => candidate.seq === seq);
    if (part && sameBytes(part.mark, mark)) part.receipted = true;
  }
  for (const message of messages.filter(isDelivered)) for (const part of message.parts) part.envelope = null;
}

export function findText(profile, id) {
  const message = profile.messages.find((candidate) => candidate.kind === KIND.text && uuidText(candidate.id) === id);
  if (!message) throw new CommandError(EXIT.other, `no message ${id}`);
  return message;
}

/** The caller commits, then CANCELs. */
export function takeBack(profile, message) {
  const session = profile.session(message.session);
  message.cancelled = true;
  for (const part of message.parts) {
    part.cancelPending = true;
    session.takenBack.push({ seq: part.seq, listedIn: null });
    makeDueAgain(session, part.receipts);
    part.receipts = [];
  }
}

/** Only for what never left: the peer will see a gap. */
export function forget(profile, message) {
  const session = profile.session(message.session);
  for (const part of message.parts) makeDueAgain(session, part.receipts);
  remove(profile, message);
}

export function remove(profile, message) {
  profile.messages.splice(profile.messages.indexOf(message), 1);
}
