// Vectors of what the ratchet carries, and of an invite's meta.
import { ascii, join, u64 } from '../kin/bytes.js'
import { marshal, marshalMeta } from '../kin/body.js'
import { publicKey } from '../kin/keys.js'
import { fields, metaFields } from './items.js'
import { flipped, longer, low, put, random, shorter } from './random.js'

function newMessageID() { // UUID version 4
  const id = random(16)
  id[6] = (id[6] & 15) | 0x40
  id[8] = (id[8] & 63) | 0x80
  return id
}

const utf8 = (s) => new Uint8Array(Buffer.from(s, 'utf8'))
const b = (...n) => Uint8Array.of(...n)
const u16 = (n) => u64(n).slice(6)
const item = (tag, ...parts) => { const v = join(...parts); return join(b(tag), u16(v.length), v) }
const upTo = (n) => Array.from({ length: n }, (_, i) => 2 * i + 1)
const marked = (list) => list.map((seq) => ({ seq, mark: random(8) }))
const moment = 1764072000000

const queue = (hosts = ['wss://relay.example.org']) => ({ hosts, fingerprint: random(16), sender_id: random(24), claim: random(32), QE: publicKey(random(32)) })
const head = (more = {}) => ({ kind: 1, id: newMessageID(), seq: 7, prev: random(32), sent: moment, deadline: moment + 1, urgent: false, ...more })

