/**
 * A model in wasm memory: filled from handles, or read layer by layer where it does not fit.
 *
 * ```text
 *   handles ──► Weights.add, fill, fill, … ──► Engine.load
 *      └──────► Weights.stream: the engine reads layers as it needs them (out of memory, or `maxMemory`)
 * ```
 */
import { PicolmError, throwIfAborted } from '../errors.js';
import type { FileHandle, Progress } from '../store/types.js';
import type { EngineOptions } from '../types.js';
import type { Engine as WasmEngine, Team, Weights } from '../wasm/threads.js';
import type { Instance } from './build.js';

export type { Team, WasmEngine };

/** Options of `open` that have come this far. */
export interface LoadOptions extends Pick<EngineOptions, 'context' | 'kv' | 'maxMemory'> {
  /** Not too often: throttled. */
  progress: (progress: Progress) => void;
  signal: AbortSignal;
}

export interface LoadedModel {
  engine: WasmEngine;
  /** Why layers are read from storage, if they are. */
  streamedWhy?: string;
}

const PIECE = 4 << 20;
/** What is left for keys, values and buffers when weights are streamed. */
const RESERVE = 256 << 20;
const MOST = 2 ** 32 - RESERVE;
const LEAST_BUDGET = 32 << 20;

/** Loads the model of these files. Those that stay open are the caller's to close. */
export async function load(instance: Instance, team: Team, files: FileHandle[], options: LoadOptions): Promise<LoadedModel> {
  const bytes = files.reduce((sum, file) => sum + file.getSize(), 0);
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
      return { engine: streamed(instance, team, files, budget, options), streamedWhy: why };
    } catch (error) {
      if (codeOf(error) !== 'out_of_memory' || budget < LEAST_BUDGET) throw error;
    }
  }
}

/** Tokens that a model was trained for, as its first file says; nothing where that file is broken: loading it says how. */
export function trainedContext({ bindings }: Instance, [file]: readonly FileHandle[]): number | undefined {
  const size = file?.getSize() ?? 0;
  for (let count = PIECE; file; ) {
    const head = new Uint8Array(Math.min(count, size));
    file.read(head, { at: 0 });
    try {
      const { needed, context } = JSON.parse(bindings.header(head, size)) as { needed?: number; context?: number };
      if (needed === undefined) return context;
      count = Math.max(needed, 2 * count);
    } catch (error) {
      if (codeOf(error) !== 'invalid_model') throw error;
      return undefined;
    }
  }
  return undefined;
}

/** The model is in `weights` already: downloaded straight into memory. */
export function loadFrom({ bindings }: Instance, team: Team, weights: Weights, { context = 0, kv, maxMemory = MOST, progress }: LoadOptions): WasmEngine {
  const say = (loaded: number, total: number) => progress({ phase: 'load', loaded, total });
  return bindings.Engine.load(weights, context, kv === 'q8_0', maxMemory, team, say);
}

async function resident(instance: Instance, team: Team, files: FileHandle[], total: number, options: LoadOptions): Promise<WasmEngine> {
  const weights = new instance.bindings.Weights();
  try {
    for (const file of files) weights.add(file.getSize());
    let loaded = 0;
    for (const [i, file] of files.entries()) {
      const size = file.getSize();
      for (let at = 0; at < size; at += PIECE) {
        const length = Math.min(PIECE, size - at);
        weights.fill(i, file, at, length);
        loaded += length;
        options.progress({ phase: 'load', loaded, total });
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

function streamed(instance: Instance, team: Team, files: FileHandle[], budget: number, options: LoadOptions): WasmEngine {
  const weights = new instance.bindings.Weights();
  for (const file of files) weights.stream(file);
  throwIfAborted(options.signal);
  return loadFrom(instance, team, weights, { ...options, maxMemory: budget });
}

/** A file of a memory store, in wasm memory from the beginning. Its size has to be known before its bytes come. */
export class WasmFile implements FileHandle {
  private address: number | undefined;
  private length = 0;

  constructor(
    private readonly instance: Instance,
    private readonly weights: Weights,
  ) {}

  getSize(): number {
    return this.length;
  }

  read(into: Uint8Array, { at }: { at: number }): number {
    const count = Math.max(0, Math.min(into.length, this.length - at));
    if (count > 0) into.set(this.view(at, count));
    return count;
  }

  write(bytes: Uint8Array, { at }: { at: number }): void {
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
