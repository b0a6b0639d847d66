// Vectors of the texts that people pass on.
import { H, ascii, join } from '../kin/bytes.js'
import { encode32, formatGrant, formatInvite, marshalHosts } from '../kin/texts.js'
import { random } from './random.js'

const utf8 = (s) => new Uint8Array(Buffer.from(s, 'utf8'))
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

// exchanged is a text with another character of the alphabet at one place.
const exchanged = (s, at) => s.slice(0, at) + alphabet[(alphabet.indexOf(s[at]) + 1) % 32] + s.slice(at + 1)
const wide = (s) => s.replace(/[!-~]/g, (c) => String.fromCodePoint(c.codePointAt(0) + 0xfee0))

function* invites() {
  const add = (name, expect, comment, change = (s) => s, hosts = ['wss://relay.example.org']) => ({
    name: 'invite-' + name, kind: 'invite', expect, comment,
    make() {
      const i = { hosts, fingerprint: random(16), h: random(32) }
      const text = utf8(change(formatInvite(i), i))
      return expect === 'ok' ? { text, h: i.h, fingerprint: i.fingerprint, hosts: utf8(hosts.join(' ')) } : { text }
    },
  })
  yield add('one-host', 'ok', 'one host')
  yield add('four-hosts', 'ok', 'four hosts, two without TLS', undefined, ['wss://a.org', 'wss://b.org:8443', 'ws://127.0.0.1:1', 'ws://x.onion'])
  yield add('shortest', 'ok', 'the shortest host', undefined, ['wss://a'])
  yield add('ipv6', 'ok', 'loopback in IPv6', undefined, ['ws://[::1]:8440'])
  yield add('ipv6-long', 'ok', 'loopback in IPv6, written out', undefined, ['ws://[0:0:0:0:0:0:0:1]'])
  yield add('longest-host', 'ok', '64 bytes of host', undefined, ['wss://' + 'a'.repeat(60) + '.org'])
  yield add('full-width', 'ok', 'full-width letters, from an input method', wide)
  yield add('korean-around', 'ok', 'Korean words around it', (s) => `초대장입니다: ${s} 꼭 써 주세요`)
  yield add('wrapped', 'ok', 'broken into lines, quoted by a mail program', (s) => s.replace(/(.{20})/g, '> $1\n'))
  yield add('zero-width', 'ok', 'zero-width characters within', (s) => [...s].join('\u200b'))
  yield add('hyphens', 'ok', 'hyphens and dashes within', (s) => s.replace(/(.{8})/g, '$1-').replace(/(.{30})/g, '$1—'))
  yield add('second', 'ok', 'one that is mistyped, then a good one', (s) => `${exchanged(s, 40)}! ${s}`)
  yield add('word-before', 'ok', 'kin1 as a word before it', (s) => `kin1? ${s}`)
  for (const at of [6, 7, 60, -1]) yield add(`typo-${at}`, 'checksum', 'one character is another', (s) => exchanged(s, at < 0 ? s.length - 1 : at))
  yield add('foreign', 'checksum', 'a character that is none of the alphabet within, and one more behind', (s) => s.slice(0, 50) + '漢' + s.slice(51) + '0')
  yield add('swapped', 'checksum', 'two neighbours changed places', (s) => s.slice(0, 8) + s[9] + s[8] + s.slice(10))
  for (const n of [4, 5, 6, 60]) yield add(`cut-${n}`, 'cut', `the first ${n} characters`, (s) => s.slice(0, n))
  yield add('cut-last', 'cut', 'the last character is missing', (s) => s.slice(0, -1))
  yield add('length-small', 'checksum', 'L is 97', (s) => s.slice(0, 4) + '31' + s.slice(6))
  yield add('length-large', 'checksum', 'L is 251', (s) => s.slice(0, 4) + '7v' + s.slice(6) + '0'.repeat(200))
  yield add('empty', 'none', 'nothing', () => '')
  yield add('other', 'none', 'a grant', () => formatGrant(random(24)))
  // body makes an invite's text from any body, rightly summed.
  const body = (parts) => (_, i) => {
    const data = join(...parts(i))
    const text = encode32(join(data, H('kin/1 invite text', data).slice(0, 4)))
    return 'kin1' + alphabet[(text.length + 6) >> 5] + alphabet[(text.length + 6) & 31] + text
  }
  const b = (...n) => Uint8Array.of(...n)
  const host = (name, scheme = 0) => join(b(scheme, name.length), ascii(name))
  const bad = [
    ['no-host', 'malformed', 'no host', (i) => [b(1, 0), host('filler.org'), i.fingerprint, i.h]],
    ['five-hosts', 'malformed', 'five hosts', (i) => [b(1, 5), ...Array(5).fill(host('a.org')), i.fingerprint, i.h]],
    ['count', 'malformed', 'two hosts are counted, one is there', (i) => [b(1, 2), host('relay.example.org'), i.fingerprint, i.h]],
    ['host-empty', 'malformed', 'an empty host', (i) => [b(1, 2), host('relay.example.org'), host(''), i.fingerprint, i.h]],
    ['host-65', 'malformed', '65 bytes of host', (i) => [b(1, 1), host('a'.repeat(65)), i.fingerprint, i.h]],
    ['host-capitals', 'malformed', 'a capital letter in a host', (i) => [b(1, 1), host('Relay.example.org'), i.fingerprint, i.h]],
    ['host-user', 'malformed', 'a user in a host', (i) => [b(1, 1), host('me@relay.example.org'), i.fingerprint, i.h]],
    ['host-path', 'malformed', 'a path in a host', (i) => [b(1, 1), host('relay.example.org/x'), i.fingerprint, i.h]],
    ['host-star', 'malformed', 'a star in a host', (i) => [b(1, 1), host('*.example.org'), i.fingerprint, i.h]],
    ['host-bracket', 'malformed', 'a name in brackets', (i) => [b(1, 1), host('[relay.example]'), i.fingerprint, i.h]],
    ['host-bracket-four', 'malformed', 'IPv4 in brackets', (i) => [b(1, 1), host('[192.0.2.7]'), i.fingerprint, i.h]],
    ['host-bracket-open', 'malformed', 'IPv6 without its last bracket', (i) => [b(1, 1), host('[2001:db8::1'), i.fingerprint, i.h]],
    ['host-bare-six', 'malformed', 'IPv6 without brackets', (i) => [b(1, 1), host('2001:db8::1'), i.fingerprint, i.h]],
    ['host-port', 'malformed', 'a port of letters', (i) => [b(1, 1), host('relay.example.org:https'), i.fingerprint, i.h]],
    ['host-port-empty', 'malformed', 'a colon and no port', (i) => [b(1, 1), host('relay.example.org:'), i.fingerprint, i.h]],
    ['host-space', 'malformed', 'a space in a host', (i) => [b(1, 1), host('relay example.org'), i.fingerprint, i.h]],
    ['plain-like-loopback', 'malformed', 'without TLS to a name that begins like loopback', (i) => [b(1, 1), host('127.example.org', 1), i.fingerprint, i.h]],
    ['plain-address', 'malformed', 'without TLS to another address', (i) => [b(1, 1), host('192.0.2.7:80', 1), i.fingerprint, i.h]],
    ['plain-ipv6', 'malformed', 'without TLS to another address of IPv6', (i) => [b(1, 1), host('[2001:db8::1]', 1), i.fingerprint, i.h]],
    ['scheme-255', 'malformed', 'scheme 255', (i) => [b(1, 1), host('relay.example.org', 255), i.fingerprint, i.h]],
    ['version-0', 'newer', 'version 0', (i) => [b(0, 1), host('relay.example.org'), i.fingerprint, i.h]],
    ['h-short', 'malformed', 'a byte of h is missing', (i) => [b(1, 1), host('relay.example.org'), i.fingerprint, i.h.slice(1)]],
    ['h-long', 'malformed', 'two bytes behind h', (i) => [b(1, 1), host('relay.example.org'), i.fingerprint, i.h, b(0, 0)]],
  ]
  for (const [name, expect, comment, parts] of bad) yield add(name, expect, comment, body(parts))
}

