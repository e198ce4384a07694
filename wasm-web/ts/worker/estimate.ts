/** Whether a model would fit, from the first megabytes of its first file. */
import { PicolmError } from '../errors.js';
import { inWords, list, parseSource, peek } from '../store/index.js';
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
  const { header, fileBytes } = await readHeader(args, bindings, hasher, signal);
  const context = Math.min(args.context ?? 4096, header.context ?? 4096);
  const kv = context * ((args.kv === 'q8_0' ? header.kvBytesQ8 : header.kvBytesF16) ?? 0);
  const memoryBytes = fileBytes + kv + BUFFERS;
  const { key } = parseSource({ urls: args.urls }, hasher);
  const stored = (await list(store)).some((model) => model.key === key && model.complete);
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

async function readHeader(args: EstimateArgs, bindings: Bindings, hasher: () => Hasher, signal: AbortSignal) {
  for (let count = FIRST; count <= MOST_HEADER; ) {
    const parts = await peek({ ...args, hasher, signal, retries: 3 }, count);
    const unknown = parts.find(({ bytes }) => bytes === undefined);
    if (unknown) throw new PicolmError('invalid_model', `The server does not say how long ${unknown.name} is.`);
    const header = JSON.parse(bindings.header(parts[0]!.head, parts[0]!.bytes!)) as ModelHeader & { needed?: number };
    if (header.needed === undefined) return { header, fileBytes: parts.reduce((sum, { bytes }) => sum + bytes!, 0) };
    count = Math.max(header.needed, 2 * count);
  }
  throw new PicolmError('invalid_model', `The header of ${args.urls[0]} is longer than ${inWords(MOST_HEADER)}.`);
}
