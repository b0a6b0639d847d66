// Commands to the relay and its answers, as bytes.
import { Reader, concat, u16, u32, u8 } from './bytes.js';
import { box, labelHash } from './crypto.js';

export const MAX_SUB = 40;
export const ENVELOPE_SIZE = 4096;

/**
 * A command: type; fields, which are what a proof is made over; proofKeys, the private keys that prove it;
 * tail, what follows the proofs; answer, the type that answers it.
 */
const command = (type, answer, fields, proofKeys = [], tail = []) => ({
  type, answer, fields: concat(...fields), proofKeys, tail: concat(...tail),
});

const OK = 0x81;
const ERROR = 0x82;
const ISSUED = 0x83;
const IDS = 0x84;
const BLOB = 0x85;
const SUBBED = 0x86;
const MSG = 0x87;
const TRIED = 0x88;
export const ANSWER = { OK, ERROR, ISSUED, IDS, BLOB, SUBBED, MSG, TRIED };

const ticketHash = (ticket) => labelHash('kin/1 ticket', ticket);
const claimHash = (claim) => labelHash('kin/1 claim', claim);

export const issue = (grant, tickets) =>
  command(0x01, ISSUED, [grant, u8(tickets.length), ...tickets.map(ticketHash)]);

export const newQueue = (ticket, key) => command(0x02, IDS, [ticket, key.pub], [key.priv]);

/** invite: {ttl, location, blob}, or null for a queue that has only a claim. */
export const offer = (queue, claim, invite) =>
  command(
    0x03, OK,
    [queue.receiver, claimHash(claim), u32(invite?.ttl ?? 0), invite?.location ?? new Uint8Array(24)],
    [queue.key.priv], invite ? [invite.blob] : [],
  );

export const fetchBlob = (location) => command(0x05, BLOB, [location]);

/** heard: to how many PUTs and FIRSTs the relay has said on this link that they are to wait. */
const flags = (urgent, heard) => u8((heard % 128) * 2 + (urgent ? 1 : 0));

export const put = (target, { messageId, envelope }, ttlClass, urgent, heard) =>
  command(0x06, OK, [target.sender, messageId, u8(ttlClass), flags(urgent, heard)], [target.key.priv], [envelope]);

export const first = (target, { messageId, envelope }, ttlClass, urgent, heard) =>
  command(
    0x07, OK, [target.sender, target.claim, target.key.pub, messageId, u8(ttlClass), flags(urgent, heard)],
    [target.key.priv], [envelope],
  );

export const cancel = (target, messageId) => command(0x08, OK, [target.sender, messageId], [target.key.priv]);

export const subscribe = (queues) =>
  command(0x09, SUBBED, [u8(queues.length), ...queues.map((queue) => queue.receiver)],
    queues.map((queue) => queue.key.priv));

/** ACK has no corr, no proof and no answer. */
export const ACK_TYPE = 0x0b;
export const ackBody = (handle, sequence) => concat(u16(handle), u16(1), sequence);

/** The body on the wire. link: {sid, RA}. */
export function encodeCommand({ type, fields, proofKeys, tail }, corr, { sid, RA }) {
  const toProve = labelHash('kin/1 cmd', sid, corr, concat(u8(type), fields));
  const proofs = proofKeys.map((priv) => box(toProve, corr, RA, priv));
  return concat(corr, fields, ...proofs, tail);
}

const INVITE_STATES = ['none', 'open', 'used', 'expired', 'revoked'];

function readInviteState(reader) {
  const state = INVITE_STATES[reader.number(1)] ?? reader.refuse('state of the invite');
  return { invite: state, fetches: reader.number(1), tries: reader.number(1) };
}

function readSubbed(reader) {
  const count = reader.number(1);
  return Array.from({ length: count }, () => ({
    code: reader.number(2), handle: reader.number(2), waiting: reader.number(4), ...readInviteState(reader),
  }));
}

const ANSWER_FIELDS = {
  [OK]: () => ({}),
  [ERROR]: (reader) => ({ code: reader.number(2), wait: reader.number(4) }),
  [ISSUED]: (reader) => ({ remaining: reader.number(4) }),
  [IDS]: (reader) => ({ receiver: reader.take(24), sender: reader.take(24) }),
  [BLOB]: (reader) => ({ expiry: reader.number(8), blob: reader.take(ENVELOPE_SIZE) }),
  [SUBBED]: (reader) => ({ queues: readSubbed(reader) }),
};

const EVENT_FIELDS = {
  [MSG]: (reader) => ({
    handle: reader.number(2), sequence: reader.take(8), flags: reader.number(1), envelope: reader.take(ENVELOPE_SIZE),
  }),
  [TRIED]: (reader) => ({ handle: reader.number(2), ...readInviteState(reader) }),
};

/** {type, corr?, …}, or null for a type that is not known, which is ignored. */
export function parseAnswer({ type, body }) {
  const reader = new Reader(body, 'answer');
  let answer;
  if (type in ANSWER_FIELDS) {
    answer = { type, corr: reader.number(8), ...ANSWER_FIELDS[type](reader) };
  } else if (type in EVENT_FIELDS) {
    answer = { type, ...EVENT_FIELDS[type](reader) };
  } else {
    return null;
  }
  reader.end();
  return answer;
}
