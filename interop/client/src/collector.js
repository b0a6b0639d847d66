// Reading this profile's queues over one link: each envelope is taken, committed, then ACKed.
import { sameBytes } from './bytes.js';
import { ANSWER, MAX_SUB, subscribe } from './commands.js';
import { VERDICT, takeBeforeSession, takeEnvelope } from './receiving.js';

const IDLE_MS = 5_000;

export class Collector {
  #profile;
  #link;
  #relay;
  #subscriptions = new Map(); // handle → {label, receiver, left, later}

  constructor(profile, link, relay) {
    this.#profile = profile;
    this.#link = link;
    this.#relay = relay;
  }

  async subscribe() {
    const queues = ownQueues(this.#profile).filter(({ relay }) =>
      sameBytes(relay.fingerprint, this.#relay.fingerprint));
    for (let at = 0; at < queues.length; at += MAX_SUB) {
      const some = queues.slice(at, at + MAX_SUB);
      const { queues: answers } = await this.#link.request(subscribe(some));
      some.forEach((queue, i) => this.#onSubscribed(queue, answers[i]));
    }
    this.#profile.commit();
  }

  #onSubscribed(queue, answer) {
    if (!answer || answer.code !== 0) {
      this.#profile.note(queue.label, `the relay refuses to read the queue: ${answer?.code}`);
      return;
    }
    const { label, receiver } = queue;
    this.#subscriptions.set(answer.handle, { label, receiver, left: answer.waiting, later: [] });
    this.#noteTries(queue.label, answer);
  }

  #noteTries(label, { tries }) {
    if (tries > 0) this.#profile.note(label, `the relay says: others tried this invite (${tries})`);
  }

  /** Until all that waited at the relay has been seen. */
  async drain() {
    while ([...this.#subscriptions.values()].some(({ left }) => left > 0)) {
      if (!(await this.next(IDLE_MS))) return;
    }
  }

  /** Whether all that waited in this session's queue has been seen. */
  hasDrained(session) {
    return [...this.#subscriptions.values()].some(({ receiver, left }) =>
      left <= 0 && sameBytes(receiver, session.queue.receiver));
  }

  /** Takes one event; false if none came in this time. */
  async next(milliseconds) {
    const event = await this.#link.nextEvent(milliseconds);
    if (!event) return false;
    const subscription = this.#subscriptions.get(event.handle);
    if (!subscription) return true;
    if (event.type === ANSWER.TRIED) {
      this.#noteTries(subscription.label, event);
      this.#profile.commit();
    } else {
      subscription.left -= 1;
      this.#take(subscription, event);
    }
    return true;
  }

  #ownerOf({ receiver }) {
    return ownQueues(this.#profile).find((queue) => sameBytes(queue.receiver, receiver));
  }

  #take(subscription, event) {
    const owner = this.#ownerOf(subscription);
    if (!owner) return; // stopped meanwhile
    const { session, invite } = owner;
    const verdict = session
      ? takeEnvelope(this.#profile, session, event.envelope, Date.now())
      : takeBeforeSession(this.#profile, invite, event.envelope, Date.now());
    this.#profile.commit();
    if (verdict === VERDICT.ack) this.#link.ack(event.handle, event.sequence);
    if (verdict === VERDICT.stop) subscription.left = 0;
    if (verdict === VERDICT.later) subscription.later.push(event);
    else if (invite && subscription.later.length > 0) this.#takeLater(subscription);
  }

  /** After a flight: what did not fit among the held ones. */
  #takeLater(subscription) {
    for (const event of subscription.later.splice(0)) this.#take(subscription, event);
  }
}

/** Every queue that is read: of sessions that are not stopped, and of invites that nobody has taken yet. */
export function ownQueues(profile) {
  const ofSessions = profile.sessions
    .filter((session) => !session.stopped)
    .map((session) => ({ ...session.queue, label: session.label, session }));
  const ofInvites = profile.invites
    .filter((invite) => invite.receiver)
    .map((invite) => ({ relay: invite.relay, receiver: invite.receiver, key: invite.key, label: invite.label, invite }));
  return [...ofSessions, ...ofInvites];
}
