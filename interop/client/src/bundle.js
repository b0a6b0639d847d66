// The invite's bundle: what a host publishes, sealed, at its relay.
import { LP, Reader, ascii, concat, isZero, padTo, sameBytes } from './bytes.js';
import {
  Expand, Extract, KEM_KEY_SIZE, checkKemKey, checkX25519, hash, newKem, newKeyPair, openSealed, random, seal,
} from './crypto.js';
import { FormatError } from './errors.js';

const LABEL = ascii('kin/1 bundle');
const PADDED_SIZE = 4056;
const BLOB_SIZE = 4096;
const META_MAX = 1400;

/** The host's keys, fresh for each invite. */
export const newHostKeys = () => ({
  IKb: newKeyPair(), OPKb: newKeyPair(), RKb: newKeyPair(), hs: newKem(), r: newKem(), QEb: newKeyPair(),
});

/** Everything that follows from h. */
export function inviteSecrets(h) {
  const prk = Extract(ascii('kin/1 invite'), h);
  return {
    location: Expand(prk, 'kin/1 invite location', 24),
    key: Expand(prk, 'kin/1 invite key', 32),
    claim: Expand(prk, 'kin/1 invite claim', 32),
  };
}

/** {h, blob} */
export function sealBundle(keys, { fingerprint, sender, meta }) {
  if (meta.length > META_MAX) throw new FormatError('bundle', 'bundle: meta is too long');
  const bundle = LP(
    LABEL, keys.IKb.pub, keys.OPKb.pub, keys.RKb.pub, keys.hs.ek, keys.r.ek, keys.QEb.pub,
    concat(fingerprint, sender), meta, random(32),
  );
  const h = hash(bundle);
  return { h, blob: seal(inviteSecrets(h).key, padTo(bundle, PADDED_SIZE)) };
}

/** The guest's checks, in the page's order: {IKb, OPKb, RKb, ekHs, ekR, QEb, fingerprint, sender, meta}. */
export function openBundle(blob, h) {
  const refuse = (what) => {
    throw new FormatError('bundle', `bundle: ${what}`);
  };
  if (blob.length !== BLOB_SIZE) refuse('length');
  const padded = openSealed(inviteSecrets(h).key, blob);
  if (!padded) refuse('does not open');

  const reader = new Reader(padded, 'bundle');
  const field = (min, max = min) => {
    const size = reader.number(4);
    if (size < min || size > max) refuse('length of a field');
    return reader.take(size);
  };
  if (!sameBytes(field(LABEL.length), LABEL)) refuse('label');
  const [IKb, OPKb, RKb] = [field(32), field(32), field(32)];
  const [ekHs, ekR] = [field(KEM_KEY_SIZE), field(KEM_KEY_SIZE)];
  const QEb = field(32);
  const address = field(40);
  const meta = field(0, META_MAX);
  field(32);
  const bundle = padded.slice(0, reader.at);
  if (!isZero(reader.rest())) refuse('padding');
  try {
    [IKb, OPKb, RKb, QEb].forEach(checkX25519);
    [ekHs, ekR].forEach(checkKemKey);
  } catch {
    refuse('key');
  }
  if (!sameBytes(hash(bundle), h)) refuse('hash');
  return { IKb, OPKb, RKb, ekHs, ekR, QEb, fingerprint: address.slice(0, 16), sender: address.slice(16), meta };
}
