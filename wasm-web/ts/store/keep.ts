/** `keep`: the files of a model that somebody picked, copied into a store. */
import { PicolmError, throwIfAborted } from '../errors.js';
import { isFull, noRoom } from './download.js';
import { sleep } from './http.js';
import { Journal, dataName, describe, readJournal } from './journal.js';
import { throttled } from './progress.js';
import { slugOf } from './source.js';
import { BLOCK, type FileHandle, type Hasher, type Progress, type Store, type StoredModel } from './types.js';

/** Options of `keep`: the parts of a model in order, and what they are called. */
export interface KeepOptions {
  files: readonly { name: string; handle: FileHandle }[];
  hasher: () => Hasher;
  progress?: ((progress: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

const AT_ONCE = 4 * BLOCK;

/**
 * Copies files into the store. The same names and sizes are the same model: what is there already is not copied again. Errors:
 * `quota_exceeded`, `model_in_use`, `storage_unavailable`; AbortError. Nothing is left of a copy that did not come to its end.
 */
export async function keep(store: Store, { files, hasher, progress, signal }: KeepOptions): Promise<StoredModel> {
  const names = files.map(({ name }) => name);
  const [first] = names;
  if (first === undefined) throw new PicolmError('invalid_request', 'No file was given.');
  if (store.kind === 'memory') throw new PicolmError('storage_unavailable', `Nothing can be kept here: ${store.why}`);
  const key = keyOf(files, hasher());
  const there = describe(key, await readJournal(store, key));
  if (there.complete) return there;
  const lock = await store.lock(key, { mode: 'exclusive', wait: false });
  if (!lock) throw new PicolmError('model_in_use', `Another tab is copying ${first}. Wait for it, then try again.`);
  try {
    const journal = await Journal.open(store, key, `file:${encodeURIComponent(first)}`, names);
    try {
      await copyAll(store, key, journal, { files, hasher, progress, signal });
      return describe(key, journal.state);
    } finally {
      journal.close();
    }
  } catch (error) {
    await store.remove(key);
    throw isFull(error) ? noRoom(files.reduce((sum, { handle }) => sum + handle.getSize(), 0), await store.space()) : error;
  } finally {
    lock.release();
  }
}

async function copyAll(store: Store, key: string, journal: Journal, { files, hasher, progress, signal }: KeepOptions): Promise<void> {
  const say = throttled(progress);
  const total = files.reduce((sum, { handle }) => sum + handle.getSize(), 0);
  let loaded = 0;
  for (const [index, { name, handle }] of files.entries()) {
    const bytes = handle.getSize();
    journal.begin(index, { bytes });
    const copy = await store.open(key, dataName(index), 'write');
    try {
      copy.truncate(bytes);
      const [hash, piece] = [hasher(), new Uint8Array(Math.min(AT_ONCE, bytes))];
      for (let at = 0; at < bytes; ) {
        const count = handle.read(piece.subarray(0, Math.min(piece.length, bytes - at)), { at });
        if (count === 0) throw new PicolmError('storage_unavailable', `${name} became shorter while it was read.`);
        copy.write(piece.subarray(0, count), { at });
        hash.update(piece.subarray(0, count));
        at += count;
        loaded += count;
        say({ phase: 'download', loaded, total, file: files.length > 1 ? name : undefined });
        await sleep(0, signal);
        throwIfAborted(signal);
      }
      copy.flush();
      journal.finish(index, hash.hex(), bytes);
    } finally {
      copy.close();
    }
  }
}

function keyOf(files: KeepOptions['files'], hasher: Hasher): string {
  hasher.update(new TextEncoder().encode(files.map(({ name, handle }) => `file:${name} ${handle.getSize()}\n`).join('')));
  return `${slugOf(files[0]!.name)}-${hasher.hex().slice(0, 16)}`;
}
