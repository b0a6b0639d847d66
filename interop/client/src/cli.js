// The commands; the README lists them.
import { writeSync } from 'node:fs';
import { parseArguments, parseDuration } from './arguments.js';
import { identityDigits } from './digits.js';
import { CommandError, EXIT, FormatError, NoConnection, RelayRefusal } from './errors.js';
import { exchange } from './exchange.js';
import { makeInvite } from './invites.js';
import { MAX_NAME, isName } from './items.js';
import { prepareJoin } from './joining.js';
import { KIND, uuidText } from './messages.js';
import { findText, forget, isDelivered, sealText, stateOf, takeBack } from './outbox.js';
import { Profile } from './profile.js';
import { markChecked } from './sessions.js';
import { takeUnshown } from './showing.js';
import { parseAddress, parseGrant } from './texts.js';

const STDOUT = 1;
const printLine = (line) => writeSync(STDOUT, `${line}\n`);
const print = (object) => printLine(JSON.stringify(object));

/** Runs one command and gives its exit code. */
export async function run(args) {
  try {
    const { options, names: [command, ...names] } = parseArguments(args);
    if (!options.profile) throw new CommandError(EXIT.usage, '--profile DIR is missing');
    if (!Object.hasOwn(COMMANDS, command ?? '')) throw new CommandError(EXIT.usage, `no command: ${command ?? ''}`);
    const { names: wanted, run: runCommand } = COMMANDS[command];
    if (names.length !== wanted) throw new CommandError(EXIT.usage, `${command} takes ${wanted} names`);
    return await runCommand(Profile.load(options.profile), options, ...names) ?? EXIT.ok;
  } catch (error) {
    process.stderr.write(`${JSON.stringify({ type: 'error', message: error.message })}\n`);
    return exitCodeOf(error);
  }
}

function exitCodeOf(error) {
  if (error instanceof CommandError) return error.exitCode;
  if (error instanceof NoConnection) return EXIT.noConnection;
  if (error instanceof RelayRefusal) return error.canWait ? EXIT.noConnection : EXIT.refused;
  if (error instanceof FormatError && INVITE_REASONS.has(error.reason)) return EXIT.refused;
  return EXIT.other;
}

const INVITE_REASONS = new Set(['invite', 'cut', 'mistyped', 'bundle', 'meta']);

/** The exit code of an exchange; what could not be done is said on stderr. */
function exitCodeAfter({ noConnection, refused }) {
  const error = noConnection ?? refused;
  if (!error) return EXIT.ok;
  process.stderr.write(`${JSON.stringify({ type: 'error', message: error.message })}\n`);
  return exitCodeOf(error);
}

const COMMANDS = {
  init: { names: 0, run: init },
  invite: { names: 0, run: invite },
  join: { names: 1, run: join },
  send: { names: 2, run: send },
  cancel: { names: 1, run: cancel },
  receive: { names: 0, run: receive },
  sync: { names: 0, run: sync },
  lose: { names: 1, run: lose },
  status: { names: 0, run: status },
  contacts: { names: 0, run: contacts },
  check: { names: 1, run: check },
};

function required(options, name) {
  if (!options[name]) throw new CommandError(EXIT.usage, `--${name} is missing`);
  return options[name];
}

function givenName({ name }) {
  if (name !== undefined && !isName(name)) throw new CommandError(EXIT.usage, `a name has 1 to ${MAX_NAME} bytes`);
  return name;
}

function init(profile, options) {
  const relay = parseAddress(required(options, 'relay'));
  profile.home = { relay, grant: parseGrant(required(options, 'grant')) };
  profile.name = givenName(options) ?? profile.name;
  profile.commit();
  print({ type: 'initialized' });
}

async function invite(profile, options) {
  printLine(await makeInvite(profile, required(options, 'for')));
}

async function join(profile, options, inviteText) {
  const session = await prepareJoin(profile, inviteText, { name: givenName(options), label: options.for });
  const code = options['queue-only'] ? EXIT.ok : exitCodeAfter(await exchange(profile, { collect: false }));
  if (session.ended) throw new CommandError(EXIT.refused, session.ended);
  if (code === EXIT.ok) print({ type: 'joined', contact: session.label });
  return code;
}

function currentSession(profile, label) {
  return profile.session(profile.contact(label)?.session);
}

async function send(profile, options, label, text) {
  // A host learns here that its guest has joined.
  let before = EXIT.ok;
  if (!options['queue-only'] && profile.invites.some((open) => open.label === label)) {
    before = exitCodeAfter(await exchange(profile, { collect: true }));
  }
  const session = currentSession(profile, label);
  if (!session && before !== EXIT.ok) return before;
  if (!session) throw new CommandError(EXIT.other, `${label} is not a contact, or has not joined yet`);
  if (session.stopped) throw new CommandError(EXIT.oldCopy, `${label}: this profile is an old copy`);
  if (session.ended) throw new CommandError(EXIT.refused, session.ended);

  const message = sealText(profile, session, text, Boolean(options.urgent), Date.now());
  profile.commit();
  const code = options['queue-only'] ? EXIT.ok : exitCodeAfter(await exchange(profile, { collect: false }));
  print({ type: 'sent', id: uuidText(message.id), contact: label, state: stateOf(message, Date.now()) });
  return code;
}

const describeState = (profile, type, message) => ({
  type, id: uuidText(message.id), contact: profile.session(message.session).label, state: stateOf(message, Date.now()),
});

async function cancel(profile, options, id) {
  const message = findText(profile, id);
  let code = EXIT.ok;
  if (!isDelivered(message) && !message.cancelled) {
    takeBack(profile, message);
    profile.commit();
    code = exitCodeAfter(await exchange(profile, { collect: false }));
  }
  print(describeState(profile, 'cancel', message));
  return code;
}

async function receive(profile, options) {
  const waitUntil = options.wait ? Date.now() + parseDuration(options.wait) : 0;
  const code = exitCodeAfter(await exchange(profile, { collect: true, waitUntil }));
  const lines = profile.sessions.filter((session) => !session.stopped).flatMap(takeUnshown);
  profile.commit();
  lines.forEach(print);
  const isStopped = (contact) => profile.session(contact.session)?.stopped;
  return profile.contacts.some(isStopped) ? EXIT.oldCopy : code;
}

async function sync(profile, { again = false, backwards = false }) {
  return exitCodeAfter(await exchange(profile, { collect: true, again, backwards }));
}

function lose(profile, options, id) {
  const message = findText(profile, id);
  if (message.parts.some((part) => part.ok) || message.cancelled) {
    throw new CommandError(EXIT.other, `${id} was sent already`);
  }
  forget(profile, message);
  profile.commit();
  print({ type: 'lost', id });
}

function status(profile) {
  for (const message of profile.messages.filter(({ kind }) => kind === KIND.text)) {
    print(describeState(profile, 'status', message));
  }
}

function contacts(profile) {
  for (const { label, session, quarantined, duplicates, notes } of profile.contacts) {
    const { peerName, peer } = profile.session(session) ?? {};
    const waits = Date.now() < (peer?.notBefore ?? 0);
    print({ type: 'contact', label, name: peerName ?? undefined, waits, quarantined, duplicates, notes });
  }
}

function check(profile, options, label) {
  const session = currentSession(profile, label);
  if (!session) throw new CommandError(EXIT.other, `${label} is not a contact, or has not joined yet`);
  if (options.ok) {
    markChecked(session, Date.now());
    profile.commit();
  }
  print({ type: 'check', contact: label, digits: identityDigits(session.ratchet.AD) });
}
