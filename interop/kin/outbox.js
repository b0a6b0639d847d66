// docs/protocol.md, Sending: seal and keep, then the network, the same bytes each time.
import nacl from 'tweetnacl'
import { equal, hex, number, sha256 } from './bytes.js'
import { publicKey } from './keys.js'
import { CONTROL, TEXT, marshal } from './body.js'
import { RelayError } from './conn.js'
import { sealMessage } from './ratchet.js'

const lives = [1, 6, 24, 72, 168, 336]
const part = 1400 // a longer text goes in parts of so many bytes

export function newMessageID() {
  const id = nacl.randomBytes(16)
  id[6] = (id[6] & 15) | 0x40
  id[8] = (id[8] & 63) | 0x80
  return id
}

export const uuid = (id) => hex(id).replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5')

// fresh is a contact before anything was sent or received.
export const fresh = (c) => ({
  checked: false, com: new Uint8Array(32), echo: 0, out: [], quiet: [], takenBack: [], due: [],
  inbox: [], parts: {}, seen: {}, absent: {}, held: [], quarantine: [], duplicates: 0, notes: [], ...c,
})

// markOf is what a receipt knows an envelope by, beside its number.
export const markOf = (envelope) => sha256(envelope).slice(0, 8)

// owe makes a receipt due: it goes with the next envelope, at the latest alone then.
export function owe(c, seq, mark, now) {
  if (c.due.some((d) => d.seq === seq)) return
  const hour = 3600000
  const soon = number(nacl.randomBytes(4)) % 60000
  c.due.push({ seq, mark, at: c.checked ? now + soon : (Math.floor(now / hour) + 1) * hour })
}

// extras are the lists that fit into the room beside a text; what matters for gaps first.
function extras(c, seq, room) {
  const fit = (list, size) => {
    const some = list.slice(0, Math.max(0, Math.min(64, Math.floor((room - 3) / size))))
    if (some.length > 0) room -= 3 + size * some.length
    return some
  }
  const ascending = (a, b) => a - b
  const takenBack = fit(c.takenBack.map((t) => t.seq), 8).sort(ascending)
  for (const t of c.takenBack) if (takenBack.includes(t.seq)) t.listed ??= seq
  const quiet = fit([...c.quiet].reverse(), 8).sort(ascending)
  const told = fit(c.due, 16)
  c.due = c.due.filter((d) => !told.includes(d))
  const receipts = told.map(({ seq, mark }) => ({ seq, mark })).sort((a, b) => a.seq - b.seq)
  return { takenBack, quiet, receipts }
}

// seal makes the next envelope of a contact. The caller commits before it is sent.
function seal(c, m, room) {
  const seq = c.session.sent + 1
  const lists = extras(c, seq, room)
  const { next, com, envelope } = sealMessage(c.session, c.peer.QE, marshal({ ...m, seq, prev: c.com, ...lists }))
  Object.assign(c, { session: next, com })
  return { seq, message: nacl.randomBytes(16), envelope, mark: markOf(envelope), receipts: lists.receipts }
}

// compose puts a text into the outbox.
export function compose(c, text, { urgent = false, ttl = 72, days = 14 } = {}) {
  const bytes = new Uint8Array(Buffer.from(text, 'utf8'))
  const sent = Date.now()
  const m = { kind: TEXT, id: newMessageID(), sent, deadline: sent + days * 86400000, urgent }
  const count = Math.ceil(bytes.length / part)
  const envelopes = []
  for (let i = 0; i < Math.max(1, count); i++) {
    const text = bytes.slice(i * part, (i + 1) * part)
    const fragment = count > 1 ? { index: i, count } : undefined
    envelopes.push(seal(c, { ...m, text, fragment }, 1562 - 74 - 3 - text.length - (fragment ? 7 : 0)))
  }
  c.out.push({ ...m, text, ttl, state: 'queued', envelopes })
  return uuid(m.id)
}

// composeReceipts puts a control envelope into the outbox when receipts are due alone.
export function composeReceipts(c, now, notice) {
  if (!notice && !c.due.some((d) => d.at <= now)) return false
  const m = { kind: CONTROL, id: newMessageID(), sent: now, deadline: now + 14 * 86400000, notice }
  const e = seal(c, m, 1562 - 74 - (notice ? 4 : 0))
  c.quiet.push(e.seq)
  c.out.push({ ...m, ttl: 72, state: 'queued', envelopes: [e] })
  return true
}

