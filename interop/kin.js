#!/usr/bin/env node
// kin.js is the test peer's command line. It is for tests, not for people: its
// profile is not encrypted, and one process at a time may use it.
import { parseArgs } from 'node:util'
import { Refusal } from './kin/bytes.js'
import { Store } from './kin/store.js'
import { init, invite, join } from './kin/queue.js'
import { cancel, compose, uuid } from './kin/outbox.js'
import { gapBefore } from './kin/inbox.js'
import { exchange } from './kin/exchange.js'
import { RelayError } from './kin/conn.js'
import { digits } from './kin/digits.js'

const usage = `usage: node kin.js --profile DIR COMMAND
  init --relay ADDRESS --grant GRANT [--name NAME]
  invite --for LABEL                     prints the invite
  join INVITE [--name NAME] [--for LABEL] [--queue-only]
  send CONTACT TEXT [--urgent] [--queue-only]
  cancel ID
  receive [--wait SECONDS]               prints new messages, at the latest after so long
  sync
  status, contacts                       what was sent; who is known
  check CONTACT [--ok]                   the 60 digits
For trials:
  sync --again                           put once more what has no receipt
  sync --backwards                       put the newest first
  lose ID                                forget a message that was not sent yet`

const { values: opts, positionals: [command, ...rest] } = parseArgs({
  allowPositionals: true,
  options: {
    profile: { type: 'string' }, relay: { type: 'string' }, grant: { type: 'string' }, name: { type: 'string' }, for: { type: 'string' },
    wait: { type: 'string' }, urgent: { type: 'boolean' }, ok: { type: 'boolean' }, 'queue-only': { type: 'boolean' }, backwards: { type: 'boolean' },
    again: { type: 'boolean' }, json: { type: 'boolean' },
  },
})

const store = new Store(opts.profile ?? fail(2, usage))
const print = (o) => console.log(JSON.stringify(o))

function fail(code, why) {
  console.error(why)
  process.exit(code)
}

const contacts = () => Object.entries(store.data?.contacts ?? fail(1, 'no profile'))
const contact = (label) => store.data.contacts[label] ?? fail(1, `no contact ${label}`)

// news prints what is new, and counts it.
function news() {
  let n = 0
  for (const [label, c] of contacts()) {
    for (const m of c.inbox.filter((m) => !m.shown)) {
      const { shown, after, ...rest } = m
      print({ type: 'message', contact: label, identity_checked: c.checked, ...rest, gap: gapBefore(c, m) })
      m.shown = true
      n++
    }
  }
  if (n > 0) store.commit()
  return n
}

const commands = {
  init: () => init(store, opts),
  invite: async () => console.log(await invite(store, { label: opts.for })),
  async join([text]) {
    const label = await join(store, { text, name: opts.name, label: opts.for })
    if (!opts['queue-only']) await exchange(store)
    print({ type: 'joined', contact: label })
  },
  async send([label, text]) {
    const c = contact(label)
    // A host learns here that its guest has joined.
    if (!c.session) await exchange(store)
    if (!c.session) fail(1, 'nobody has joined yet')
    const id = compose(c, text, opts)
    store.commit()
    if (!opts['queue-only']) await exchange(store)
    print({ type: 'sent', id, contact: label, state: c.out.find((m) => uuid(m.id) === id).state })
  },
  async cancel([id]) {
    if (!contacts().some(([, c]) => cancel(c, id))) fail(1, 'not to be taken back')
    store.commit()
    await exchange(store)
  },
  lose([id]) {
    for (const [, c] of contacts()) c.out = c.out.filter((m) => uuid(m.id) !== id)
    store.commit()
  },
  async receive() {
    let n = 0
    const until = Date.now() + 1000 * parseFloat(opts.wait ?? 0)
    await exchange(store, { until, between: () => { n += news() }, stop: () => n > 0 })
    if (contacts().some(([, c]) => c.stopped)) fail(6, 'this profile is older than a contact has seen')
  },
  async sync() {
    print({ type: 'left', envelopes: await exchange(store, { backwards: opts.backwards, again: opts.again }) })
  },
  status() {
    for (const [label, c] of contacts()) {
      for (const m of c.out.filter((m) => m.kind !== 2)) print({ type: 'status', id: uuid(m.id), contact: label, kind: m.kind, state: m.state, envelopes: m.envelopes.length })
    }
  },
  contacts() {
    for (const [label, c] of contacts()) {
      const absent = Object.keys(c.absent).length
      print({ type: 'contact', label, calls_themself: c.name, joined: !!c.session, identity_checked: c.checked, stopped: !!c.stopped, due: c.due.length,
        absent, quarantined: c.quarantine.length, duplicates: c.duplicates, held: c.held.length, notes: c.notes })
    }
  },
  check([label]) {
    const c = contact(label)
    if (!c.session) fail(1, 'nobody has joined yet')
    if (opts.ok) {
      c.checked = true
      store.commit()
    }
    print({ type: 'check', contact: label, digits: digits(c.session.ad), identity_checked: c.checked })
  },
}

try {
  await (commands[command] ?? fail(2, usage))(rest)
} catch (e) {
  if (e instanceof Refusal || (e instanceof RelayError && !e.toWait)) fail(7, String(e))
  if (e instanceof RelayError || e.syscall || /connection ended|socket hang up/.test(e.message)) fail(3, String(e))
  throw e
}
