/** The worker thread of Node, Deno and Bun. */
import fs from 'node:fs/promises';
import { parentPort } from 'node:worker_threads';
import { PicolmError } from '../errors.js';
import { fileStore, openFile } from '../store/files.js';
import type { FileHandle } from '../store/types.js';
import { serve } from './serve.js';

const port = parentPort!;
const handle = serve({
  post: (message, transfer = []) => port.postMessage(message, transfer as never),
  compile: async (name) => WebAssembly.compile(await fs.readFile(new URL(`../wasm/${name}.wasm`, import.meta.url))),
  openStore: async () => fileStore(),
  openFile(file): FileHandle {
    if (typeof file === 'string') return openFile(file);
    throw new PicolmError('invalid_request', 'Pass the path of the file.');
  },
});
port.on('message', handle);
