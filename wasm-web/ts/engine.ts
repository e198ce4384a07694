/// <reference lib="esnext.disposable" preserve="true" />
/** `Engine`: a model that is open, on the caller's side. All computing is in its worker. */
import { answer, stream, type Generate, type Part } from './completions.js';
import { PicolmError } from './errors.js';
import { hfHeaders, hfUrl } from './models.js';
import { platform } from './platform.js';
import { RemoteWorker } from './rpc.js';
import type { Progress } from './store/types.js';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Completion,
  DownloadOptions,
  EngineInfo,
  EngineOptions,
  HFSource,
  TextRequest,
} from './types.js';

/** What `open` in the worker takes: one source, and the options that are data. */
interface OpenArgs {
  source: { urls: string[]; sha256?: string | readonly string[]; headers?: object; connections?: number } | { files: unknown[] } | { key: string };
  options: object;
}

/** Chat completions, streamed or whole. */
interface ChatCompletions {
  create(request: ChatRequest & { stream: true }): Promise<AsyncGenerator<ChatCompletionChunk, void, void>>;
  create(request: ChatRequest & { stream?: false | null }): Promise<ChatCompletion>;
}
interface TextCompletions {
  create(request: TextRequest & { stream: true }): Promise<AsyncGenerator<Completion, void, void>>;
  create(request: TextRequest & { stream?: false | null }): Promise<Completion>;
}

/**
 * A language model, ready to answer. Requests are answered one after the other; what a request has in common with the one
 * before is not computed again.
 */
export class Engine {
  /** As in OpenAI's library: `chat.completions.create({ messages, stream: true })`. */
  readonly chat: { readonly completions: ChatCompletions };
  readonly completions: TextCompletions;
  private current: EngineInfo;

  private constructor(
    private readonly worker: RemoteWorker,
    info: EngineInfo,
    name: string,
  ) {
    this.current = info;
    const create = (kind: 'chat' | 'text') => (request: ChatRequest | TextRequest) =>
      request.stream ? stream(kind, name, request, this.generate) : answer(kind, name, request, this.generate);
    this.chat = { completions: { create: create('chat') } as ChatCompletions };
    this.completions = { create: create('text') } as TextCompletions;
  }

  private readonly generate: Generate = async (request, event, signal) => {
    this.current = await this.worker.call<EngineInfo, Part>('generate', request, { event, signal });
  };

  /** Downloads a model (or the rest of it, or nothing if it is there) and opens it. Any part of a split model names all. */
  static fromUrl(url: string | URL | readonly (string | URL)[], options: EngineOptions & DownloadOptions = {}): Promise<Engine> {
    const urls = (typeof url === 'string' || url instanceof URL ? [url] : url).map((url) => platform().absolute(url));
    // Only the page can ask, and refusing it refuses nothing else.
    void platform().persist();
    const { sha256, headers, connections, ...rest } = options;
    return Engine.open({ urls, ...(sha256 && { sha256 }), ...(headers && { headers }), ...(connections && { connections }) }, rest, urls[0] ?? 'model');
  }

  /** The same for a file at huggingface.co. */
  static fromHF(source: HFSource, options: EngineOptions & DownloadOptions = {}): Promise<Engine> {
    return Engine.fromUrl(hfUrl(source), { ...options, headers: { ...hfHeaders(source), ...options.headers } });
  }

  /** Opens a file the user picked or dropped (all parts, in order, if it is split), or in Node, Deno and Bun the path of one. */
  static fromFile(file: Blob | string | readonly (Blob | string)[], options: EngineOptions = {}): Promise<Engine> {
    const files = typeof file === 'string' || file instanceof Blob ? [file] : [...file];
    const first = files[0];
    return Engine.open({ files }, options, typeof first === 'string' ? first : ((first as File | undefined)?.name ?? 'model'));
  }

  /** Opens a model that was downloaded before, by the `key` that `models.list()` gives. Never asks the network. */
  static fromStore(key: string, options: EngineOptions = {}): Promise<Engine> {
    return Engine.open({ key }, options, key);
  }

  private static async open(source: OpenArgs['source'], options: EngineOptions, name: string): Promise<Engine> {
    const { progress, signal, threads = 'auto', ...data } = options;
    const cores = platform().cores();
    const wanted = threads === 'auto' ? Math.min(cores, 8) : threads;
    if (!Number.isInteger(wanted) || wanted < 1 || wanted > 64) {
      throw new PicolmError('invalid_request', `threads is ${threads}, which is not 'auto' or a whole number from 1 to 64.`);
    }
    const worker = new RemoteWorker();
    try {
      const args: OpenArgs = { source, options: { ...data, threads: wanted } };
      const info = await worker.call<EngineInfo, Progress>('open', args, { event: progress, signal });
      return new Engine(worker, info, name.split(/[/\\]/).pop()?.split('?')[0] || 'model');
    } catch (error) {
      worker.end(new PicolmError('disposed', 'The model was not opened.'));
      throw error;
    }
  }

  /** What runs, and how; as of the last answer. */
  get info(): EngineInfo {
    return this.current;
  }

  /** The tokens of a text. `special`: control tokens written out in it are recognised; `bos`: begin as the model asks for. */
  tokenize(text: string, options: { special?: boolean; bos?: boolean } = {}): Promise<Uint32Array> {
    return this.worker.call('tokenize', { text, special: options.special ?? false, bos: options.bos ?? false });
  }

  /** The text of tokens. `special`: control tokens are written out. */
  detokenize(tokens: ArrayLike<number>, options: { special?: boolean } = {}): Promise<string> {
    return this.worker.call('detokenize', { tokens: Uint32Array.from(tokens), special: options.special ?? false });
  }

  /** The prompt that the model's chat template makes of messages. */
  renderChat(request: Pick<ChatRequest, 'messages' | 'tools' | 'chat_template_kwargs'>): Promise<string> {
    return this.worker.call('render', request);
  }

  /** For each text a vector of length 1: texts about the same have vectors that are nearer to each other than others. */
  async embed(input: string | readonly string[], { signal }: { signal?: AbortSignal } = {}): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    const event = (part: Part) => 'embedding' in part && vectors.push(Float32Array.from(part.embedding));
    for (const text of Array.isArray(input) ? input : [input]) await this.generate({ input: text }, event, signal);
    return vectors;
  }

  /** The session so far, keys and values and all: what `loadState` takes, in any browser and build. */
  saveState(): Promise<Uint8Array> {
    return this.worker.call('saveState', undefined);
  }

  /** Goes on from a state of the same model. A damaged or foreign one changes nothing: `invalid_state`. */
  async loadState(state: Uint8Array): Promise<void> {
    this.current = await this.worker.call('loadState', state);
  }

  /** SHA-256 over the logits of a fixed sequence: the same on every machine, and that of `picolm digest`. */
  digest(): Promise<string> {
    return this.worker.call('digest', undefined);
  }

  /** Ends the workers and gives their memory back. What waits for an answer gets `disposed`. */
  async dispose(): Promise<void> {
    this.worker.end(new PicolmError('disposed', 'The engine was disposed of: open the model again.'));
  }

  /** `await using engine = …` */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
