// How a passphrase is stretched (docs/vault-format.md, Slots), for lengths around those
// where its salt becomes longer.
import { argon2id } from '@noble/hashes/argon2.js'
import { join, u32 } from '../kin/bytes.js'
import { random } from './random.js'

const memory = 64, passes = 2, lanes = 1 // fewer than any profile may have: the lengths are what is tested

function recipe(length) {
  return {
    name: `passphrase-${String(length).padStart(3, '0')}`,
    kind: 'passphrase',
    expect: 'ok',
    comment: `a passphrase of ${length} bytes`,
    make() {
      const passphrase = random(length), salt = random(32)
      const head = join(Uint8Array.of(1), u32(memory), u32(passes), Uint8Array.of(lanes), salt)
      const padded = new Uint8Array(128 * (Math.ceil((32 + length) / 128) + 1) - 40 - length)
      padded.set(salt)
      return { passphrase, head, key: argon2id(passphrase, padded, { t: passes, m: memory, p: lanes, dkLen: 32 }) }
    },
  }
}

export const recipes = () => [1, 32, 95, 96, 97, 100, 101, 128, 224, 225, 1000].map(recipe)
