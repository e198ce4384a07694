/**
 * A model in wasm memory: filled from handles, or read layer by layer where it does not fit.
 *
 * ```text
 *   handles ──► room in wasm memory ──► filled in pieces ──► Engine.load
 *      └──────► header only; the engine reads layers as it needs them (out of memory, or `maxMemory`)
 * ```
 */
import { PicolmError, throwIfAborted } from '../errors.js';
import { throttled } from '../store/progress.js';
import type { FileHandle, Progress } from '../store/types.js';
import type { EngineOptions } from '../types.js';
import type { Engine as WasmEngine, Team, Weights } from '../wasm/threads.js';
import type { Bindings, Instance } from './build.js';

export type { Team, WasmEngine };

/** Options of `open` that have come this far. */
export interface LoadOptions extends Pick<EngineOptions, 'context' | 'kv' | 'maxMemory'> {
  progress: (progress: Progress) => void;
  signal: AbortSignal;
}

export interface LoadedModel {
  engine: WasmEngine;
  /** Why layers are read from storage, if they are. */
  streamedWhy?: string;
}

const PIECE = 4 << 20;
const FIRST_HEADER = 1 << 20;
/** What is left for keys, values and buffers when weights are streamed. */
const RESERVE = 256 << 20;
const MOST = 2 ** 32 - RESERVE;
const LEAST_BUDGET = 32 << 20;

/** Loads the model of these files. Those that stay open are the caller's to close. */
export async function load(instance: Instance, team: Team, files: FileHandle[], options: LoadOptions): Promise<LoadedModel> {
  const bytes = files.reduce((sum, file) => sum + file.size(), 0);
  const { maxMemory = MOST } = options;
  let why = bytes > maxMemory ? `The model has ${inMegabytes(bytes)}, and may take ${inMegabytes(maxMemory)} of memory.` : undefined;
  if (!why) {
    try {
      return { engine: await resident(instance, team, files, bytes, options) };
    } catch (error) {
      if (codeOf(error) !== 'out_of_memory') throw error;
      why = `The browser does not give the ${inMegabytes(bytes)} of memory that the model needs.`;
    }
  }
  why += ' Its layers are read from storage for each pass, which is slower.';
  for (let budget = Math.min(maxMemory, bytes); ; budget /= 2) {
    try {
      return { engine: await streamed(instance, team, files, budget, options), streamedWhy: why };
    } catch (error) {
      if (codeOf(error) !== 'out_of_memory' || budget < LEAST_BUDGET) throw error;
    }
  }
}

/** The model is in `weights` already: downloaded straight into memory. */
export function loadFrom({ bindings }: Instance, team: Team, weights: Weights, { context = 0, kv, maxMemory = MOST }: LoadOptions): WasmEngine {
  return bindings.Engine.load(weights, context, kv === 'q8_0', maxMemory, team);
}

async function resident(instance: Instance, team: Team, files: FileHandle[], total: number, options: LoadOptions): Promise<WasmEngine> {
  const weights = new instance.bindings.Weights();
  const say = throttled(options.progress);
  try {
    const places = files.map((file) => weights.add(file.size()));
    let loaded = 0;
    for (const [i, file] of files.entries()) {
      for (let at = 0; at < file.size(); at += PIECE) {
        fill(instance, file, at, places[i]! + at, Math.min(PIECE, file.size() - at));
        loaded += Math.min(PIECE, file.size() - at);
        say({ phase: 'load', loaded, total });
        await turn();
        throwIfAborted(options.signal);
      }
    }
  } catch (error) {
    weights.free();
    throw error;
  }
  return loadFrom(instance, team, weights, options);
}

async function streamed(instance: Instance, team: Team, files: FileHandle[], budget: number, options: LoadOptions): Promise<WasmEngine> {
  const { bindings } = instance;
  const weights = new bindings.Weights();
  for (const file of files) weights.add_streamed(headerOf(bindings, file), file.size());
  const total = files.reduce((sum, file) => sum + file.size(), 0);
  let loaded = 0;
  const say = throttled(options.progress);
  bindings.Weights.set_reader((index: number, at: number, address: number, length: number) => {
    for (let done = 0; done < length; done += PIECE) fill(instance, files[index]!, at + done, address + done, Math.min(PIECE, length - done));
    loaded += length;
    if (loaded <= total) say({ phase: 'load', loaded, total });
  });
  throwIfAborted(options.signal);
  return loadFrom(instance, team, weights, { ...options, maxMemory: budget });
}

/** The beginning of a file, with the whole tensor directory. */
function headerOf(bindings: Bindings, file: FileHandle): Uint8Array {
  for (let length = Math.min(FIRST_HEADER, file.size()); ; ) {
    const bytes = new Uint8Array(length);
    file.read(bytes, 0);
    const { needed } = JSON.parse(bindings.header(bytes, file.size())) as { needed?: number };
    if (needed === undefined) return bytes;
    length = Math.min(Math.max(needed, 2 * length), file.size());
  }
}

/** Reads into wasm memory, or throws. */
function fill({ memory }: Instance, file: FileHandle, at: number, address: number, length: number): void {
  // A new view each time: memory may have grown, and the old one is then empty.
  const read = file.read(new Uint8Array(memory.buffer, address, length), at);
  if (read === length) return;
  throw new PicolmError('storage_unavailable', `Only ${read} of ${length} bytes could be read at ${at}: the file has become shorter. Download the model again.`);
}

/** A file of a memory store, in wasm memory from the beginning. Its size has to be known before its bytes come. */
export class WasmFile implements FileHandle {
  private address: number | undefined;
  private length = 0;

  constructor(
    private readonly instance: Instance,
    private readonly weights: Weights,
  ) {}

  size(): number {
    return this.length;
  }

  read(into: Uint8Array, at: number): number {
    const count = Math.max(0, Math.min(into.length, this.length - at));
    if (count > 0) into.set(this.view(at, count));
    return count;
  }

  write(bytes: Uint8Array, at: number): void {
    if (at + bytes.length > this.length) {
      throw new PicolmError('storage_unavailable', 'The server does not say how long the file is, and there is no storage to find out. Use another server.');
    }
    this.view(at, bytes.length).set(bytes);
  }

  truncate(size: number): void {
    if (size > 0 && this.address === undefined) this.address = this.weights.add(size);
    this.length = size;
  }

  flush(): void {}

  close(): void {}

  private view(at: number, length: number): Uint8Array {
    return new Uint8Array(this.instance.memory.buffer, this.address! + at, length);
  }
}

/** Lets messages in: a turn of the worker's event loop. */
export function turn(): Promise<void> {
  if (typeof setImmediate === 'function') return new Promise((resolve) => setImmediate(resolve));
  // Timers wait 4 ms after some turns; a channel does not.
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

export function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | undefined)?.code;
}

function inMegabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}
