// States as the vectors write them (client/ratchet/testdata/vectors/README.md).
import { cut, hex, join, number, u32, u64 } from './bytes.js'

const plain = ['ad', 'tag_send', 'tag_recv', 'root', 'dh', 'kem_seed', 'ct', 'send_hk', 'send_ck', 'send_nhk', 'recv_nhk', 'recv_ck', 'recv_hk', 'recv_fixed']
const numbers = { send_n: u32, send_pn: u32, sent: u64, recv_n: u32, recv_base: u64 }

function skippedOf(b) {
  const keys = []
  for (let at = 0; at < b.length; at += 44) {
    const [n, mk, when] = cut(b.slice(at, at + 44), 4, 32, 8)
    keys.push({ n: number(n), mk, when: number(when) })
  }
  return keys
}

const skippedBytes = (keys) => join(...keys.flatMap((k) => [u32(k.n), k.mk, u64(k.when)]))

// read takes the fields that begin with prefix.
export function read(fields, prefix) {
  const get = (name) => fields[`${prefix}.${name}`]
  const s = { recv_base: 1, recv_skipped: skippedOf(get('recv_skipped') ?? new Uint8Array()), old: [] }
  for (const name of plain) if (get(name)) s[name] = get(name)
  for (const name in numbers) if (get(name)) s[name] = number(get(name))
  for (let i = 1; get(`old${i}_hk`); i++) {
    s.old.push({ hk: get(`old${i}_hk`), fixed: get(`old${i}_fixed`), base: number(get(`old${i}_base`)), skipped: skippedOf(get(`old${i}_skipped`)) })
  }
  return s
}

// show is a state as text, a line a field.
export function show(s) {
  const lines = {}
  for (const name of plain) if (s[name] && (s.recv_n > 0 || !['recv_ck', 'recv_hk', 'recv_fixed'].includes(name))) lines[name] = hex(s[name])
  for (const name in numbers) if (s.recv_n > 0 || name !== 'recv_base') lines[name] = hex(numbers[name](s[name]))
  if (s.recv_n > 0) lines.recv_skipped = hex(skippedBytes(s.recv_skipped))
  s.old.forEach((o, i) => {
    const of = `old${i + 1}_`
    Object.assign(lines, { [of + 'hk']: hex(o.hk), [of + 'fixed']: hex(o.fixed), [of + 'base']: hex(u64(o.base)), [of + 'skipped']: hex(skippedBytes(o.skipped)) })
  })
  return lines
}
