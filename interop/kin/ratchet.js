// docs/protocol.md, Ratchet. A state is a plain object that is never changed:
// every function returns the next one, or refuses.
import nacl from 'tweetnacl'
import { LP, ascii, cut, equal, expand, extract, hmac, join, number, refuse, sha256, u32, u64, zero } from './bytes.js'
import { DH, checked, checkedKEM, decaps, encaps, kemKeys, publicKey } from './keys.js'
import { open, openEnvelope, pad, seal, sealAnonymous, unpad } from './sealed.js'

const turnOf = (sender, receiver, ekTo, ct, ekAlong) => sha256(LP(sender, receiver, ekTo, ct, ekAlong))

// root is KDF_RK for one half of a step.
function root(RK, dh, ss, turn) {
  const [rk, ck, nhk] = cut(expand(extract(RK, dh, ss), join(ascii('kin/1 rk'), turn), 96), 32, 32, 32)
  return { rk, ck, nhk, dh, ss, turn }
}

// host is the host's state before the first flight.
export function host(k) {
  return {
    ad: k.AD, tag_send: k.Sb, tag_recv: k.Sa, root: k.SK, dh: k.rkb, kem_seed: k.ek_r_seed, send_nhk: k.NHKb, recv_nhk: k.HKa,
    send_n: 0, send_pn: 0, sent: 0, recv_n: 0, recv_base: 1, recv_skipped: [], old: [],
  }
}

// guest is the guest's state before it seals the first flight.
export function guest(k) {
  return begin({
    ad: k.AD, tag_send: k.Sa, tag_recv: k.Sb, root: k.SK, send_nhk: k.HKa, recv_nhk: k.NHKb,
    send_n: 0, sent: 0, recv_n: 0, recv_base: 1, recv_skipped: [], old: [],
  }, k.RKb, k.ek_r)[0]
}

// begin begins a chain towards the peer's dh and ek. fresh, for vectors, has the new
// keys dh and kem_seed, and ct with ss.
function begin(s, peerDH, peerEK, fresh = { dh: nacl.randomBytes(32), kem_seed: nacl.randomBytes(64) }) {
  const dh = publicKey(fresh.dh)
  const ek = kemKeys(fresh.kem_seed).publicKey
  const made = fresh.ct ? { cipherText: fresh.ct, sharedSecret: fresh.ss } : encaps(peerEK)
  const half = root(s.root, DH(fresh.dh, peerDH), made.sharedSecret, turnOf(dh, peerDH, peerEK, made.cipherText, ek))
  return [{
    ...s, send_pn: s.send_n, send_n: 0, send_hk: s.send_nhk, dh: fresh.dh, kem_seed: fresh.kem_seed, ct: made.cipherText,
    root: half.rk, send_ck: half.ck, send_nhk: half.nhk,
  }, half]
}

export function header(s) {
  return join(publicKey(s.dh), kemKeys(s.kem_seed).publicKey, s.ct, u32(s.send_pn), u32(s.send_n), Uint8Array.of(1, 0, 0, 0))
}

const messageKeys = (mk, ad, encHdr) =>
  cut(expand(mk, join(ascii('kin/1 msg'), sha256(LP(ad, encHdr))), 64), 32, 32)

// sealBody seals the header and the padded plaintext. parts, for vectors, changes
// what is sealed.
export function sealBody(s, plaintext, size, parts = {}) {
  if (s.send_n >= 60000) refuse('chain-full')
  const encHdr = seal(s.send_hk, parts.header ?? header(s))
  const [k, com] = messageKeys(hmac(s.send_ck, Uint8Array.of(1)), s.ad, encHdr)
  const next = { ...s, send_ck: hmac(s.send_ck, Uint8Array.of(2)), send_n: s.send_n + 1, sent: s.sent + 1 }
  const nonce = nacl.randomBytes(24)
  const body = join(nonce, com, nacl.secretbox(parts.padded ?? pad(plaintext, size), nonce, k))
  return { next, encHdr, body, com }
}

export function sealMessage(s, qe, plaintext, parts = {}) {
  checked(qe)
  const { next, encHdr, body, com } = sealBody(s, plaintext, 1563, parts)
  const tag = seal(s.tag_send, join(u64(parts.seq ?? next.sent), u64(parts.echo ?? highest(s))))
  return { next, com, seq: next.sent, envelope: sealAnonymous(join(Uint8Array.of(2), tag, encHdr, body), qe) }
}

export const highest = (s) => s.recv_base + s.recv_n - 1

// openMessageEnvelope opens a message. What is refused behind the tag has seq and echo.
export function openMessageEnvelope(s, qe, envelope, now, fresh) {
  const inner = openEnvelope(envelope, qe)
  if (inner[0] !== 2) refuse('type')
  const [tag, encHdr, body] = cut(inner.slice(1), 56, 2356, 24 + 32 + 16 + 1563)
  const plain = open(s.tag_recv, tag) ?? refuse('tag')
  const [seq, echo] = cut(plain, 8, 8).map(number)
  try {
    if (echo > s.sent) refuse('rollback')
    return { ...openMessage(s, encHdr, body, seq, echo, now, fresh, false), echo }
  } catch (e) {
    throw Object.assign(e, { seq, echo })
  }
}

