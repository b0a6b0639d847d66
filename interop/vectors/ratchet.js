// Vectors of first flights and of the ratchet: sealing and opening.
import { ascii, join, sha256, u32, u64 } from '../kin/bytes.js'
import { kemKeys, publicKey } from '../kin/keys.js'
import { padded, parse } from '../kin/bundle.js'
import { accept, begin } from '../kin/handshake.js'
import { header, openMessageEnvelope, sealMessage } from '../kin/ratchet.js'
import { openEnvelope, pad, sealAnonymous } from '../kin/sealed.js'
import { digits } from '../kin/digits.js'
import { show } from '../kin/state.js'
import { newBundle } from './bundles.js'
import { badKEM, flipped, longer, low, put, random, shorter } from './random.js'

const noon = 1764072000
const text = ascii('sealed by the second implementation')
const none = new Uint8Array(32)

// pair are a host and a guest behind the first flight.
function pair(first = text, parts) {
  const { keys, B } = newBundle()
  const h = sha256(B)
  const flight = begin(parse(padded(B)), h, first, parts)
  const p = { keys, h, flight, envelope: flight.envelope, first }
  if (!parts) {
    const qe = random(32)
    p.got = accept(keys, h, flight.envelope, noon)
    p.host = { s: p.got.next, qe: keys.qeb, to: publicKey(qe) }
    p.guest = { s: flight.next, qe, to: publicKey(keys.qeb) }
  }
  return p
}

function say(from, plaintext = text, parts) {
  const { next, envelope } = sealMessage(from.s, from.to, plaintext, parts)
  from.s = next
  return envelope
}

function hear(to, envelope, now = noon) {
  const got = openMessageEnvelope(to.s, to.qe, envelope, now)
  to.s = got.next
  return got
}

// exchange lets both sides answer once.
function exchange(p) {
  hear(p.guest, say(p.host))
  hear(p.host, say(p.guest))
  return p
}

// inside seals an envelope's inner bytes again, changed.
const inside = (envelope, qe, change) => sealAnonymous(change(openEnvelope(envelope, qe)), publicKey(qe))

const state = (prefix, s) => Object.fromEntries(Object.entries(show(s)).map(([name, hex]) => [`${prefix}.${name}`, Buffer.from(hex, 'hex')]))

function stepOf(halves) {
  const f = {}
  halves?.forEach((half, i) => ['dh', 'ss', 'turn', 'rk', 'ck', 'nhk'].forEach((name) => { f[`step.${name}${i + 1}`] = half[name] }))
  return f
}

