// The profile: one JSON file. Every commit replaces it as a whole.
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FILE = 'profile.json';

// Bytes stand in the JSON as {"b64": "…"}.
const fromBytes = (_key, value) => (value instanceof Uint8Array ? { b64: Buffer.from(value).toString('base64') } : value);
const toBytes = (_key, value) =>
  typeof value?.b64 === 'string' ? Uint8Array.from(Buffer.from(value.b64, 'base64')) : value;

const emptyProfile = () => ({
  name: null,
  home: null, // {relay, grant}: where this profile's own queues are made
  contacts: [], // {label, session, quarantined, duplicates, notes}
  invites: [], // see invites.js
  joins: [], // see joining.js
  sessions: [], // see sessions.js
  messages: [], // see outbox.js
});

export class Profile {
  #directory;

  constructor(directory) {
    this.#directory = directory;
    Object.assign(this, emptyProfile());
  }

  static load(directory) {
    const profile = new Profile(directory);
    try {
      Object.assign(profile, JSON.parse(readFileSync(join(directory, FILE), 'utf8'), toBytes));
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    return profile;
  }

  /** All that was changed since the last commit becomes durable at once. */
  commit() {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const target = join(this.#directory, FILE);
    const temporary = `${target}.new`;
    const file = openSync(temporary, 'w', 0o600);
    writeFileSync(file, JSON.stringify(this, fromBytes));
    fsyncSync(file);
    closeSync(file);
    renameSync(temporary, target);
    syncDirectory(this.#directory);
  }

  contact(label) {
    return this.contacts.find((contact) => contact.label === label);
  }

  /** The contact with this label, made if there is none. */
  contactFor(label) {
    if (!this.contact(label)) {
      this.contacts.push({ label, session: null, quarantined: 0, duplicates: 0, notes: [] });
    }
    return this.contact(label);
  }

  session(id) {
    return this.sessions.find((session) => session.id === id);
  }

  note(label, text) {
    const { notes } = this.contactFor(label);
    if (!notes.includes(text)) notes.push(text);
  }
}

function syncDirectory(directory) {
  const file = openSync(directory, 'r');
  fsyncSync(file);
  closeSync(file);
}
