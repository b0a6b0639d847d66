// The Double Ratchet with header encryption and ML-KEM-768 in every step.
//
// A state is a plain object. Every function leaves the state that it is given as it was, and returns the next one.
import { LP, Reader, concat, isZero, sameBytes, u32, u64, u8, ascii, zeros } from './bytes.js';
import {
  DH, Decaps, Encaps, Expand, Extract, HMAC, equalInConstantTime, expandKeys, hash, isGoodKemKey, isGoodX25519,
  newKem, newKeyPair, openSealed, openSecretbox, random, seal, secretbox,
} from './crypto.js';
import { encodeMessage, openEnvelope, parseMessage, TYPE_MESSAGE, PADDED_MESSAGE, pad, unpad } from './envelope.js';
import { EnvelopeError, FormatError } from './errors.js';

const VERSION = 1;
const FIXED_SIZE = 2308;
const MAX_CHAIN = 60_000;
const MAX_NUMBER = 65_536;
const MAX_SKIPPED_AT_ONCE = 512;
const MAX_SKIPPED = 2048;
const MAX_OLD_CHAINS = 5;
const SKIPPED_LIFE_MS = 1_296_000_000;

// Starting

const commonStart = ({ AD, SK, sendTagKey, receiveTagKey, NHKs, NHKr }) => ({
  AD, sendTagKey, receiveTagKey, RK: SK,
  dh: null, kem: null, ct: null,
  send: { hk: null, ck: null, n: 0, pn: 0 }, NHKs, sent: 0,
  receive: null, NHKr, base: 1,
  oldChains: [],
});

/** keys: {AD, SK, HKa, NHKb, Sa, Sb} of the handshake. */
export function startGuest({ AD, SK, HKa, NHKb, Sa, Sb }, { RKb, ekR }) {
  const state = commonStart({ AD, SK, sendTagKey: Sa, receiveTagKey: Sb, NHKs: HKa, NHKr: NHKb });
  beginChain(state, RKb, ekR);
  return state;
}

export function startHost({ AD, SK, HKa, NHKb, Sa, Sb }, { RKb, r }) {
  const state = commonStart({ AD, SK, sendTagKey: Sb, receiveTagKey: Sa, NHKs: NHKb, NHKr: HKa });
  return { ...state, dh: RKb, kem: r };
}

// Root and chains

/** turn: [sender's dh, receiver's dh, ek encapsulated to, ct, ek sent along] → [RK, CK, NHK] */
function rootStep(RK, shared, turn) {
  return expandKeys(Extract(RK, shared), concat(ascii('kin/1 rk'), hash(LP(...turn))), 3);
}

function stepChain(chain) {
  const mk = HMAC(chain.ck, u8(1));
  chain.ck = HMAC(chain.ck, u8(2));
  chain.n += 1;
  return mk;
}

/** Changes the state that it is given: callers pass a copy. */
function beginChain(state, peerDh, peerEk) {
  const dh = newKeyPair();
  const kem = newKem();
  const { ct, ss } = Encaps(peerEk);
  const turn = [dh.pub, peerDh, peerEk, ct, kem.ek];
  const [RK, ck, NHK] = rootStep(state.RK, concat(DH(dh.priv, peerDh), ss), turn);
  state.send = { hk: state.NHKs, ck, n: 0, pn: state.send.n };
  Object.assign(state, { dh, kem, ct, RK, NHKs: NHK });
}

// Header

const encodeHeader = ({ dh, kem, ct, send }) =>
  concat(dh.pub, kem.ek, ct, u32(send.pn), u32(send.n), u8(VERSION), zeros(3));

function parseHeader(bytes) {
  const reader = new Reader(bytes, 'header');
  return {
    fixedHash: hash(bytes.subarray(0, FIXED_SIZE)),
    dh: reader.take(32), ek: reader.take(1184), ct: reader.take(1088),
    pn: reader.number(4), n: reader.number(4), version: reader.number(1), flags: reader.take(3),
  };
}

// Sealing

const messageKeys = (mk, AD, encHdr) => expandKeys(mk, concat(ascii('kin/1 msg'), hash(LP(AD, encHdr))), 2);

/** The part that both types have: {state, sealed: {encHdr, nonce, com, box}}. */
export function sealInChain(state, plaintext, paddedSize) {
  if (state.send.n >= MAX_CHAIN) throw new FormatError('chain-full');
  const next = structuredClone(state);
  const encHdr = seal(next.send.hk, encodeHeader(next));
  const mk = stepChain(next.send);
  next.sent += 1;
  const [key, com] = messageKeys(mk, next.AD, encHdr);
  const nonce = random(24);
  const box = secretbox(key, nonce, pad(plaintext, paddedSize));
  return { state: next, sealed: { encHdr, nonce, com, box } };
}

/** {state, envelope, com} */
export function sealMessage(state, plaintext, QE) {
  const { state: next, sealed } = sealInChain(state, plaintext, PADDED_MESSAGE);
  const tag = seal(next.sendTagKey, concat(u64(next.sent), u64(highestReceived(next))));
  return { state: next, envelope: encodeMessage(tag, sealed, QE), com: sealed.com };
}

export const highestReceived = (state) => state.base + (state.receive?.n ?? 0) - 1;

// Receiving

