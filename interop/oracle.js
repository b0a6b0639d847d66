// Other people's cryptography, one JSON request a line, one answer a line.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { createHmac, createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from 'node:crypto'
import nacl from 'tweetnacl'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { hex, unhex } from './kin/bytes.js'

// Its ES module names a file that it doesn't carry; the CommonJS one is whole.
const sodium = createRequire(import.meta.url)('libsodium-wrappers-sumo')
await sodium.ready

const der = (prefix, key) => Buffer.concat([Buffer.from(prefix, 'hex'), key])

const oracles = {
  'tweetnacl box': (a) => nacl.box(a.m, a.nonce, a.public, a.secret),
  'libsodium box': (a) => sodium.crypto_box_easy(a.m, a.nonce, a.public, a.secret),
  'tweetnacl secretbox': (a) => nacl.secretbox(a.m, a.nonce, a.key),
  'libsodium secretbox': (a) => sodium.crypto_secretbox_easy(a.m, a.nonce, a.key),
  'libsodium xchacha20poly1305': (a) => sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(a.m, a.ad, null, a.nonce, a.key),
  'libsodium seal': (a) => sodium.crypto_box_seal(a.m, a.public),
  'libsodium open': (a) => sodium.crypto_box_seal_open(a.m, a.public, a.secret),
  'libsodium argon2id': (a) => sodium.crypto_pwhash(32, a.password, a.salt, 3, 64 << 20, sodium.crypto_pwhash_ALG_ARGON2ID13),
  'node hkdf': (a) => new Uint8Array(hkdfSync('sha256', a.ikm, a.salt, a.info, a.n)),
  'node hmac': (a) => createHmac('sha256', a.key).update(a.m).digest(),
  'node x25519': (a) => diffieHellman({
    privateKey: createPrivateKey({ key: der('302e020100300506032b656e04220420', a.secret), format: 'der', type: 'pkcs8' }),
    publicKey: createPublicKey({ key: der('302a300506032b656e032100', a.public), format: 'der', type: 'spki' }),
  }),
  'noble keygen': (a) => ml_kem768.keygen(a.seed).publicKey,
  'noble encaps': (a) => {
    const { cipherText, sharedSecret } = ml_kem768.encapsulate(a.ek, a.m)
    return Buffer.concat([cipherText, sharedSecret])
  },
  'noble decaps': (a) => ml_kem768.decapsulate(a.ct, ml_kem768.keygen(a.seed).secretKey),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { oracle, n, ...args } = JSON.parse(line)
  for (const name in args) args[name] = unhex(args[name])
  try {
    console.log(hex(oracles[oracle]({ ...args, n })))
  } catch (e) {
    console.log('error ' + e.message)
  }
}
