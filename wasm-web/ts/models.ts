/** `models`: what is stored, without opening it. */
import { PicolmError } from './errors.js';
import { platform } from './platform.js';
import { RemoteWorker, type CallOptions } from './rpc.js';
import type { Validation } from './store/models.js';
import type { Progress, StoredModel } from './store/types.js';
import type { DownloadOptions, Estimate, HFSource, ModelStorage } from './types.js';

type Url = string | URL | readonly (string | URL)[];

/** Models in the browser's private file system, or in the user's cache folder. */
export const models = {
  /** All models, whole and begun, the oldest first. */
  list: (): Promise<StoredModel[]> => once('list', undefined),

  /** Makes sure that a model is here, whole and verified. Goes on from where it was interrupted. */
  async download(url: Url, { progress, signal, ...rest }: DownloadOptions = {}): Promise<StoredModel> {
    // Only the page can ask, and refusing it refuses nothing else.
    void platform().persist();
    return once('download', { urls: absolute(url), ...rest }, { event: progress, signal });
  },

  /** Copies a file that the user picked or dropped (all parts, in order, if it is split) into the storage; in Node, Deno and Bun the path of one. */
  async keep(
    file: Blob | string | readonly (Blob | string)[],
    { progress, signal }: { progress?: (progress: Progress) => void; signal?: AbortSignal } = {},
  ): Promise<StoredModel> {
    void platform().persist();
    const files = (typeof file === 'string' || file instanceof Blob ? [file] : file).map((file) => ({ file, name: nameOf(file) }));
    return once('keep', { files }, { event: progress, signal, patient: true });
  },

  /** Where models are kept; `memory`: nothing stays, each is downloaded again by the worker that opens it, and why. */
  storage: (): Promise<ModelStorage> => once('storage', undefined),

  /** Reads a stored model and compares it with the SHA-256 recorded when it came. */
  validate: (key: string, options: { progress?: (progress: Progress) => void; signal?: AbortSignal } = {}): Promise<Validation> =>
    once('validate', { key }, { event: options.progress, signal: options.signal }),

  /** Removes a stored model. `model_in_use` while any tab reads it. */
  remove: (key: string): Promise<void> => once('remove', { key }),

  /** Whether a model would run and fit, from its header alone (some megabytes). */
  estimate: (url: Url, options: { context?: number; kv?: 'f16' | 'q8_0'; headers?: Record<string, string>; signal?: AbortSignal } = {}): Promise<Estimate> => {
    const { signal, ...rest } = options;
    return once('estimate', { urls: absolute(url), ...rest }, { signal });
  },
};

/** Where huggingface.co has a file. */
export function hfUrl({ repo, file, revision = 'main', endpoint = 'https://huggingface.co' }: HFSource): string {
  if (!/^[\w.-]+\/[\w.-]+$/.test(repo)) throw new PicolmError('invalid_request', `"${repo}" is not a repository: write owner/name.`);
  const path = file.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${repo}/resolve/${encodeURIComponent(revision)}/${path}`;
}

export function hfHeaders({ token }: HFSource): Record<string, string> {
  return token ? { authorization: `Bearer ${token}` } : {};
}

function nameOf(file: Blob | string): string {
  if (typeof file === 'string') return file.split(/[/\\]/).pop() || 'model.gguf';
  return (file as Partial<File>).name || 'model.gguf';
}

function absolute(url: Url): string[] {
  return (typeof url === 'string' || url instanceof URL ? [url] : url).map((url) => platform().absolute(url));
}

/** One call in a worker of its own. */
async function once<Result, Event = never>(call: string, args: unknown, options: CallOptions<Event> = {}): Promise<Result> {
  const worker = new RemoteWorker();
  try {
    return await worker.call<Result, Event>(call, args, options);
  } finally {
    worker.end(new PicolmError('disposed', 'The call has ended.'));
  }
}
