/** The worker's side of `rpc.ts`: what can be called, and in which order it is done. */
import { PicolmError, toErrorData, throwIfAborted, type ErrorCode } from '../errors.js';
import { throttled } from '../store/progress.js';
import type { FromWorker, ToWorker } from '../rpc.js';
import { download, keep, list, openModel, remove, validate, type DownloadOptions } from '../store/index.js';
import type { MemoryOptions } from '../store/memory.js';
import type { FileHandle, Hasher, Progress, Store } from '../store/types.js';
import type { EngineInfo, EngineOptions } from '../types.js';
import { chooseSimd, start, startGrammars, work, type Instance, type Member, type ModuleName } from './build.js';
import { estimate, type EstimateArgs } from './estimate.js';
import { generate } from './generate.js';
import { WasmFile, codeOf, load, loadFrom, trainedContext, type LoadedModel, type WasmEngine } from './model.js';

/** What browsers and Node do in their own ways. */
export interface Environment {
  post(message: FromWorker, transfer?: Transferable[]): void;
  compile(name: ModuleName): Promise<WebAssembly.Module>;
  openStore(allocate?: MemoryOptions['allocate']): Promise<Store>;
  /** A file that is not in the store. */
  openFile(file: unknown): FileHandle;
}

type Call = (args: never, context: { event: (event: unknown) => void; signal: AbortSignal }) => Promise<unknown>;

/** Handles the messages of one worker. */
export function serve(environment: Environment): (message: ToWorker) => void {
  const calls = new Calls(environment);
  const running = new Map<number, AbortController>();
  return (message) => {
    if ('member' in message) return work(message.member as Member);
    if ('abort' in message) return running.get(message.abort)?.abort();
    const { id, call, args } = message;
    const control = new AbortController();
    running.set(id, control);
    const context = { event: (event: unknown) => environment.post({ id, event }), signal: control.signal };
    calls
      .run(call, args as never, context)
      .then(
        (result) => environment.post({ id, result }, result instanceof Uint8Array ? [result.buffer as ArrayBuffer] : []),
        (error: unknown) => environment.post({ id, error: toErrorData(fromWasm(error)) }),
      )
      .finally(() => running.delete(id));
  };
}

/** An open model. */
interface Open extends LoadedModel {
  instance: Instance;
  files: FileHandle[];
  threads: number;
  storage: EngineInfo['storage'];
  storageWhy?: string | undefined;
  fileBytes: number;
}

interface OpenArgs {
  source: (Omit<DownloadOptions, 'hasher' | 'progress' | 'signal'> & { urls: string[] }) | { files: unknown[] } | { key: string };
  options: EngineOptions & { threads: number };
}

