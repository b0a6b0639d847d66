// Sending over one link: CANCELs, then what waits, each envelope until its OK.
import { sameBytes } from './bytes.js';
import { cancel, first, put } from './commands.js';
import { RelayRefusal } from './errors.js';
import { KIND } from './messages.js';
import { isExpired, remove } from './outbox.js';
import { isUsable } from './sessions.js';

const LIVES = [1, 6, 24, 72, 168, 336]; // in epochs
const ASKED_LIFE_MS = 72 * 3_600_000;
const MAX_WAIT_SECONDS = 3600;
const NO_SUCH_QUEUE = 3;
const ENDS_A_JOIN = new Set([9, 10, 11, 12]);

/** The largest class that is no longer than what is asked, what is left and what the relay allows; -1: none. */
function chooseClass(deadline, now, { epochSeconds, longestTtl }) {
  const longestMs = 1.1 * Math.min(ASKED_LIFE_MS, deadline - now);
  return Math.max(0, LIVES.findLastIndex((life) => life * epochSeconds * 1000 <= longestMs && life <= longestTtl));
}

/** When an envelope of this class expires: the end of the epoch that now + life falls into. */
export function endOfLife(life, now, { epochSeconds }) {
  const epochMs = epochSeconds * 1000;
  return (Math.floor((now + life * epochMs) / epochMs) + 1) * epochMs;
}

export class Delivery {
  #profile;
  #link;
  #relay;
  #options;
  #sentHere = new Set(); // parts that this connection has put
  #heard = 0; // refusals for a while, to PUTs and FIRSTs

  /** options: {again, backwards} of `sync` */
  constructor(profile, link, relay, options = {}) {
    this.#profile = profile;
    this.#link = link;
    this.#relay = relay;
    this.#options = options;
    this.refused = null; // the last refusal for good
    this.hasToWait = false; // the relay has told so, and something is left
  }

  async flush() {
    for (const session of this.#profile.sessions) {
      if (!sameBytes(session.peer.relay.fingerprint, this.#relay.fingerprint)) continue;
      await this.#sendCancels(session);
      if (isUsable(session)) await this.#sendWaiting(session);
    }
  }

  #messagesOf(session) {
    return this.#profile.messages.filter((message) => message.session === session.id);
  }

  async #sendCancels(session) {
    for (const part of this.#messagesOf(session).flatMap((message) => message.parts)) {
      if (!part.cancelPending) continue;
      if (this.#isToWait(session)) return;
      try {
        await this.#link.request(cancel(session.peer, part.messageId));
      } catch (error) {
        if (!(error instanceof RelayRefusal)) throw error;
        if (error.canWait) {
          this.#startWait(session, error);
          return;
        }
        // Any other refusal of a CANCEL: the relay has nothing of it.
      }
      part.cancelPending = false;
      this.#profile.commit();
    }
  }

  async #sendWaiting(session) {
    const waiting = this.#messagesOf(session).flatMap((message) =>
      message.parts.filter((part) => this.#isToPut(message, part)).map((part) => ({ message, part })));
    waiting.sort((a, b) => a.part.seq - b.part.seq);
    if (this.#options.backwards && waiting.length > 0) waiting.unshift(waiting.pop());
    for (const { message, part } of waiting) {
      if (!isUsable(session) || this.#isToWait(session)) return;
      await this.#send(session, message, part);
    }
  }

  #isToPut(message, part) {
    if (message.cancelled || part.receipted || isExpired(message, Date.now()) || this.#sentHere.has(part)) return false;
    if (!part.ok) return true;
    return this.#options.again || Date.now() >= part.until || !this.#link.limits.durable;
  }

  async #send(session, message, part) {
    const now = Date.now();
    const ttlClass = chooseClass(message.deadline, now, this.#link.limits);
    const command = session.peer.registered ? put : first;
    try {
      await this.#link.request(command(session.peer, part, ttlClass, message.urgent, this.#heard));
    } catch (error) {
      if (!(error instanceof RelayRefusal)) throw error;
      await this.#onRefusal(error, session, message, part);
      return;
    }
    this.#sentHere.add(part);
    session.peer.registered = true;
    part.ok = true;
    part.until = endOfLife(LIVES[ttlClass], now, this.#link.limits);
    if (message.kind === KIND.control) remove(this.#profile, message);
    this.#profile.commit();
  }

  async #onRefusal(error, session, message, part) {
    if (error.canWait) {
      this.#heard += 1;
      this.#startWait(session, error);
      return;
    }
    if (error.code === NO_SUCH_QUEUE && session.peer.registered) {
      // The relay may have forgotten the sender's key.
      session.peer.registered = false;
      this.#profile.commit();
      await this.#send(session, message, part);
      return;
    }
    this.refused = error;
    if (message.kind === KIND.first && ENDS_A_JOIN.has(error.code)) {
      session.ended = error.message;
      this.#profile.note(session.label, `the join has ended: ${error.message}`);
      this.#profile.commit();
    }
  }

  #isToWait({ peer }) {
    const isToWait = Date.now() < peer.notBefore;
    this.hasToWait ||= isToWait;
    return isToWait;
  }

  #startWait(session, { waitSeconds }) {
    session.peer.notBefore = Date.now() + Math.min(waitSeconds, MAX_WAIT_SECONDS) * 1000;
    this.hasToWait = true;
    this.#profile.commit();
  }
}
