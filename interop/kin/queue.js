// A new queue with an invite (the host's) or a claim (the guest's), and joining.
import nacl from 'tweetnacl'
import { H, equal, refuse, sha256 } from './bytes.js'
import { publicKey } from './keys.js'
import { FIRST, marshal, marshalMeta, parseMeta } from './body.js'
import { formatInvite, parseAddress, parseGrant, parseInvite } from './texts.js'
import * as bundle from './bundle.js'
import * as handshake from './handshake.js'
import { fresh, markOf, newMessageID } from './outbox.js'
import { dial } from './conn.js'

// init makes a host's profile; tickets are made here and issued by the relay.
export async function init(store, { name, relay, grant }) {
  const conn = await dial(parseAddress(relay))
  const tickets = Array.from({ length: 16 }, () => nacl.randomBytes(24))
  store.data = { name, relay: parseAddress(relay), tickets, contacts: {} }
  store.commit()
  await conn.ask('ISSUE', { grant: parseGrant(grant), hash: tickets.map((t) => H('kin/1 ticket', t)) })
  await conn.close()
}

// newQueue asks for a queue. Its key proves, its qe opens envelopes.
async function newQueue(conn, relay, ticket, qe) {
  const key = nacl.randomBytes(32)
  const { receiver, sender } = await conn.ask('NEW', { ticket, key: publicKey(key) }, [key])
  return { ...relay, receiver, sender_id: sender, key, qe }
}

export async function invite(store, { label, hours = 48 }) {
  const p = store.data
  const conn = await dial(p.relay)
  const [ticket, theirs] = p.tickets.splice(0, 2)
  store.commit()
  const keys = bundle.newKeys()
  const own = await newQueue(conn, p.relay, ticket, keys.qeb)
  const B = bundle.make(keys, own.fingerprint, own.sender_id, marshalMeta({ name: p.name, tickets: [theirs] }))
  const h = sha256(B)
  const { location, claim } = bundle.derive(h)
  const { epoch } = conn.link.hello
  p.contacts[label] = fresh({ role: 'host', own, h, keys })
  store.commit()
  await conn.ask('OFFER', {
    receiver: own.receiver, claim: H('kin/1 claim', claim), ttl: Math.ceil(hours * 3600 / epoch), location, blob: bundle.sealBlob(B),
  }, [own.key])
  await conn.close()
  return formatInvite({ ...p.relay, h })
}

// join makes the guest's queue and its first flight. The caller then sends the flight.
export async function join(store, { text, name, label }) {
  const { h, ...relay } = parseInvite(text)
  const conn = await dial(relay)
  const { location, claim } = bundle.derive(h)
  const { blob } = await conn.ask('FETCH', { location })
  const { bundle: b } = bundle.openBlob(h, blob)
  const meta = parseMeta(b.meta)
  if (!equal(b.fingerprint, relay.fingerprint) || !meta.tickets) refuse('bundle')
  const at = meta.relays?.[0] ?? relay
  const there = meta.relays ? await dial(at) : conn
  const own = await newQueue(there, at, meta.tickets[0], nacl.randomBytes(32))
  const mine = nacl.randomBytes(32)
  await there.ask('OFFER', { receiver: own.receiver, claim: H('kin/1 claim', mine), ttl: 0, location: new Uint8Array(24) }, [own.key])
  if (there !== conn) await there.close()
  await conn.close()

  const sent = Date.now()
  const first = {
    kind: FIRST, id: newMessageID(), seq: 1, prev: new Uint8Array(32), sent, deadline: sent + 14 * 86400000, name,
    queues: [{ hosts: at.hosts, fingerprint: at.fingerprint, sender_id: own.sender_id, claim: mine, QE: publicKey(own.qe) }],
  }
  const flight = handshake.begin(b, h, marshal(first))
  store.data ??= { contacts: {} }
  label ??= meta.name ?? 'contact-1'
  const c = fresh({
    role: 'guest', own, h, th2: flight.th2, session: flight.next, com: flight.com, name: meta.name,
    peer: { ...relay, sender_id: b.sender_id, claim, QE: b.QEb, key: nacl.randomBytes(32), registered: false },
  })
  c.out.push({ ...first, state: 'queued', ttl: 72, envelopes: [{ seq: 1, message: nacl.randomBytes(16), envelope: flight.envelope, mark: markOf(flight.envelope), receipts: [] }] })
  store.data.contacts[label] = c
  store.commit()
  return label
}
