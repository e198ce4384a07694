/** What there is in a store: list, open, validate, remove. */
import { PicolmError, throwIfAborted } from '../errors.js';
import { PrefixHash } from './hash.js';
import { blockBytes, dataName, describe, readJournal } from './journal.js';
import { throttled } from './progress.js';
import type { FileHandle, Hasher, Lock, Progress, Store, StoredModel } from './types.js';

/** All models of a store, whole and begun, the oldest first. */
export async function list(store: Store): Promise<StoredModel[]> {
  const models = await Promise.all((await store.keys()).map(async (key) => describe(key, await readJournal(store, key))));
  return models.sort((a, b) => (a.added < b.added ? -1 : 1));
}

/** A model whose files are open for reading. */
export interface OpenModel {
  model: StoredModel;
  /** In the order of the parts. */
  files: FileHandle[];
  /** Until then the model cannot be removed or downloaded anew, here or in another tab. */
  close(): void;
}

/** Opens a whole model for reading; several tabs may at once. Errors: `model_not_found`, `invalid_model`; AbortError. */
export async function openModel(store: Store, key: string, signal?: AbortSignal): Promise<OpenModel> {
  const lock = (await store.lock(key, { mode: 'shared', wait: true, signal }))!;
  const files: FileHandle[] = [];
  const close = () => {
    for (const file of files.splice(0)) file.close();
    lock.release();
  };
  try {
    const model = await stored(store, key);
    for (const [index, { name, bytes }] of model.files.entries()) {
      throwIfAborted(signal);
      const file = await store.open(key, dataName(index), 'read');
      files.push(file);
      if (file.getSize() === bytes) continue;
      const message = `${name} should have ${bytes} bytes but has ${file.getSize()} on disk. Remove the model and download it again.`;
      throw new PicolmError('invalid_model', message, { file: name, bytes, onDisk: file.getSize() });
    }
    return { model, files: [...files], close };
  } catch (error) {
    close();
    throw error;
  }
}

/** What `validate` found. */
export interface Validation {
  valid: boolean;
  /** For each file the SHA-256 that was recorded when it came, and the one it has now. */
  files: { name: string; expected: string; actual: string }[];
}

/** Reads all of a model and compares it with the SHA-256 recorded when it was downloaded. Changes nothing. */
export async function validate(
  store: Store,
  key: string,
  options: { hasher: () => Hasher; progress?: ((progress: Progress) => void) | undefined; signal?: AbortSignal | undefined },
): Promise<Validation> {
  const signal = options.signal ?? new AbortController().signal;
  const say = throttled(options.progress);
  const open = await openModel(store, key, signal);
  try {
    const { model } = open;
    const files: Validation['files'] = [];
    let before = 0;
    for (const [index, { name, bytes, sha256 }] of model.files.entries()) {
      const done = new Set<number>();
      for (let block = 0; blockBytes(block, bytes) > 0; block++) done.add(block);
      const hash = new PrefixHash(open.files[index]!, { version: { bytes }, done }, options.hasher);
      const step = () => say({ phase: 'verify', loaded: before + hash.hashed, total: model.bytes, file: name });
      files.push({ name, expected: sha256!, actual: await hash.run(signal, step) });
      before += bytes;
    }
    return { valid: files.every(({ expected, actual }) => expected === actual), files };
  } finally {
    open.close();
  }
}

/** Removes a model, whole or begun. Error: `model_in_use` when any tab or process reads or downloads it. */
export async function remove(store: Store, key: string): Promise<void> {
  if (!(await store.keys()).includes(key)) throw notFound(key);
  const lock: Lock | undefined = await store.lock(key, { mode: 'exclusive', wait: false });
  if (!lock) throw new PicolmError('model_in_use', `The model ${key} is in use, here or in another tab. Close it there, then try again.`);
  try {
    await store.remove(key);
  } finally {
    lock.release();
  }
}

async function stored(store: Store, key: string): Promise<StoredModel> {
  const model = describe(key, await readJournal(store, key));
  if (model.files.length === 0) throw notFound(key);
  if (model.complete) return model;
  const message = `The model ${key} is not whole: ${model.bytesOnDisk} of ${model.bytes} bytes are on disk. Download it to its end first.`;
  throw new PicolmError('model_not_found', message, { key });
}

function notFound(key: string): PicolmError {
  return new PicolmError('model_not_found', `There is no stored model ${key}.`, { key });
}
