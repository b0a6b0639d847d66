// Byte strings: writing and strict reading.
import { FormatError } from './errors.js';

export const ascii = (text) => new TextEncoder().encode(text);
export const utf8 = ascii;
/** Invalid UTF-8 is shown as U+FFFD; a byte order mark is text like any other. */
export const fromUtf8 = (bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

export function concat(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export const u8 = (n) => Uint8Array.of(n);
export const u16 = (n) => Uint8Array.of(n >> 8, n & 255);

export function u32(n) {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, n);
  return out;
}

export function u64(n) {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(n));
  return out;
}

/** LP(x…): each item's length as u32, then the item. */
export const LP = (...items) => concat(...items.flatMap((item) => [u32(item.length), item]));

export function padTo(bytes, size) {
  const out = new Uint8Array(size);
  out.set(bytes);
  return out;
}

export const zeros = (size) => new Uint8Array(size);
export const isZero = (bytes) => bytes.every((byte) => byte === 0);
export const toHex = (bytes) => Buffer.from(bytes).toString('hex');

/** Not in constant time: for what is public. */
export const sameBytes = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Reads from front to end. Whatever is too short, or left over, is refused with the reason given. */
export class Reader {
  constructor(bytes, reason) {
    this.bytes = bytes;
    this.reason = reason;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  take(size) {
    if (size > this.left) throw new FormatError(this.reason, `${this.reason}: ends early`);
    this.at += size;
    return this.bytes.slice(this.at - size, this.at);
  }

  number(size) {
    return Number(this.big(size));
  }

  big(size) {
    return this.take(size).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }

  rest() {
    return this.take(this.left);
  }

  end() {
    if (this.left !== 0) throw new FormatError(this.reason, `${this.reason}: trailing bytes`);
  }

  refuse(what) {
    throw new FormatError(this.reason, `${this.reason}: ${what}`);
  }
}
