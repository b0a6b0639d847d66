// node make-vectors.js DIR writes the vectors that the second implementation makes
// into the testdata folders below DIR. Each file is seeded with its name: they come out
// the same each time.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hex } from './kin/bytes.js'
import { seed } from './vectors/random.js'
import * as bundles from './vectors/bundles.js'
import * as link from './vectors/link.js'
import * as messages from './vectors/messages.js'
import * as passphrase from './vectors/passphrase.js'
import * as ratchet from './vectors/ratchet.js'
import * as texts from './vectors/texts.js'

const folders = {
  'protocol/testdata/vectors/interop': [link, texts],
  'client/ratchet/testdata/vectors/interop': [bundles, ratchet],
  'client/testdata/vectors/interop': [messages],
  'client/vault/testdata/vectors/interop': [passphrase],
}

for (const [folder, kinds] of Object.entries(folders)) {
  const dir = join(process.argv[2], folder)
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir, { recursive: true })
  const count = { ok: 0, refused: 0 }
  for (const { recipes } of kinds) {
    for (const { name, kind, expect, comment, make } of recipes()) {
      seed(name)
      const lines = Object.entries(make()).map(([field, value]) => `${field}: ${hex(value)}`.trimEnd())
      writeFileSync(join(dir, name + '.txt'), [`kind: ${kind}`, `expect: ${expect}`, `comment: ${comment}`, '', ...lines, ''].join('\n'), { flag: 'wx' })
      count[expect === 'ok' ? 'ok' : 'refused']++
    }
  }
  console.log(`${folder}: ${count.ok + count.refused} files, ${count.refused} of them to be refused`)
}
