// docs/protocol.md, Texts that people pass on.
import { H, ascii, equal, join, number, refuse } from './bytes.js'

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

// digits are the values of the characters; one that has none is left out by whoever
// reads, or refused.
const value = (c) => {
  c = c.normalize('NFKC').toLowerCase()
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

function host(scheme, name, why) {
  if (!/^[\x21-\x7e]{1,64}$/.test(name) || name !== name.toLowerCase()) refuse(why)
  const bare = name.replace(/:\d+$/, '')
  const plain = bare === 'localhost' || /^127\./.test(bare) || bare === '[::1]' || bare.endsWith('.onion')
  if (scheme === 'ws' && !plain) refuse(why === 'address' ? 'plain' : why)
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

export function parseInvite(pasted) {
  const text = [...pasted].filter((c) => !/[\s\p{Cf}\p{Pi}\p{Pf}\p{Pd}"'`>]/u.test(c))
  const at = text.map((c) => { const v = value(c); return v < 0 ? '?' : alphabet[v] }).join('').indexOf('k1n1')
  if (at < 0) refuse('none')
  const rest = text.slice(at)
  if (rest.length < 6) refuse('cut')
  const total = value(rest[4]) * 32 + value(rest[5])
  if (rest.length < total) refuse('cut')
  const body = decode32(rest.slice(6, total).join(''), 'checksum')
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
  const m = text.match(/^(wss?):\/\/([^#]+)#(.{26})$/) ?? refuse('address')
  return { fingerprint: decode32(m[3], 'address'), hosts: [host(m[1], m[2], 'address')] }
}

export function parseGrant(text) {
  const s = [...text].filter((c) => !/[\s\p{Pd}]/u.test(c)).join('')
  if (s.length !== 54 || !/^kingrant1/i.test(s)) refuse('grant')
  const b = decode32(s.slice(9), 'grant')
  const grant = b.slice(0, 24)
  if (!equal(H('kin/1 grant text', grant).slice(0, 4), b.slice(24))) refuse('grant')
  return grant
}
