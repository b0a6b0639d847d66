// X25519 by tweetnacl, ML-KEM-768 by noble; both refuse bad public keys.
import nacl from 'tweetnacl'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { refuse, zero } from './bytes.js'

// checked refuses a public key with which every shared secret is zero.
export function checked(key, name = 'key') {
  const scalar = new Uint8Array(32).fill(8)
  if (key.length !== 32 || zero(nacl.scalarMult(scalar, key))) refuse(name)
  return key
}

export function DH(a, B) {
  const out = nacl.scalarMult(a, B)
  if (zero(out)) refuse('key')
  return out
}

export const publicKey = (secret) => nacl.scalarMult.base(secret)
export const kemKeys = (seed) => ml_kem768.keygen(seed)
export const decaps = (seed, ct) => ml_kem768.decapsulate(ct, ml_kem768.keygen(seed).secretKey)
export const encaps = (ek) => ml_kem768.encapsulate(ek, nacl.randomBytes(32))

// checkedKEM makes the modulus check of FIPS 203, 7.2: every 12-bit coefficient is
// below 3,329. It is written out so as not to rely on when a library makes it.
export function checkedKEM(ek, name = 'key') {
  if (ek.length !== 1184) refuse(name)
  for (let i = 0; i < 1152; i += 3) {
    const a = ek[i] | ((ek[i + 1] & 15) << 8)
    const b = (ek[i + 1] >> 4) | (ek[i + 2] << 4)
    if (a >= 3329 || b >= 3329) refuse(name)
  }
  return ek
}