// classOf is the class for a PUT now, and when it runs out.
function classOf(m, hello, now) {
  const most = Math.min(m.ttl * 3600, (m.deadline - now) / 1000, hello.ttl * hello.epoch)
  const c = lives.findLastIndex((epochs) => epochs * hello.epoch <= most)
  return { class: c, until: (Math.floor((now / 1000 + lives[c] * hello.epoch) / hello.epoch) + 1) * hello.epoch * 1000 }
}

// flush puts what is to be put, each envelope once a visit. It returns how many are not
// out. For trials: again puts what has no receipt though the relay has it, backwards
// the newest first.
export async function flush(store, c, dialed, { done, backwards, again }) {
  if (c.stopped || !c.peer) return 0
  const now = Date.now()
  const kept = (e) => e.until > now && !e.memory && !again
  const todo = c.out.flatMap((m) => m.envelopes.map((e) => [m, e]))
    .filter(([m, e]) => e.cancel || (!e.received && !e.cancelled && m.deadline > now && !kept(e) && !done.has(e.message)))
  if (todo.length === 0) return 0
  const conn = await dialed(c.peer)
  let left = todo.length
  for (const [, e] of todo) e.tried ??= !e.cancel
  store.commit()
  try {
    for (const [m, e] of backwards ? todo.reverse() : todo) if (await sendOne(c, conn, m, e, now, done)) left--
  } finally {
    store.commit()
  }
  return left
}

// sendOne does what one envelope wants, and says whether it is done.
async function sendOne(c, conn, m, e, now, done) {
  if (e.cancel) {
    try {
      if (e.tried) await conn.ask('CANCEL', { sender: c.peer.sender_id, message: e.message }, [c.peer.key])
    } catch (e) {
      // Refused for good: the relay has nothing of it.
      if (!(e instanceof RelayError) || e.toWait) throw e
    }
    delete e.cancel
    return true
  }
  const { class: class_, until } = classOf(m, conn.link.hello, now)
  if (class_ < 0) return false
  await put(c.peer, conn, { message: e.message, class: class_, flags: m.urgent ? 1 : 0, envelope: e.envelope })
  c.peer.registered = true
  Object.assign(e, { until, memory: !conn.link.hello.durable })
  done.add(e.message)
  if (m.kind === CONTROL) c.out = c.out.filter((o) => o !== m)
  else if (m.envelopes.every((e) => e.until)) m.state = e.memory ? 'on_relay_memory' : 'on_relay'
  return true
}

function put(peer, conn, values) {
  const sender = peer.sender_id
  if (peer.registered) return conn.ask('PUT', { sender, ...values }, [peer.key])
  return conn.ask('FIRST', { sender, claim: peer.claim, key: publicKey(peer.key), ...values }, [peer.key])
}

// cancel marks a message; flush tells the relay.
export function cancel(c, id) {
  const m = c.out.find((m) => uuid(m.id) === id)
  if (!m || m.kind !== TEXT || m.state === 'delivered') return false
  m.state = 'cancelled'
  for (const e of m.envelopes) {
    if (e.received || e.cancelled) continue
    Object.assign(e, { cancel: true, cancelled: true })
    c.takenBack.push({ seq: e.seq })
    // The receipts that it carried go with another.
    for (const { seq, mark } of e.receipts) owe(c, seq, mark, Date.now())
  }
  return true
}

// confirmed takes the peer's receipts and echo.
export function confirmed(c, receipts, echo) {
  c.echo = Math.max(c.echo, echo)
  c.quiet = c.quiet.filter((seq) => seq > c.echo)
  c.takenBack = c.takenBack.filter((t) => !(t.listed <= c.echo))
  for (const m of c.out) {
    for (const e of m.envelopes) {
      if (!receipts.some((r) => r.seq === e.seq && equal(r.mark, e.mark))) continue
      e.received = true
      delete e.envelope
    }
    if (m.envelopes.every((e) => e.received)) m.state = 'delivered'
  }
}
