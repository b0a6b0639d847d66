// docs/protocol.md, Checking an identity.
import { createHash } from 'node:crypto'
import { join, number } from './bytes.js'

export function digits(AD) {
  let h = AD
  for (let i = 0; i < 5200; i++) h = createHash('sha512').update(join(h, AD)).digest()
  const groups = []
  for (let j = 0; j < 12; j++) groups.push(String(number(h.subarray(5 * j, 5 * j + 5)) % 100000).padStart(5, '0'))
  return groups.join(' ')
}