export function openMessage(s, encHdr, body, seq, echo, now, fresh, flight) {
  const { hk, chain, plain } = headerKey(s, encHdr)
  const [dh, ek, ct, pnb, nb, version, flags] = cut(plain, 32, 1184, 1088, 4, 4, 1, 3)
  const [pn, n] = [number(pnb), number(nb)]
  if (version[0] !== 1 || !zero(flags)) refuse('header')
  if (pn > 65536 || n > 65536) refuse('jump')
  if (flight && (n !== 0 || pn !== 0)) refuse('header')
  const fixed = sha256(plain.slice(0, 2308))
  let next = s
  let mk
  let halves
  if (chain === 'next') {
    if (pn < s.recv_n || (s.recv_n === 0 && pn !== 0)) refuse('header')
    if (seq !== s.recv_base + pn + n) refuse('header')
    checked(dh)
    checkedKEM(ek)
    ;[next, halves] = step(s, { dh, ek, ct, pn, hk, fixed }, now, fresh)
    ;[next, mk] = take(next, n, now)
  } else if (chain === 'present' && n >= s.recv_n) {
    if (!equal(fixed, s.recv_fixed)) refuse('chain')
    if (seq !== s.recv_base + n) refuse('header')
    ;[next, mk] = take(s, n, now)
  } else {
    const old = chain === 'present' ? { fixed: s.recv_fixed, base: s.recv_base, skipped: s.recv_skipped } : s.old[chain]
    if (!equal(fixed, old.fixed)) refuse('chain')
    if (seq !== old.base + n) refuse('header')
    const found = old.skipped.find((k) => k.n === n) ?? refuse('used')
    mk = found.mk
    const skipped = old.skipped.filter((k) => k !== found)
    next = chain === 'present' ? { ...s, recv_skipped: skipped }
      : { ...s, old: s.old.map((o, i) => i === chain ? { ...o, skipped } : o).filter((o) => o.skipped.length > 0) }
  }
  next = limited(next)
  const [k, want] = messageKeys(mk, s.ad, encHdr)
  const [nonce, com] = cut(body, 24, 32)
  if (!equal(com, want)) refuse('commitment')
  const padded = nacl.secretbox.open(body.slice(56), nonce, k) ?? refuse('body')
  return { next, plaintext: unpad(padded), seq, hk, header: plain, mk, k, com, halves }
}

// headerKey finds the key under which a header opens.
function headerKey(s, encHdr) {
  const tries = []
  if (s.recv_n > 0) tries.push([s.recv_hk, 'present'])
  tries.push([s.recv_nhk, 'next'])
  s.old.forEach((o, i) => tries.push([o.hk, i]))
  for (const [hk, chain] of tries) {
    const plain = open(hk, encHdr)
    if (plain) return { hk, chain, plain }
  }
  refuse('no-key')
}

// skip keeps the keys of the messages before n.
function skip(s, n, now) {
  const skipped = [...s.recv_skipped]
  let ck = s.recv_ck
  for (let i = s.recv_n; i < n; i++) {
    if (i >= n - 512) skipped.push({ n: i, mk: hmac(ck, Uint8Array.of(1)), when: now })
    ck = hmac(ck, Uint8Array.of(2))
  }
  return { ...s, recv_ck: ck, recv_n: Math.max(s.recv_n, n), recv_skipped: skipped }
}

function take(s, n, now) {
  const at = skip(s, n, now)
  return [{ ...at, recv_ck: hmac(at.recv_ck, Uint8Array.of(2)), recv_n: n + 1 }, hmac(at.recv_ck, Uint8Array.of(1))]
}

function step(s, h, now, fresh) {
  let t = s
  if (s.recv_n > 0) {
    t = skip(s, h.pn, now)
    const gone = { hk: t.recv_hk, fixed: t.recv_fixed, base: t.recv_base, skipped: t.recv_skipped }
    if (gone.skipped.length > 0) t = { ...t, old: [gone, ...t.old].slice(0, 5) }
  }
  const mine = publicKey(t.dh)
  const one = root(t.root, DH(t.dh, h.dh), decaps(t.kem_seed, h.ct), turnOf(h.dh, mine, kemKeys(t.kem_seed).publicKey, h.ct, h.ek))
  t = {
    ...t, root: one.rk, recv_ck: one.ck, recv_nhk: one.nhk, recv_hk: h.hk, recv_base: s.recv_base + h.pn, recv_n: 0,
    recv_fixed: h.fixed, recv_skipped: [],
  }
  const [next, two] = begin(t, h.dh, h.ek, fresh)
  return [next, [one, two]]
}

// limited drops what is over 2,048 skipped keys: of the oldest chain, the lowest n.
function limited(s) {
  const old = s.old.map((o) => ({ ...o, skipped: [...o.skipped] }))
  const present = [...s.recv_skipped]
  let over = present.length + old.reduce((sum, o) => sum + o.skipped.length, 0) - 2048
  for (; over > 0; over--) {
    while (old.length > 0 && old.at(-1).skipped.length === 0) old.pop()
    ;(old.at(-1)?.skipped ?? present).shift()
  }
  return { ...s, recv_skipped: present, old: old.filter((o) => o.skipped.length > 0) }
}