function* flights() {
  const lengths = { short: 1, usual: 100, most: 426 }
  for (const name in lengths) {
    yield {
      name: 'handshake-' + name, kind: 'handshake', expect: 'ok', comment: `a first flight of ${lengths[name]} bytes`,
      make() {
        const p = pair(random(lengths[name]))
        const { EKa, ct, cid, ss, d1, d2, d3, th1, p1, IKa, th2, p2, SK, HKa, NHKb, Sa, Sb, AD, hk, header, mk, k, com, plaintext } = p.got
        return {
          ...p.keys, h: p.h, ika: p.flight.ika, IKa, eka: p.flight.eka, EKa, ct, d1, d2, d3, ss, th1, p1, cid, th2, p2, SK, HKa, NHKb, Sa, Sb, AD,
          digits: ascii(digits(AD)), hk, header, ...stepOf(p.got.halves), mk, k, com, plaintext, envelope: p.envelope,
          ...state('guest', p.guest.s), ...state('host', p.host.s),
        }
      },
    }
  }
  const bad = (name, expect, comment, make) => ({
    name: 'flight-' + name, kind: 'handshake', expect, comment,
    make() {
      const { keys, h, envelope } = make()
      return { ...keys, h, envelope }
    },
  })
  const damaged = (damage) => () => {
    const p = pair()
    return { ...p, envelope: damage(p.envelope, p) }
  }
  const inner = (change) => damaged((e, p) => inside(e, p.keys.qeb, change))
  const bits = [
    ['eka', 1, 'identity', 'EKa'], ['eka-last', 32, 'identity', 'EKa'], ['ct-first', 33, 'identity', 'ct'], ['ct-last', 1120, 'identity', 'ct'],
    ['cid-nonce', 1144, 'identity', "cid's nonce"], ['cid-last', 1192, 'identity', 'cid'], ['header-nonce', 1193, 'no-key', "the header's nonce"],
    ['header-mac', 1217, 'no-key', "the header's authenticator"], ['header-last', 3548, 'no-key', 'the header'], ['body-nonce', 3549, 'body', "the body's nonce"],
    ['com-last', 3604, 'commitment', 'the commitment'], ['body-mac', 3605, 'body', "the body's authenticator"], ['body-last', 4047, 'body', 'the body'],
  ]
  for (const [name, at, expect, what] of bits) yield bad('bit-' + name, expect, `a bit of ${what}, byte ${at}`, inner((b) => flipped(b, at, 3)))
  for (const at of [0, 31, 32, 47, 48, -1]) yield bad(`outer-${at}`, 'envelope', `a bit of the envelope's byte ${at}`, damaged((e) => flipped(e, at)))
  yield bad('outer-low-order', 'envelope', 'the ephemeral key has a low order, and the ignored top bit', damaged((e) => put(e, 0, low[5])))
  yield bad('cut', 'envelope', 'a byte of the envelope is missing', damaged(shorter))
  yield bad('inner-long', 'envelope', 'a byte too many, rightly sealed', inner(longer))
  yield bad('inner-short', 'envelope', 'a byte too few, rightly sealed', inner(shorter))
  yield bad('type-2', 'type', 'type 2: a message before its flight', inner((b) => put(b, 0, Uint8Array.of(2))))
  yield bad('type-255', 'type', 'type 255', inner((b) => put(b, 0, Uint8Array.of(255))))
  yield bad('other-h', 'identity', 'made for another invite', () => ({ ...pair(), h: random(32) }))
  yield bad('other-ikb', 'identity', 'another IKb', () => { const p = pair(); return { ...p, keys: { ...p.keys, ikb: random(32) } } })
  yield bad('other-opkb', 'identity', 'another OPKb', () => { const p = pair(); return { ...p, keys: { ...p.keys, opkb: random(32) } } })
  yield bad('other-ek-hs', 'identity', 'another ek_hs', () => { const p = pair(); return { ...p, keys: { ...p.keys, ek_hs_seed: random(64) } } })
  yield bad('other-rkb', 'commitment', 'another RKb', () => { const p = pair(); return { ...p, keys: { ...p.keys, rkb: random(32) } } })
  yield bad('other-ek-r', 'commitment', 'another ek_r', () => { const p = pair(); return { ...p, keys: { ...p.keys, ek_r_seed: random(64) } } })
  for (const i of [1, 3, 5, 13]) {
    yield bad(`low-order-eka-${i}`, 'key', 'EKa has a low order', () => pair(text, { EKa: low[i], d1: none, d2: none }))
    yield bad(`low-order-ika-${i}`, 'key', 'IKa has a low order', () => pair(text, { IKa: low[i], d3: none }))
  }
  yield bad('padding-none', 'padding', 'no padding at all', () => pair(text, { padded: new Uint8Array(427) }))
  yield bad('padding-bit', 'padding', 'the padding begins with 0x81', () => pair(text, { padded: put(pad(text, 427), text.length, Uint8Array.of(0x81)) }))
  yield bad('padding-full', 'padding', 'no room for padding: 427 bytes of text', () => pair(text, { padded: new Uint8Array(427).fill(65) }))
}

// opening is the vector of one envelope; good if it opens.
function opening(to, envelope, from, now = noon) {
  const f = { ...state('before', to.s), qe: to.qe, now: u64(now), envelope }
  try {
    const got = openMessageEnvelope(to.s, to.qe, envelope, now)
    return {
      ...f, plaintext: got.plaintext, seq: u64(got.seq), echo: u64(got.echo), tag: join(u64(got.seq), u64(got.echo)), hk: got.hk, header: got.header,
      mk: got.mk, k: got.k, com: got.com, ...got.halves ? { peer_kem_seed: from.s.kem_seed, ...stepOf(got.halves) } : {}, ...state('after', got.next),
    }
  } catch (e) {
    return e.seq === undefined ? f : { ...f, seq: u64(e.seq), echo: u64(e.echo) }
  }
}

