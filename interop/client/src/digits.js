// The 60 digits that two people compare.
import { concat } from './bytes.js';
import { sha512 } from './crypto.js';

const ROUNDS = 5200;
const GROUPS = 12;

export function identityDigits(AD) {
  let h = AD;
  for (let i = 0; i < ROUNDS; i += 1) h = sha512(concat(h, AD));
  const group = (j) => h.slice(5 * j, 5 * j + 5).reduce((value, byte) => value * 256 + byte, 0) % 100_000;
  return Array.from({ length: GROUPS }, (_, j) => String(group(j)).padStart(5, '0')).join(' ');
}
