/** Conversations as JSON (all of it, and back) and as Markdown (the branch that is shown). */
import { t } from '../i18n';
import * as db from '../store/db';
import type { Conversation, Message } from '../store/types';
import { loadConversations, newConversation, openConversation } from './conversations';
import { current } from './state';
import { pathTo, splitThinking } from './thread';

const FORMAT = 'picolm-conversations';

interface Exported {
  format: typeof FORMAT;
  version: 1;
  exported: string;
  conversations: (Conversation & { messages: Message[] })[];
}

/** All conversations, or one, with all branches. */
export async function exportJson(id?: string): Promise<void> {
  const [conversations, messages] = await Promise.all([db.allConversations(), db.allMessages()]);
  const chosen = conversations.filter((one) => id === undefined || one.id === id);
  const of = grouped(messages);
  const file: Exported = {
    format: FORMAT,
    version: 1,
    exported: new Date().toISOString(),
    conversations: chosen.map((one) => ({ ...one, messages: (of.get(one.id) ?? []).sort((a, b) => a.created - b.created) })),
  };
  const name = id === undefined ? 'picolm-conversations' : fileName(chosen[0]?.title);
  save(`${name}.json`, JSON.stringify(file, null, 1), 'application/json');
}

export async function exportMarkdown(id: string): Promise<void> {
  const conversation = current().conversations.find((one) => one.id === id);
  if (!conversation) return;
  const parts = pathTo(await db.messagesOf(id), conversation.head).map((message) => {
    const who = message.role === 'user' ? t('message.you') : (message.model ?? t('message.assistant'));
    return `## ${who}\n\n${splitThinking(message.content).answer.trim()}\n`;
  });
  save(`${fileName(conversation.title)}.md`, `# ${conversation.title}\n\n${parts.join('\n')}`, 'text/markdown');
}

/** Adds the conversations of a file; those that are here already are replaced. Returns how many. Throws an error for people. */
export async function importJson(file: Blob): Promise<number> {
  const list = parse(await file.text());
  await db.save(
    list.map(({ messages: _, ...conversation }) => conversation),
    list.flatMap(({ messages }) => messages),
  );
  await loadConversations();
  const open = current().current;
  if (open && current().conversations.some(({ id }) => id === open.id)) await openConversation(open.id);
  else newConversation();
  return list.length;
}

function parse(text: string): Exported['conversations'] {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error(t('import.no_json'));
  }
  if (!isObject(file) || file['format'] !== FORMAT || !Array.isArray(file['conversations'])) throw new Error(t('import.other'));
  if (file['version'] !== 1) throw new Error(t('import.version', { version: String(file['version']) }));
  return file['conversations'].map(conversation);
}

function conversation(value: unknown, index: number): Exported['conversations'][number] {
  const broken = () => new Error(t('import.broken', { n: index + 1 }));
  if (!isObject(value) || !Array.isArray(value['messages'])) throw broken();
  const { id, title, created, updated, head } = value;
  if (typeof id !== 'string' || !id || typeof title !== 'string') throw broken();
  if (typeof created !== 'number' || typeof updated !== 'number' || !(head === null || typeof head === 'string')) throw broken();
  const messages = value['messages'].map((one): Message => {
    const right = isObject(one) && one['conversation'] === id && ['user', 'assistant'].includes(one['role'] as string);
    if (!right || typeof one['id'] !== 'string' || typeof one['content'] !== 'string' || typeof one['created'] !== 'number') throw broken();
    if (!(one['parent'] === null || typeof one['parent'] === 'string')) throw broken();
    return one as unknown as Message;
  });
  return { id, title, created, updated, head, messages };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function grouped(messages: readonly Message[]): Map<string, Message[]> {
  const groups = new Map<string, Message[]>();
  for (const message of messages) {
    const group = groups.get(message.conversation);
    if (group) group.push(message);
    else groups.set(message.conversation, [message]);
  }
  return groups;
}

function fileName(title = 'picolm'): string {
  return title.replace(/[^\p{L}\p{N} _-]+/gu, '').trim().slice(0, 60) || 'picolm';
}

function save(name: string, text: string, type: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
