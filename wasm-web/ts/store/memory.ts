/** A store in memory, for where files are refused: it ends with its worker. Also the simplest example of a `Store`. */
import { PicolmError } from '../errors.js';
import { LocalLocks } from './locks.js';
import type { FileHandle, Store } from './types.js';

/** Options of `memoryStore`. */
export interface MemoryOptions {
  /** Why files are not used, for people. */
  why?: string | undefined;
  /**
   * Makes the bytes of one file of a model; `close` is called when it is removed. Default: JavaScript memory, growing in pieces.
   * A host that needs the weights in wasm memory anyway gives handles to that, and saves a copy.
   */
  allocate?: ((key: string, name: string) => FileHandle) | undefined;
}

/** Makes an empty store in memory. */
export function memoryStore({ why, allocate = () => new Pieces() }: MemoryOptions = {}): Store {
  const folders = new Map<string, Map<string, FileHandle>>();
  const locks = new LocalLocks();
  const file = (key: string, name: string) => folders.get(key)?.get(name);
  const removeFile = (key: string, name: string) => {
    file(key, name)?.close();
    folders.get(key)?.delete(name);
  };
  return {
    kind: 'memory',
    why,
    keys: async () => [...folders.keys()],
    open: async (key, name, mode) => {
      let found = file(key, name);
      if (!found && mode === 'read') throw new PicolmError('model_not_found', `There is no file ${name} of the model ${key}.`);
      if (!found) {
        found = name.endsWith('.gguf') ? allocate(key, name) : new Pieces();
        if (!folders.has(key)) folders.set(key, new Map());
        folders.get(key)!.set(name, found);
      }
      return staysOpen(found);
    },
    text: async (key, name) => {
      const found = file(key, name);
      if (!found) return undefined;
      const bytes = new Uint8Array(found.getSize());
      found.read(bytes, { at: 0 });
      return new TextDecoder().decode(bytes);
    },
    removeFile: async (key, name) => removeFile(key, name),
    remove: async (key) => {
      for (const name of folders.get(key)?.keys() ?? []) removeFile(key, name);
      folders.delete(key);
    },
    space: async () => undefined,
    lock: (key, request) => locks.lock(key, request),
  };
}

/** A handle whose `close` leaves the bytes where they are. */
function staysOpen(handle: FileHandle): FileHandle {
  return {
    getSize: () => handle.getSize(),
    read: (into, options) => handle.read(into, options),
    write: (bytes, options) => handle.write(bytes, options),
    truncate: (size) => handle.truncate(size),
    flush: () => {},
    close: () => {},
  };
}

const PIECE = 16 << 20;

/** Bytes in pieces of 16 MiB, so that growing copies nothing. */
class Pieces implements FileHandle {
  private pieces: Uint8Array[] = [];
  private length = 0;

  getSize(): number {
    return this.length;
  }

  read(into: Uint8Array, { at }: { at: number }): number {
    const count = Math.max(0, Math.min(into.length, this.length - at));
    this.each(at, count, (piece, from) => into.set(piece, from));
    return count;
  }

  write(bytes: Uint8Array, { at }: { at: number }): void {
    if (at + bytes.length > this.length) this.truncate(at + bytes.length);
    this.each(at, bytes.length, (piece, from) => piece.set(bytes.subarray(from, from + piece.length)));
  }

  truncate(size: number): void {
    const count = Math.ceil(size / PIECE);
    this.pieces.length = Math.min(this.pieces.length, count);
    try {
      // The first piece grows by doubling: journals are small.
      if (count === 1 && (this.pieces[0]?.length ?? 0) < size) this.resizeFirst(Math.min(PIECE, Math.max(4096, 2 * size)));
      else if (count > 1 && (this.pieces[0]?.length ?? 0) < PIECE) this.resizeFirst(PIECE);
      while (this.pieces.length < count) this.pieces.push(new Uint8Array(PIECE));
    } catch (error) {
      throw new PicolmError('out_of_memory', `There is no memory for the ${size} bytes of the model.`, { needed: size }, error);
    }
    this.length = size;
  }

  flush(): void {}

  close(): void {
    this.pieces = [];
    this.length = 0;
  }

  private resizeFirst(size: number): void {
    const first = new Uint8Array(size);
    if (this.pieces[0]) first.set(this.pieces[0]);
    this.pieces[0] = first;
  }

  /** Calls `visit` with the parts of pieces that hold `count` bytes at `at`, and where in those bytes they begin. */
  private each(at: number, count: number, visit: (part: Uint8Array, from: number) => void): void {
    for (let from = 0; from < count; ) {
      const offset = (at + from) % PIECE;
      const part = this.pieces[Math.floor((at + from) / PIECE)]!.subarray(offset, Math.min(PIECE, offset + count - from));
      visit(part, from);
      from += part.length;
    }
  }
}
