// Vectors of the link, its frames, commands and answers.
import { createCipheriv } from 'node:crypto'
import { join, sha256, u32, u64 } from '../kin/bytes.js'
import { kemKeys, publicKey } from '../kin/keys.js'
import { accept, connect, sealFrame } from '../kin/link.js'
import { answer, command, parseCommand, types } from '../kin/commands.js'
import { badKEM, flipped, longer, low, put, random, shorter } from './random.js'

const bytes = (n) => Uint8Array.of(n)
const u16 = (n) => u64(n).slice(6)

function relay({ versions = [1], epoch = 3600, ttl = 336, flags = 1, window = 16 } = {}) {
  const keys = { rs: random(32), re: random(32), ra: random(32), ek_seed: random(64) }
  const limits = join(u32(epoch), u16(ttl), bytes(flags), bytes(window))
  const hello = join(Uint8Array.of(versions.length, ...versions), publicKey(keys.rs), publicKey(keys.re), publicKey(keys.ra),
    kemKeys(keys.ek_seed).publicKey, random(32), limits)
  return { ...keys, hello, pin: sha256(publicKey(keys.rs)).slice(0, 16) }
}

function* hellos() {
  const add = (name, expect, comment, options, damage = (b) => b, pin = (b) => b) => ({
    name: 'hello-' + name, kind: 'hello', expect, comment,
    make() {
      const r = relay(options)
      return { hello: damage(r.hello), pin: pin(r.pin) }
    },
  })
  yield add('least', 'ok', 'the least of each limit', { epoch: 1, ttl: 1, flags: 0, window: 1 })
  yield add('most', 'ok', 'the most of each limit', { epoch: 86400, ttl: 65535, window: 255 })
  yield add('eight-versions', 'ok', 'eight versions', { versions: [1, 2, 3, 4, 5, 6, 7, 255] })
  yield add('versions-twice', 'malformed', 'version 1 twice', { versions: [1, 1] })
  yield add('versions-last', 'malformed', 'the last of eight versions is lower', { versions: [1, 2, 3, 4, 5, 6, 8, 7] })
  yield add('versions-later', 'version', 'later versions alone', { versions: [2, 3] })
  yield add('count-short', 'malformed', 'one version more is counted than there are', {}, (b) => put(b, 0, bytes(2)))
  yield add('trailing', 'malformed', 'a byte behind the limits', {}, longer)
  yield add('cut', 'malformed', 'the window is missing', {}, shorter)
  yield add('one-byte', 'malformed', 'one byte', {}, (b) => b.slice(0, 1))
  for (const flags of [2, 0x81]) yield add(`flags-${flags}`, 'malformed', 'a flag that version 1 does not have', { flags })
  yield add('epoch', 'malformed', 'an epoch of no seconds', { epoch: 0 })
  yield add('epoch-long', 'malformed', 'an epoch of a second more than a day', { epoch: 86401 })
  yield add('ttl', 'malformed', 'a longest ttl of none', { ttl: 0 })
  yield add('window', 'malformed', 'a window of none', { window: 0 })
  for (const [i, what] of [[0, 'first'], [15, 'last']]) yield add(`pin-${what}`, 'fingerprint', `a bit of the fingerprint's ${what} byte`, {}, undefined, (p) => flipped(p, i))
  for (const [i, coefficient] of [[1, 0], [2, 255], [3, 511], [4, 767]]) {
    yield add(`kem-${i}`, 'malformed', `coefficient ${coefficient} of ekR is not below q`, {}, (b) => put(b, 98, badKEM(b.slice(98, 98 + 1184), coefficient, i === 4 ? 4095 : 3329)))
  }
  for (const [place, at] of [['rs', 2], ['re', 34], ['ra', 66]]) {
    for (const i of [1, 3, 5, 7]) yield add(`low-order-${place}-${i}`, 'low-order', `${place.toUpperCase()} has a low order, and the ignored top bit`, {}, (b) => put(b, at, low[i]))
  }
}

// linked is a link that is up, with both sides' keys.
function linked() {
  const r = relay()
  const client = connect(r.hello, r.pin)
  return { r, client, given: { rs: r.rs, re: r.re, ra: r.ra, ek_seed: r.ek_seed, hello: r.hello, answer: client.answer } }
}