/** {state, plaintext, seq, echo, com}; refused as EnvelopeError. */
export function receiveMessage(state, envelope, queuePair, now) {
  const { type, rest } = openEnvelope(envelope, queuePair);
  if (type !== TYPE_MESSAGE) throw new EnvelopeError('type');
  const parts = parseMessage(rest);
  const tag = openSealed(state.receiveTagKey, parts.tag);
  if (!tag) throw new EnvelopeError('tag');
  const reader = new Reader(tag, 'tag');
  const [seq, echo] = [reader.number(8), reader.number(8)];
  if (echo > state.sent) throw new EnvelopeError('rollback', { seq, echo });
  return { ...openInChain(state, parts, { seq, echo }, now), seq, echo };
}

/** Steps 5 to 10, which both types have: {state, plaintext, com}. */
export function openInChain(state, { encHdr, nonce, com, box }, position, now) {
  const refuse = (reason) => {
    throw new EnvelopeError(reason, position);
  };
  const next = structuredClone(state);
  const { chain, header } = openHeader(next, encHdr) ?? refuse('no-key');
  if (header.version !== VERSION || !isZero(header.flags)) refuse('header');
  if (header.pn > MAX_NUMBER || header.n > MAX_NUMBER) refuse('jump');

  const mk = chain
    ? keyInKnownChain(next, chain, header, position.seq, now, refuse)
    : keyInNextChain(next, header, position.seq, now, refuse);

  const [key, expected] = messageKeys(mk, next.AD, encHdr);
  if (!equalInConstantTime(expected, com)) refuse('commitment');
  const padded = openSecretbox(key, nonce, box) ?? refuse('body');
  const plaintext = unpad(padded) ?? refuse('padding');
  return { state: next, plaintext, com };
}

/** chain is null for a header under NHKr. */
function openHeader(state, encHdr) {
  const under = (key, chain) => {
    const bytes = openSealed(key, encHdr);
    return bytes && { chain, header: parseHeader(bytes) };
  };
  let found = state.receive && under(state.receive.hk, state.receive);
  found ||= under(state.NHKr, null);
  for (const old of state.oldChains) found ||= under(old.hk, old);
  return found;
}

function keyInKnownChain(state, chain, header, seq, now, refuse) {
  const isCurrent = chain === state.receive;
  if (!sameBytes(header.fixedHash, chain.fixedHash)) refuse('chain');
  if (seq !== (isCurrent ? state.base : chain.base) + header.n) refuse('header');
  if (isCurrent && header.n >= chain.n) {
    skipTo(chain, header.n, now);
    trimSkipped(state);
    return stepChain(chain);
  }
  const at = chain.skipped.findIndex(({ n }) => n === header.n);
  if (at < 0) refuse('used');
  const [{ mk }] = chain.skipped.splice(at, 1);
  forgetEmptyChains(state);
  return mk;
}

function keyInNextChain(state, header, seq, now, refuse) {
  const { dh, ek, ct, pn, n, fixedHash } = header;
  if (state.receive ? pn < state.receive.n : pn !== 0) refuse('header');
  if (seq !== state.base + pn + n) refuse('header');
  if (!isGoodX25519(dh) || !isGoodKemKey(ek)) refuse('key');

  if (state.receive) retireChain(state, pn, now);
  const shared = concat(DH(state.dh.priv, dh), Decaps(state.kem.seed, ct));
  const [RK, ck, NHK] = rootStep(state.RK, shared, [dh, state.dh.pub, state.kem.ek, ct, ek]);
  const chain = { hk: state.NHKr, ck, n: 0, fixedHash, skipped: [] };
  Object.assign(state, { RK, receive: chain, NHKr: NHK, base: state.base + pn });
  beginChain(state, dh, ek);
  skipTo(chain, n, now);
  trimSkipped(state);
  return stepChain(chain);
}

/** The chain that was being received becomes an old one, if it has skipped keys. */
function retireChain(state, pn, now) {
  const { receive: chain, base } = state;
  skipTo(chain, pn, now);
  const { hk, fixedHash, skipped } = chain;
  if (skipped.length > 0) state.oldChains.push({ hk, fixedHash, base, skipped });
  if (state.oldChains.length > MAX_OLD_CHAINS) state.oldChains.shift();
}

// Skipped keys: [{n, mk, at}] in each chain, ascending

function skipTo(chain, target, now) {
  while (chain.n < target) {
    const n = chain.n;
    const mk = stepChain(chain);
    if (n >= target - MAX_SKIPPED_AT_ONCE) chain.skipped.push({ n, mk, at: now });
  }
}

const chainsWithKeys = (state) => (state.receive ? [...state.oldChains, state.receive] : state.oldChains);

function forgetEmptyChains(state) {
  state.oldChains = state.oldChains.filter((chain) => chain.skipped.length > 0);
}

function trimSkipped(state) {
  let excess = chainsWithKeys(state).reduce((sum, chain) => sum + chain.skipped.length, 0) - MAX_SKIPPED;
  for (const chain of chainsWithKeys(state)) {
    if (excess <= 0) break;
    excess -= chain.skipped.splice(0, excess).length;
  }
  forgetEmptyChains(state);
}

/** Destroys skipped keys that are too old: {state, lost: [seq]}. */
export function expireSkipped(state, now) {
  const next = structuredClone(state);
  const lost = [];
  for (const chain of chainsWithKeys(next)) {
    const base = chain === next.receive ? next.base : chain.base;
    const isOld = ({ at }) => now - at >= SKIPPED_LIFE_MS;
    lost.push(...chain.skipped.filter(isOld).map(({ n }) => base + n));
    chain.skipped = chain.skipped.filter((key) => !isOld(key));
  }
  forgetEmptyChains(next);
  return { state: next, lost };
}
