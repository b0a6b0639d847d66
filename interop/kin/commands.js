// docs/protocol.md, Queue commands: the tables as they stand there, and proofs.
import nacl from 'tweetnacl'
import { H, cut, equal, join, number, refuse, u64 } from './bytes.js'

// A field is a name and a size; [size, name] repeats it n times; optional fields may
// be missing together with all behind them.
const commands = {
  0x01: 'corr24 grant24 n1 n*hash32',
  0x02: 'corr24 ticket24 key32 proof48',
  0x03: 'corr24 receiver24 claim32 ttl4 location24 proof48 [blob4096]',
  0x04: 'corr24 receiver24 proof48',
  0x05: 'corr24 location24',
  0x06: 'corr24 sender24 message16 class1 flags1 proof48 envelope4096',
  0x07: 'corr24 sender24 claim32 key32 message16 class1 flags1 proof48 envelope4096',
  0x08: 'corr24 sender24 message16 proof48',
  0x09: 'corr24 n1 n*receiver24 n*proof48',
  0x0a: 'corr24 handle2',
  0x0b: 'handle2 n2 n*sequence8',
}
const answers = {
  0x81: 'corr8',
  0x82: 'corr8 code2 wait4',
  0x83: 'corr8 remaining4',
  0x84: 'corr8 receiver24 sender24',
  0x85: 'corr8 expiry8 blob4096',
  0x86: 'corr8 n1 n*queue11',
  0x87: 'handle2 sequence8 flags1 envelope4096',
  0x88: 'handle2 invite1 fetches1 tries1',
}
const pattern = /^(\[?)(n\*)?([a-z]+)(\d+)/
const most = { 0x01: 16, 0x09: 40, 0x0b: 256, 0x86: 40 }
const unsigned = ['corr', 'proof', 'envelope', 'blob']

export const types = { ISSUE: 1, NEW: 2, OFFER: 3, DEL: 4, FETCH: 5, PUT: 6, FIRST: 7, CANCEL: 8, SUB: 9, UNSUB: 10, ACK: 11 }

// marshal makes a body from values by name: bytes or numbers, lists where the table
// repeats. The number n is that of the list behind it.
function marshal(form, values) {
  const parts = []
  let list
  for (const field of form.split(' ')) {
    const [, optional, times, name, size] = field.match(pattern)
    if (optional && !values[name]) break
    if (name === 'n') list = values[form.match(/n\*([a-z]+)/)[1]].length
    const all = times ? values[name] : [name === 'n' ? list : values[name]]
    for (const v of all) parts.push(typeof v === 'number' ? u64(v).slice(8 - size) : v)
  }
  return join(...parts)
}

// command makes a command's body. One proof is made for each key.
export function command(type, values, { sid, RA, keys = [] }) {
  const form = commands[type]
  if (!form.includes('proof')) return marshal(form, values)
  const proof = form.includes('n*proof') ? keys.map(() => new Uint8Array(48)) : new Uint8Array(48)
  const hash = H('kin/1 cmd', sid, values.corr, parseCommand(type, marshal(form, { ...values, proof })).signed)
  const proofs = keys.map((key) => nacl.box(hash, values.corr, RA, key))
  return marshal(form, { ...values, proof: form.includes('n*proof') ? proofs : proofs[0] })
}

export const answer = (type, values) => marshal(answers[type], values)

function parse(table, type, body) {
  const fields = []
  let n = 1
  let at = 0
  const take = (name, size) => {
    if (at + size > body.length) refuse('malformed')
    fields.push([name, body.slice(at, (at += size))])
  }
  for (const field of table[type].split(' ')) {
    const [, optional, times, name, size] = field.match(pattern)
    if (optional && at === body.length) break
    for (let i = 0; i < (times ? n : 1); i++) take(name, +size)
    if (name === 'n') {
      n = number(fields.at(-1)[1])
      if (type in most && (n < 1 || n > most[type])) refuse('malformed')
    }
  }
  if (at !== body.length) refuse('malformed')
  return fields
}

// parseCommand returns the fields in order, and S.
export function parseCommand(type, body) {
  if (!(type in commands)) refuse('unknown')
  const fields = parse(commands, type, body)
  const signed = join(Uint8Array.of(type), ...fields.filter(([name]) => !unsigned.includes(name)).map(([, b]) => b))
  return { fields, signed }
}

// parseAnswer returns the fields in order, null for a type that version 1 does not have.
export function parseAnswer(type, body) {
  if (!(type in answers)) return null
  const fields = parse(answers, type, body)
  for (const [name, b] of fields) {
    const invite = name === 'queue' ? b[8] : name === 'invite' ? b[0] : 0
    if (invite > 4) refuse('malformed')
  }
  return fields
}

// queueOf reads what SUBBED says of one queue.
export function queueOf(b) {
  const [code, handle, waiting, invite, fetches, tries] = cut(b, 2, 2, 4, 1, 1, 1).map(number)
  return { code, handle, waiting, invite, fetches, tries }
}

// verify checks each proof of a command with the relay's private RA.
export function verify(command, sid, ra, key) {
  const corr = command.fields.find(([name]) => name === 'corr')[1]
  const want = H('kin/1 cmd', sid, corr, command.signed)
  for (const [name, proof] of command.fields) {
    if (name !== 'proof') continue
    const got = nacl.box.open(proof, corr, key, ra)
    if (!got || !equal(got, want)) refuse('proof')
  }
}
