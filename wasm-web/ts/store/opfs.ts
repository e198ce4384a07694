/** A store in the browser's origin-private file system. For dedicated workers: only they have synchronous handles. */
import { PicolmError, abortError } from '../errors.js';
import { sleep } from './http.js';
import type { FileHandle, Lock, LockRequest, Store } from './types.js';

/** The folder of the origin in which the models are. */
const FOLDER = 'picolm-models';
const LOCK_PREFIX = 'picolm-model:';
/** A handle of a tab that has just died may take a moment to vanish. */
const HANDLE_TRIES = 25;
const HANDLE_WAIT_MS = 200;

/** TypeScript's library for pages does not have these. */
interface SyncAccessHandle extends FileHandle {
  write(bytes: Uint8Array, options: { at: number }): number;
}
type WorkerFile = FileSystemFileHandle & { createSyncAccessHandle(options?: { mode: string }): Promise<SyncAccessHandle> };
interface BlobReader {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}
interface WorkerGlobals {
  FileReaderSync?: new () => BlobReader;
  FileSystemSyncAccessHandle?: { prototype: object };
}
const globals = (): WorkerGlobals => globalThis as unknown as WorkerGlobals;

/** Opens the store, or says in a sentence why there cannot be one. */
export async function opfsStore(): Promise<Store | { why: string }> {
  if (typeof navigator === 'undefined' || !navigator.storage?.getDirectory) {
    const secure = globalThis.isSecureContext !== false;
    return {
      why: secure ? 'This browser has no private file system (OPFS).' : 'The page is not served over https, and so has no file system.',
    };
  }
  if (!globals().FileSystemSyncAccessHandle) return { why: 'This browser has no synchronous file access in workers.' };
  try {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(FOLDER, { create: true });
    await (probed ??= probe(folder));
    return new Opfs(folder);
  } catch (error) {
    return { why: `The browser refuses files here, as it does in some private windows (${(error as Error).message}).` };
  }
}

let probed: Promise<void> | undefined;

/** Some browsers have all names of this and refuse at the file itself: better known before a download than after it. */
async function probe(folder: FileSystemDirectoryHandle): Promise<void> {
  const name = `probe-${crypto.getRandomValues(new Uint32Array(2)).join('-')}`;
  try {
    const file = (await folder.getFileHandle(name, { create: true })) as WorkerFile;
    (await file.createSyncAccessHandle()).close();
    await folder.removeEntry(name);
  } catch (error) {
    // A full disk is no refusal.
    if ((error as Error).name !== 'QuotaExceededError') throw error;
  }
}

class Opfs implements Store {
  readonly kind = 'opfs';

  constructor(private readonly root: FileSystemDirectoryHandle) {}

  async keys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const [name, { kind }] of this.root.entries()) if (kind === 'directory') keys.push(name);
    return keys;
  }

  async open(key: string, name: string, mode: 'read' | 'write'): Promise<FileHandle> {
    const file = await this.file(key, name, mode === 'write');
    if (!file) throw new PicolmError('model_not_found', `There is no file ${name} of the model ${key}.`);
    if (mode === 'write') return checked(await exclusive(file));
    // Where handles for reading cannot be shared between tabs, a snapshot of the file can.
    const sharing = 'mode' in globals().FileSystemSyncAccessHandle!.prototype;
    const handle = sharing ? await file.createSyncAccessHandle({ mode: 'read-only' }).catch(() => undefined) : undefined;
    return handle ?? blobHandle(await file.getFile());
  }

  async text(key: string, name: string): Promise<string | undefined> {
    const file = await this.file(key, name, false);
    for (let tries = 1; file; tries++) {
      try {
        return await (await file.getFile()).text();
      } catch (error) {
        // A snapshot cannot be read any more when another tab has written to the file since: take the next.
        if ((error as Error).name !== 'NotReadableError' || tries === HANDLE_TRIES) throw error;
      }
    }
    return undefined;
  }

  async removeFile(key: string, name: string): Promise<void> {
    const folder = await this.root.getDirectoryHandle(key);
    await removeEntry(folder, name, `the file ${name} of the model ${key}`);
  }

  remove(key: string): Promise<void> {
    return removeEntry(this.root, key, `the model ${key}`);
  }

  async space(): Promise<{ free: number; quota: number } | undefined> {
    const { usage, quota } = await navigator.storage.estimate();
    return quota === undefined ? undefined : { free: Math.max(0, quota - (usage ?? 0)), quota };
  }

  lock(key: string, { mode, wait, signal }: LockRequest): Promise<Lock | undefined> {
    return new Promise((resolve, reject) => {
      const options: LockOptions = wait ? { mode, ...(signal && { signal }) } : { mode, ifAvailable: true };
      // The lock is held for as long as the promise that the callback returns is pending.
      const hold = (lock: unknown) => new Promise<void>((release) => resolve(lock ? { release } : (release(), undefined)));
      navigator.locks.request(LOCK_PREFIX + key, options, hold).catch((error: unknown) => {
        reject(signal?.aborted ? abortError(undefined, signal.reason) : error);
      });
    });
  }

  private async file(key: string, name: string, create: boolean): Promise<WorkerFile | undefined> {
    try {
      const folder = await this.root.getDirectoryHandle(key, { create });
      return (await folder.getFileHandle(name, { create })) as WorkerFile;
    } catch (error) {
      if ((error as Error).name === 'NotFoundError') return undefined;
      throw error;
    }
  }
}

/** Writes all or throws. */
function checked(handle: SyncAccessHandle): FileHandle {
  const full = () => new DOMException('The storage is full.', 'QuotaExceededError');
  return {
    getSize: () => handle.getSize(),
    read: (into, options) => handle.read(into, options),
    write: (bytes, options) => {
      if (handle.write(bytes, options) !== bytes.length) throw full();
    },
    truncate: (size) => {
      handle.truncate(size);
      // Chromium's private windows do not throw when there is no room; they just do not grow the file.
      if (handle.getSize() !== size) throw full();
    },
    flush: () => handle.flush(),
    close: () => handle.close(),
  };
}

/** Reads a Blob or File synchronously; for files that a user picked, and files that other tabs have open too. */
export function blobHandle(blob: Blob): FileHandle {
  const refuse = () => {
    throw new PicolmError('storage_unavailable', 'This file is open for reading only.');
  };
  const reader = new (globals().FileReaderSync!)();
  return {
    getSize: () => blob.size,
    read: (into, { at }) => {
      const bytes = new Uint8Array(reader.readAsArrayBuffer(blob.slice(at, at + into.length)));
      into.set(bytes);
      return bytes.length;
    },
    write: refuse,
    truncate: refuse,
    flush: () => {},
    close: () => {},
  };
}

async function exclusive(file: WorkerFile): Promise<SyncAccessHandle> {
  for (let tries = 1; ; tries++) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if ((error as Error).name !== 'NoModificationAllowedError') throw error;
      if (tries === HANDLE_TRIES) {
        throw new PicolmError('model_in_use', 'Another tab has this model open. Close it there, then try again.', {}, error);
      }
      await sleep(HANDLE_WAIT_MS);
    }
  }
}

async function removeEntry(folder: FileSystemDirectoryHandle, name: string, what: string): Promise<void> {
  try {
    await folder.removeEntry(name, { recursive: true });
  } catch (error) {
    if ((error as Error).name === 'NotFoundError') return;
    if ((error as Error).name !== 'NoModificationAllowedError') throw error;
    throw new PicolmError('model_in_use', `Another tab has ${what} open. Close it there, then try again.`, {}, error);
  }
}
