// Bytes, hashes and the key derivation of docs/protocol.md, Conventions.
import { createHash, createHmac } from 'node:crypto'

export const hex = (b) => Buffer.from(b).toString('hex')
export const unhex = (s) => new Uint8Array(Buffer.from(s, 'hex'))
export const ascii = (s) => new Uint8Array(Buffer.from(s, 'latin1'))
export const join = (...parts) => new Uint8Array(Buffer.concat(parts))
export const equal = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
export const zero = (b) => b.every((c) => c === 0)

export function u32(n) {
  const b = new Uint8Array(4)
  new DataView(b.buffer).setUint32(0, n)
  return b
}

export function u64(n) {
  const b = new Uint8Array(8)
  new DataView(b.buffer).setBigUint64(0, BigInt(n))
  return b
}

// number reads a big-endian integer.
export const number = (b) => Number('0x' + (hex(b) || '0'))

// Refusal is a refusal by the name that docs/protocol.md gives it.
export class Refusal extends Error {}

export function refuse(name) {
  throw new Refusal(name)
}

export const LP = (...items) => join(...items.flatMap((b) => [u32(b.length), b]))
export const sha256 = (b) => new Uint8Array(createHash('sha256').update(b).digest())
export const hmac = (key, b) => new Uint8Array(createHmac('sha256', key).update(b).digest())

// H is H(label, x…) = SHA-256(LP(label, x…)).
export const H = (label, ...items) => sha256(LP(ascii(label), ...items))

export const extract = (salt, ...ikm) => hmac(salt, join(...ikm))

// expand is RFC 5869, 2.3, written out, since node has it only with extract.
export function expand(prk, info, n) {
  let out = new Uint8Array()
  for (let i = 1, t = out; out.length < n; i++) {
    t = hmac(prk, join(t, typeof info === 'string' ? ascii(info) : info, Uint8Array.of(i)))
    out = join(out, t)
  }
  return out.slice(0, n)
}

// cut takes consecutive pieces of the given lengths.
export function cut(b, ...lengths) {
  let at = 0
  return lengths.map((n) => b.slice(at, (at += n)))
}