class Calls {
  private opened: Open | undefined;
  private engine: Promise<Instance> | undefined;
  /** One answer at a time: there is one session. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly environment: Environment) {}

  private readonly table: Record<string, Call> = {
    open: (args: OpenArgs, { event, signal }) => this.open(args, event as (progress: Progress) => void, signal),
    generate: (request: object, { event, signal }) =>
      this.inTurn(signal, async () => {
        await generate(this.model, request, event, signal, () => this.lendGrammars());
        return this.info();
      }),
    tokenize: async ({ text, special, bos }: { text: string; special: boolean; bos: boolean }) => this.model.tokenize(text, special, bos),
    detokenize: async ({ tokens, special }: { tokens: Uint32Array; special: boolean }) => this.model.detokenize(tokens, special),
    render: async (request: object) => this.model.render(JSON.stringify(request)),
    digest: (_, { signal }) => this.inTurn(signal, async () => this.model.digest()),
    saveState: (_, { signal }) => this.inTurn(signal, async () => this.model.save_state()),
    loadState: (state: Uint8Array, { signal }) =>
      this.inTurn(signal, async () => {
        this.model.load_state(state);
        return this.info();
      }),
    storage: async () => {
      const { kind, why } = await this.environment.openStore();
      return { kind, ...(why && { why }) };
    },
    keep: async ({ files }: { files: { file: unknown; name: string }[] }, { event, signal }) => {
      const handles = files.map(({ file, name }) => ({ name, handle: this.environment.openFile(file) }));
      return keep(await this.environment.openStore(), { files: handles, progress: event, signal, hasher: await this.hasher() });
    },
    list: async () => list(await this.environment.openStore()),
    download: async (args: DownloadOptions, { event, signal }) =>
      download(await this.environment.openStore(), { ...args, progress: event, signal, hasher: await this.hasher() }),
    validate: async ({ key }: { key: string }, { event, signal }) =>
      validate(await this.environment.openStore(), key, { progress: event, signal, hasher: await this.hasher() }),
    remove: async ({ key }: { key: string }) => remove(await this.environment.openStore(), key),
    estimate: async (args: EstimateArgs, { signal }) =>
      estimate(args, (await this.any()).bindings, await this.environment.openStore(), await this.hasher(), signal),
  };

  async run(call: string, args: never, context: Parameters<Call>[1]): Promise<unknown> {
    const found = this.table[call];
    if (!found) throw new PicolmError('invalid_request', `The worker has no call ${call}: its script is of another version of the package.`);
    return found(args, context);
  }

  private get model(): WasmEngine {
    if (this.opened) return this.opened.engine;
    throw new PicolmError('invalid_request', 'No model is open in this worker.');
  }

  private async lendGrammars(): Promise<void> {
    this.model.lend_grammars(await startGrammars((name) => this.environment.compile(name)));
  }

  /** Waits for the answers before; an abort need not wait. */
  private async inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.last;
    const own = before.then(() => {
      throwIfAborted(signal);
      return work();
    });
    this.last = own.catch(() => {});
    return own;
  }

  private instance(threads: number, simd?: EngineOptions['simd']): Promise<Instance> {
    return (this.engine ??= start(chooseSimd(simd), threads, (name) => this.environment.compile(name)));
  }

  /** For headers and hashes any build will do: the one that models run on, so that a page loads no second one. */
  private any(): Promise<Instance> {
    return this.instance(2);
  }

  private async hasher(): Promise<() => Hasher> {
    const { bindings } = await this.any();
    return () => new bindings.Sha256();
  }

  private async open({ source, options }: OpenArgs, progress: (progress: Progress) => void, signal: AbortSignal): Promise<EngineInfo> {
    const instance = await this.instance(options.threads, options.simd);
    const threads = instance.shared ? options.threads : 1;
    const team = new instance.bindings.Team(threads);
    for (let i = 1; i < threads; i++) {
      const member: Member = { module: instance.module, memory: instance.memory, address: team.address() };
      this.environment.post({ member });
    }
    const loading = (files: FileHandle[]) => ({ ...options, ...contextOf(instance, files, options), progress: throttled(progress), signal });
    if ('files' in source) {
      const files = source.files.map((file) => this.environment.openFile(file));
      return this.finish(instance, threads, files, await load(instance, team, files, loading(files)), 'file');
    }
    // A store in memory is filled straight into the engine's memory.
    const weights = new instance.bindings.Weights();
    const store = await this.environment.openStore(() => new WasmFile(instance, weights));
    const key = 'key' in source ? source.key : (await download(store, { ...source, progress, signal, hasher: await this.hasher() })).key;
    const { files, close } = await openModel(store, key, signal);
    try {
      if (store.kind === 'memory') {
        const engine = loadFrom(instance, team, weights, loading(files));
        return this.finish(instance, threads, files, { engine }, store.kind, store.why);
      }
      const loaded = await load(instance, team, files, loading(files));
      const info = this.finish(instance, threads, files, loaded, store.kind);
      if (!loaded.streamedWhy) close();
      return info;
    } catch (error) {
      close();
      throw error;
    }
  }

  private finish(instance: Instance, threads: number, files: FileHandle[], loaded: LoadedModel, storage: Open['storage'], storageWhy?: string): EngineInfo {
    const fileBytes = files.reduce((sum, file) => sum + file.getSize(), 0);
    this.opened = { ...loaded, instance, threads, files, storage, storageWhy, fileBytes };
    return this.info();
  }

  private info(): EngineInfo {
    const { instance, engine, streamedWhy, storage, storageWhy, fileBytes, threads } = this.opened!;
    return {
      ...(JSON.parse(engine.info()) as EngineInfo),
      threads,
      ...(instance.why && { threadsWhy: instance.why }),
      crossOriginIsolated: (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated ?? false,
      storage,
      ...(storageWhy && { storageWhy }),
      streamed: streamedWhy !== undefined,
      ...(streamedWhy && { streamedWhy }),
      fileBytes,
      memoryBytes: instance.memory.buffer.byteLength,
    };
  }
}

/** With `maxContext`, the context; else what was asked for stands. */
function contextOf(instance: Instance, files: FileHandle[], { context, maxContext }: EngineOptions): { context?: number } {
  if (maxContext === undefined) return {};
  if (context !== undefined || !Number.isInteger(maxContext) || maxContext < 1) {
    const message = context === undefined ? `maxContext is ${maxContext}, which is not a whole number from 1.` : 'context and maxContext exclude each other: pass one.';
    throw new PicolmError('invalid_request', message, { field: 'maxContext' });
  }
  return { context: Math.min(maxContext, trainedContext(instance, files) ?? maxContext) };
}

/** Errors of the crate are plain ones with a code; a trap ends the instance, and only a bug or no memory makes one. */
function fromWasm(error: unknown): unknown {
  if (error instanceof WebAssembly.RuntimeError) {
    return new PicolmError('worker_failed', `The engine broke down (${error.message}). Dispose of it and open the model again.`, {}, error);
  }
  const code = codeOf(error);
  const ours = error instanceof Error && error.name === 'Error' && typeof code === 'string' && /^[a-z_]+$/.test(code);
  if (!ours) return error;
  const { field } = error as { field?: string };
  return new PicolmError(code as ErrorCode, error.message, field === undefined ? {} : { field });
}
