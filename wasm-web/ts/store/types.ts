/**
 * What the modules of this folder agree on.
 *
 * ```text
 *   URL ──► source ──► http ──► fetcher ──► FileHandle   (OPFS, files or memory: a Store)
 *           parts,    ranges,  connections      │
 *           key       retries                   ▼
 *                                 journal   PrefixHash ──► StoredModel
 * ```
 *
 * All of it runs in a worker: handles are synchronous.
 */

/**
 * A file's bytes, read and written synchronously, as the web's `FileSystemSyncAccessHandle` does it: the engine reads from any of these.
 * Offsets and sizes in bytes.
 */
export interface FileHandle {
  getSize(): number;
  /** Fills `into` from the offset `at`; returns how many bytes there were (fewer only at the end). */
  read(into: Uint8Array, options: { at: number }): number;
  /** Writes all of `bytes` at the offset `at`, or throws. */
  write(bytes: Uint8Array, options: { at: number }): void;
  truncate(size: number): void;
  /** Returns when what was written is on the disk. */
  flush(): void;
  close(): void;
}

/** A lock that is held; it also ends when its tab or process does. */
export interface Lock {
  release(): void;
  /** Aborts when the lock was lost (only possible where a process can be suspended for minutes). */
  readonly lost?: AbortSignal;
}

/** How a lock is asked for. Without `wait`, `undefined` comes back where it is held by another. */
export interface LockRequest {
  mode: 'exclusive' | 'shared';
  wait: boolean;
  signal?: AbortSignal | undefined;
}

/** Room for files, in bytes. */
export interface Space {
  free: number;
  quota?: number;
}

/** A place for models. Each has a folder, named by its key, in which are its files and its journal. */
export interface Store {
  readonly kind: 'opfs' | 'files' | 'memory';
  /** Why it is not the preferred kind, as a sentence for people. */
  readonly why?: string | undefined;
  /** The keys that have a folder. */
  keys(): Promise<string[]>;
  /** Opens a file. `write` makes it if need be, and only one may write; `read` may be held by many. */
  open(key: string, name: string, mode: 'read' | 'write'): Promise<FileHandle>;
  /** A small file as text, even while another writes it; `undefined` if there is none. */
  text(key: string, name: string): Promise<string | undefined>;
  removeFile(key: string, name: string): Promise<void>;
  /** Removes a folder with all its files. */
  remove(key: string): Promise<void>;
  /** The room there is, if it can be known. */
  space(): Promise<Space | undefined>;
  lock(key: string, request: LockRequest): Promise<Lock | undefined>;
}

/** A SHA-256 in the making. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The digest as 64 lowercase hex digits; ends the hasher. */
  hex(): string;
}

/** One file of a stored model. */
export interface StoredFile {
  /** The last part of the URL's path, for people. */
  name: string;
  /** Its size in bytes; 0 as long as it is not known. */
  bytes: number;
  /** Of the whole file; there once all of it has been read. */
  sha256?: string | undefined;
}

/** A model in a store, whole or not yet. */
export interface StoredModel {
  /** Names the model in its store, and nothing else. */
  key: string;
  /** Where it came from (the first part), without query, fragment and password. */
  url: string;
  files: StoredFile[];
  /** Sum of the files' sizes, as far as known. */
  bytes: number;
  complete: boolean;
  bytesOnDisk: number;
  /** When the download began, ISO 8601. */
  added: string;
}

/** What goes on; sent at most ten times a second, but always at the beginning and the end of a phase. */
export interface Progress {
  phase: 'waiting' | 'download' | 'verify' | 'load';
  /** Bytes of the phase that are done, and of all of it if that is known. */
  loaded: number;
  total?: number | undefined;
  /** The file at hand, where there are several. */
  file?: string | undefined;
  /** Bytes that were there already when this call began. */
  resumedFrom?: number | undefined;
  /** A sentence for people: why it waits, retries or starts over. */
  note?: string | undefined;
}

/** Bytes are fetched, written and hashed in blocks of this size. */
export const BLOCK = 1 << 20;
