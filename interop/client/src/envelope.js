// The outer form of both types: 4,096 bytes, sealed to the queue's envelope key.
import { Reader, concat, padTo, u8 } from './bytes.js';
import { checkX25519, openAnonymous, sealAnonymous } from './crypto.js';
import { EnvelopeError, FormatError } from './errors.js';

export const TYPE_FLIGHT = 1;
export const TYPE_MESSAGE = 2;

const ENVELOPE_SIZE = 4096;
const ENC_HDR_SIZE = 2356;

/** Sizes of the padded plaintext; one byte of it is the padding's 0x80. */
export const PADDED_MESSAGE = 1563;
export const PADDED_FLIGHT = 427;
export const MAX_MESSAGE = PADDED_MESSAGE - 1;

export function pad(plaintext, size) {
  if (plaintext.length >= size) throw new FormatError('padding', 'the plaintext is too long');
  return padTo(concat(plaintext, u8(0x80)), size);
}

/** null if the padding is not right. */
export function unpad(padded) {
  const end = padded.findLastIndex((byte) => byte !== 0);
  return end >= 0 && padded[end] === 0x80 ? padded.slice(0, end) : null;
}

/** sealed: {encHdr, nonce, com, box} of the ratchet. */
export const encodeMessage = (tag, sealed, QE) => sealInner([u8(TYPE_MESSAGE), tag], sealed, QE);
export const encodeFlight = ({ EKa, ct, cid }, sealed, QE) => sealInner([u8(TYPE_FLIGHT), EKa, ct, cid], sealed, QE);

function sealInner(head, { encHdr, nonce, com, box }, QE) {
  return sealAnonymous(concat(...head, encHdr, nonce, com, box), checkX25519(QE));
}

/** {type, rest}; refused as `envelope`. */
export function openEnvelope(envelope, queuePair) {
  const inner = envelope.length === ENVELOPE_SIZE ? openAnonymous(envelope, queuePair) : null;
  if (!inner) throw new EnvelopeError('envelope');
  return { type: inner[0], rest: inner.slice(1) };
}

/** {tag, encHdr, nonce, com, box} */
export function parseMessage(rest) {
  const reader = new Reader(rest, 'envelope');
  return { tag: reader.take(56), ...readSealed(reader) };
}

/** {EKa, ct, cid, encHdr, nonce, com, box} */
export function parseFlight(rest) {
  const reader = new Reader(rest, 'envelope');
  return { EKa: reader.take(32), ct: reader.take(1088), cid: reader.take(72), ...readSealed(reader) };
}

function readSealed(reader) {
  return { encHdr: reader.take(ENC_HDR_SIZE), nonce: reader.take(24), com: reader.take(32), box: reader.rest() };
}
