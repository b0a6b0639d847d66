// Texts that people pass on: relay address, grant, invite.
import { decodeBase32, encodeBase32, fold, isAlphabet, toCharacter, toValue } from './base32.js';
import { Reader, ascii, concat, fromUtf8, sameBytes, u8 } from './bytes.js';
import { hash, labelHash } from './crypto.js';
import { FormatError } from './errors.js';

const WSS = 0;
const WS = 1;
const SCHEMES = ['wss', 'ws'];
const MAX_HOST = 64;

// Hosts. A relay is {hosts: [{scheme, host}], fingerprint}; host is HOST[:PORT].

function isLoopbackOrOnion(name) {
  return name === 'localhost' || name === '[::1]' || name.endsWith('.onion') || (isIPv4(name) && name.startsWith('127.'));
}

const isByte = (text) => /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) <= 255;
const isIPv4 = (name) => name.split('.').length === 4 && name.split('.').every(isByte);
const isIPv6 = (name) => /^\[[0-9a-f:.]+\]$/.test(name) && URL.canParse(`ws://${name}/`);
const isName = (name) => /^[a-z0-9._-]+$/.test(name) && (isIPv4(name) || !/^[\d.]+$/.test(name));

function checkHost({ scheme, host }, reason) {
  const refuse = (what) => {
    throw new FormatError(reason, `${reason}: ${what}`);
  };
  if (host.length > MAX_HOST) refuse('host is too long');
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::[0-9]{1,5})?$/.exec(host);
  if (!match) refuse('host');
  const [, name] = match;
  if (!isName(name) && !isIPv6(name)) refuse('host name');
  if (scheme !== WSS && scheme !== WS) refuse('scheme');
  if (scheme === WS && !isLoopbackOrOnion(name)) refuse('ws is for loopback and .onion alone');
}

export const hostUrl = ({ scheme, host }) => `${SCHEMES[scheme]}://${host}/`;

export const encodeHosts = (hosts) =>
  concat(u8(hosts.length), ...hosts.flatMap(({ scheme, host }) => [u8(scheme), u8(host.length), ascii(host)]));

export function readHosts(reader) {
  const count = reader.number(1);
  if (count < 1 || count > 4) reader.refuse('number of hosts');
  return Array.from({ length: count }, () => {
    const scheme = reader.number(1);
    const host = fromUtf8(reader.take(reader.number(1)));
    checkHost({ scheme, host }, reader.reason);
    return { scheme, host };
  });
}

/** The first 16 bytes of H(RS). */
export const fingerprintOf = (staticKey) => hash(staticKey).slice(0, 16);

export function parseAddress(text) {
  const match = /^(wss?):\/\/([^/#]+)\/?#([^#]+)$/i.exec(text.trim());
  if (!match) throw new FormatError('address', 'address: not ws(s)://HOST[:PORT]#FINGERPRINT');
  const host = { scheme: SCHEMES.indexOf(match[1].toLowerCase()), host: match[2].toLowerCase() };
  checkHost(host, 'address');
  const fingerprint = decodeBase32(fold(match[3]));
  if (fingerprint.length !== 16) throw new FormatError('address', 'address: the fingerprint has not 26 characters');
  return { hosts: [host], fingerprint };
}

// Grant

const GRANT_PREFIX = fold('kingrant1');

export function parseGrant(text) {
  const folded = fold(text.replace(/[\p{White_Space}\p{Dash}\p{Cf}]/gu, ''));
  if (!folded.startsWith(GRANT_PREFIX)) throw new FormatError('grant', 'grant: does not begin with kingrant1');
  const body = decodeBase32(folded.slice(GRANT_PREFIX.length));
  if (body.length !== 28) throw new FormatError('grant', 'grant: wrong length');
  const grant = body.slice(0, 24);
  if (!sameBytes(body.slice(24), labelHash('kin/1 grant text', grant).slice(0, 4))) {
    throw new FormatError('grant', 'grant: wrong checksum');
  }
  return grant;
}

// Invite: {hosts, fingerprint, h}

const INVITE_PREFIX = fold('kin1');
const INVITE_HEAD = 6;
const INVITE_MIN = 98;
const INVITE_MAX = 250;

export function encodeInvite({ hosts, fingerprint, h }) {
  const fields = concat(u8(1), encodeHosts(hosts), fingerprint, h);
  const body = encodeBase32(concat(fields, labelHash('kin/1 invite text', fields).slice(0, 4)));
  const length = INVITE_HEAD + body.length;
  if (length > INVITE_MAX) throw new FormatError('invite', 'invite: the hosts are too long');
  return `kin1${toCharacter(length >> 5)}${toCharacter(length & 31)}${body}`;
}

/** Forgives what stands around and between. If none of several reads, says what is wrong with the first. */
export function parseInvite(text) {
  const folded = fold(text.replace(/[\p{White_Space}\p{Cf}\p{Quotation_Mark}\p{Dash}`>]/gu, ''));
  let firstError = new FormatError('invite', 'invite: there is none in this text');
  for (let at = folded.indexOf(INVITE_PREFIX), first = true; at >= 0; at = folded.indexOf(INVITE_PREFIX, at + 1)) {
    try {
      return parseInviteAt(folded.slice(at));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      if (first) firstError = error;
      first = false;
    }
  }
  throw firstError;
}

function parseInviteAt(folded) {
  const usable = [...folded].filter(isAlphabet).length;
  const cut = (wanted) => new FormatError('cut', `invite: cut, ${usable} of ${wanted} characters`);
  const mistyped = (what) => new FormatError('mistyped', `invite: mistyped (${what})`);
  if (usable < INVITE_HEAD) throw cut(`at least ${INVITE_MIN}`);
  const head = folded.slice(0, INVITE_HEAD);
  if (![...head].every(isAlphabet)) throw mistyped('length');
  const length = (toValue(head[4]) << 5) | toValue(head[5]);
  if (length < INVITE_MIN || length > INVITE_MAX) throw mistyped('length');
  if (usable < length) throw cut(length);
  const characters = folded.slice(INVITE_HEAD, length);
  if (![...characters].every(isAlphabet)) throw mistyped('character');
  let body;
  try {
    body = decodeBase32(characters);
  } catch {
    throw mistyped('last character');
  }
  const fields = body.slice(0, -4);
  if (!sameBytes(body.slice(-4), labelHash('kin/1 invite text', fields).slice(0, 4))) throw mistyped('checksum');
  return parseInviteFields(fields);
}

function parseInviteFields(fields) {
  const reader = new Reader(fields, 'invite');
  if (reader.number(1) !== 1) reader.refuse('of another version');
  const hosts = readHosts(reader);
  const fingerprint = reader.take(16);
  const h = reader.take(32);
  reader.end();
  return { hosts, fingerprint, h };
}
