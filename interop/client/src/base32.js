// The alphabet of the texts that people pass on.
import { FormatError } from './errors.js';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const VALUE = new Map([...ALPHABET].map((character, value) => [character, value]));

/** Capitals and full-width letters as small ones, i and l as 1, o as 0. */
export function fold(text) {
  return text
    .replace(/[\uff01-\uff5e]/g, (c) => String.fromCharCode(c.charCodeAt(0) - 0xfee0))
    .replace(/[A-Z]/g, (c) => c.toLowerCase())
    .replace(/[il]/g, '1')
    .replace(/o/g, '0');
}

export const isAlphabet = (character) => VALUE.has(character);
export const toCharacter = (value) => ALPHABET[value];
export const toValue = (character) => VALUE.get(character);

export function encodeBase32(bytes) {
  let out = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out += ALPHABET[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return bits > 0 ? out + ALPHABET[(held << (5 - bits)) & 31] : out;
}

/** Of a folded text. Whole characters that carry nothing, and unused bits that are not zero, are refused. */
export function decodeBase32(folded) {
  const out = [];
  let bits = 0;
  let held = 0;
  for (const character of folded) {
    if (!isAlphabet(character)) throw new FormatError('base32', `base32: not of the alphabet: ${character}`);
    held = (held << 5) | VALUE.get(character);
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      out.push(held >> bits);
      held &= (1 << bits) - 1;
    }
  }
  if (bits >= 5 || held !== 0) throw new FormatError('base32', 'base32: unused bits are not zero');
  return Uint8Array.from(out);
}
