// What can be known without a relay: the page's one example, and both ends of this client against each other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeBase32, encodeBase32, fold } from './src/base32.js';
import { newHostKeys, openBundle, sealBundle } from './src/bundle.js';
import { ascii, fromUtf8, zeros } from './src/bytes.js';
import { newKeyPair, openAnonymous, random } from './src/crypto.js';
import { identityDigits } from './src/digits.js';
import { TYPE_FLIGHT, openEnvelope, parseFlight } from './src/envelope.js';
import { EnvelopeError, FormatError } from './src/errors.js';
import { flightId, makeFlight, openFlight } from './src/handshake.js';
import { encodeMeta } from './src/items.js';
import { KIND, encodePlaintext, newUuid, parsePlaintext } from './src/messages.js';
import { receiveMessage, sealMessage } from './src/ratchet.js';
import { encodeInvite, parseAddress, parseInvite } from './src/texts.js';

const NOW = Date.UTC(2026, 0, 1);
const reasonIs = (reason) => (error) => error.reason === reason;

test('the digits of the page', () => {
  assert.equal(
    identityDigits(Uint8Array.from({ length: 32 }, (_, i) => i)),
    '55765 23044 94912 03961 50375 08298 22530 91633 13968 94048 08489 68364',
  );
});

test('base32 there and back, and only one form', () => {
  for (let size = 0; size < 40; size += 1) {
    const bytes = random(size);
    assert.deepEqual(decodeBase32(encodeBase32(bytes)), bytes);
  }
  assert.throws(() => decodeBase32('01'), reasonIs('base32'));
  assert.throws(() => decodeBase32('000'), reasonIs('base32'));
  assert.deepEqual(decodeBase32(fold('ＯＩLo')), decodeBase32('0110'));
});

test('an invite is read among words and quotes, and its faults are told apart', () => {
  const relay = parseAddress(`WS://LocalHost:8080/#${encodeBase32(random(16))} `);
  const invite = { ...relay, h: random(32) };
  const text = encodeInvite(invite);
  assert.deepEqual(parseInvite(text), invite);
  const decorated = `my kin, take “${text.slice(0, 40).toUpperCase()}\n> ${text.slice(40, 70)}–${text.slice(70)}” at once`;
  assert.deepEqual(parseInvite(decorated), invite);
  assert.throws(() => parseInvite(text.slice(0, -1)), reasonIs('cut'));
  assert.throws(() => parseInvite('kin1'), reasonIs('cut'));
  const other = text.at(50) === 'a' ? 'b' : 'a';
  assert.throws(() => parseInvite(text.slice(0, 50) + other + text.slice(51)), reasonIs('mistyped'));
});

test('addresses: without TLS only loopback and onion, in one form', () => {
  const read = (host) => parseAddress(`ws://${host}#${encodeBase32(random(16))}`);
  for (const host of ['localhost', '127.0.0.1:8440', '127.9.0.1', '[::1]:99999', 'abc.onion']) read(host);
  for (const host of ['example.org', '10.0.0.1', '127.0.0.01', '127.1', '127.0.0.1.', 'localhost:', 'localhost:123456']) {
    assert.throws(() => read(host), reasonIs('address'), host);
  }
});

function newPair() {
  const hostKeys = newHostKeys();
  const { h, blob } = sealBundle(hostKeys, {
    fingerprint: random(16), sender: random(24), meta: encodeMeta({ name: 'Mina', tickets: [random(24)] }),
  });
  const guestQueue = newKeyPair();
  const flight = makeFlight(openBundle(blob, h), h, ascii('first'));
  const parsed = parseFlight(openEnvelope(flight.envelope, hostKeys.QEb).rest);
  const opened = openFlight(parsed, hostKeys, h, NOW);
  return { h, blob, hostKeys, flight, parsed, opened, guestQueue };
}

test('bundle and first flight', () => {
  const { h, blob, hostKeys, flight, parsed, opened } = newPair();
  assert.equal(fromUtf8(opened.plaintext), 'first');
  assert.deepEqual(opened.state.AD, flight.state.AD);
  assert.deepEqual(opened.th2, flightId(parsed, h));
  assert.equal(openEnvelope(flight.envelope, hostKeys.QEb).type, TYPE_FLIGHT);
  assert.throws(() => openBundle(blob, random(32)), reasonIs('bundle'));
  assert.throws(() => openFlight(parsed, newHostKeys(), h, NOW), reasonIs('identity'));
});

test('the ratchet: both ways, out of order, duplicates, an old state', () => {
  const { hostKeys, flight, opened, guestQueue } = newPair();
  let guest = flight.state;
  let host = opened.state;
  const fromHost = (text) => {
    const sealed = sealMessage(host, ascii(text), guestQueue.pub);
    host = sealed.state;
    return sealed.envelope;
  };
  const fromGuest = (text) => {
    const sealed = sealMessage(guest, ascii(text), hostKeys.QEb.pub);
    guest = sealed.state;
    return sealed.envelope;
  };
  const atGuest = (envelope) => {
    const got = receiveMessage(guest, envelope, guestQueue, NOW);
    guest = got.state;
    return fromUtf8(got.plaintext);
  };
  const atHost = (envelope) => {
    const got = receiveMessage(host, envelope, hostKeys.QEb, NOW);
    host = got.state;
    return fromUtf8(got.plaintext);
  };

  const early = [fromGuest('g2'), fromGuest('g3'), fromGuest('g4')];
  assert.equal(atHost(early[2]), 'g4');
  const answers = [fromHost('h1'), fromHost('h2')];
  const oldGuest = guest;
  assert.equal(atGuest(answers[1]), 'h2');
  assert.equal(atHost(fromGuest('g5')), 'g5');
  assert.equal(atHost(early[0]), 'g2');
  assert.equal(atGuest(fromHost('h3')), 'h3');
  assert.equal(atGuest(answers[0]), 'h1');
  assert.throws(() => atGuest(answers[0]), (error) => error.reason === 'no-key' || error.reason === 'used');
  assert.equal(atHost(fromGuest('g6')), 'g6');
  assert.throws(() => receiveMessage(oldGuest, fromHost('h4'), guestQueue, NOW), reasonIs('rollback'));
  assert.throws(() => atHost(random(4096)), EnvelopeError);
});

test('an anonymous box refuses a bad ephemeral key', () => {
  assert.equal(openAnonymous(zeros(4096), newKeyPair()), null);
});

test('messages: strict reading', () => {
  const message = {
    kind: KIND.text, id: newUuid(), seq: 7, prev: random(32), sent: NOW, deadline: NOW + 1, urgent: true,
    items: { text: ascii('a'), receipts: [{ seq: 1, mark: random(8) }], quiet: [3, 5] },
  };
  const bytes = encodePlaintext(message);
  const read = parsePlaintext(bytes);
  assert.deepEqual(read.items, message.items);
  assert.throws(() => parsePlaintext(bytes.slice(0, -1)), FormatError);
  assert.throws(() => parsePlaintext(encodePlaintext({ ...message, deadline: NOW - 1 })), FormatError);
  assert.throws(() => parsePlaintext(encodePlaintext({ ...message, items: { quiet: [5, 3] } })), FormatError);
});
