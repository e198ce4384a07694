/** A conversation is a tree of messages; what is shown is the path from its root to its head. Pure functions. */
import type { Message } from '../store/types';

/** The messages from the root to `head`. */
export function pathTo(messages: readonly Message[], head: string | null): Message[] {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const path: Message[] = [];
  for (let at = head; at !== null; ) {
    const message = byId.get(at);
    // A parent that is gone ends the path; one that comes twice (a broken import) too.
    if (!message || path.length > messages.length) break;
    path.push(message);
    at = message.parent;
  }
  return path.reverse();
}

/** The messages that stand in the same place, the oldest first. */
export function siblingsOf(messages: readonly Message[], message: Message): Message[] {
  const same = (other: Message) => other.parent === message.parent && other.role === message.role;
  return messages.filter(same).sort((a, b) => a.created - b.created);
}

/** The newest message below `id`: where a branch goes on. */
export function newestBelow(messages: readonly Message[], id: string): string {
  const below = new Set(subtree(messages, id));
  const leaves = messages.filter((message) => below.has(message.id));
  return leaves.reduce((newest, message) => (message.created >= newest.created ? message : newest), leaves[0]!).id;
}

/** `id` and all that answers it. */
export function subtree(messages: readonly Message[], id: string): string[] {
  const found = [id];
  for (let at = 0; at < found.length && found.length <= messages.length; at++) {
    for (const message of messages) if (message.parent === found[at]) found.push(message.id);
  }
  return found;
}

/** A title from the first message: its first line, at most 48 characters, cut between words. */
export function titleOf(text: string): string {
  const line = text.trim().split('\n')[0]!.replace(/\s+/g, ' ');
  if (line.length <= 48) return line;
  const cut = line.slice(0, 48);
  const space = cut.lastIndexOf(' ');
  return `${space > 24 ? cut.slice(0, space) : cut}…`;
}

/** What is looked for in a loop: parts of at most so many characters, three in a row, and together at least as many as the second. */
const [PART, AT_LEAST] = [400, 240];

/** Whether a text ends with the same again and again, as answers of small models do that have lost their way. */
export function endsInLoop(text: string): boolean {
  for (let part = 1; part <= PART; part++) {
    const same = Math.max(3 * part, AT_LEAST) - part;
    if (same + part > text.length) return false;
    let at = 1;
    while (at <= same && text[text.length - at] === text[text.length - at - part]) at++;
    if (at > same) return true;
  }
  return false;
}

/** What a model thought before it answered, and its answer. `open`: it is still thinking. */
export interface Parts {
  thinking: string;
  answer: string;
  open: boolean;
}

/** Some templates begin the thinking themselves, so that only its end is in the text. */
export function splitThinking(text: string): Parts {
  const end = text.indexOf('</think>');
  const begins = /^\s*<think>/.exec(text);
  if (end >= 0) {
    const thinking = text.slice(begins?.[0].length ?? 0, end).trim();
    return { thinking, answer: text.slice(end + '</think>'.length).trimStart(), open: false };
  }
  if (begins) return { thinking: text.slice(begins[0].length).trim(), answer: '', open: true };
  return { thinking: '', answer: text, open: false };
}
