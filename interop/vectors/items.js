// What the vectors say of a message: its fields and items by name, each in bytes.
import { u64 } from '../kin/bytes.js'
import { bytesOf, parse, parseMeta } from '../kin/body.js'

const names = { text: 'text', fragment: 'fragment', receipts: 'receipts', read: 'read', takenBack: 'taken_back', quiet: 'quiet', name: 'name', queues: 'queues', notice: 'notice', tickets: 'tickets', relays: 'relays' }

function items(m) {
  const f = {}
  for (const name in names) if (m[name] !== undefined) f[names[name]] = bytesOf(name, m[name])
  return f
}

export function fields(plaintext) {
  const m = parse(plaintext)
  return {
    kind: Uint8Array.of(m.kind), id: m.id, seq: u64(m.seq), prev: m.prev, sent: u64(m.sent), deadline: u64(m.deadline), urgent: Uint8Array.of(m.urgent ? 1 : 0), ...items(m),
  }
}

export const metaFields = (meta) => items(parseMeta(meta))