const samples = {
  ISSUE: () => ({ grant: random(24), hash: [random(32), random(32)] }),
  NEW: (key) => ({ ticket: random(24), key: publicKey(key) }),
  OFFER: () => ({ receiver: random(24), claim: random(32), ttl: 48, location: random(24), blob: random(4096) }),
  DEL: () => ({ receiver: random(24) }),
  FETCH: () => ({ location: random(24) }),
  PUT: () => ({ sender: random(24), message: random(16), class: 3, flags: 1, envelope: random(4096) }),
  FIRST: (key) => ({ sender: random(24), claim: random(32), key: publicKey(key), message: random(16), class: 5, flags: 0, envelope: random(4096) }),
  CANCEL: () => ({ sender: random(24), message: random(16) }),
  SUB: () => ({ receiver: [random(24)] }),
  UNSUB: () => ({ handle: 513 }),
  ACK: () => ({ handle: 513, sequence: [random(8), random(8), random(8)] }),
}

// queue is what SUBBED says of one.
const queue = (invite) => put(random(11), 8, bytes(invite))

const replies = {
  0x81: () => ({}),
  0x82: () => ({ code: 4, wait: 60 }),
  0x83: () => ({ remaining: 984 }),
  0x84: () => ({ receiver: random(24), sender: random(24) }),
  0x85: () => ({ expiry: 1764000000, blob: random(4096) }),
  0x86: () => ({ queue: [queue(0), queue(4)] }),
  0x87: () => ({ handle: 513, sequence: 2 ** 40, flags: 1, envelope: random(4096) }),
  0x88: () => ({ handle: 513, invite: 2, fetches: 3, tries: 1 }),
}

// sent is a command on a link as the vectors write it.
function sent({ client, corr, count }, name, { values = {}, key = random(32), damage = (b) => b, sid = client.sid } = {}) {
  const type = types[name]
  const body = damage(command(type, { corr: join(corr, u64(count)), ...samples[name](key), ...values }, { sid, RA: client.hello.RA, keys: [key] }))
  return { type, body, key, wire: sealFrame(client.c2s, count - 1, type, body) }
}

const written = (f, of, s) => Object.assign(f, {
  [of + 'type']: bytes(s.type), [of + 'body']: s.body, [of + 'wire']: s.wire, ...s.key ? { [of + 'key']: s.key } : {},
})

function* links() {
  const add = (name, expect, comment, make) => ({ name: 'link-' + name, kind: 'link', expect, comment, make })
  yield add('every-frame', 'ok', 'each command and each answer once', () => {
    const l = { ...linked(), corr: random(16) }
    const f = { ...l.given, sid: l.client.sid }
    Object.keys(samples).forEach((name, i) => {
      const s = sent({ ...l, count: i + 1 }, name)
      if (['ISSUE', 'FETCH', 'UNSUB', 'ACK'].includes(name)) delete s.key
      written(f, `c2s${i + 1}.`, s)
    })
    Object.keys(replies).forEach((type, i) => {
      const body = answer(+type, { corr: u64(i + 1), ...replies[type]() })
      written(f, `s2c${i + 1}.`, { type: +type, body, wire: sealFrame(l.client.s2c, i, +type, body) })
    })
    return f
  })
  yield add('envelope-unproved', 'ok', 'a proof does not cover the envelope', () => one('PUT', { damage: (b) => flipped(b, -1) }))
  const answers = [
    ['answer-version', 'version', 'version 2', (b) => put(b, 0, bytes(2))],
    ['answer-long', 'malformed', 'a byte too many', longer],
    ['answer-short', 'malformed', 'a byte too few', shorter],
    ['answer-empty', 'malformed', 'nothing', () => new Uint8Array()],
    ...[1, 4, 9, 12].map((i) => [`answer-low-order-${i}`, 'low-order', 'CE has a low order', (b) => put(b, 1, low[i])]),
  ]
  for (const [name, expect, comment, damage] of answers) {
    yield add(name, expect, `the client's answer: ${comment}`, () => {
      const { given } = linked()
      return { ...given, answer: damage(given.answer) }
    })
  }
  yield add('frame-mac', 'seal', "a bit of the first frame's authenticator", () => {
    const f = one('DEL')
    return { ...f, 'c2s1.wire': flipped(f['c2s1.wire'], -1) }
  })
  yield add('frame-again', 'seal', 'the first frame twice', () => {
    const f = one('DEL')
    return { ...f, 'c2s2.wire': f['c2s1.wire'], 'c2s2.type': f['c2s1.type'], 'c2s2.body': f['c2s1.body'] }
  })
  yield add('frame-reflected', 'seal', "a frame under the key of the relay's direction", () => one('DEL', {}, (l, s) => sealFrame(l.client.s2c, 0, s.type, s.body)))
  yield add('frame-skipped', 'seal', 'the counter begins at 1', () => one('DEL', {}, (l, s) => sealFrame(l.client.c2s, 1, s.type, s.body)))
  yield add('proof-other-link', 'proof', 'made on another link', () => one('DEL', { sid: random(32) }))
  yield add('proof-other-key', 'proof', 'made with another key', () => ({ ...one('DEL'), 'c2s1.key': random(32) }))
  // Where S and corr stand in each body: each of their fields is changed behind the proof.
  const places = {
    NEW: { corr: 23, ticket: 24, key: 48 }, OFFER: { corr: 0, receiver: 24, claim: 48, ttl: 83, location: 84 }, DEL: { corr: 15, receiver: 47 },
    PUT: { sender: 24, message: 48, class: 64, flags: 65 }, FIRST: { sender: 47, claim: 48, key: 80, message: 112, class: 128, flags: 129 },
    CANCEL: { sender: 24, message: 63 }, SUB: { corr: 0, receiver: 25 },
  }
  for (const name in places) {
    for (const [field, at] of Object.entries(places[name])) {
      yield add(`proof-${name}-${field}`.toLowerCase(), 'proof', `${field} of ${name} is another than what the proof is for`, () => one(name, { damage: (b) => flipped(b, at) }))
    }
  }
}