function* opened() {
  const add = (name, expect, comment, make) => ({ name: (expect === 'ok' ? 'open-' : 'message-') + name, kind: 'open', expect, comment, make })
  yield add('hosts-first', 'ok', "the host's first message", () => { const p = pair(); return opening(p.guest, say(p.host), p.host) })
  yield add('guests-second', 'ok', 'a second message of the same chain', () => { const p = pair(); return opening(p.host, say(p.guest), p.guest) })
  yield add('answer', 'ok', 'an answer, which takes a step', () => { const p = pair(); hear(p.guest, say(p.host)); return opening(p.host, say(p.guest), p.guest) })
  yield add('sixth-step', 'ok', 'the sixth step', () => {
    const p = pair()
    for (let i = 0; i < 3; i++) exchange(p)
    return opening(p.guest, say(p.host), p.host)
  })
  yield add('skips', 'ok', 'three before it are missing', () => { const p = pair(); for (let i = 0; i < 3; i++) say(p.guest); return opening(p.host, say(p.guest), p.guest) })
  yield add('late-one', 'ok', 'a late one', () => { const p = pair(); const late = say(p.guest); hear(p.host, say(p.guest)); return opening(p.host, late, p.guest) })
  yield add('late-old', 'ok', 'a late one of an old chain', () => {
    const p = pair()
    const late = say(p.guest)
    hear(p.guest, say(p.host))
    hear(p.host, say(p.guest))
    return opening(p.host, late, p.guest)
  })
  yield add('step-skips-both', 'ok', 'a step that skips in the old chain and in the new', () => {
    const p = pair()
    say(p.guest)
    hear(p.guest, say(p.host))
    say(p.guest)
    return opening(p.host, say(p.guest), p.guest)
  })
  yield add('empty-text', 'ok', 'no text', () => { const p = pair(); return opening(p.host, say(p.guest, new Uint8Array()), p.guest) })
  yield add('most', 'ok', '1,562 bytes', () => { const p = pair(); return opening(p.host, say(p.guest, random(1562)), p.guest) })

  // Each is right but for one thing, in the chain that is being received.
  const sealed = (parts) => () => { const p = exchange(pair()); return opening(p.host, say(p.guest, text, parts(p.guest.s, p.host.s)), p.guest) }
  const changed = (change) => () => { const p = exchange(pair()); return opening(p.host, inside(say(p.guest), p.host.qe, change), p.guest) }
  const outside = (damage) => () => { const p = exchange(pair()); return opening(p.host, damage(say(p.guest), p), p.guest) }
  // The same in the first message of a new chain.
  const stepped = (parts) => () => {
    const p = exchange(pair())
    hear(p.guest, say(p.host))
    return opening(p.host, say(p.guest, text, parts(p.guest.s, p.host.s)), p.guest)
  }
  for (const at of [0, 15, 32, 47, 48, 2047, -1]) yield add(`outer-${at}`, 'envelope', `a bit of the envelope's byte ${at}`, outside((e) => flipped(e, at, 6)))
  for (const i of [1, 5, 11]) yield add(`outer-low-order-${i}`, 'envelope', 'the ephemeral key has a low order', outside((e) => put(e, 0, low[i])))
  yield add('trailing', 'envelope', 'a byte behind the envelope', outside(longer))
  yield add('other-queue', 'envelope', "sealed to the sender's own queue", outside((e, p) => sealAnonymous(openEnvelope(e, p.host.qe), publicKey(p.guest.qe))))
  yield add('inner-cut', 'envelope', 'a byte is missing, rightly sealed', changed(shorter))
  for (const type of [0, 4]) yield add(`type-${type}`, 'type', `type ${type}`, changed((b) => put(b, 0, Uint8Array.of(type))))
  const bits = [
    ['tag-nonce', 24, 'tag'], ['tag-mac', 25, 'tag'], ['tag-last', 56, 'tag'], ['header-nonce', 57, 'no-key'], ['header-mac', 96, 'no-key'], ['header-first', 97, 'no-key'],
    ['header-last', 2412, 'no-key'], ['body-nonce', 2413, 'body'], ['com', 2437, 'commitment'], ['com-last', 2468, 'commitment'], ['body-mac', 2469, 'body'], ['body-first', 2485, 'body'], ['body-last', 4047, 'body'],
  ]
  for (const [name, at, expect] of bits) yield add('bit-' + name, expect, `a bit of the inner byte ${at}`, changed((b) => flipped(b, at, 5)))
  yield add('tag-own', 'tag', "under the receiver's own tag key", () => { const p = exchange(pair()); return opening(p.host, sealMessage({ ...p.guest.s, tag_send: p.guest.s.tag_recv }, p.guest.to, text).envelope, p.guest) })
  yield add('stranger', 'tag', 'from another session', () => { const [p, q] = [exchange(pair()), exchange(pair())]; return opening(p.host, sealMessage(q.guest.s, publicKey(p.host.qe), text).envelope, q.guest) })
  for (const more of [1, 1000]) yield add(`echo-${more}`, 'rollback', `the echo is ${more} too high`, sealed((s, host) => ({ echo: host.sent + more })))
  yield add('echo-and-header', 'rollback', 'the echo is too high, and the version wrong', sealed((s, host) => ({ echo: host.sent + 1, header: put(header(s), 2312, Uint8Array.of(2)) })))
  for (const version of [0, 2, 255]) yield add(`version-${version}`, 'header', `version ${version}`, sealed((s) => ({ header: put(header(s), 2312, Uint8Array.of(version)) })))
  for (const at of [2313, 2314, 2315]) yield add(`flags-${at}`, 'header', `a flag in byte ${at}`, sealed((s) => ({ header: flipped(header(s), at, 7) })))
  yield add('version-before-jump', 'header', 'version 2, and n is too large', sealed((s) => ({ header: put(header(s), 2308, join(u32(70000), Uint8Array.of(2))) })))
  for (const [name, at] of [['n', 2308], ['pn', 2304]]) {
    yield add(`jump-${name}`, 'jump', `${name} is 65,537`, sealed((s) => ({ header: put(header(s), at, u32(65537)) })))
    yield add(`jump-${name}-step`, 'jump', `${name} is 2^31, in a new chain`, stepped((s) => ({ header: put(header(s), at, u32(2 ** 31)) })))
  }
  for (const [name, at] of [['dh', 0], ['dh-last', 31], ['ek', 32], ['ek-last', 1215], ['ct', 1216], ['ct-last', 2303], ['pn', 2307]]) {
    yield add(`chain-${name}`, 'chain', `${name} differs from the chain's`, sealed((s) => ({ header: flipped(header(s), at) })))
  }
  for (const [name, by] of [['high', 1], ['low', -1]]) {
    yield add(`seq-${name}`, 'header', `seq is one too ${name}`, sealed((s) => ({ seq: s.sent + 1 + by })))
    yield add(`seq-${name}-step`, 'header', `seq is one too ${name}, in a new chain`, stepped((s) => ({ seq: s.sent + 1 + by })))
  }
  yield add('n-high', 'header', 'n is one too high for seq', sealed((s) => ({ header: put(header(s), 2308, u32(s.send_n + 1)) })))
  yield add('pn-high', 'header', 'pn is one too high for seq, in a new chain', stepped((s) => ({ header: put(header(s), 2304, u32(s.send_pn + 1)) })))
  yield add('pn-below', 'header', 'pn is below what was received, in a new chain', stepped((s) => ({ seq: s.sent, header: put(header(s), 2304, u32(s.send_pn - 1)) })))
  for (const i of [0, 5, 9, 13]) yield add(`low-order-dh-${i}`, 'key', 'dh has a low order, in a new chain', stepped((s) => ({ header: put(header(s), 0, low[i]) })))
  for (const i of [0, 383, 767]) yield add(`kem-${i}`, 'key', `coefficient ${i} of ek is not below q, in a new chain`, stepped((s) => ({ header: put(header(s), 32, badKEM(header(s).slice(32, 1216), i)) })))
  yield add('step-ct', 'commitment', 'a bit of ct, in a new chain: another secret', stepped((s) => ({ header: flipped(header(s), 2000) })))
  yield add('step-dh', 'commitment', 'another dh, in a new chain', stepped((s) => ({ header: put(header(s), 0, publicKey(random(32))) })))
  yield add('step-ek', 'commitment', 'another ek, in a new chain', stepped((s) => ({ header: put(header(s), 32, kemKeys(random(64)).publicKey) })))
  for (const [name, padded] of [
    ['none', () => new Uint8Array(1563)], ['full', () => new Uint8Array(1563).fill(66)], ['wrong', () => put(pad(text, 1563), text.length, Uint8Array.of(1))],
    ['tail', () => put(pad(text, 1563), 1562, Uint8Array.of(1))], ['twice', () => put(pad(text, 1563), 1000, Uint8Array.of(0x81))],
  ]) yield add(`padding-${name}`, 'padding', 'a malformed padding: ' + name, sealed(() => ({ padded: padded() })))
  yield add('again', 'used', 'the same once more', () => { const p = exchange(pair()); const e = say(p.guest); hear(p.host, e); return opening(p.host, e, p.guest) })
  yield add('again-late', 'used', 'a late one once more', () => { const p = pair(); const late = say(p.guest); hear(p.host, say(p.guest)); hear(p.host, late); return opening(p.host, late, p.guest) })
  yield add('again-over', 'no-key', 'one of a chain that is over', () => { const p = pair(); const e = say(p.guest); hear(p.host, e); exchange(p); return opening(p.host, e, p.guest) })
  yield add('newer', 'no-key', 'the peer answers to a newer state than this one', () => {
    const p = exchange(pair())
    const old = { ...p.host }
    hear(p.guest, say(p.host))
    hear(p.host, say(p.guest))
    hear(p.guest, say(p.host))
    return opening({ ...old, s: { ...old.s, sent: old.s.sent + 2 } }, say(p.guest), p.guest)
  })
  yield add('died', 'used', 'its key died 15 days after it was skipped', () => {
    const p = pair()
    const late = say(p.guest)
    say(p.guest)
    hear(p.host, say(p.guest), noon - 1296000)
    p.host.s = { ...p.host.s, recv_skipped: p.host.s.recv_skipped.slice(1) }
    return opening(p.host, late, p.guest)
  })
}

