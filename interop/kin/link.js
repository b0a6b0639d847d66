// docs/protocol.md, Link.
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { H, cut, equal, expand, extract, join, number, refuse, sha256, u32, zero } from './bytes.js'
import nacl from 'tweetnacl'
import { DH, checked, checkedKEM, decaps, encaps, publicKey } from './keys.js'

const sizes = [256, 4352, 65792]

// parseHello reads a hello; pin is the fingerprint in the relay's address.
export function parseHello(b, pin) {
  const n = b[0]
  if (!(n >= 1 && n <= 8) || b.length !== 1 + n + 96 + 1184 + 32 + 8) refuse('malformed')
  const versions = [...b.slice(1, 1 + n)]
  if (versions.some((v, i) => i > 0 && v <= versions[i - 1])) refuse('malformed')
  const [RS, RE, RA, ekR, nonce, limits] = cut(b.slice(1 + n), 32, 32, 32, 1184, 32, 8)
  for (const k of [RS, RE, RA]) checked(k, 'low-order')
  checkedKEM(ekR, 'malformed')
  const [epoch, ttl, flags, window] = cut(limits, 4, 2, 1, 1).map(number)
  if (epoch === 0 || epoch > 86400 || ttl === 0 || flags > 1 || window === 0) refuse('malformed')
  if (!equal(sha256(RS).slice(0, 16), pin)) refuse('fingerprint')
  if (!versions.includes(1)) refuse('version')
  return { versions, RS, RE, RA, ekR, nonce, epoch, ttl, durable: flags === 1, window }
}

const keysOf = (hello, version, CE, ctR, ...secrets) => {
  const prk = extract(H('kin/1 link', hello, version, CE, ctR), ...secrets)
  const [c2s, s2c, sid] = cut(expand(prk, 'kin/1 link keys', 96), 32, 32, 32)
  return { c2s, s2c, sid }
}

// connect is the client's half: it reads the hello and makes the answer.
export function connect(bytes, pin) {
  const hello = parseHello(bytes, pin)
  const ce = nacl.randomBytes(32)
  const { cipherText: ctR, sharedSecret: ssR } = encaps(hello.ekR)
  const [version, CE] = [Uint8Array.of(1), publicKey(ce)]
  const keys = keysOf(bytes, version, CE, ctR, DH(ce, hello.RE), DH(ce, hello.RS), ssR)
  return { hello, answer: join(version, CE, ctR), ...keys }
}

// accept is the relay's half.
export function accept(f) {
  if (f.answer.length !== 1 + 32 + 1088) refuse('malformed')
  const [version, CE, ctR] = cut(f.answer, 1, 32, 1088)
  if (version[0] !== 1) refuse('version')
  checked(CE, 'low-order')
  return keysOf(f.hello, version, CE, ctR, DH(f.re, CE), DH(f.rs, CE), decaps(f.ek_seed, ctR))
}

const nonceOf = (counter) => join(u32(0), u32(Math.floor(counter / 2 ** 32)), u32(counter % 2 ** 32))

const classFor = (n) => sizes.findIndex((size) => n <= size - 5)

export function sealFrame(key, counter, type, body) {
  const c = classFor(body.length)
  const plain = new Uint8Array(sizes[c])
  plain.set(join(Uint8Array.of(type), u32(body.length), body))
  const aead = createCipheriv('chacha20-poly1305', key, nonceOf(counter), { authTagLength: 16 })
  aead.setAAD(Uint8Array.of(c))
  return join(Uint8Array.of(c), aead.update(plain), aead.final(), aead.getAuthTag())
}

// frameLength is how long the frame is that begins with this class byte.
export const frameLength = (c) => c < sizes.length ? 1 + sizes[c] + 16 : refuse('malformed')

export function openFrame(key, counter, wire) {
  const c = wire[0]
  if (wire.length !== frameLength(c)) refuse('malformed')
  const aead = createDecipheriv('chacha20-poly1305', key, nonceOf(counter), { authTagLength: 16 })
  aead.setAAD(Uint8Array.of(c))
  aead.setAuthTag(wire.slice(-16))
  let plain
  try {
    plain = join(aead.update(wire.slice(1, -16)), aead.final())
  } catch {
    refuse('seal')
  }
  const n = number(plain.slice(1, 5))
  if (n > sizes[c] - 5 || classFor(n) !== c || !zero(plain.slice(5 + n))) refuse('malformed')
  return { type: plain[0], body: plain.slice(5, 5 + n) }
}
