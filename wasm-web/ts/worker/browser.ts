/** The worker of browsers. Its five `new URL` are what bundlers look for. */
import { PicolmError } from '../errors.js';
import { blobHandle, openStore } from '../store/index.js';
import type { ModuleName } from './build.js';
import { serve } from './serve.js';

const urls: Record<ModuleName, () => URL> = {
  simd128: () => new URL('../wasm/simd128.wasm', import.meta.url),
  'simd128-threads': () => new URL('../wasm/simd128-threads.wasm', import.meta.url),
  relaxed: () => new URL('../wasm/relaxed.wasm', import.meta.url),
  grammar: () => new URL('../wasm/grammar.wasm', import.meta.url),
  'relaxed-threads': () => new URL('../wasm/relaxed-threads.wasm', import.meta.url),
};

const handle = serve({
  post: (message, transfer = []) => (postMessage as (message: unknown, transfer: Transferable[]) => void)(message, transfer),
  async compile(name) {
    const url = urls[name]();
    const response = await fetch(url);
    if (!response.ok) throw new PicolmError('worker_failed', `${url} is not served (${response.status}): the package's wasm files belong beside its scripts.`);
    // Not every server knows the type that streaming asks for.
    if (response.headers.get('content-type')?.startsWith('application/wasm')) return WebAssembly.compileStreaming(response);
    return WebAssembly.compile(await response.arrayBuffer());
  },
  openStore,
  openFile(file) {
    if (file instanceof Blob) return blobHandle(file);
    throw new PicolmError('invalid_request', 'A page has no paths: pass a File or Blob.');
  },
});
onmessage = ({ data }) => handle(data as never);
