// The link's handshake: the relay's hello and what both sides compute from it.
import { Reader, concat, sameBytes, u8 } from './bytes.js';
import {
  DH, Encaps, Extract, KEM_KEY_SIZE, checkKemKey, checkX25519, expandKeys, labelHash, newKeyPair,
} from './crypto.js';
import { FormatError } from './errors.js';
import { fingerprintOf } from './texts.js';

const VERSION = 1;
const MAX_EPOCH_SECONDS = 86400;
const FLAG_DURABLE = 1;

function parseHello(message) {
  const reader = new Reader(message, 'hello');
  const count = reader.number(1);
  if (count < 1 || count > 8) reader.refuse('number of versions');
  const versions = [...reader.take(count)];
  if (versions.some((version, i) => i > 0 && version <= versions[i - 1])) reader.refuse('versions do not ascend');
  const [RS, RE, RA] = [reader.take(32), reader.take(32), reader.take(32)];
  const ekR = reader.take(KEM_KEY_SIZE);
  reader.take(32); // nonce: it only makes the hello's hash new
  const limits = readLimits(reader);
  reader.end();
  [RS, RE, RA].forEach(checkX25519);
  checkKemKey(ekR);
  return { versions, RS, RE, RA, ekR, limits };
}

function readLimits(reader) {
  const [epochSeconds, longestTtl, flags, window] = [4, 2, 1, 1].map((size) => reader.number(size));
  if (epochSeconds < 1 || epochSeconds > MAX_EPOCH_SECONDS) reader.refuse('epoch');
  if (longestTtl === 0) reader.refuse('longest ttl');
  if ((flags & ~FLAG_DURABLE) !== 0) reader.refuse('flags');
  if (window === 0) reader.refuse('window');
  return { epochSeconds, longestTtl, durable: (flags & FLAG_DURABLE) !== 0, window };
}

/** {reply, sendKey, receiveKey, sid, RA, limits}; refused if the relay is not the one with this fingerprint. */
export function answerHello(message, fingerprint) {
  const hello = parseHello(message);
  if (!sameBytes(fingerprintOf(hello.RS), fingerprint)) {
    throw new FormatError('fingerprint', 'the relay at this address has another fingerprint');
  }
  if (!hello.versions.includes(VERSION)) throw new FormatError('version', 'the relay has no version in common');
  const ce = newKeyPair();
  const { ct, ss } = Encaps(hello.ekR);
  const salt = labelHash('kin/1 link', message, u8(VERSION), ce.pub, ct);
  const prk = Extract(salt, concat(DH(ce.priv, hello.RE), DH(ce.priv, hello.RS), ss));
  const [sendKey, receiveKey, sid] = expandKeys(prk, 'kin/1 link keys', 3);
  return {
    reply: concat(u8(VERSION), ce.pub, ct), sendKey, receiveKey, sid, RA: hello.RA, limits: hello.limits,
  };
}