function* messages() {
  const good = (name, comment, more, damage = (p) => p) => ({
    name: 'message-' + name, kind: 'message', expect: 'ok', comment,
    make() {
      const plaintext = damage(marshal(head(more())))
      return { plaintext, ...fields(plaintext) }
    },
  })
  const bad = (name, comment, damage) => ({
    name: 'message-' + name, kind: 'message', expect: 'malformed', comment, make: () => ({ plaintext: damage(marshal(head())) }),
  })
  yield good('text', 'a text', () => ({ text: utf8('안녕하세요') }))
  yield good('urgent', 'an urgent text', () => ({ urgent: true, text: utf8('now') }))
  yield good('nothing', 'no item at all', () => ({}))
  yield good('empty-text', 'a text without a byte', () => ({}), (p) => join(p, item(1)))
  yield good('split-character', 'a part that splits a character', () => ({ text: utf8('한').slice(0, 2), fragment: { index: 0, count: 2 } }))
  yield good('last-part', 'the last of 64 parts', () => ({ text: random(1400), fragment: { index: 63, count: 64 } }))
  yield good('receipts', '64 receipts', () => ({ kind: 2, receipts: marked(upTo(64)) }))
  yield good('lists', 'each list', () => ({ kind: 2, receipts: marked([1, 2]), read: marked([2]), takenBack: upTo(64), quiet: [9, 2 ** 40] }))
  yield good('first', 'a first message', () => ({ kind: 3, seq: 1, prev: new Uint8Array(32), name: '준', queues: [queue()] }))
  yield good('queues', 'two queues, one with four hosts', () => ({ kind: 3, queues: [queue(['wss://a.org', 'wss://b.org:1', 'ws://c.onion', 'ws://127.0.0.1']), queue()] }))
  yield good('name-longest', 'a name of 64 bytes', () => ({ name: 'x'.repeat(64) }))
  yield good('notice', 'two devices', () => ({ kind: 2, notice: 1 }))
  yield good('newer-notice', 'a notice of a later version', () => ({ kind: 2, notice: 200 }))
  yield good('newer-kind', 'a kind of a later version', () => ({ kind: 0x10, text: utf8('a case') }))
  yield good('newer-item', 'an item of a later version', () => ({ text: utf8('a') }), (p) => join(p, item(12, random(9)), item(255)))
  yield good('tag-0', 'an item of tag 0, which has no meaning', () => ({}), (p) => join(p, item(0, b(1)), item(1, b(65))))
  yield good('newer-flags', 'flags of a later version are ignored', () => ({ urgent: true }), (p) => put(p, 73, b(0xff)))
  yield good('deadline-sent', 'the deadline is when it was sent', () => ({ deadline: moment }))
  yield good('deadline-last', 'the last moment of the year 9999', () => ({ deadline: 253402300799999 }))
  for (const n of [0, 1, 73]) yield bad(`cut-${n}`, `${n} bytes`, (p) => p.slice(0, n))
  yield bad('id-version', 'an id of version 1', (p) => put(p, 7, b(0x1f & p[7] | 0x10)))
  yield bad('id-variant', 'an id of another variant', (p) => put(p, 9, b(p[9] | 0xc0)))
  yield bad('deadline-early', 'the deadline is before it was sent', (p) => put(p, 65, u64(moment - 1)))
  yield bad('sent-late', 'sent in the year 10000', (p) => put(p, 57, join(u64(253402300800000), u64(253402300800000))))
  yield bad('deadline-most', 'a deadline of 2^64-1', (p) => put(p, 65, new Uint8Array(8).fill(255)))
  for (const n of [1, 2]) yield bad(`item-head-${n}`, `${n} bytes of an item's three`, (p) => join(p, b(1, 0).slice(0, n)))
  yield bad('item-cut', 'an item is longer than what is left', (p) => join(p, b(1), u16(3), b(65, 66)))
  yield bad('item-huge', 'an item of 65,535 bytes', (p) => join(p, b(1), u16(65535), b(65)))
  yield bad('item-twice', 'a text twice', (p) => join(p, item(1, b(65)), item(1, b(65))))
  yield bad('item-order', 'a name before a text', (p) => join(p, item(7, b(65)), item(1, b(65))))
  yield bad('unknown-twice', 'an unknown tag twice', (p) => join(p, item(99), item(99)))
  yield bad('unknown-order', 'an unknown tag before a known one', (p) => join(p, item(99), item(7, b(65))))
  for (const [name, index, count] of [['one', 0, 1], ['none', 0, 0], ['past', 2, 2], ['many', 0, 65], ['most', 65535, 65535]]) {
    yield bad(`fragment-${name}`, `part ${index} of ${count}`, (p) => join(p, item(2, u16(index), u16(count))))
  }
  yield bad('fragment-short', 'three bytes of a fragment', (p) => join(p, item(2, b(0, 0, 0))))
  yield bad('fragment-long', 'five bytes of a fragment', (p) => join(p, item(2, u16(0), u16(2), b(0))))
  for (const [tag, what, mark] of [[3, 'receipts', 8], [4, 'read', 8], [5, 'taken-back', 0], [6, 'quiet', 0]]) {
    const rows = (...list) => join(...list.flatMap((seq) => [u64(seq), random(mark)]))
    yield bad(`${what}-none`, `an empty list: ${what}`, (p) => join(p, item(tag)))
    yield bad(`${what}-half`, `half a row of ${what}`, (p) => join(p, item(tag, rows(1), random(4 + mark / 2))))
    yield bad(`${what}-zero`, `number 0 in ${what}`, (p) => join(p, item(tag, rows(0))))
    yield bad(`${what}-twice`, `the same number twice in ${what}`, (p) => join(p, item(tag, rows(5, 5))))
    yield bad(`${what}-descend`, `${what} do not ascend`, (p) => join(p, item(tag, rows(5, 2 ** 40, 6))))
    yield bad(`${what}-many`, `65 numbers in ${what}`, (p) => join(p, item(tag, rows(...upTo(65)))))
  }
  yield bad('name-empty', 'an empty name', (p) => join(p, item(7)))
  yield bad('name-long', 'a name of 65 bytes', (p) => join(p, item(7, random(65))))
  const host = (name, scheme = 0) => join(b(1, scheme, name.length), ascii(name))
  const place = () => random(16 + 24 + 32)
  const qe = () => publicKey(random(32))
  yield bad('queues-none', 'no queue', (p) => join(p, item(8, b(0))))
  yield bad('queues-nothing', 'an empty item of queues', (p) => join(p, item(8)))
  yield bad('queues-cut', "a byte of a queue's QE is missing", (p) => join(p, item(8, b(1), host('a.org'), place(), shorter(qe()))))
  yield bad('queues-trailing', 'a byte behind the last queue', (p) => join(p, item(8, b(1), host('a.org'), place(), longer(qe()))))
  yield bad('queues-count', 'two queues are counted, one is there', (p) => join(p, item(8, b(2), host('a.org'), place(), qe())))
  yield bad('queues-no-host', 'a queue without a host', (p) => join(p, item(8, b(1, 0), place(), qe())))
  yield bad('queues-plain', 'a queue at a host that needs TLS', (p) => join(p, item(8, b(1), host('a.org', 1), place(), qe())))
  yield bad('queues-scheme', 'scheme 2', (p) => join(p, item(8, b(1), host('a.org', 2), place(), qe())))
  yield bad('queues-host', 'a line break in a host', (p) => join(p, item(8, b(1), host('a.org\n'), place(), qe())))
  for (const i of [0, 3, 5, 9, 13]) yield bad(`queues-low-order-${i}`, "a queue's QE has a low order", (p) => join(p, item(8, b(1), host('a.org'), place(), low[i])))
  yield bad('notice-zero', 'notice 0', (p) => join(p, item(9, b(0))))
  yield bad('notice-long', 'a notice of two bytes', (p) => join(p, item(9, b(1, 1))))
  yield bad('tickets-half', 'a ticket and a half', (p) => join(p, item(10, random(36))))
  yield bad('tickets-none', 'no ticket', (p) => join(p, item(10)))
  yield bad('relays-none', 'no relay', (p) => join(p, item(11, b(0))))
  yield bad('relays-trailing', 'a byte behind the last relay', (p) => join(p, item(11, b(1), host('a.org'), random(17))))
}

function* metas() {
  const good = (name, comment, m) => ({
    name: 'meta-' + name, kind: 'meta', expect: 'ok', comment,
    make() {
      const meta = marshalMeta(m())
      return { meta, ...metaFields(meta) }
    },
  })
  const bad = (name, comment, damage) => ({
    name: 'meta-' + name, kind: 'meta', expect: 'malformed', comment, make: () => ({ meta: damage(marshalMeta({ name: '미나', tickets: [random(24)] })) }),
  })
  yield good('usual', 'a name and a ticket', () => ({ name: '미나', tickets: [random(24)] }))
  yield good('no-name', 'two tickets', () => ({ tickets: [random(24), random(24)] }))
  yield good('relays', 'where the queue is to be made', () => ({ name: 'M', tickets: [random(24)], relays: [{ hosts: ['wss://b.org'], fingerprint: random(16) }] }))
  yield bad('version-2', 'version 2', (m) => put(m, 0, b(2)))
  yield bad('nothing', 'nothing', () => new Uint8Array())
  yield bad('cut', 'the last byte is missing', shorter)
  yield bad('trailing', 'a byte too many', longer)
  yield bad('length', "a bit of the name's length", (m) => flipped(m, 3))
}

export function* recipes() {
  yield* messages()
  yield* metas()
}
