// docs/protocol.md, Messages: what the ratchet carries, and an invite's meta.
import { cut, join, number, refuse, u64 } from './bytes.js'
import { marshalHosts, parseHosts } from './texts.js'
import { checked } from './keys.js'

export const FIRST = 3

const lastMoment = 253402300799999 // the end of the year 9999

const u16 = (n) => u64(n).slice(6)
const utf8 = (s) => new Uint8Array(Buffer.from(s, 'utf8'))

// rows are up to 64 of so many bytes; each begins with a number above the last's.
function rows(b, size) {
  if (b.length === 0 || b.length % size !== 0 || b.length > 64 * size) refuse('malformed')
  const list = cut(b, ...Array(b.length / size).fill(size)).map((row) => cut(row, 8, size - 8))
  // Compared as bytes: a number in JavaScript holds 53 bits.
  const after = ([s], i) => Buffer.compare(Buffer.from(s), i > 0 ? Buffer.from(list[i - 1][0]) : Buffer.alloc(8)) > 0
  if (!list.every(after)) refuse('malformed')
  return list
}

const sequences = {
  write: (list) => join(...list.map(u64)),
  read: (b) => rows(b, 8).map(([seq]) => number(seq)),
}

const receipts = {
  write: (list) => join(...list.flatMap(({ seq, mark }) => [u64(seq), mark])),
  read: (b) => rows(b, 16).map(([seq, mark]) => ({ seq: number(seq), mark })),
}

// placed are lists of relays, each with further fields.
const placed = (fields) => ({
  write: (list) => join(Uint8Array.of(list.length), ...list.flatMap((r) => [
    Uint8Array.of(r.hosts.length), marshalHosts(r.hosts), ...fields.map(([name]) => r[name])])),
  read(b) {
    const list = []
    let at = 1
    for (let i = 0; i < b[0]; i++) {
      const r = {}
      ;[r.hosts, at] = parseHosts(b, at)
      for (const [name, size] of fields) r[name] = b.slice(at, (at += size))
      if (at > b.length) refuse('malformed')
      if (r.QE) checked(r.QE, 'malformed')
      list.push(r)
    }
    if (list.length === 0 || at !== b.length) refuse('malformed')
    return list
  },
})

const items = {
  1: ['text', { write: (b) => b, read: (b) => b }],
  2: ['fragment', {
    write: ({ index, count }) => join(u16(index), u16(count)),
    read(b) {
      const [index, count] = cut(b, 2, 2).map(number)
      if (b.length !== 4 || index >= count || count < 2 || count > 64) refuse('malformed')
      return { index, count }
    },
  }],
  3: ['receipts', receipts],
  4: ['read', receipts],
  5: ['takenBack', sequences],
  6: ['quiet', sequences],
  7: ['name', { write: utf8, read: (b) => b.length >= 1 && b.length <= 64 ? Buffer.from(b).toString('utf8') : refuse('malformed') }],
  8: ['queues', placed([['fingerprint', 16], ['sender_id', 24], ['claim', 32], ['QE', 32]])],
  9: ['notice', { write: (code) => Uint8Array.of(code), read: (b) => b.length === 1 && b[0] > 0 ? b[0] : refuse('malformed') }],
  10: ['tickets', {
    write: (list) => join(...list),
    read: (b) => b.length > 0 && b.length % 24 === 0 ? cut(b, ...Array(b.length / 24).fill(24)) : refuse('malformed'),
  }],
  11: ['relays', placed([['fingerprint', 16]])],
}

// bytesOf is an item's value as it is written.
export const bytesOf = (name, value) => Object.values(items).find(([n]) => n === name)[1].write(value)

function marshalItems(m) {
  return join(...Object.entries(items).flatMap(([tag, [name, { write }]]) => {
    if (m[name] === undefined || m[name].length === 0) return []
    const b = write(m[name])
    return [Uint8Array.of(tag), u16(b.length), b]
  }))
}

function parseItems(b) {
  const m = {}
  for (let at = 0, last = -1; at < b.length;) {
    if (at + 3 > b.length) refuse('malformed')
    const [tag, n] = cut(b.slice(at, at + 3), 1, 2).map(number)
    if (tag <= last || at + 3 + n > b.length) refuse('malformed')
    last = tag
    const bytes = b.slice(at + 3, (at += 3 + n))
    if (items[tag]) m[items[tag][0]] = items[tag][1].read(bytes)
  }
  return m
}

export function marshal(m) {
  return join(Uint8Array.of(m.kind), m.id, u64(m.seq), m.prev, u64(m.sent), u64(m.deadline), Uint8Array.of(m.urgent ? 1 : 0), marshalItems(m))
}

export function parse(b) {
  if (b.length < 74) refuse('malformed')
  const [kind, id, seq, prev, sent, deadline, flags] = cut(b, 1, 16, 8, 32, 8, 8, 1)
  if (id[6] >> 4 !== 4 || id[8] >> 6 !== 2) refuse('malformed')
  if (number(deadline) > lastMoment || number(deadline) < number(sent)) refuse('malformed')
  return {
    kind: kind[0], id, seq: number(seq), prev, sent: number(sent), deadline: number(deadline), urgent: (flags[0] & 1) === 1, ...parseItems(b.slice(74)),
  }
}

export const marshalMeta = (m) => join(Uint8Array.of(1), marshalItems(m))

export function parseMeta(b) {
  if (b[0] !== 1) refuse('malformed')
  return parseItems(b.slice(1))
}
