/** Conversations: open, rename, delete and take it back, branch, search. */
import { t } from '../i18n';
import * as db from '../store/db';
import type { Conversation, Message } from '../store/types';
import { forgetDrafts } from './drafts';
import { newId, now } from './id';
import { notify } from './notices';
import { current, update, type Found } from './state';
import { newestBelow, pathTo, splitThinking, subtree } from './thread';

export async function loadConversations(): Promise<void> {
  update({ conversations: await db.allConversations() });
}

/** Another tab has written these: they are read again, the open one too. */
export async function seenElsewhere(changed: ReadonlySet<string>): Promise<void> {
  await loadConversations();
  const { current: open, conversations, answer } = current();
  // One that is answered here is written here, and may not be in the database yet.
  if (!open || answer?.conversation === open.id) return;
  const conversation = conversations.find(({ id }) => id === open.id);
  if (!conversation) return newConversation();
  if (!changed.has(open.id)) return;
  const messages = (await db.messagesOf(open.id)).map(healed);
  if (current().current?.id === open.id && current().answer?.conversation !== open.id) update({ current: conversation, messages });
}

let turn = 0;
/** Whoever goes elsewhere meanwhile is not fetched back by what is still being read. */
export function leave(): number {
  return ++turn;
}

export async function openConversation(id: string): Promise<void> {
  const own = leave();
  const conversation = current().conversations.find((one) => one.id === id);
  if (!conversation) return newConversation();
  const messages = (await db.messagesOf(id)).map(healed);
  if (own !== turn) return;
  update({ current: conversation, messages, editing: undefined, drawer: false });
  location.hash = id;
  document.title = `${conversation.title} · picolm`;
}

/** An empty page; the conversation is made when its first message is sent. */
export function newConversation(): void {
  leave();
  update({ current: undefined, messages: [], editing: undefined, drawer: false });
  if (location.hash) history.replaceState(null, '', location.pathname + location.search);
  document.title = 'picolm';
}

/** Puts a changed conversation into the state (first in the list if it is newer) and the database. */
export async function keep(conversation: Conversation, messages: readonly Message[] = []): Promise<void> {
  const { conversations, current: open } = current();
  const others = conversations.filter((other) => other.id !== conversation.id);
  const list = [conversation, ...others].sort((a, b) => b.updated - a.updated);
  update({ conversations: list, ...(open?.id === conversation.id && { current: conversation }) });
  await db.save([conversation], messages);
}

export async function rename(id: string, title: string): Promise<void> {
  const conversation = current().conversations.find((one) => one.id === id);
  if (conversation && title.trim()) await keep({ ...conversation, title: title.trim() });
}

export async function removeConversation(id: string): Promise<void> {
  const conversation = current().conversations.find((one) => one.id === id);
  if (!conversation) return;
  const messages = await db.messagesOf(id);
  await db.removeAll([id], []);
  const { conversations, current: open, found } = current();
  update({ conversations: conversations.filter((one) => one.id !== id), found: found?.filter((one) => one.conversation.id !== id) });
  if (open?.id === id) newConversation();
  forgetDrafts((one) => one === id);
  const back = () => void keep(conversation, messages);
  notify(t('chat.deleted', { title: conversation.title }), { action: { label: t('undo'), run: back } });
}

export async function removeAllConversations(): Promise<void> {
  await db.clearConversations();
  update({ conversations: [], found: undefined, query: '' });
  forgetDrafts(() => true);
  newConversation();
}

/** Shows the branch of another sibling. */
export async function showBranch(message: Message): Promise<void> {
  const { current: open, messages } = current();
  if (open) await keep({ ...open, head: newestBelow(messages, message.id) });
}

/** Removes a message and all that answers it. */
export async function removeMessage(message: Message): Promise<void> {
  const { current: open, messages } = current();
  if (!open) return;
  const gone = new Set(subtree(messages, message.id));
  const removed = messages.filter(({ id }) => gone.has(id));
  const rest = messages.filter(({ id }) => !gone.has(id));
  const twin = rest.filter((other) => other.parent === message.parent && other.role === message.role).at(-1);
  const head = twin ? newestBelow(rest, twin.id) : message.parent;
  update({ messages: rest });
  await db.removeAll([], [...gone]);
  await keep({ ...open, head });
  const back = async () => {
    if (current().current?.id === open.id) update({ messages: [...current().messages, ...removed] });
    await keep(open, removed);
  };
  notify(t('message.deleted'), { action: { label: t('undo'), run: () => void back() } });
}

/** A new conversation that begins with all up to this message. */
export async function branchOff(message: Message): Promise<void> {
  const { current: open, messages } = current();
  if (!open) return;
  const id = newId();
  const ids = new Map<string, string>();
  const copies = pathTo(messages, message.id).map((one): Message => {
    ids.set(one.id, newId());
    return { ...one, id: ids.get(one.id)!, conversation: id, parent: one.parent && ids.get(one.parent)! };
  });
  const time = now();
  await keep({ id, title: t('chat.branch', { title: open.title }), created: time, updated: time, head: copies.at(-1)!.id }, copies);
  await openConversation(id);
}

let search = 0;
/** Looks in titles and messages; the newest conversations first. */
export async function find(query: string): Promise<void> {
  const own = ++search;
  update({ query });
  const wanted = query.trim().toLocaleLowerCase();
  if (!wanted) return update({ found: undefined });
  const texts = new Map<string, string>();
  for (const { conversation, content } of await db.allMessages()) {
    if (texts.has(conversation)) continue;
    const text = splitThinking(content).answer;
    const at = text.toLocaleLowerCase().indexOf(wanted);
    if (at >= 0) texts.set(conversation, excerpt(text, at, wanted.length));
  }
  if (own !== search) return;
  const found = current().conversations.flatMap((conversation): Found[] => {
    const text = texts.get(conversation.id);
    if (text === undefined && !conversation.title.toLocaleLowerCase().includes(wanted)) return [];
    return [{ conversation, excerpt: text ?? '' }];
  });
  update({ found });
}

function excerpt(text: string, at: number, length: number): string {
  const start = Math.max(0, at - 24);
  const part = text.slice(start, at + length + 60).replace(/\s+/g, ' ');
  return (start > 0 ? '…' : '') + part;
}

/** An answer that was being written when the browser ended; but another tab may be writing it now. */
function healed(message: Message): Message {
  const { answer, writers } = current();
  const live = answer?.message === message.id || writers.has(message.conversation);
  return message.status === 'writing' && !live ? { ...message, status: 'stopped' } : message;
}
