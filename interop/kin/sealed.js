// docs/protocol.md, Sealed things and Envelope.
import nacl from 'tweetnacl'
import { blake2b } from '@noble/hashes/blake2.js'
import { checked } from './keys.js'
import { join, refuse } from './bytes.js'

export function seal(key, m, nonce = nacl.randomBytes(24)) {
  return join(nonce, nacl.secretbox(m, nonce, key))
}

// open returns null for what does not open.
export const open = (key, sealed) => sealed.length < 40 ? null : nacl.secretbox.open(sealed.slice(24), sealed.slice(0, 24), key)

const sealedNonce = (ephemeral, receiver) => blake2b(join(ephemeral, receiver), { dkLen: 24 })

export function sealAnonymous(m, receiver) {
  const e = nacl.box.keyPair()
  return join(e.publicKey, nacl.box(m, sealedNonce(e.publicKey, receiver), receiver, e.secretKey))
}

// openEnvelope returns the 4,048 bytes inside.
export function openEnvelope(envelope, secret) {
  if (envelope.length !== 4096) refuse('envelope')
  const ephemeral = checked(envelope.slice(0, 32), 'envelope')
  const nonce = sealedNonce(ephemeral, nacl.scalarMult.base(secret))
  return nacl.box.open(envelope.slice(32), nonce, ephemeral, secret) ?? refuse('envelope')
}

export function pad(m, size) {
  if (m.length >= size) refuse('long')
  const b = new Uint8Array(size)
  b.set(m)
  b[m.length] = 0x80
  return b
}

export function unpad(b) {
  let n = b.length
  while (n > 0 && b[n - 1] === 0) n--
  if (n === 0 || b[n - 1] !== 0x80) refuse('padding')
  return b.slice(0, n - 1)
}