// one is a link with one command.
function one(name, options, wire) {
  const l = { ...linked(), corr: random(16), count: 1 }
  const s = sent(l, name, options)
  if (wire) s.wire = wire(l, s)
  return written({ ...l.given, sid: l.client.sid }, 'c2s1.', s)
}

function* frames() {
  const add = (name, expect, comment, n, damage = (w) => w, counter = 0) => ({
    name: 'frame-' + name, kind: 'frame', expect, comment,
    make() {
      const [key, body] = [random(32), random(n)]
      return { key, counter: u64(counter), wire: damage(sealFrame(key, counter, 0x81, body), key), type: bytes(0x81), body }
    },
  })
  // forged is a frame of class 0 with any plaintext.
  const forged = (plain) => (_, key) => sealPlain(key, plain)
  yield add('most-0', 'ok', 'the most that class 0 holds', 251)
  yield add('least-1', 'ok', 'the least of class 1', 252)
  yield add('most-1', 'ok', 'the most that class 1 holds', 4347)
  yield add('counter-32', 'ok', 'the counter is 2^32', 8, undefined, 2 ** 32)
  yield add('counter-high', 'ok', 'the counter is 2^53-1', 8, undefined, 2 ** 53 - 1)
  for (const at of [1, 100, 256]) yield add(`text-${at}`, 'seal', `a bit of byte ${at}`, 8, (w) => flipped(w, at))
  for (const at of [257, 272]) yield add(`mac-${at}`, 'seal', `a bit of the authenticator: byte ${at}`, 8, (w) => flipped(w, at))
  yield add('cut', 'malformed', 'a byte is missing', 8, shorter)
  yield add('trailing', 'malformed', 'a byte too many', 8, longer)
  yield add('class-255', 'malformed', 'class 255', 8, (w) => put(w, 0, bytes(255)))
  yield add('class-1-for-0', 'malformed', 'class 1 for what class 0 holds', 0, (_, key) => sealPlain(key, join(bytes(0x81), u32(251), new Uint8Array(4347)), 1))
  yield add('length-most', 'malformed', 'a length of 2^32-1', 0, forged(join(bytes(0x81), u32(2 ** 32 - 1), new Uint8Array(251))))
  yield add('length-over', 'malformed', 'a length of one more than there is', 0, forged(join(bytes(0x81), u32(252), new Uint8Array(251))))
  for (const at of [0, 125, 250]) yield add(`padding-${at}`, 'malformed', `byte ${at} of the padding is not zero`, 0, forged(flipped(join(bytes(0x81), u32(0), new Uint8Array(251)), 5 + at)))
}

function sealPlain(key, plain, c = 0) {
  const aead = createCipheriv('chacha20-poly1305', key, new Uint8Array(12), { authTagLength: 16 })
  aead.setAAD(bytes(c))
  return join(bytes(c), aead.update(plain), aead.final(), aead.getAuthTag())
}

