// Showing messages: each once, in the order in which they became whole, with the gap before it.
import { uuidText } from './messages.js';
import { NOTE_TAKEN_BACK } from './receiving.js';
import { isMissing } from './sessions.js';

/** Takes what was not shown yet out of the session; the caller commits and prints. */
export function takeUnshown(session) {
  const messages = session.inbox;
  session.inbox = [];
  return messages.map(({ id, position, text, note }) => ({
    type: 'message', id: uuidText(id), contact: session.label,
    ...(text === null ? { note } : { text }),
    gap: note === NOTE_TAKEN_BACK ? 0 : takeGap(session, position),
  }));
}

/** How many numbers are missing between what was accounted for and this one. */
function takeGap(session, position) {
  let gap = 0;
  for (let seq = session.accounted + 1; seq < position; seq += 1) if (isMissing(session, seq)) gap += 1;
  session.accounted = Math.max(session.accounted, position);
  return gap;
}
