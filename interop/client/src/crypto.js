// The published parts, under the names that the page gives them.
import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { blake2b } from '@noble/hashes/blake2.js';
import { expand, extract } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import nacl from 'tweetnacl';
import { LP, ascii, concat, isZero } from './bytes.js';
import { FormatError } from './errors.js';

export const random = (size) => Uint8Array.from(randomBytes(size));

export { sha512 };
/** H(x) */
export const hash = (bytes) => sha256(bytes);
/** H(label, x…) = H(LP(label, x…)) */
export const labelHash = (label, ...items) => sha256(LP(ascii(label), ...items));

export const Extract = (salt, ikm) => extract(sha256, ikm, salt);
export const Expand = (prk, info, size) => expand(sha256, prk, typeof info === 'string' ? ascii(info) : info, size);
export const HMAC = (key, bytes) => hmac(sha256, key, bytes);

/** Cuts Expand's output into pieces of 32 bytes. */
export function expandKeys(prk, info, count) {
  const all = Expand(prk, info, 32 * count);
  return Array.from({ length: count }, (_, i) => all.slice(32 * i, 32 * (i + 1)));
}

export const equalInConstantTime = (a, b) => a.length === b.length && timingSafeEqual(a, b);

// X25519

export function newKeyPair() {
  const { publicKey, secretKey } = nacl.box.keyPair();
  return { pub: publicKey, priv: secretKey };
}

/** X25519, refused (`key`) if the result is zero. */
export function DH(priv, pub) {
  const shared = nacl.scalarMult(priv, pub);
  if (isZero(shared)) throw new FormatError('key', 'key: X25519 gives zero');
  return shared;
}

// Clamped scalars are multiples of the cofactor, so any one of them shows whether a key gives zero.
const PROBE = new Uint8Array(32);

/** A public X25519 key from outside is checked where it is parsed. */
export function checkX25519(pub) {
  DH(PROBE, pub);
  return pub;
}

export const isGoodX25519 = (pub) => !isZero(nacl.scalarMult(PROBE, pub));

// ML-KEM-768

export const KEM_KEY_SIZE = 1184;
const KEM_MODULUS = 3329;

/** A private key is kept as its seed d ‖ z. */
export function newKem() {
  const seed = random(64);
  return { ek: ml_kem768.keygen(seed).publicKey, seed };
}

/** FIPS 203, 7.2: every 12-bit coefficient is below the modulus. */
export function isGoodKemKey(ek) {
  if (ek.length !== KEM_KEY_SIZE) return false;
  for (let i = 0; i < KEM_KEY_SIZE - 32; i += 3) {
    const low = ek[i] | ((ek[i + 1] & 15) << 8);
    const high = (ek[i + 1] >> 4) | (ek[i + 2] << 4);
    if (low >= KEM_MODULUS || high >= KEM_MODULUS) return false;
  }
  return true;
}

export function checkKemKey(ek) {
  if (!isGoodKemKey(ek)) throw new FormatError('key', 'key: not an ML-KEM-768 encapsulation key');
  return ek;
}

export function Encaps(ek) {
  const { cipherText, sharedSecret } = ml_kem768.encapsulate(ek);
  return { ct: cipherText, ss: sharedSecret };
}

export const Decaps = (seed, ct) => ml_kem768.decapsulate(ct, ml_kem768.keygen(seed).secretKey);

// NaCl

export const secretbox = (key, nonce, message) => nacl.secretbox(message, nonce, key);
/** null if it does not open. */
export const openSecretbox = (key, nonce, sealed) => nacl.secretbox.open(sealed, nonce, key);
export const box = (message, nonce, pub, priv) => nacl.box(message, nonce, pub, priv);

/** nonce24 ‖ SB(k, nonce, m) */
export function seal(key, message) {
  const nonce = random(24);
  return concat(nonce, secretbox(key, nonce, message));
}

/** null if it does not open. */
export const openSealed = (key, sealed) => openSecretbox(key, sealed.subarray(0, 24), sealed.subarray(24));

const anonymousNonce = (ephemeral, pub) => blake2b(concat(ephemeral, pub), { dkLen: 24 });

/** libsodium's crypto_box_seal */
export function sealAnonymous(message, pub) {
  const ephemeral = newKeyPair();
  return concat(ephemeral.pub, nacl.box(message, anonymousNonce(ephemeral.pub, pub), pub, ephemeral.priv));
}

/** null if it does not open, or its ephemeral key is not good. */
export function openAnonymous(sealed, pair) {
  const ephemeral = sealed.slice(0, 32);
  if (!isGoodX25519(ephemeral)) return null;
  return nacl.box.open(sealed.subarray(32), anonymousNonce(ephemeral, pair.pub), ephemeral, pair.priv);
}

// The link's AEAD

const AEAD = 'chacha20-poly1305';

export function sealFrame(key, nonce, plaintext, associated) {
  const cipher = createCipheriv(AEAD, key, nonce, { authTagLength: 16 });
  cipher.setAAD(associated, { plaintextLength: plaintext.length });
  return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

/** null if it does not open. */
export function openFrame(key, nonce, sealed, associated) {
  const decipher = createDecipheriv(AEAD, key, nonce, { authTagLength: 16 });
  decipher.setAAD(associated, { plaintextLength: sealed.length - 16 });
  decipher.setAuthTag(sealed.subarray(sealed.length - 16));
  try {
    return Uint8Array.from(Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]));
  } catch {
    return null;
  }
}
