// Every vector of what the ratchet carries, read and written again.
import test from 'node:test'
import assert from 'node:assert/strict'
import { Refusal, hex } from './kin/bytes.js'
import { vectors } from './kin/vector.js'
import { fields, metaFields } from './vectors/items.js'

const shown = (f) => Object.fromEntries(Object.entries(f).map(([name, value]) => [name, hex(value)]))

for (const v of vectors('client/testdata/vectors/')) {
  test(`${v.name}: ${v.comment}`, () => {
    const { plaintext, meta, ...want } = v.fields
    const run = () => v.kind === 'meta' ? metaFields(meta) : fields(plaintext)
    if (v.expect === 'ok') return assert.deepEqual(shown(run()), shown(want))
    assert.throws(run, (e) => e instanceof Refusal && e.message === v.expect)
  })
}