function* commandsAndAnswers() {
  const add = (kind, name, type, expect, comment, body) => ({
    name: `${kind}-${name}`, kind, expect, comment,
    make() {
      const b = body()
      const f = { type: bytes(type), body: b }
      return kind === 'command' && expect === 'ok' ? { ...f, signed: parseCommand(type, b).signed } : f
    },
  })
  const link = () => ({ sid: random(32), RA: publicKey(random(32)), keys: [random(32)] })
  const whole = (name, values = {}, more = {}) => command(types[name], { corr: random(24), ...samples[name](random(32)), ...values }, { ...link(), ...more })
  for (const name in samples) {
    const low = name.toLowerCase()
    yield add('command', low, types[name], 'ok', name, () => whole(name))
    yield add('command', `${low}-cut`, types[name], 'malformed', `${name} without its last byte`, () => shorter(whole(name)))
    yield add('command', `${low}-trailing`, types[name], 'malformed', `${name} and a byte`, () => longer(whole(name)))
    yield add('command', `${low}-empty`, types[name], 'malformed', `${name} of no bytes`, () => new Uint8Array())
  }
  const many = (n, size) => Array.from({ length: n }, () => random(size))
  yield add('command', 'issue-16', 1, 'ok', 'sixteen tickets', () => whole('ISSUE', { hash: many(16, 32) }))
  yield add('command', 'issue-17', 1, 'malformed', 'seventeen tickets', () => whole('ISSUE', { hash: many(17, 32) }))
  yield add('command', 'issue-0', 1, 'malformed', 'no ticket', () => whole('ISSUE', { hash: [] }))
  yield add('command', 'sub-40', 9, 'ok', 'forty queues', () => whole('SUB', { receiver: many(40, 24) }, { keys: many(40, 32) }))
  yield add('command', 'sub-41', 9, 'malformed', 'forty-one queues', () => join(random(24), bytes(41), random(41 * 72)))
  yield add('command', 'sub-one-proof', 9, 'malformed', 'two queues and one proof', () => join(random(24), bytes(2), random(2 * 24 + 48)))
  yield add('command', 'ack-256', 11, 'ok', '256 numbers', () => whole('ACK', { sequence: many(256, 8) }))
  yield add('command', 'ack-257', 11, 'malformed', '257 numbers', () => join(random(2), u16(257), random(257 * 8)))
  yield add('command', 'ack-65535', 11, 'malformed', '65,535 numbers are counted, three are there', () => join(random(2), u16(65535), random(24)))
  yield add('command', 'offer-no-blob', 3, 'ok', 'OFFER without a blob', () => whole('OFFER', { blob: undefined, ttl: 0, location: new Uint8Array(24) }))
  yield add('command', 'offer-half-blob', 3, 'malformed', 'OFFER with half a blob', () => whole('OFFER').slice(0, -2048))
  for (const type of [0x00, 0x0c, 0x1f, 0x81, 0xff]) yield add('command', `type-${type}`, type, 'unknown', `a command of type ${type}`, () => random(40))
  for (const type in replies) {
    const whole = () => answer(+type, { corr: random(8), ...replies[type]() })
    yield add('answer', (+type).toString(16), +type, 'ok', 'one of each', whole)
    yield add('answer', `${(+type).toString(16)}-cut`, +type, 'malformed', 'the last byte is missing', () => shorter(whole()))
    yield add('answer', `${(+type).toString(16)}-trailing`, +type, 'malformed', 'a byte too many', () => longer(whole()))
  }
  yield add('answer', '86-count', 0x86, 'malformed', 'SUBBED of three queues with two', () => put(answer(0x86, { corr: random(8), queue: [queue(1), queue(2)] }), 8, bytes(3)))
  yield add('answer', '86-invite', 0x86, 'malformed', 'an invite of a state that there is not', () => answer(0x86, { corr: random(8), queue: [queue(5)] }))
  yield add('answer', '88-invite', 0x88, 'malformed', 'an invite of a state that there is not', () => answer(0x88, { handle: 1, invite: 255, fetches: 0, tries: 0 }))
  yield add('answer', '86-40', 0x86, 'ok', 'forty queues', () => answer(0x86, { corr: random(8), queue: Array.from({ length: 40 }, () => queue(3)) }))
  yield add('answer', '86-41', 0x86, 'malformed', 'forty-one queues', () => answer(0x86, { corr: random(8), queue: Array.from({ length: 41 }, () => queue(3)) }))
  yield add('answer', '86-0', 0x86, 'malformed', 'no queue', () => answer(0x86, { corr: random(8), queue: [] }))
}

export function* recipes() {
  yield* hellos()
  yield* links()
  yield* frames()
  yield* commandsAndAnswers()
}
