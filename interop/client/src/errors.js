// Every refusal has a name from the protocol page (or from the README for the command line).

/** Bytes or a text that do not have the form the page gives. */
export class FormatError extends Error {
  constructor(reason, message = reason) {
    super(message);
    this.reason = reason;
  }
}

/** The ratchet (or the first flight) refuses an envelope. seq and echo are known only behind the tag. */
export class EnvelopeError extends Error {
  constructor(reason, { seq = null, echo = null } = {}) {
    super(`envelope refused: ${reason}`);
    this.reason = reason;
    this.seq = seq;
    this.echo = echo;
  }
}

/** The relay cannot be reached, left, or did not answer in time. */
export class NoConnection extends Error {}

/** The relay answered ERROR. */
export class RelayRefusal extends Error {
  constructor(code, waitSeconds) {
    super(`the relay refuses: ${code} ${ERROR_NAMES[code] ?? 'unknown code'}`);
    this.code = code;
    this.waitSeconds = waitSeconds;
  }

  get canWait() {
    return WAIT_CODES.has(this.code);
  }
}

/** What the command line reports with an exit code of its own. */
export class CommandError extends Error {
  constructor(exitCode, message) {
    super(message);
    this.exitCode = exitCode;
  }
}

export const EXIT = { ok: 0, other: 1, usage: 2, noConnection: 3, oldCopy: 6, refused: 7 };

const WAIT_CODES = new Set([4, 5, 6, 16, 17]);

const ERROR_NAMES = {
  1: 'malformed command', 2: 'proof refused', 3: 'no such queue', 4: 'queue full', 5: 'relay full', 6: 'too fast',
  7: 'ticket refused', 8: 'grant refused', 9: 'claim used by another key', 10: 'invite expired', 11: 'invite revoked',
  12: 'no such invite, or another claim', 13: 'fetched too often', 14: 'no such class', 15: 'repeated with other bytes',
  16: 'queue has four subscribers', 17: 'the relay failed', 18: 'not built yet',
};
