/**
 * A store in the user's cache folder, for Node, Deno and Bun. The only module that imports `node:` ones, and none of the others
 * imports it, so that bundlers for browsers never see them.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PicolmError } from '../errors.js';
import { FileLocks } from './file-locks.js';
import type { FileHandle, Store } from './types.js';

const KEY = /^\w[\w.-]*$/;

/** A store in `folder`; by default in the user's cache. Throws `storage_unavailable` where it cannot be made. */
export function fileStore(folder: string = path.join(cacheFolder(), 'picolm', 'models')): Store {
  try {
    fs.mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new PicolmError('storage_unavailable', `The folder ${folder} cannot be used: ${(error as Error).message}.`, { folder }, error);
  }
  const place = (key: string, name = '') => {
    // Keys are made by `parseSource`, but may come back from a caller.
    if (!KEY.test(key)) throw new PicolmError('invalid_request', `"${key}" is not the key of a model.`);
    return path.join(folder, key, name);
  };
  const locks = new FileLocks(folder);
  return {
    kind: 'files',
    keys: async () =>
      fs
        .readdirSync(folder, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name),
    open: async (key, name, mode) => {
      if (mode === 'write') fs.mkdirSync(place(key), { recursive: true });
      return openFile(place(key, name), mode);
    },
    text: async (key, name) => {
      try {
        return fs.readFileSync(place(key, name), 'utf8');
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
    removeFile: async (key, name) => removePath(place(key, name)),
    remove: async (key) => removePath(place(key)),
    space: async () => {
      const { bavail, bsize } = fs.statfsSync?.(folder) ?? {}; // Not every Bun and Deno has it.
      return bavail === undefined ? undefined : { free: bavail * bsize! };
    },
    lock: (key, request) => locks.lock(key, request),
  };
}

/** Opens a file by its path. `write` makes it if need be. Error: `model_not_found`. */
export function openFile(file: string, mode: 'read' | 'write' = 'read'): FileHandle {
  const { O_RDWR, O_CREAT } = fs.constants;
  let fd;
  try {
    fd = fs.openSync(file, mode === 'read' ? 'r' : O_RDWR | O_CREAT, 0o644);
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new PicolmError('model_not_found', `There is no file ${file}.`, { file }, error);
  }
  if (!fs.fstatSync(fd).isDirectory()) return new NodeHandle(fd);
  fs.closeSync(fd);
  throw new PicolmError('model_not_found', `${file} is a folder: name the .gguf file in it.`, { file });
}

/** Where the user's caches are, by the conventions of the system. */
export function cacheFolder(): string {
  const home = os.homedir();
  if (process.platform === 'win32') return process.env.LOCALAPPDATA || path.join(home, 'AppData', 'Local');
  if (process.platform === 'darwin') return path.join(home, 'Library', 'Caches');
  return process.env.XDG_CACHE_HOME || path.join(home, '.cache');
}

class NodeHandle implements FileHandle {
  constructor(private readonly fd: number) {}

  getSize(): number {
    return fs.fstatSync(this.fd).size;
  }

  read(into: Uint8Array, { at }: { at: number }): number {
    let count = 0;
    for (let more = 1; more > 0 && count < into.length; count += more) {
      more = fs.readSync(this.fd, into, count, into.length - count, at + count);
    }
    return count;
  }

  write(bytes: Uint8Array, { at }: { at: number }): void {
    for (let count = 0; count < bytes.length; ) count += fs.writeSync(this.fd, bytes, count, bytes.length - count, at + count);
  }

  truncate(size: number): void {
    fs.ftruncateSync(this.fd, size);
  }

  flush(): void {
    fs.fdatasyncSync(this.fd);
  }

  close(): void {
    fs.closeSync(this.fd);
  }
}

function removePath(target: string): void {
  try {
    fs.rmSync(target, { recursive: true, force: true });
  } catch (error) {
    if (!['EBUSY', 'EPERM', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    throw new PicolmError('model_in_use', `${target} is open in another program. Close it there, then try again.`, {}, error);
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
