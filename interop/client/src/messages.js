// What the ratchet carries: 74 bytes of header, then items.
import { Reader, concat, u64, u8 } from './bytes.js';
import { random } from './crypto.js';
import { encodeItems, readItems } from './items.js';

export const KIND = { text: 1, control: 2, first: 3 };
export const MESSAGE_HEAD = 74;
const FLAG_URGENT = 1;
const YEAR_10000_MS = Date.UTC(10000, 0, 1);

/** 16 bytes, version 4. */
export function newUuid() {
  const id = random(16);
  id[6] = (id[6] & 0x0f) | 0x40;
  id[8] = (id[8] & 0x3f) | 0x80;
  return id;
}

const isUuid4 = (id) => id[6] >> 4 === 4 && id[8] >> 6 === 2;

export const uuidText = (id) =>
  Buffer.from(id).toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

export function encodePlaintext({ kind, id, seq, prev, sent, deadline, urgent, items }) {
  const flags = urgent ? FLAG_URGENT : 0;
  return concat(u8(kind), id, u64(seq), prev, u64(sent), u64(deadline), u8(flags), encodeItems(items));
}

/** Refused as FormatError `message`. */
export function parsePlaintext(bytes) {
  const reader = new Reader(bytes, 'message');
  const message = {
    kind: reader.number(1), id: reader.take(16), seq: reader.number(8), prev: reader.take(32),
    sent: reader.number(8), deadline: reader.number(8), flags: reader.number(1),
  };
  if (!isUuid4(message.id)) reader.refuse('id');
  if (message.deadline < message.sent || message.deadline >= YEAR_10000_MS) reader.refuse('time');
  return { ...message, items: readItems(reader) };
}
