/**
 * The other tabs of this page. What one writes into the database the others show; a conversation has one writer at a time.
 *
 * ```text
 *   database ──► changed(ids) ──► channel ──► the other tabs read these again
 *   answer begins ──► lock of the conversation; { writing: id } ──► the others wait for that lock, and so know when it ends
 * ```
 *
 * A tab that dies gives its locks back, so nobody waits for ever.
 */
import * as db from '../store/db';
import { current, update } from './state';

type Word = { changed: string[] } | { writing: string };

const channel = new BroadcastChannel('picolm');
const nameOf = (conversation: string) => `picolm-conversation:${conversation}`;

/** Tells the others what is written here, and `seen` what they write. */
export async function watchTabs(seen: (conversations: ReadonlySet<string>) => void): Promise<void> {
  db.onChange((conversations) => channel.postMessage({ changed: conversations } satisfies Word));
  channel.onmessage = ({ data }: MessageEvent<Word>) => {
    if ('writing' in data) void awaitWriter(data.writing, seen);
    else seen(new Set(data.changed));
  };
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  for (const { name = '' } of held) if (name.startsWith(nameOf(''))) void awaitWriter(name.slice(nameOf('').length), seen);
}

/** Does `work` as the conversation's only writer; returns whether it could. Pages without https have no locks: there it just does it. */
export async function asWriter(conversation: string, work: () => Promise<void>): Promise<boolean> {
  if (!navigator.locks) return work().then(() => true);
  return navigator.locks.request(nameOf(conversation), { ifAvailable: true }, async (lock) => {
    if (!lock) return false;
    channel.postMessage({ writing: conversation } satisfies Word);
    await work();
    return true;
  });
}

async function awaitWriter(conversation: string, seen: (conversations: ReadonlySet<string>) => void): Promise<void> {
  if (current().answer?.conversation === conversation || current().writers.has(conversation)) return;
  update({ writers: new Set([...current().writers, conversation]) });
  await navigator.locks.request(nameOf(conversation), { mode: 'shared' }, () => {});
  update({ writers: new Set([...current().writers].filter((id) => id !== conversation)) });
  seen(new Set([conversation]));
}