function* addresses() {
  const add = (name, expect, comment, scheme, host, change = (s) => s) => ({
    name: 'address-' + name, kind: 'address', expect, comment,
    make() {
      const fingerprint = random(16)
      const text = utf8(change(`${scheme}://${host}#${encode32(fingerprint)}`))
      return expect === 'ok' ? { text, fingerprint, hosts: utf8(`${scheme}://${host}`) } : { text }
    },
  })
  yield add('port', 'ok', 'a port', 'wss', 'relay.example.org:8443')
  yield add('localhost', 'ok', 'localhost without TLS', 'ws', 'localhost:8440')
  yield add('loopback-last', 'ok', 'the last address of loopback', 'ws', '127.255.255.254')
  yield add('ipv6', 'ok', 'an address of IPv6', 'wss', '[2001:db8::1]:443')
  yield add('capitals', 'ok', 'capitals', 'wss', 'relay.example.org', (s) => s.toUpperCase())
  yield add('space', 'ok', 'white space around it', 'wss', 'relay.example.org', (s) => ` ${s}\n`)
  yield add('slash', 'ok', 'a slash before the fingerprint', 'wss', 'relay.example.org', (s) => s.replace('#', '/#'))
  yield add('public-plain', 'plain', 'without TLS to an address', 'ws', '192.0.2.7')
  yield add('like-onion', 'plain', 'without TLS to a name that contains onion', 'ws', 'x.onion.example.org')
  yield add('like-loopback', 'plain', 'without TLS to a name that begins like loopback', 'ws', '127.0.0.1.example.org')
  yield add('path', 'address', 'a path', 'wss', 'relay.example.org/kin')
  yield add('user', 'address', 'a user', 'wss', 'me@relay.example.org')
  yield add('query', 'address', 'a query', 'wss', 'relay.example.org?x')
  yield add('no-host', 'address', 'no host', 'wss', '')
  yield add('long-host', 'address', '65 bytes of host', 'wss', 'a'.repeat(65))
  yield add('long-fingerprint', 'address', '27 characters', 'wss', 'relay.example.org', (s) => s + '0')
  yield add('letter-u', 'address', 'a letter that the alphabet does not have', 'wss', 'relay.example.org', (s) => s.slice(0, -3) + 'u' + s.slice(-2))
}

