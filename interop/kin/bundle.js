// docs/protocol.md, Invite bundle.
import nacl from 'tweetnacl'
import { LP, ascii, cut, equal, expand, extract, join, number, refuse, sha256, zero } from './bytes.js'
import { checked, checkedKEM, kemKeys, publicKey } from './keys.js'
import { open, seal } from './sealed.js'

const lengths = [12, 32, 32, 32, 1184, 1184, 32, 40, null, 32]

export function derive(h) {
  const prk = extract(ascii('kin/1 invite'), h)
  return {
    location: expand(prk, 'kin/1 invite location', 24),
    key: expand(prk, 'kin/1 invite key', 32),
    claim: expand(prk, 'kin/1 invite claim', 32),
  }
}

export function marshal(b) {
  return LP(ascii('kin/1 bundle'), b.IKb, b.OPKb, b.RKb, b.ek_hs, b.ek_r, b.QEb,
    join(b.fingerprint, b.sender_id), b.meta, b.rand32)
}

// newKeys are the host's private keys for one invite.
export const newKeys = () => ({
  ikb: nacl.randomBytes(32), opkb: nacl.randomBytes(32), rkb: nacl.randomBytes(32), qeb: nacl.randomBytes(32),
  ek_hs_seed: nacl.randomBytes(64), ek_r_seed: nacl.randomBytes(64),
})

// make is B for these keys.
export const make = (keys, fingerprint, sender_id, meta) => marshal({
  IKb: publicKey(keys.ikb), OPKb: publicKey(keys.opkb), RKb: publicKey(keys.rkb), QEb: publicKey(keys.qeb),
  ek_hs: kemKeys(keys.ek_hs_seed).publicKey, ek_r: kemKeys(keys.ek_r_seed).publicKey,
  fingerprint, sender_id, meta, rand32: nacl.randomBytes(32),
})

export const padded = (B) => join(B, new Uint8Array(4056 - B.length))
export const sealBlob = (B) => seal(derive(sha256(B)).key, padded(B))

// parse reads a padded bundle.
export function parse(padded) {
  if (padded.length !== 4056) refuse('bundle')
  const fields = []
  let at = 0
  for (const want of lengths) {
    const n = number(padded.slice(at, at + 4))
    if (want === null ? n > 1400 : n !== want) refuse('bundle')
    fields.push(padded.slice(at + 4, at + 4 + n))
    at += 4 + n
  }
  if (!equal(fields[0], ascii('kin/1 bundle')) || !zero(padded.slice(at))) refuse('bundle')
  const [, IKb, OPKb, RKb, ek_hs, ek_r, QEb, place, meta, rand32] = fields
  for (const k of [IKb, OPKb, RKb, QEb]) checked(k, 'bundle')
  for (const k of [ek_hs, ek_r]) checkedKEM(k, 'bundle')
  const [fingerprint, sender_id] = cut(place, 16, 24)
  return { IKb, OPKb, RKb, ek_hs, ek_r, QEb, fingerprint, sender_id, meta, rand32, B: padded.slice(0, at) }
}

// openBlob returns the padded bundle and its fields.
export function openBlob(h, blob) {
  if (blob.length !== 4096) refuse('bundle')
  const padded = open(derive(h).key, blob) ?? refuse('bundle')
  const bundle = parse(padded)
  if (!equal(sha256(bundle.B), h)) refuse('bundle')
  return { padded, bundle }
}
