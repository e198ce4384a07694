/** The database: conversations, messages, what is known about models, settings. */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import { DEFAULTS, type Conversation, type FileNote, type Message, type ModelNote, type Settings } from './types';

interface Schema extends DBSchema {
  conversations: { key: string; value: Conversation };
  messages: { key: string; value: Message; indexes: { conversation: string } };
  models: { key: string; value: ModelNote };
  settings: { key: string; value: Partial<Settings> };
  files: { key: string; value: FileNote };
}

let opened: Promise<IDBPDatabase<Schema>> | undefined;

function database(): Promise<IDBPDatabase<Schema>> {
  return (opened ??= openDB<Schema>('picolm', 2, {
    upgrade(db, before) {
      if (before < 1) {
        db.createObjectStore('conversations', { keyPath: 'id' });
        db.createObjectStore('messages', { keyPath: 'id' }).createIndex('conversation', 'conversation');
        db.createObjectStore('models', { keyPath: 'url' });
        db.createObjectStore('settings');
      }
      db.createObjectStore('files', { keyPath: 'url' });
    },
    // Another tab wants a newer version: let it.
    blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
    terminated: () => void (opened = undefined),
  }));
}

let changed: (conversations: string[]) => void = () => {};

/** Whom to tell which conversations have been written. */
export function onChange(listener: typeof changed): void {
  changed = listener;
}

/** All conversations, the newest first. */
export async function allConversations(): Promise<Conversation[]> {
  const all = await (await database()).getAll('conversations');
  return all.sort((a, b) => b.updated - a.updated);
}

export async function messagesOf(conversation: string): Promise<Message[]> {
  const messages = await (await database()).getAllFromIndex('messages', 'conversation', conversation);
  return messages.sort((a, b) => a.created - b.created);
}

export async function allMessages(): Promise<Message[]> {
  return (await database()).getAll('messages');
}

/** Writes conversations and messages together: all or nothing. */
export async function save(conversations: readonly Conversation[], messages: readonly Message[]): Promise<void> {
  const change = (await database()).transaction(['conversations', 'messages'], 'readwrite');
  for (const conversation of conversations) void change.objectStore('conversations').put(conversation);
  for (const message of messages) void change.objectStore('messages').put(message);
  await change.done;
  changed([...new Set([...conversations.map(({ id }) => id), ...messages.map(({ conversation }) => conversation)])]);
}

/** Removes messages one by one, and conversations with all of theirs. */
export async function removeAll(conversations: readonly string[], messages: readonly string[]): Promise<void> {
  const change = (await database()).transaction(['conversations', 'messages'], 'readwrite');
  const store = change.objectStore('messages');
  for (const id of messages) void store.delete(id);
  for (const id of conversations) {
    void change.objectStore('conversations').delete(id);
    for (const key of await store.index('conversation').getAllKeys(id)) void store.delete(key);
  }
  await change.done;
  changed([...conversations]);
}

export async function clearConversations(): Promise<void> {
  const change = (await database()).transaction(['conversations', 'messages'], 'readwrite');
  void change.objectStore('conversations').clear();
  void change.objectStore('messages').clear();
  await change.done;
  changed([]);
}

export async function loadSettings(): Promise<Settings> {
  return { ...DEFAULTS, ...(await (await database()).get('settings', 'settings')) };
}

export async function saveSettings(settings: Settings): Promise<void> {
  await (await database()).put('settings', settings, 'settings');
}

export async function allNotes(): Promise<ModelNote[]> {
  return (await database()).getAll('models');
}

export async function saveNote(note: ModelNote): Promise<void> {
  await (await database()).put('models', note);
}

export async function removeNote(url: string): Promise<void> {
  await (await database()).delete('models', url);
}

export async function allFiles(): Promise<FileNote[]> {
  return (await database()).getAll('files');
}

export async function saveFile(note: FileNote): Promise<void> {
  await (await database()).put('files', note);
}

export async function removeFile(url: string): Promise<void> {
  await (await database()).delete('files', url);
}
