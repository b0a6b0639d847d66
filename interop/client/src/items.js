// Items: tag1 ‖ length2 ‖ bytes, in messages and in a bundle's meta.
import { Reader, concat, fromUtf8, u16, u64, u8, utf8 } from './bytes.js';
import { checkX25519 } from './crypto.js';
import { encodeHosts, readHosts } from './texts.js';

const TAG = {
  text: 1, fragment: 2, receipts: 3, read: 4, takenBack: 5, quiet: 6, name: 7, queues: 8, notice: 9, tickets: 10,
  relays: 11,
};
const NAME_OF = Object.fromEntries(Object.entries(TAG).map(([name, tag]) => [tag, name]));

export const ITEM_HEAD = 3;
export const MAX_LIST = 64;
export const NUMBER_SIZE = 8;
export const RECEIPT_SIZE = 16;
export const MAX_FRAGMENTS = 64;
export const MAX_NAME = 64;
const TICKET_SIZE = 24;

const WRITE = {
  text: (bytes) => bytes,
  fragment: ({ index, count }) => concat(u16(index), u16(count)),
  receipts: (list) => concat(...list.flatMap(({ seq, mark }) => [u64(seq), mark])),
  takenBack: (list) => concat(...list.map(u64)),
  quiet: (list) => concat(...list.map(u64)),
  name: (text) => utf8(text),
  queues: (list) => concat(u8(list.length), ...list.map(encodeQueue)),
  notice: (code) => u8(code),
  tickets: (list) => concat(...list),
};

const encodeQueue = ({ hosts, fingerprint, sender, claim, QE }) =>
  concat(encodeHosts(hosts), fingerprint, sender, claim, QE);

/** items: {name: value}; undefined ones are left out. */
export function encodeItems(items) {
  const names = Object.keys(items).filter((name) => items[name] !== undefined);
  names.sort((a, b) => TAG[a] - TAG[b]);
  return concat(...names.flatMap((name) => {
    const bytes = WRITE[name](items[name]);
    return [u8(TAG[name]), u16(bytes.length), bytes];
  }));
}

const READ = {
  text: (reader) => reader.rest(),
  fragment: readFragment,
  receipts: (reader) => readAscending(reader, MAX_LIST, (seq) => ({ seq, mark: reader.take(8) })),
  read: (reader) => readAscending(reader, MAX_LIST, (seq) => ({ seq, mark: reader.take(8) })),
  takenBack: (reader) => readAscending(reader, MAX_LIST, (seq) => seq),
  quiet: (reader) => readAscending(reader, MAX_LIST, (seq) => seq),
  name: readName,
  queues: (reader) => readCounted(reader, readQueue),
  notice: (reader) => reader.number(1) || reader.refuse('notice is zero'),
  tickets: readTickets,
  relays: (reader) => readCounted(reader, readRelay),
};

/** {name: value} of all that follows; items of unknown tags are skipped, malformed ones refused. */
export function readItems(reader) {
  const items = {};
  let lastTag = -1;
  while (reader.left > 0) {
    const tag = reader.number(1);
    if (tag <= lastTag) reader.refuse('order of tags');
    lastTag = tag;
    const inner = new Reader(reader.take(reader.number(2)), reader.reason);
    const name = NAME_OF[tag];
    if (name === undefined) continue;
    items[name] = READ[name](inner);
    inner.end();
  }
  return items;
}

function readFragment(reader) {
  const [index, count] = [reader.number(2), reader.number(2)];
  if (count < 2 || count > MAX_FRAGMENTS || index >= count) reader.refuse('fragment');
  return { index, count };
}

/** A list of entries that begin with a number; the numbers ascend and none is zero. */
function readAscending(reader, max, readEntry) {
  const entries = [];
  let last = 0n;
  while (reader.left > 0) {
    const seq = reader.big(8);
    if (seq <= last) reader.refuse('numbers do not ascend');
    last = seq;
    entries.push(readEntry(Number(seq)));
  }
  return checkLength(reader, entries, max);
}

function checkLength(reader, list, max = Infinity) {
  if (list.length === 0 || list.length > max) reader.refuse('length of a list');
  return list;
}

const hasNameSize = (size) => size >= 1 && size <= MAX_NAME;
export const isName = (text) => hasNameSize(utf8(text).length);

function readName(reader) {
  if (!hasNameSize(reader.left)) reader.refuse('name');
  return fromUtf8(reader.rest());
}

function readTickets(reader) {
  const tickets = [];
  while (reader.left > 0) tickets.push(reader.take(TICKET_SIZE));
  return checkLength(reader, tickets);
}

function readCounted(reader, readEntry) {
  const count = reader.number(1);
  return checkLength(reader, Array.from({ length: count }, () => readEntry(reader)));
}

const readRelay = (reader) => ({ hosts: readHosts(reader), fingerprint: reader.take(16) });

const readQueue = (reader) => ({
  ...readRelay(reader), sender: reader.take(24), claim: reader.take(32), QE: checkX25519(reader.take(32)),
});

const META_VERSION = 1;

export const encodeMeta = (items) => concat(u8(META_VERSION), encodeItems(items));

/** {name?, tickets, relays?} */
export function parseMeta(bytes) {
  const reader = new Reader(bytes, 'meta');
  if (reader.number(1) !== META_VERSION) reader.refuse('of another version');
  const items = readItems(reader);
  if (!items.tickets) reader.refuse('no ticket');
  return items;
}
