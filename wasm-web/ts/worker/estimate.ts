/** Whether a model would fit, from the first megabytes of its first file. */
import { PicolmError } from '../errors.js';
import { Remote } from '../store/http.js';
import { list } from '../store/models.js';
import { inWords } from '../store/progress.js';
import { parseSource } from '../store/source.js';
import type { Hasher, Store } from '../store/types.js';
import type { Estimate, ModelHeader } from '../types.js';
import type { Bindings } from './build.js';

export interface EstimateArgs {
  urls: string[];
  context?: number;
  kv?: 'f16' | 'q8_0';
  headers?: Record<string, string>;
}

const FIRST = 2 << 20;
const MOST_HEADER = 256 << 20;
/** wasm32 has 4 GiB; some of it is for more than weights. */
const MEMORY = 3.75 * 2 ** 30;
/** The engine, and buffers of a model of a few billion parameters: about. */
const BUFFERS = 48 << 20;

export async function estimate(args: EstimateArgs, bindings: Bindings, store: Store, hasher: () => Hasher, signal: AbortSignal): Promise<Estimate> {
  const source = parseSource({ urls: args.urls }, hasher);
  const options = { headers: args.headers, retries: 3, retryDelay: 500, stall: 30_000, note: () => {} };
  let fileBytes = 0;
  for (const { url, name } of source.parts) {
    const { version } = await new Remote(url, options).probe(signal);
    if (version.bytes === undefined) throw new PicolmError('invalid_model', `The server does not say how long ${name} is.`);
    fileBytes += version.bytes;
  }
  const first = source.parts[0]!;
  const header = await readHeader(first.url, args.headers, bindings, signal);
  const context = Math.min(args.context ?? 4096, header.context ?? 4096);
  const kv = context * ((args.kv === 'q8_0' ? header.kvBytesQ8 : header.kvBytesF16) ?? 0);
  const memoryBytes = fileBytes + kv + BUFFERS;
  const stored = (await list(store)).some(({ key, complete }) => key === source.key && complete);
  const space = await store.space();
  const result = { header, fileBytes, memoryBytes, stored, ...(space && { storageFree: space.free }) };
  if (header.reason) return { ...result, fits: 'no', why: header.reason };
  if (space && !stored && space.free < fileBytes) {
    return { ...result, fits: 'no', why: `The model has ${inWords(fileBytes)}, and ${inWords(space.free)} of storage are free.` };
  }
  if (memoryBytes <= MEMORY) return { ...result, fits: 'yes' };
  if (kv + BUFFERS > MEMORY) return { ...result, fits: 'no', why: `A context of ${context} tokens takes ${inWords(kv)}: ask for a shorter one.` };
  return { ...result, fits: 'streamed', why: `It takes ${inWords(memoryBytes)} of memory, more than a page can have: layers are read from storage, which is slower.` };
}

async function readHeader(url: string, headers: Record<string, string> | undefined, bindings: Bindings, signal: AbortSignal): Promise<ModelHeader> {
  for (let length = FIRST; length <= MOST_HEADER; ) {
    const response = await fetch(url, { headers: { ...headers, range: `bytes=0-${length - 1}` }, signal });
    if (!response.ok) throw new PicolmError('model_not_found', `The server answers ${response.status} ${response.statusText} for ${url}.`);
    const total = Number(response.headers.get('content-range')?.split('/')[1] ?? response.headers.get('content-length'));
    const bytes = await firstBytes(response, length);
    const header = JSON.parse(bindings.header(bytes, total || bytes.length)) as ModelHeader & { needed?: number };
    if (header.needed === undefined) return header;
    length = Math.max(header.needed, 2 * length);
  }
  throw new PicolmError('invalid_model', `The header of ${url} is longer than ${inWords(MOST_HEADER)}.`);
}

/** A server may send all of the file: the rest is not waited for. */
async function firstBytes(response: Response, most: number): Promise<Uint8Array> {
  const reader = response.body!.getReader();
  const bytes = new Uint8Array(most);
  let length = 0;
  while (length < most) {
    const { done, value } = await reader.read();
    if (done) break;
    const part = value.subarray(0, most - length);
    bytes.set(part, length);
    length += part.length;
  }
  reader.cancel().catch(() => {});
  return bytes.subarray(0, length);
}
