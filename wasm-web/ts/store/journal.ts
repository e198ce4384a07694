/**
 * The journal of a model: which blocks of which file are on disk.
 *
 * A text file of JSON lines that is only ever appended to, so that no crash can spoil what it said before; a torn last line is
 * ignored and cut off. Data are flushed before the line that speaks of them.
 *
 * ```text
 * {"picolm":1,"block":1048576,"url":"https://…","added":"2026-…","files":["a.gguf"]}   what it is
 * {"file":0,"bytes":9000000,"etag":"\"x\"","modified":"Tue, …"}    a download begins: nothing of the file counts any more
 * {"file":0,"blocks":[0,1,2]}                                      these are on disk
 * {"file":0,"sha256":"…","bytes":9000000}                          the whole file is, and was read through
 * ```
 */
import { BLOCK, type FileHandle, type Store, type StoredModel } from './types.js';

const VERSION = 1;
const NAME = 'journal';
/** 4 GB in blocks, with room to spare; a line cannot claim more. */
const MAX_BLOCKS = 1 << 20;

/** What tells one version of a file on a server from another. */
export interface Version {
  /** Undefined where the server does not tell before the end. */
  bytes?: number | undefined;
  etag?: string | undefined;
  modified?: string | undefined;
}

/** What is known of one file. */
export interface FileState {
  version: Version;
  /** Blocks on disk. */
  done: Set<number>;
  /** There once the file is whole. */
  sha256?: string | undefined;
}

/** What a journal says. */
export interface JournalState {
  url: string;
  added: string;
  names: string[];
  files: FileState[];
}

/** The file of a model's folder in which part `index` lies. */
export function dataName(index: number): string {
  return `${index}.gguf`;
}

/** Reads a model's journal without opening it for writing; `undefined` if there is none that makes sense. */
export async function readJournal(store: Store, key: string): Promise<JournalState | undefined> {
  const text = await store.text(key, NAME);
  return text === undefined ? undefined : parse(text).state;
}

/** The journal's view of a model, for callers. */
export function describe(key: string, state: JournalState | undefined): StoredModel {
  const files = (state?.names ?? []).map((name, i) => {
    const { version, sha256 } = state!.files[i]!;
    return { name, bytes: version.bytes ?? 0, sha256 };
  });
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const complete = files.length > 0 && files.every((file) => file.sha256 !== undefined);
  const bytesOnDisk = (state?.files ?? []).reduce((sum, file) => sum + onDisk(file), 0);
  return { key, url: state?.url ?? '', files, bytes, complete, bytesOnDisk, added: state?.added ?? '' };
}

/** Bytes of a file that are on disk. */
export function onDisk({ version, done, sha256 }: FileState): number {
  if (sha256 !== undefined) return version.bytes ?? 0;
  let sum = 0;
  for (const block of done) sum += blockBytes(block, version.bytes);
  return sum;
}

/** Size of a block: `BLOCK`, but for the last one of a file whose size is known. */
export function blockBytes(block: number, bytes: number | undefined): number {
  return bytes === undefined ? BLOCK : Math.max(0, Math.min(BLOCK, bytes - block * BLOCK));
}

/** A journal that is being written. Only the holder of the model's lock may have one. */
export class Journal {
  private constructor(
    readonly state: JournalState,
    private readonly handle: FileHandle,
    private end: number,
  ) {}

  /** Goes on with the journal that is there, if it is about the same files, or begins a new one. */
  static async open(store: Store, key: string, url: string, names: string[]): Promise<Journal> {
    const handle = await store.open(key, NAME, 'write');
    try {
      const bytes = new Uint8Array(handle.getSize());
      handle.read(bytes, { at: 0 });
      const { state, end } = parse(new TextDecoder().decode(bytes));
      if (state && state.names.join('\n') === names.join('\n')) {
        handle.truncate(end);
        return new Journal(state, handle, end);
      }
      handle.truncate(0);
      const added = new Date().toISOString();
      const journal = new Journal({ url, added, names, files: names.map(emptyFile) }, handle, 0);
      journal.append({ picolm: VERSION, block: BLOCK, url, added, files: names });
      return journal;
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /** A file's download begins anew. */
  begin(file: number, version: Version): void {
    this.append({ file, bytes: version.bytes ?? null, etag: version.etag, modified: version.modified });
    this.state.files[file] = { version, done: new Set() };
  }

  /** Blocks have been written and flushed. */
  add(file: number, blocks: number[]): void {
    this.append({ file, blocks });
    for (const block of blocks) this.state.files[file]!.done.add(block);
  }

  /** A file is whole. */
  finish(file: number, sha256: string, bytes: number): void {
    this.append({ file, sha256, bytes });
    const state = this.state.files[file]!;
    state.sha256 = sha256;
    state.version.bytes = bytes;
  }

  close(): void {
    this.handle.flush();
    this.handle.close();
  }

  private append(line: object): void {
    const bytes = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
    this.handle.write(bytes, { at: this.end }); // Not flushed: a line that is lost costs a repetition and nothing else.
    this.end += bytes.length;
  }
}

function emptyFile(): FileState {
  return { version: {}, done: new Set() };
}

/** Reads line by line up to the first that is torn or makes no sense; `end` is the offset in bytes after the last good one. */
function parse(text: string): { state: JournalState | undefined; end: number } {
  let state: JournalState | undefined;
  let end = 0;
  for (let from = 0, to; (to = text.indexOf('\n', from)) >= 0; from = to + 1) {
    const line = parseLine(text.slice(from, to));
    if (!line) break;
    if (!state) state = header(line);
    else if (!apply(state, line)) break;
    if (!state) break;
    end += new TextEncoder().encode(text.slice(from, to + 1)).length;
  }
  return { state, end };
}

type Line = Record<string, unknown>;

function parseLine(text: string): Line | undefined {
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === 'object' && line !== null ? (line as Line) : undefined;
  } catch {
    return undefined;
  }
}

function header({ picolm, block, url, added, files }: Line): JournalState | undefined {
  if (picolm !== VERSION || block !== BLOCK || typeof url !== 'string' || typeof added !== 'string') return undefined;
  if (!Array.isArray(files) || files.length === 0 || !files.every((name) => typeof name === 'string')) return undefined;
  return { url, added, names: files, files: files.map(emptyFile) };
}

function apply(state: JournalState, { file, bytes, blocks, sha256, etag, modified }: Line): boolean {
  const target = isCount(file, state.files.length - 1) ? state.files[file as number] : undefined;
  if (!target || (bytes != null && !isCount(bytes, Number.MAX_SAFE_INTEGER))) return false;
  if (Array.isArray(blocks)) {
    if (!blocks.every((block) => isCount(block, MAX_BLOCKS))) return false;
    for (const block of blocks as number[]) target.done.add(block);
  } else if (typeof sha256 === 'string') {
    if (bytes == null) return false;
    target.sha256 = sha256;
    target.version.bytes = bytes as number;
  } else {
    const version = { bytes: bytes ?? undefined, etag, modified } as Version;
    state.files[file as number] = { version, done: new Set() };
  }
  return true;
}

function isCount(value: unknown, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
}
