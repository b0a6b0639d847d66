// docs/protocol.md, Receiving, Gaps, Receipts, Before the flight, Rollback. take
// changes the contact; the caller commits, and only then ACKs.
import nacl from 'tweetnacl'
import { Refusal, equal, join, refuse, sha256 } from './bytes.js'
import { CONTROL, FIRST, parse } from './body.js'
import { openEnvelope } from './sealed.js'
import { accept, flightID } from './handshake.js'
import { forget, highest, openMessageEnvelope } from './ratchet.js'
import { confirmed, markOf, newMessageID, owe, uuid } from './outbox.js'

// take is given each envelope once it has come, and says whether it may be ACKed.
export function take(c, envelope, now = Date.now()) {
  try {
    if (!c.session) return begin(c, envelope, now)
    opened(c, envelope, openMessageEnvelope(c.session, c.own.qe, envelope, Math.floor(now / 1000)), now)
    return true
  } catch (e) {
    if (!(e instanceof Refusal)) throw e
    return refused(c, envelope, e, now)
  }
}

// begin opens a first flight, or holds a message that came before it.
function begin(c, envelope, now) {
  if (openEnvelope(envelope, c.own.qe)[0] === 2) {
    if (c.held.length >= 32) return false
    c.held.push(envelope)
    return true
  }
  const got = accept({ ...c.keys, qeb: c.own.qe }, c.h, envelope, Math.floor(now / 1000))
  const m = parse(got.plaintext)
  if (m.kind !== FIRST || m.seq !== 1 || !m.queues) refuse('malformed')
  opened(c, envelope, { ...got, echo: 0 }, now)
  Object.assign(c, { peer: { ...m.queues[0], key: nacl.randomBytes(32), registered: false }, name: m.name, th2: got.th2 })
  delete c.keys
  const held = c.held
  c.held = []
  for (const e of held) take(c, e, now)
  c.notes.push(`held before the flight: ${held.length}`)
  return true
}

// opened is for what the ratchet has accepted: its state is kept whatever is inside.
function opened(c, envelope, got, now) {
  const before = c.seen[got.seq - 1]
  const last = c.session ? highest(c.session) : 0
  c.session = forget(got.next, Math.floor(now / 1000))
  c.seen[got.seq] = { hash: sha256(envelope), com: got.com }
  for (const seq in c.seen) if (seq <= got.seq - 2048) delete c.seen[seq]
  delete c.absent[got.seq]
  for (let seq = last + 1; seq < got.seq; seq++) c.absent[seq] = true
  confirmed(c, [], got.echo)
  const m = parse(got.plaintext)
  if (m.seq !== got.seq) refuse('malformed')
  if (before && !equal(before.com, m.prev)) copied(c, `the peer forked before ${m.seq}`)
  for (const seq of m.quiet ?? []) delete c.absent[seq]
  const taken = (m.takenBack ?? []).filter((seq) => c.absent[seq])
  for (const seq of taken) delete c.absent[seq]
  if (taken.length > 0) c.inbox.push({ note: 'taken_back', text: '', count: taken.length, received: now })
  confirmed(c, m.receipts ?? [], got.echo)
  if (m.notice === 1) c.notes.push('the peer says: two devices seem to send as you')
  if (m.kind === CONTROL) return
  owe(c, m.seq, markOf(envelope), now)
  if (m.kind !== FIRST) show(c, m, last, now)
}

// gapBefore counts what is missing before a message now, less what was explained
// (taken back, or nothing to show) and what has come since.
export const gapBefore = (c, m) => Object.keys(c.absent).filter((seq) => seq > m.after && seq < m.seq).length

// copied notes, and tells the peer once, that two devices send as the peer.
function copied(c, note) {
  c.notes.push(note)
  if (!c.told) c.tell = 1
  c.told = true
}

function show(c, m, last, now) {
  const { index, count } = m.fragment ?? { index: 0, count: 1 }
  let id = uuid(m.id)
  // Somebody uses an id twice: both are shown.
  const known = c.parts[id]
  if (c.inbox.some((i) => i.id === id) || known && (known.count !== count || known.texts[index])) id = uuid(newMessageID())
  const parts = c.parts[id] ??= { texts: {}, count, after: last }
  parts.texts[index] = m.text ?? new Uint8Array()
  parts.after = Math.min(parts.after, last)
  if (Object.keys(parts.texts).length < count) return
  delete c.parts[id]
  const text = Buffer.from(join(...Array.from({ length: count }, (_, i) => parts.texts[i]))).toString('utf8')
  c.inbox.push({ id, kind: m.kind, text, sent: m.sent, received: now, urgent: m.urgent, seq: m.seq, after: parts.after })
}

function refused(c, envelope, e, now) {
  const quarantine = (why) => {
    c.quarantine.push({ envelope, why })
    return true
  }
  const late = e.message === 'no-key' || e.message === 'used'
  if (c.session && (e.message === 'rollback' || (e.message === 'no-key' && e.seq > highest(c.session)))) {
    c.stopped = true
    c.notes.push('this profile is older than the peer has seen: the session has stopped')
    return false
  }
  if (late && c.seen[e.seq]) {
    if (!equal(c.seen[e.seq].hash, sha256(envelope))) {
      copied(c, `the peer's profile was copied: another envelope ${e.seq}`)
      return quarantine('copied')
    }
    owe(c, e.seq, markOf(envelope), now)
    c.duplicates++
    return true
  }
  if (late && e.seq > highest(c.session) - 2048) {
    c.notes.push(`lost: ${e.seq}`)
    return quarantine('lost')
  }
  if (e.message === 'type' && c.session && c.role === 'host' && openEnvelope(envelope, c.own.qe)[0] === 1) {
    if (equal(flightID(c.h, c.own.qe, envelope), c.th2)) owe(c, 1, markOf(envelope), now)
    else c.notes.push('another guest has the same invite')
    return true
  }
  return quarantine(e.message)
}
