// docs/protocol.md, Handshake, as the host goes through it.
import { H, LP, ascii, cut, expand, extract, join, refuse, sha256 } from './bytes.js'
import { DH, checked, decaps, publicKey } from './keys.js'
import { open, openEnvelope } from './sealed.js'
import * as ratchet from './ratchet.js'

// accept opens a first flight. keys has ikb, opkb, rkb, qeb, ek_hs_seed, ek_r_seed;
// fresh are the new keys of the host's first chain.
export function accept(keys, h, envelope, fresh) {
  const inner = openEnvelope(envelope, keys.qeb)
  if (inner[0] !== 1) refuse('type')
  const [EKa, ct, cid, encHdr, body] = cut(inner.slice(1), 32, 1088, 72, 2356, 24 + 32 + 16 + 427)
  checked(EKa)
  const ss = decaps(keys.ek_hs_seed, ct)
  const d1 = DH(keys.ikb, EKa)
  const d2 = DH(keys.opkb, EKa)
  const th1 = H('kin/1 hs1', h, EKa, ct)
  const p1 = extract(th1, new Uint8Array(32).fill(255), d1, d2, ss)
  const IKa = open(expand(p1, 'kin/1 hs identity', 32), cid) ?? refuse('identity')
  checked(IKa)
  const d3 = DH(keys.opkb, IKa)
  const th2 = H('kin/1 hs2', th1, cid)
  const p2 = extract(th2, p1, d3)
  const [SK, HKa, NHKb, Sa, Sb] = cut(expand(p2, 'kin/1 hs session', 160), 32, 32, 32, 32, 32)
  const AD = H('kin/1 ad', IKa, publicKey(keys.ikb), th2)
  const state = ratchet.host({ AD, SK, HKa, NHKb, Sa, Sb, rkb: keys.rkb, ek_r_seed: keys.ek_r_seed })
  const got = ratchet.openMessage(state, encHdr, body, 1, 0, 0, fresh, true)
  return { ...got, EKa, ct, cid, ss, d1, d2, d3, th1, p1, IKa, th2, p2, SK, HKa, NHKb, Sa, Sb, AD }
}
