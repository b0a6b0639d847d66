// One connection to a relay: websocket, handshake, commands and answers, what the relay sends by itself.
import WebSocket from 'ws';
import { concat, u64 } from './bytes.js';
import { ACK_TYPE, ANSWER, ackBody, encodeCommand, parseAnswer } from './commands.js';
import { random } from './crypto.js';
import { FormatError, NoConnection, RelayRefusal } from './errors.js';
import { FrameOpener, FrameSealer, MAX_WEBSOCKET_MESSAGE } from './frames.js';
import { answerHello } from './hello.js';
import { hostUrl } from './texts.js';

const SUBPROTOCOL = 'kin.v1';
const CONNECT_MS = 10_000;
const ANSWER_MS = 20_000;
const SILENCE_MS = 150_000;
const CLOSE_MS = 3_000;

/** Tries the relay's hosts in their order. A wrong fingerprint ends it at once. */
export async function connect(relay) {
  let lastError = new NoConnection('the relay has no host');
  for (const host of relay.hosts) {
    try {
      return await Link.open(hostUrl(host), relay.fingerprint);
    } catch (error) {
      if (!(error instanceof NoConnection)) throw error;
      lastError = error;
    }
  }
  throw lastError;
}

class Link {
  #socket;
  #keys = null;
  #sealer;
  #opener;
  #corrPrefix = random(16);
  #corrCount = 0;
  #waiting = new Map();
  #events = [];
  #wake = () => {};
  #error = null;
  #helloTimer;
  #silence;

  static open(url, fingerprint) {
    if (!URL.canParse(url)) return Promise.reject(new NoConnection(`no such address: ${url}`)); // a port above 65535
    return new Promise((resolve, reject) => new Link(url, fingerprint, resolve, reject));
  }

  constructor(url, fingerprint, onUp, onFailure) {
    this.#socket = new WebSocket(url, [SUBPROTOCOL], {
      perMessageDeflate: false, maxPayload: MAX_WEBSOCKET_MESSAGE, handshakeTimeout: CONNECT_MS,
    });
    this.fingerprint = fingerprint;
    this.onUp = onUp;
    this.onFailure = onFailure;
    this.#helloTimer = setTimeout(() => this.#fail(new NoConnection('the relay sends no hello')), CONNECT_MS);
    this.#socket.on('error', (error) => this.#fail(new NoConnection(`no connection: ${error.message}`)));
    this.#socket.on('close', () => this.#fail(new NoConnection('the relay closed the connection')));
    this.#socket.on('ping', () => this.#heard());
    this.#socket.on('message', (data, isBinary) => {
      this.#heard();
      try {
        if (!isBinary) throw new FormatError('frame', 'a text message');
        this.#onMessage(Uint8Array.from(data));
      } catch (error) {
        this.#fail(error);
      }
    });
    this.#heard();
  }

  get limits() {
    return this.#keys.limits;
  }

  #heard() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#fail(new NoConnection('the relay is silent')), SILENCE_MS);
    this.#silence.unref();
  }

  #onMessage(message) {
    if (this.#error) return;
    if (!this.#keys) {
      this.#keys = answerHello(message, this.fingerprint);
      this.#sealer = new FrameSealer(this.#keys.sendKey);
      this.#opener = new FrameOpener(this.#keys.receiveKey);
      clearTimeout(this.#helloTimer);
      this.#socket.send(this.#keys.reply);
      this.onUp(this);
      return;
    }
    for (const frame of this.#opener.openAll(message)) {
      const answer = parseAnswer(frame);
      if (answer) this.#onAnswer(answer);
    }
  }

  #onAnswer(answer) {
    if (answer.corr === undefined) {
      this.#events.push(answer);
      this.#wake();
      return;
    }
    const request = this.#waiting.get(answer.corr);
    if (!request) return;
    this.#waiting.delete(answer.corr);
    clearTimeout(request.timer);
    if (answer.type === ANSWER.ERROR) {
      request.reject(new RelayRefusal(answer.code, answer.wait));
    } else if (answer.type === request.expected) {
      request.resolve(answer);
    } else {
      request.reject(new FormatError('answer', 'the answer is of another type'));
      throw new FormatError('answer', 'the answer is of another type');
    }
  }

  /** The end of this link; the first reason counts. */
  #fail(error) {
    if (this.#error) return;
    this.#error = error;
    clearTimeout(this.#helloTimer);
    clearTimeout(this.#silence);
    this.#socket.terminate();
    this.onFailure(error);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
    this.#wake();
  }

  /** Sends a command and gives its answer; an ERROR is thrown as RelayRefusal. */
  request(command) {
    if (this.#error) return Promise.reject(this.#error);
    const count = ++this.#corrCount;
    const body = encodeCommand(command, concat(this.#corrPrefix, u64(count)), this.#keys);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(new NoConnection('the relay did not answer')), ANSWER_MS);
      this.#waiting.set(count, { resolve, reject, timer, expected: command.answer });
      this.#socket.send(this.#sealer.seal(command.type, body));
    });
  }

  ack(handle, sequence) {
    if (!this.#error) this.#socket.send(this.#sealer.seal(ACK_TYPE, ackBody(handle, sequence)));
  }

  /** The next MSG or TRIED, or null when none came in this time. */
  async nextEvent(milliseconds) {
    if (this.#events.length === 0 && !this.#error) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.#events.length > 0) return this.#events.shift();
    if (this.#error) throw this.#error;
    return null;
  }

  /** The relay's close frame shows that the ACKs before it were carried out. */
  close() {
    if (this.#error) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#fail(new NoConnection('the relay does not close')), CLOSE_MS);
      this.onFailure = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#socket.close(1000);
    });
  }
}
