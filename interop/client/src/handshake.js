// The first flight: made by the guest, opened by the host.
import { LP, ascii, concat } from './bytes.js';
import {
  DH, Decaps, Encaps, Expand, Extract, expandKeys, hash, isGoodX25519, newKeyPair, openSealed, seal,
} from './crypto.js';
import { PADDED_FLIGHT, encodeFlight } from './envelope.js';
import { EnvelopeError } from './errors.js';
import { openInChain, sealInChain, startGuest, startHost } from './ratchet.js';

const PREFIX = new Uint8Array(32).fill(0xff);

const firstHash = (h, EKa, ct) => hash(LP(ascii('kin/1 hs1'), h, EKa, ct));
const secondHash = (th1, cid) => hash(LP(ascii('kin/1 hs2'), th1, cid));
const firstKey = (th1, d1, d2, ss) => Extract(th1, concat(PREFIX, d1, d2, ss));
const identityKey = (p1) => Expand(p1, 'kin/1 hs identity', 32);

function sessionKeys(th2, p1, d3, IKa, IKb) {
  const p2 = Extract(th2, concat(p1, d3));
  const [SK, HKa, NHKb, Sa, Sb] = expandKeys(p2, 'kin/1 hs session', 5);
  return { SK, HKa, NHKb, Sa, Sb, AD: hash(LP(ascii('kin/1 ad'), IKa, IKb, th2)) };
}

/** {state, envelope, com}. The private keys of IKa and EKa end with this function. */
export function makeFlight(bundle, h, plaintext) {
  const [IKa, EKa] = [newKeyPair(), newKeyPair()];
  const { ct, ss } = Encaps(bundle.ekHs);
  const th1 = firstHash(h, EKa.pub, ct);
  const p1 = firstKey(th1, DH(EKa.priv, bundle.IKb), DH(EKa.priv, bundle.OPKb), ss);
  const cid = seal(identityKey(p1), IKa.pub);
  const keys = sessionKeys(secondHash(th1, cid), p1, DH(IKa.priv, bundle.OPKb), IKa.pub, bundle.IKb);
  const { state, sealed } = sealInChain(startGuest(keys, bundle), plaintext, PADDED_FLIGHT);
  return { state, envelope: encodeFlight({ EKa: EKa.pub, ct, cid }, sealed, bundle.QEb), com: sealed.com };
}

/** keys: the host's of this invite. {state, plaintext, com, th2}; refused as EnvelopeError. */
export function openFlight(flight, keys, h, now) {
  const refuse = (reason) => {
    throw new EnvelopeError(reason);
  };
  const { EKa, ct, cid } = flight;
  if (!isGoodX25519(EKa)) refuse('key');
  const th1 = firstHash(h, EKa, ct);
  const p1 = firstKey(th1, DH(keys.IKb.priv, EKa), DH(keys.OPKb.priv, EKa), Decaps(keys.hs.seed, ct));
  const IKa = openSealed(identityKey(p1), cid) ?? refuse('identity');
  if (!isGoodX25519(IKa)) refuse('key');
  const th2 = secondHash(th1, cid);
  const session = sessionKeys(th2, p1, DH(keys.OPKb.priv, IKa), IKa, keys.IKb.pub);
  return { ...openInChain(startHost(session, keys), flight, { seq: 1, echo: 0 }, now), th2 };
}

/** th2, which names a flight. Proves nothing about who made it. */
export const flightId = ({ EKa, ct, cid }, h) => secondHash(firstHash(h, EKa, ct), cid);
