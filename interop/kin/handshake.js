// docs/protocol.md, Handshake: begin is the guest's half, accept the host's.
import nacl from 'tweetnacl'
import { H, LP, ascii, cut, expand, extract, join, refuse, sha256 } from './bytes.js'
import { DH, checked, decaps, encaps, publicKey } from './keys.js'
import { open, openEnvelope, seal, sealAnonymous } from './sealed.js'
import * as ratchet from './ratchet.js'

const ff = new Uint8Array(32).fill(255)
const identityKey = (p1) => expand(p1, 'kin/1 hs identity', 32)

// secrets are what both sides have of th1 … AD.
function secrets(p1, d3, th2, IKa, IKb) {
  const p2 = extract(th2, p1, d3)
  const [SK, HKa, NHKb, Sa, Sb] = cut(expand(p2, 'kin/1 hs session', 160), 32, 32, 32, 32, 32)
  return { p2, SK, HKa, NHKb, Sa, Sb, AD: H('kin/1 ad', IKa, IKb, th2) }
}

// begin makes the first flight to an opened bundle. parts, for vectors, changes what
// the flight is made of.
export function begin(bundle, h, plaintext, parts = {}) {
  const ika = nacl.randomBytes(32)
  const eka = nacl.randomBytes(32)
  const { cipherText: ct, sharedSecret: ss } = encaps(bundle.ek_hs)
  const made = {
    EKa: publicKey(eka), IKa: publicKey(ika), d1: DH(eka, bundle.IKb), d2: DH(eka, bundle.OPKb), d3: DH(ika, bundle.OPKb), ...parts,
  }
  const th1 = H('kin/1 hs1', h, made.EKa, ct)
  const p1 = extract(th1, ff, made.d1, made.d2, ss)
  const cid = seal(identityKey(p1), made.IKa)
  const th2 = H('kin/1 hs2', th1, cid)
  const s = secrets(p1, made.d3, th2, made.IKa, bundle.IKb)
  const state = ratchet.guest({ ...s, RKb: bundle.RKb, ek_r: bundle.ek_r })
  const { next, encHdr, body, com } = ratchet.sealBody(state, plaintext, 427, parts)
  const envelope = sealAnonymous(join(Uint8Array.of(1), made.EKa, ct, cid, encHdr, body), bundle.QEb)
  return { next, envelope, com, th2, ika, eka }
}

// flightID is the th2 of a flight; it says nothing about who made it.
export function flightID(h, qeb, envelope) {
  const [type, EKa, ct, cid] = cut(openEnvelope(envelope, qeb), 1, 32, 1088, 72)
  if (type[0] !== 1) refuse('type')
  return H('kin/1 hs2', H('kin/1 hs1', h, EKa, ct), cid)
}

// accept opens a first flight. keys has ikb, opkb, rkb, qeb, ek_hs_seed, ek_r_seed;
// fresh are the new keys of the host's first chain.
export function accept(keys, h, envelope, now, fresh) {
  const inner = openEnvelope(envelope, keys.qeb)
  if (inner[0] !== 1) refuse('type')
  const [EKa, ct, cid, encHdr, body] = cut(inner.slice(1), 32, 1088, 72, 2356, 24 + 32 + 16 + 427)
  checked(EKa)
  const ss = decaps(keys.ek_hs_seed, ct)
  const d1 = DH(keys.ikb, EKa)
  const d2 = DH(keys.opkb, EKa)
  const th1 = H('kin/1 hs1', h, EKa, ct)
  const p1 = extract(th1, ff, d1, d2, ss)
  const IKa = open(identityKey(p1), cid) ?? refuse('identity')
  checked(IKa)
  const d3 = DH(keys.opkb, IKa)
  const th2 = H('kin/1 hs2', th1, cid)
  const s = secrets(p1, d3, th2, IKa, publicKey(keys.ikb))
  const state = ratchet.host({ ...s, rkb: keys.rkb, ek_r_seed: keys.ek_r_seed })
  const got = ratchet.openMessage(state, encHdr, body, 1, 0, now, fresh, true)
  return { ...got, EKa, ct, cid, ss, d1, d2, d3, th1, p1, IKa, th2, ...s }
}
