/**
 * `download`: a model from its URL into a store, from wherever it stopped the last time.
 *
 * ```text
 * whole already? ── yes ──► done, without a request
 *      │ no
 * lock (or wait for the tab that has it, and share what it fetched)
 *      │
 * probe every part ──► changed since? begin anew, and say so
 *      │
 * room enough? ──► fetch part by part, hash along ──► compare ──► journal: whole
 * ```
 */
import { PicolmError, isAbort, throwIfAborted } from '../errors.js';
import { fetchFile } from './fetcher.js';
import { Changed, Remote, differ, sleep, type HttpOptions, type Probe } from './http.js';
import { Journal, blockBytes, dataName, describe, readJournal } from './journal.js';
import { inWords, throttled } from './progress.js';
import { parseSource, type Source, type SourceOptions } from './source.js';
import { BLOCK, type Hasher, type Lock, type Progress, type Space, type Store, type StoredModel } from './types.js';

/** Options of `download`. */
export interface DownloadOptions extends SourceOptions {
  /** Sent to the given host; never stored. The platform drops `Authorization` when a redirect leads to another host. */
  headers?: Readonly<Record<string, string>> | undefined;
  progress?: ((progress: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Requests at a time; 4. */
  connections?: number | undefined;
  /** Failures in a row after which it gives up; 6. */
  retries?: number | undefined;
  /** Wait after the first failure, doubled after each further one, in ms; 500. */
  retryDelay?: number | undefined;
  /** Makes a SHA-256. */
  hasher: () => Hasher;
}

const MAX_CONNECTIONS = 16;
const STALL_MS = 30_000;
/** How often a file may change under our hands. */
const MAX_ROUNDS = 3;
const WATCH_MS = 500;

/**
 * Makes sure that a model is in the store, whole and verified. Errors: `model_not_found`, `download_interrupted` (what came is
 * kept), `checksum_mismatch` (the bad file is removed), `quota_exceeded`, `model_in_use`, `invalid_request`; and AbortError.
 */
export async function download(store: Store, options: DownloadOptions): Promise<StoredModel> {
  throwIfAborted(options.signal);
  const source = parseSource(options, options.hasher);
  const say = throttled(options.progress);
  const there = await whole(store, source);
  if (there) return there;
  const lock = await takeLock(store, source.key, say, options.signal);
  try {
    return (await whole(store, source)) ?? (await new Download(store, source, options, say, lock).run());
  } finally {
    lock.release();
  }
}

/** The first bytes of each part of a model on its server, and the parts' sizes; nothing is stored. Errors as `download`. */
export async function peek(
  options: SourceOptions & Pick<DownloadOptions, 'headers' | 'signal' | 'retries' | 'retryDelay' | 'hasher'>,
  count: number,
): Promise<{ name: string; bytes: number | undefined; head: Uint8Array }[]> {
  const signal = options.signal ?? new AbortController().signal;
  throwIfAborted(signal);
  const heads = parseSource(options, options.hasher).parts.map(async ({ url, name }) => {
    return {
      name,
      ...(await new Remote(
        url,
        httpOptions(options, () => {}),
      ).head(count, signal)),
    };
  });
  return Promise.all(heads);
}

function httpOptions({ headers, retries = 6, retryDelay = 500 }: Partial<DownloadOptions>, note: HttpOptions['note']): HttpOptions {
  return { headers, retries, retryDelay, stall: STALL_MS, note };
}

/** The model, if it is whole, is the one that is wanted, and its files are really there. */
async function whole(store: Store, source: Source): Promise<StoredModel | undefined> {
  const model = describe(source.key, await readJournal(store, source.key));
  const wanted = source.parts.every(({ sha256 }, i) => sha256 === undefined || sha256 === model.files[i]?.sha256);
  if (!model.complete || !wanted || model.files.length !== source.parts.length) return undefined;
  for (const [i, { bytes }] of model.files.entries()) {
    if ((await sizeOf(store, source.key, i)) !== bytes) return undefined;
  }
  return model;
}

/** Size of a part's file; 0 if there is none. */
async function sizeOf(store: Store, key: string, index: number): Promise<number> {
  try {
    const handle = await store.open(key, dataName(index), 'read');
    const size = handle.getSize();
    handle.close();
    return size;
  } catch (error) {
    if (error instanceof PicolmError && error.code === 'model_not_found') return 0;
    throw error;
  }
}

/** Takes the model's lock; while another has it, tells how far that one's download is. */
async function takeLock(store: Store, key: string, say: (progress: Progress) => void, signal?: AbortSignal): Promise<Lock> {
  const free = await store.lock(key, { mode: 'exclusive', wait: false });
  if (free) return free;
  const watching = new AbortController();
  const watch = async () => {
    for (; !watching.signal.aborted; await sleep(WATCH_MS, watching.signal)) {
      const { bytesOnDisk, bytes } = describe(key, await readJournal(store, key));
      const note = 'Another tab or process is downloading or using this model; waiting for it.';
      if (!watching.signal.aborted) say({ phase: 'waiting', loaded: bytesOnDisk, total: bytes || undefined, note });
    }
  };
  watch().catch(() => {}); // It only informs.
  try {
    return (await store.lock(key, { mode: 'exclusive', wait: true, signal }))!;
  } finally {
    watching.abort();
  }
}

/** A download under its lock. */
class Download {
  private journal!: Journal;
  private loaded = 0;
  private total: number | undefined;
  private resumedFrom: number | undefined;
  private file: string | undefined;
  private readonly stopping = new AbortController();
  private readonly remotes: Remote[];

  constructor(
    private readonly store: Store,
    private readonly source: Source,
    private readonly options: DownloadOptions,
    private readonly say: (progress: Progress) => void,
    private readonly lock: Lock,
  ) {
    const http = httpOptions(options, (note) => this.tell(note));
    this.remotes = source.parts.map(({ url }) => new Remote(url, http));
  }

  async run(): Promise<StoredModel> {
    const { key, url, parts } = this.source;
    const stop = () => this.stopping.abort();
    this.options.signal?.addEventListener('abort', stop);
    this.lock.lost?.addEventListener('abort', stop);
    if (this.options.signal?.aborted) stop();
    try {
      this.journal = await Journal.open(
        this.store,
        key,
        url,
        parts.map(({ name }) => name),
      );
      await this.rounds();
      return describe(key, this.journal.state);
    } catch (error) {
      throw this.explained(error);
    } finally {
      this.options.signal?.removeEventListener('abort', stop);
      this.journal?.close();
      // Where nothing is kept, nothing is left behind; not even reserved room.
      if (this.journal && describe(key, this.journal.state).bytesOnDisk === 0) await this.store.remove(key).catch(() => {});
    }
  }

  private async rounds(): Promise<void> {
    for (let round = 1; ; round++) {
      try {
        return await this.round();
      } catch (error) {
        if (!(error instanceof Changed)) throw error;
        if (round === MAX_ROUNDS) throw new PicolmError('download_interrupted', `${this.source.url} keeps changing on its server.`);
      }
    }
  }

  private async round(): Promise<void> {
    const probes: Probe[] = [];
    for (const remote of this.remotes) probes.push(await remote.probe(this.stopping.signal));
    const note = await this.reconcile(probes);
    await this.reserve();
    const before = describe(this.source.key, this.journal.state);
    this.loaded = before.bytesOnDisk;
    this.total = probes.every(({ version }) => version.bytes !== undefined) ? before.bytes : undefined;
    if (this.loaded > 0) this.resumedFrom ??= this.loaded;
    this.tell(note);
    for (const [index, probe] of probes.entries()) {
      this.file = probes.length > 1 ? this.source.parts[index]!.name : undefined;
      if (this.journal.state.files[index]!.sha256 === undefined) await this.fetch(index, probe);
    }
    this.tell();
  }

  /** Lets the journal begin anew what is not what the server has now, or is not there after all. Returns a note about it. */
  private async reconcile(probes: Probe[]): Promise<string | undefined> {
    let note: string | undefined;
    for (const [index, { version, ranges }] of probes.entries()) {
      const state = this.journal.state.files[index]!;
      const { name, sha256 } = this.source.parts[index]!;
      const size = await sizeOf(this.store, this.source.key, index);
      for (const block of state.done) {
        if (block * BLOCK + blockBytes(block, state.version.bytes) > size) state.done.delete(block);
      }
      const started = state.done.size > 0;
      if (differ(state.version, version)) {
        if (started) note = `${name} has changed on its server since: the download starts over.`;
      } else if (state.sha256 !== undefined) {
        if (size === state.version.bytes && (sha256 ?? state.sha256) === state.sha256) continue;
        note = `${name} is not the file that is wanted: the download starts over.`;
      } else if (started && ranges) {
        continue;
      } else if (started) {
        note = `The server of ${name} serves no parts of files: the download starts over.`;
      }
      this.journal.begin(index, version);
      this.resumedFrom = undefined;
    }
    return note;
  }

  /**
   * Reserves the room for all files before the first byte. The estimate alone would not do: Chromium answers with 10 GiB more
   * than is used, whatever the disk and the quota are; but it refuses to let a file grow beyond them.
   */
  private async reserve(): Promise<void> {
    const { key } = this.source;
    const sizes = this.journal.state.files.map(({ version }) => version.bytes ?? 0);
    let needed = 0;
    for (const [index, bytes] of sizes.entries()) needed += Math.max(0, bytes - (await sizeOf(this.store, key, index)));
    const space = await this.store.space();
    if (space && needed > space.free) throw noRoom(needed, space);
    for (const [index, bytes] of sizes.entries()) {
      if (bytes === 0) continue;
      const handle = await this.store.open(key, dataName(index), 'write');
      try {
        handle.truncate(bytes);
      } catch (error) {
        throw isFull(error) ? noRoom(needed) : error;
      } finally {
        handle.close();
      }
    }
  }

  private async fetch(index: number, { ranges, sha256 }: Probe): Promise<void> {
    const handle = await this.store.open(this.source.key, dataName(index), 'write');
    const { signal } = this.stopping;
    const { hasher, connections = 4 } = this.options;
    let actual;
    try {
      actual = await fetchFile({
        index,
        ranges,
        handle,
        hasher,
        signal,
        remote: this.remotes[index]!,
        journal: this.journal,
        connections: Math.max(1, Math.min(connections, MAX_CONNECTIONS)),
        received: (bytes) => {
          this.loaded += bytes;
          this.tell();
        },
        verifying: (hashed, bytes) => this.say({ phase: 'verify', loaded: hashed, total: bytes, file: this.file }),
      });
    } finally {
      handle.close();
    }
    const given = this.source.parts[index]!.sha256;
    const expected = given ?? sha256;
    if (expected !== undefined && expected !== actual) await this.mismatch(index, expected, actual, given !== undefined);
    this.journal.finish(index, actual, this.journal.state.files[index]!.version.bytes!);
  }

  private async mismatch(index: number, expected: string, actual: string, given: boolean): Promise<never> {
    const { name } = this.source.parts[index]!;
    this.journal.begin(index, {});
    await this.store.removeFile(this.source.key, dataName(index));
    const message =
      `${name} is damaged or not the expected file: its SHA-256 is ${actual}, ` +
      `but ${given ? 'you expect' : 'its server names'} ${expected}. ` +
      'The file was removed. Download it again; if that gives the same hash, the address or the expected hash is wrong.';
    throw new PicolmError('checksum_mismatch', message, { file: name, expected, actual });
  }

  private tell(note?: string): void {
    const { loaded, total, file, resumedFrom } = this;
    this.say({ phase: 'download', loaded, total, file, resumedFrom, note });
  }

  /** Adds to an error what is kept, and makes the platform's "disk full" ours. */
  private explained(error: unknown): unknown {
    if (isAbort(error) && this.lock.lost?.aborted) {
      return new PicolmError('model_in_use', 'Another process has taken this download over, because this one was suspended for long.');
    }
    throwIfAborted(this.options.signal);
    const { bytesOnDisk, bytes } = describe(this.source.key, this.journal?.state);
    const kept =
      bytesOnDisk > 0
        ? `${inWords(bytesOnDisk)} of ${inWords(bytes)} are kept, and the same call goes on from there.`
        : 'Nothing was kept.';
    if (isFull(error)) {
      return new PicolmError(
        'quota_exceeded',
        `The storage became full in mid-download. ${kept} ${MAKE_ROOM}`,
        { kept: bytesOnDisk },
        error,
      );
    }
    if (error instanceof PicolmError && error.code === 'download_interrupted') {
      return new PicolmError(error.code, `${error.message} ${kept}`, { ...error.details, kept: bytesOnDisk }, error.cause);
    }
    return error;
  }
}

const MAKE_ROOM = 'Remove models that are no longer needed, or free space on the device.';

export function noRoom(needed: number, space?: Space): PicolmError {
  const granted = space?.quota === undefined ? '' : ` (the browser grants this site ${inWords(space.quota)} in all)`;
  const free = space ? `only ${inWords(space.free)} are free${granted}` : 'the browser or the disk does not have so much for it';
  const message = `The model needs ${inWords(needed)} more, but ${free}. ${MAKE_ROOM}`;
  return new PicolmError('quota_exceeded', message, { needed, free: space?.free, quota: space?.quota });
}

/** Whether the platform says that the disk is full. */
export function isFull(error: unknown): boolean {
  const { name, code } = (error ?? {}) as { name?: string; code?: string };
  return name === 'QuotaExceededError' || code === 'ENOSPC' || code === 'EDQUOT';
}
