// A random source that is seeded with a name: each file comes out the same each time.
import nacl from 'tweetnacl'
import { LP, ascii, join, sha256, u32 } from '../kin/bytes.js'

export function seed(name) {
  let block = 0
  let rest = new Uint8Array()
  nacl.setPRNG((x, n) => {
    while (rest.length < n) rest = join(rest, sha256(LP(ascii('kin vectors'), ascii(name), u32(block++))))
    x.set(rest.slice(0, n))
    rest = rest.slice(n)
  })
}

export const random = (n) => nacl.randomBytes(n)

// flipped is b with one bit changed.
export function flipped(b, at, bit = 0) {
  const out = b.slice()
  out[at < 0 ? b.length + at : at] ^= 1 << bit
  return out
}

// put is b with other bytes at an offset.
export function put(b, at, bytes) {
  const out = b.slice()
  out.set(bytes, at)
  return out
}

export const longer = (b) => join(b, Uint8Array.of(0))
export const shorter = (b) => b.slice(0, -1)

// low are X25519 keys with which every secret is zero, in encodings that are easily
// forgotten: with the ignored top bit, and not reduced.
const topped = (b) => flipped(b, 31, 7)
const number = (hex) => Uint8Array.from(Buffer.from(hex, 'hex')).reverse()
export const low = [
  number('00'.repeat(32)), number('00'.repeat(31) + '01'),
  Uint8Array.from(Buffer.from('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800', 'hex')),
  Uint8Array.from(Buffer.from('5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157', 'hex')),
  number('7f' + 'ff'.repeat(30) + 'ec'), number('7f' + 'ff'.repeat(30) + 'ed'), number('7f' + 'ff'.repeat(30) + 'ee'),
].flatMap((b) => [b, topped(b)])

// badKEM is an encapsulation key with a coefficient that is not below 3,329.
export const badKEM = (ek, i, value = 3329) => {
  const at = 3 * (i >> 1)
  const out = ek.slice()
  if (i & 1) {
    out[at + 1] = (out[at + 1] & 15) | ((value & 15) << 4)
    out[at + 2] = value >> 4
  } else {
    out[at] = value & 255
    out[at + 1] = (out[at + 1] & 0xf0) | (value >> 8)
  }
  return out
}
