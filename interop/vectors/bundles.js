// Vectors of bundles, blobs and digits.
import { LP, ascii, join, sha256, u32 } from '../kin/bytes.js'
import { derive, make, newKeys, padded, parse, sealBlob } from '../kin/bundle.js'
import { digits } from '../kin/digits.js'
import { seal } from '../kin/sealed.js'
import { badKEM, flipped, longer, low, put, random, shorter } from './random.js'

const field = { label: 4, IKb: 20, OPKb: 56, RKb: 92, ek_hs: 128, ek_r: 1316, QEb: 2504, place: 2540, meta: 2584 }
const lengths = { label: [0, 12], IKb: [16, 32], OPKb: [52, 32], RKb: [88, 32], ek_hs: [124, 1184], ek_r: [1312, 1184], QEb: [2500, 32], place: [2536, 40], meta: [2580, 24] }

export function newBundle(n = 24) {
  const keys = newKeys()
  const B = make(keys, random(16), random(24), random(n))
  return { keys, B }
}

function* bundles() {
  const good = (name, comment, n) => ({
    name: 'bundle-' + name, kind: 'bundle', expect: 'ok', comment,
    make() {
      const { keys, B } = newBundle(n)
      const { B: _, ...fields } = parse(padded(B))
      return { ...keys, ...fields, B, h: sha256(B), bundle: padded(B) }
    },
  })
  const bad = (name, comment, damage) => ({
    name: 'bundle-' + name, kind: 'bundle', expect: 'bundle', comment, make: () => ({ bundle: damage(padded(newBundle().B)) }),
  })
  yield good('one-byte', 'meta of one byte', 1)
  yield good('tickets', 'meta as long as three tickets', 76)
  yield good('almost-longest', 'meta of 1,399 bytes', 1399)
  for (const name of ['IKb', 'OPKb', 'RKb', 'QEb']) {
    for (const i of [0, 3, 5, 13]) yield bad(`low-order-${name}-${i}`.toLowerCase(), `${name} has a low order`, (b) => put(b, field[name], low[i]))
  }
  for (const name of ['ek_hs', 'ek_r']) {
    for (const i of [0, 1, 766, 767]) {
      yield bad(`${name.replace('_', '-')}-${i}`, `coefficient ${i} of ${name} is not below q`, (b) => put(b, field[name], badKEM(b.slice(field[name], field[name] + 1184), i)))
    }
  }
  for (const [name, [at, n]] of Object.entries(lengths)) {
    if (name === 'meta') continue
    yield bad(`longer-${name.replace('_', '-')}`.toLowerCase(), `${name} has one byte more, the rest is shifted`, (b) => join(b.slice(0, at), u32(n + 1), b.slice(at + 4, at + 4 + n), new Uint8Array(1), b.slice(at + 4 + n, -1)))
    yield bad(`shorter-${name.replace('_', '-')}`.toLowerCase(), `${name} has one byte less, the rest is shifted`, (b) => join(b.slice(0, at), u32(n - 1), b.slice(at + 4, at + 3 + n), b.slice(at + 4 + n), new Uint8Array(1)))
  }
  yield bad('label-bit', 'a bit of the label', (b) => flipped(b, 15))
  yield bad('label-blob', 'the label of something else', (b) => put(b, 4, ascii('kin/1 invite')))
  yield bad('nine-fields', 'the last field is missing', (b) => join(b.slice(0, 2608), new Uint8Array(4056 - 2608)))
  yield bad('eleven-fields', 'a field more', (b) => put(b, 2644, LP(Uint8Array.of(7))))
  for (const at of [2644, 3000, -1]) yield bad(`padding-${at}`, 'a byte behind the fields is not zero', (b) => flipped(b, at))
  yield bad('no-padding', 'without padding', (b) => b.slice(0, 2644))
  yield bad('trailing', 'a zero too many', longer)
  yield bad('nothing', 'nothing', () => new Uint8Array())
}

function* blobs() {
  const add = (name, expect, comment, change = (x) => x) => ({
    name: 'blob-' + name, kind: 'blob', expect, comment,
    make() {
      const { B } = newBundle()
      const h = sha256(B)
      const { blob, ...more } = change({ h, blob: sealBlob(B), B })
      return { h, blob, ...expect === 'ok' ? { ...derive(h), bundle: padded(B) } : {}, ...(({ B, ...rest }) => rest)(more) }
    },
  })
  const damaged = (name, comment, damage) => add(name, 'bundle', comment, (x) => ({ ...x, blob: damage(x.blob, x) }))
  yield add('whole', 'ok', 'what the relay holds, and what follows from h')
  for (const at of [0, 23, 24, 39, 40, 2000, -1]) yield damaged(`bit-${at}`, `a bit of byte ${at}`, (b) => flipped(b, at))
  yield damaged('trailing', 'a byte too many', longer)
  yield damaged('cut', 'a byte too few', shorter)
  yield damaged('nothing', 'nothing', () => new Uint8Array())
  yield damaged('zeros', 'zeros', (b) => new Uint8Array(b.length))
  yield damaged('other-bundle', "another host's bundle under this invite's key", (_, { h }) => seal(derive(h).key, padded(newBundle().B)))
  yield damaged('changed-meta', 'a bit of meta is changed, sealed under the right key', (_, { h, B }) => seal(derive(h).key, padded(flipped(B, 2590))))
  yield damaged('location-key', 'sealed under the location', (_, { h, B }) => seal(join(derive(h).location, new Uint8Array(8)), padded(B)))
  yield add('other-invite', 'bundle', "another invite's h", (x) => ({ ...x, h: random(32) }))
}

function* sixties() {
  for (const name of ['one', 'two', 'three']) {
    yield {
      name: 'digits-' + name, kind: 'digits', expect: 'ok', comment: 'the digits of an AD',
      make() {
        const AD = random(32)
        return { AD, digits: ascii(digits(AD)) }
      },
    }
  }
}

export function* recipes() {
  yield* bundles()
  yield* blobs()
  yield* sixties()
}
