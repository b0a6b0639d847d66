// The command line: names and options may come in any place.
import { CommandError, EXIT } from './errors.js';

const WITH_VALUE = new Set(['profile', 'relay', 'grant', 'name', 'for', 'wait']);
const FLAGS = new Set(['json', 'queue-only', 'urgent', 'again', 'backwards', 'ok']);

/** {options, names}; `--` ends the options. */
export function parseArguments(args) {
  const options = {};
  const names = [];
  for (let i = 0; i < args.length; i += 1) {
    if (args[i] === '--') {
      names.push(...args.slice(i + 1));
      break;
    }
    if (!args[i].startsWith('--')) {
      names.push(args[i]);
      continue;
    }
    const option = args[i].slice(2);
    if (FLAGS.has(option)) options[option] = true;
    else if (WITH_VALUE.has(option) && i + 1 < args.length) options[option] = args[i += 1];
    else throw new CommandError(EXIT.usage, `unknown option, or without its value: --${option}`);
  }
  return { options, names };
}

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** "75s" → 75000 */
export function parseDuration(text) {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  if (!match) throw new CommandError(EXIT.usage, `not a time: ${text}`);
  return Number(match[1]) * UNIT_MS[match[2] ?? 's'];
}