function* seals() {
  const good = (name, comment, make, plaintext = () => text) => ({
    name: 'seal-' + name, kind: 'seal', expect: 'ok', comment,
    make() {
      const { from, to } = make()
      const m = plaintext()
      const { next, envelope, seq } = sealMessage(from.s, from.to, m)
      const got = openMessageEnvelope(to.s, to.qe, envelope, noon)
      return {
        ...state('before', from.s), qe: to.qe, qe_public: from.to, plaintext: m, seq: u64(seq), echo: u64(got.echo), tag: join(u64(seq), u64(got.echo)),
        hk: got.hk, header: got.header, mk: got.mk, k: got.k, com: got.com, envelope, ...state('after', next),
      }
    },
  })
  yield good('hosts-first', "the host's first", () => { const p = pair(); return { from: p.host, to: p.guest } })
  yield good('guests-second', "the guest's second", () => { const p = pair(); return { from: p.guest, to: p.host } }, () => random(1562))
  yield good('after-skips', 'behind skipped keys', () => { const p = pair(); say(p.guest); hear(p.host, say(p.guest)); return { from: p.host, to: p.guest } })
  yield good('no-text', 'no text', () => { const p = exchange(pair()); return { from: p.guest, to: p.host } }, () => new Uint8Array())
  const bad = (name, expect, comment, make) => ({ name: 'seal-' + name, kind: 'seal', expect, comment, make })
  for (const i of [1, 3, 5, 9, 13]) {
    yield bad(`low-order-${i}`, 'key', "the queue's key has a low order, and the ignored top bit", () => ({ ...state('before', pair().guest.s), qe_public: low[i], plaintext: text }))
  }
  yield bad('full', 'chain-full', '60,000 messages in the chain', () => ({ ...state('before', { ...pair().guest.s, send_n: 60000, sent: 60000 }), qe_public: publicKey(random(32)), plaintext: text }))
}

export function* recipes() {
  yield* flights()
  yield* opened()
  yield* seals()
}
