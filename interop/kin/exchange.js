// One visit to the relays: read what waits, then send what is to be sent.
import { number } from './bytes.js'
import { queueOf } from './commands.js'
import { dial } from './conn.js'
import { take } from './inbox.js'
import { composeReceipts, flush } from './outbox.js'
import { setTimeout as pause } from 'node:timers/promises'

// exchange returns how many envelopes are not out. With until (a time in ms) it goes
// on until then, or until stop() says so.
export async function exchange(store, { until = 0, stop = () => false, between = () => {}, ...trial } = {}) {
  const conns = {}
  const visit = { ...trial, done: new Set() }
  const dialed = (relay) => conns[relay.fingerprint] ??= dial(relay)
  const contacts = Object.values(store.data.contacts)
  const subscribed = []
  for (const c of contacts.filter((c) => !c.stopped)) subscribed.push(await subscribe(c, await dialed(c.own)))
  for (;;) {
    for (const s of subscribed) read(store, s)
    if (subscribed.some((s) => s.waiting > 0)) {
      await pause(5)
      continue
    }
    const left = await sendAll()
    if (Date.now() >= until || stop()) {
      for (const conn of Object.values(conns)) await (await conn).close()
      return left
    }
    await pause(20)
  }

  async function sendAll() {
    between()
    let left = 0
    for (const c of contacts) {
      if (c.peer && !c.stopped && composeReceipts(c, Date.now(), c.tell)) {
        delete c.tell
        store.commit()
      }
      left += await flush(store, c, dialed, visit)
    }
    return left
  }
}

async function subscribe(c, conn) {
  const { queue } = await conn.ask('SUB', { receiver: [c.own.receiver] }, [c.own.key])
  const s = { c, conn, ...queueOf(queue) }
  if (s.code !== 0) throw new Error(`SUB: code ${s.code}`)
  if (s.tries > 0) c.notes.push(`others tried the invite: ${s.tries}`)
  return s
}

// read takes what has come, commits, and only then ACKs.
function read(store, s) {
  if (s.conn.dead) throw s.conn.dead
  const mine = s.conn.events.filter((e) => number(e.handle) === s.handle)
  if (mine.length === 0) return
  s.conn.events = s.conn.events.filter((e) => !mine.includes(e))
  const acks = []
  for (const e of mine) {
    if (e.type === 0x88) {
      s.c.notes.push(`others tried the invite: ${number(e.tries)}`)
      continue
    }
    s.waiting--
    if (!s.c.stopped && take(s.c, e.envelope)) acks.push(e.sequence)
  }
  store.commit()
  if (acks.length > 0) s.conn.ack(s.handle, acks)
}