function* grants() {
  const add = (name, expect, comment, change = (s) => s) => ({
    name: 'grant-' + name, kind: 'grant', expect, comment,
    make() {
      const grant = random(24)
      const text = utf8(change(formatGrant(grant)))
      return expect === 'ok' ? { text, grant } : { text }
    },
  })
  yield add('plain', 'ok', 'as it is written')
  yield add('full-width', 'ok', 'full-width letters', wide)
  yield add('hyphens', 'ok', 'hyphens and line breaks', (s) => s.replace(/(.{9})/g, '$1-\n'))
  yield add('zero-width', 'ok', 'zero-width characters', (s) => [...s].join('\u2060'))
  for (const at of [9, 30, 53]) yield add(`typo-${at}`, 'grant', 'one character is another', (s) => exchanged(s, at))
  yield add('prefix', 'grant', 'another prefix', (s) => s.replace('grant1', 'grant2'))
  yield add('no-prefix', 'grant', 'no prefix', (s) => s.slice(9))
  yield add('long', 'grant', 'a character too many', (s) => s + '0')
  yield add('twice', 'grant', 'twice', (s) => s + s)
  yield add('empty', 'grant', 'nothing', () => '')
}

export function* recipes() {
  yield* invites()
  yield* addresses()
  yield* grants()
}
