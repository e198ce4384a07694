/**
 * One file from a server into a handle: several connections take spans of blocks in order, and the hash follows them.
 *
 * A request never asks for more than `SPAN_BLOCKS` blocks. That bounds what is lost when everything stops: what a connection
 * had asked for and not yet written is at most 4 MiB, wherever in the network it was.
 */
import type { Remote } from './http.js';
import { PrefixHash } from './hash.js';
import { blockBytes, type FileState, type Journal } from './journal.js';
import { BLOCK, type FileHandle, type Hasher } from './types.js';

const SPAN_BLOCKS = 4;
/** On slow lines what came is made safe after this time, before a span is whole. */
const COMMIT_MS = 1000;

/** What `fetchFile` needs to know. The handle has the file's size already, if that is known. */
export interface FileJob {
  index: number;
  remote: Remote;
  ranges: boolean;
  handle: FileHandle;
  journal: Journal;
  connections: number;
  hasher: () => Hasher;
  signal: AbortSignal;
  /** Bytes came (or, negative, have to come again). */
  received(bytes: number): void;
  /** So much of the file has been hashed, and nothing else is left to do. */
  verifying(hashed: number, bytes: number): void;
}

/** Fetches what is missing of a file. Returns the SHA-256 of all of it, in hex. */
export async function fetchFile(job: FileJob): Promise<string> {
  const state = job.journal.state.files[job.index]!;
  const hash = new PrefixHash(job.handle, state, job.hasher);
  let fetched = false;
  const fetching = async (signal: AbortSignal) => {
    await (job.ranges ? fetchRanges(job, state, hash, signal) : fetchStream(job, state, hash, signal));
    fetched = true;
    hash.more();
  };
  const hashing = (signal: AbortSignal) => hash.run(signal, () => fetched && job.verifying(hash.hashed, state.version.bytes!));
  const [, sha256] = await together(job.signal, [fetching, hashing] as const);
  return sha256;
}

async function fetchRanges(job: FileJob, state: FileState, hash: PrefixHash, signal: AbortSignal): Promise<void> {
  const bytes = state.version.bytes!;
  const todo = missing(state.done, bytes);
  let written: number[] = [];
  let last = Date.now();
  const commit = () => {
    if (written.length > 0) {
      job.handle.flush();
      job.journal.add(job.index, written);
      hash.more();
    }
    written = [];
    last = Date.now();
  };
  const connection = async (signal: AbortSignal) => {
    const buffer = new Uint8Array(BLOCK);
    for (let span; (span = todo.shift()); ) {
      let block = span.first;
      const writer = new BlockWriter(buffer, (filled) => {
        job.handle.write(filled, { at: block * BLOCK });
        written.push(block++);
        if (Date.now() - last > COMMIT_MS) commit();
      });
      const sink = (chunk: Uint8Array) => {
        job.received(chunk.length);
        writer.push(chunk);
      };
      await job.remote.range(span.first * BLOCK, Math.min(span.end * BLOCK, bytes), state.version, sink, signal);
      writer.end();
      commit(); // Before the next request: see the head of this file.
    }
  };
  try {
    await together(
      signal,
      Array.from({ length: Math.min(job.connections, todo.length) }, () => connection),
    );
  } finally {
    commit();
  }
}

/** Without ranges there is no second chance for a part: nothing goes into the journal before the end. */
async function fetchStream(job: FileJob, state: FileState, hash: PrefixHash, signal: AbortSignal): Promise<void> {
  state.version.bytes = undefined; // What comes is what counts: a length may have been that of an encoded answer.
  let at = 0;
  const writer = new BlockWriter(new Uint8Array(BLOCK), (filled) => {
    job.handle.write(filled, { at });
    if (filled.length === BLOCK) state.done.add(at / BLOCK);
    at += filled.length;
    hash.more();
  });
  let received = 0;
  const sink = (chunk: Uint8Array) => {
    job.received(chunk.length);
    received += chunk.length;
    writer.push(chunk);
  };
  const restart = () => {
    job.received(-received);
    received = at = 0;
    state.done.clear();
    writer.clear();
    hash.restart();
  };
  let bytes;
  try {
    bytes = await job.remote.stream(sink, restart, signal);
    writer.end();
  } catch (error) {
    state.done.clear();
    job.handle.truncate(0);
    throw error;
  }
  state.version.bytes = bytes;
  if (bytes % BLOCK > 0) state.done.add(Math.floor(bytes / BLOCK));
  job.handle.truncate(bytes);
  job.handle.flush();
}

/** Runs of missing blocks, none longer than `SPAN_BLOCKS`. */
function missing(done: ReadonlySet<number>, bytes: number): { first: number; end: number }[] {
  const spans: { first: number; end: number }[] = [];
  for (let block = 0; blockBytes(block, bytes) > 0; block++) {
    if (done.has(block)) continue;
    const last = spans.at(-1);
    if (last && last.end === block && block - last.first < SPAN_BLOCKS) last.end++;
    else spans.push({ first: block, end: block + 1 });
  }
  return spans;
}

/** Cuts a stream into blocks: `write` gets full ones, and the rest at the end. */
class BlockWriter {
  private filled = 0;

  constructor(
    private readonly buffer: Uint8Array,
    private readonly write: (block: Uint8Array) => void,
  ) {}

  push(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      const piece = bytes.subarray(from, from + this.buffer.length - this.filled);
      this.buffer.set(piece, this.filled);
      this.filled += piece.length;
      from += piece.length;
      if (this.filled === this.buffer.length) this.end();
    }
  }

  end(): void {
    if (this.filled > 0) this.write(this.buffer.subarray(0, this.filled));
    this.filled = 0;
  }

  clear(): void {
    this.filled = 0;
  }
}

type Results<T> = { -readonly [K in keyof T]: T[K] extends (signal: AbortSignal) => Promise<infer R> ? R : never };

/** Runs tasks side by side. The first failure stops the others; when all have come to rest it is thrown. */
async function together<T extends readonly ((signal: AbortSignal) => Promise<unknown>)[]>(
  signal: AbortSignal,
  tasks: T,
): Promise<Results<T>> {
  const group = new AbortController();
  const stop = () => group.abort();
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  let failure: { error: unknown } | undefined;
  try {
    const run = (task: T[number]) =>
      task(group.signal).catch((error: unknown) => {
        failure ??= { error };
        stop();
      });
    const results = await Promise.all(tasks.map(run));
    if (failure) throw failure.error;
    return results as Results<T>;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
