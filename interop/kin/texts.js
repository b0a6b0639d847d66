// docs/protocol.md, Texts that people pass on.
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import { H, Refusal, ascii, equal, join, number, refuse } from './bytes.js'

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

// value is a character's five bits, -1 if it has none.
function value(c) {
  let at = c.codePointAt(0)
  if (at >= 0xff01 && at <= 0xff5e) at -= 0xfee0
  c = String.fromCodePoint(at).replace(/[A-Z]/, (c) => c.toLowerCase())
  return alphabet.indexOf({ i: '1', l: '1', o: '0' }[c] ?? c)
}

// decode32 refuses unused bits that are not zero.
export function decode32(text, name) {
  const out = []
  let bits = 0
  let have = 0
  for (const c of text) {
    const v = value(c)
    if (v < 0) refuse(name)
    bits = (bits << 5) | v
    have += 5
    if (have >= 8) {
      have -= 8
      out.push((bits >> have) & 255)
      bits &= (1 << have) - 1
    }
  }
  if (have >= 5 || bits !== 0) refuse(name)
  return Uint8Array.from(out)
}

export function encode32(b) {
  let out = ''
  let bits = 0
  let have = 0
  for (const c of b) {
    bits = (bits << 8) | c
    for (have += 8; have >= 5; bits &= (1 << have) - 1) out += alphabet[bits >> (have -= 5)]
  }
  return have > 0 ? out + alphabet[bits << (5 - have)] : out
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)
loopback.addAddress('::1', 'ipv6')

function host(scheme, name, why) {
  const [, bare, six] = name.length <= 64 && name.match(/^([a-z0-9._-]+|\[([0-9a-f:.]+)\])(:[0-9]{1,5})?$/) || refuse(why)
  if (six && !isIPv6(six)) refuse(why)
  const local = six ? loopback.check(six, 'ipv6') : bare === 'localhost' || bare.endsWith('.onion') || isIPv4(bare) && loopback.check(bare)
  if (scheme === 'ws' && !local) refuse(why === 'address' ? 'plain' : why)
  return `${scheme}://${name}`
}

// parseHosts reads the number of hosts and the hosts, and returns where they end.
export function parseHosts(data, at) {
  const count = data[at++]
  if (!(count >= 1 && count <= 4)) refuse('malformed')
  const hosts = []
  for (let i = 0; i < count; i++) {
    const [scheme, n] = data.slice(at, at + 2)
    if (!(scheme <= 1) || !(at + 2 + n <= data.length)) refuse('malformed')
    hosts.push(host(scheme === 0 ? 'wss' : 'ws', Buffer.from(data.slice(at + 2, at + 2 + n)).toString('latin1'), 'malformed'))
    at += 2 + n
  }
  return [hosts, at]
}

// parseInvite reads the first invite in a text that is whole; if there is none it
// says what is wrong with the first.
export function parseInvite(pasted) {
  const text = [...pasted].filter((c) => !/[\p{White_Space}\p{Cf}\p{Quotation_Mark}\p{Dash}`>]/u.test(c))
    .map((c) => alphabet[value(c)] ?? '?').join('')
  let why
  for (let at = text.indexOf('k1n1'); at >= 0; at = text.indexOf('k1n1', at + 4)) {
    try {
      return inviteAt(text.slice(at))
    } catch (e) {
      why ??= e
    }
  }
  throw why ?? new Refusal('none')
}

function inviteAt(text) {
  const own = text.match(/^[^?]*/)[0]
  if (own.length < 6) refuse('cut')
  const total = value(own[4]) * 32 + value(own[5])
  if (total < 98 || total > 250) refuse('checksum')
  if (text.replaceAll('?', '').length < total) refuse('cut')
  if (own.length < total) refuse('checksum')
  const body = decode32(own.slice(6, total), 'checksum')
  const data = body.slice(0, -4)
  if (!equal(H('kin/1 invite text', data).slice(0, 4), body.slice(-4))) refuse('checksum')
  if (data[0] !== 1) refuse('newer')
  const [hosts, p] = parseHosts(data, 1)
  if (data.length !== p + 48) refuse('malformed')
  return { hosts, fingerprint: data.slice(p, p + 16), h: data.slice(p + 16) }
}

// marshalHosts is how a relay's hosts stand in an invite and in items.
export const marshalHosts = (urls) => join(...urls.flatMap((url) => {
  const [scheme, name] = url.split('://')
  return [Uint8Array.of(scheme === 'ws' ? 1 : 0, name.length), ascii(name)]
}))

export function formatInvite({ hosts, fingerprint, h }) {
  const data = join(Uint8Array.of(1, hosts.length), marshalHosts(hosts), fingerprint, h)
  const body = encode32(join(data, H('kin/1 invite text', data).slice(0, 4)))
  const total = body.length + 6
  return 'kin1' + alphabet[total >> 5] + alphabet[total & 31] + body
}

export function formatGrant(grant) {
  return 'kingrant1' + encode32(join(grant, H('kin/1 grant text', grant).slice(0, 4)))
}

export function parseAddress(text) {
  const [, scheme, name, pin] = text.trim().match(/^(wss?):\/\/([^#/]+)\/?#(.{26})$/i) ?? refuse('address')
  return { fingerprint: decode32(pin, 'address'), hosts: [host(scheme.toLowerCase(), name.toLowerCase(), 'address')] }
}

export function parseGrant(text) {
  const s = [...text].filter((c) => !/[\p{White_Space}\p{Cf}\p{Dash}]/u.test(c)).join('')
  if (s.length !== 54 || [...s.slice(0, 9)].map((c) => alphabet[value(c)]).join('') !== 'k1ngrant1') refuse('grant')
  const b = decode32(s.slice(9), 'grant')
  const grant = b.slice(0, 24)
  if (!equal(H('kin/1 grant text', grant).slice(0, 4), b.slice(24))) refuse('grant')
  return grant
}
