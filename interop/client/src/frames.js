// Frames of the link: one direction's sealing and opening.
import { Reader, concat, padTo, u32, u64, u8, isZero, zeros } from './bytes.js';
import { openFrame, sealFrame } from './crypto.js';
import { FormatError } from './errors.js';

const CLASS_SIZES = [256, 4352, 65792];
const TAG_SIZE = 16;
const HEAD_SIZE = 5;
export const MAX_WEBSOCKET_MESSAGE = 1 + CLASS_SIZES[2] + TAG_SIZE;

const classFor = (bodySize) => CLASS_SIZES.findIndex((size) => HEAD_SIZE + bodySize <= size);

class Direction {
  constructor(key) {
    this.key = key;
    this.count = 0n;
  }

  nextNonce() {
    return concat(zeros(4), u64(this.count++));
  }
}

export class FrameSealer extends Direction {
  seal(type, body) {
    const frameClass = classFor(body.length);
    const plaintext = padTo(concat(u8(type), u32(body.length), body), CLASS_SIZES[frameClass]);
    return concat(u8(frameClass), sealFrame(this.key, this.nextNonce(), plaintext, u8(frameClass)));
  }
}

export class FrameOpener extends Direction {
  /** All frames of one websocket message: [{type, body}]. */
  openAll(message) {
    const reader = new Reader(message, 'frame');
    if (reader.left === 0) reader.refuse('empty message');
    const frames = [];
    while (reader.left > 0) frames.push(this.#openOne(reader));
    return frames;
  }

  #openOne(reader) {
    const frameClass = reader.number(1);
    if (frameClass >= CLASS_SIZES.length) reader.refuse('class');
    const sealed = reader.take(CLASS_SIZES[frameClass] + TAG_SIZE);
    const plaintext = openFrame(this.key, this.nextNonce(), sealed, u8(frameClass));
    if (!plaintext) reader.refuse('does not open');
    return parsePlaintext(plaintext, frameClass);
  }
}

function parsePlaintext(plaintext, frameClass) {
  const reader = new Reader(plaintext, 'frame');
  const type = reader.number(1);
  const body = reader.take(reader.number(4));
  if (!isZero(reader.rest())) throw new FormatError('frame', 'frame: padding is not zero');
  if (classFor(body.length) !== frameClass) throw new FormatError('frame', 'frame: not the smallest class');
  return { type, body };
}
