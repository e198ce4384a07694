/** picolm in Node, Deno and Bun: the engine runs in a worker thread, models are kept in the user's cache folder. */
import os from 'node:os';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { usePlatform, type WorkerPort } from './platform.js';

usePlatform({
  spawn(name) {
    const worker = new Worker(new URL('./worker/node.js', import.meta.url), { name });
    const port: WorkerPort = {
      post: (message, transfer = []) => worker.postMessage(message, transfer as never),
      onMessage: () => {},
      onError: () => {},
      terminate: () => void worker.terminate(),
    };
    worker.on('message', (data) => port.onMessage(data as never));
    worker.on('error', (error) => port.onError(error.message));
    return port;
  },
  absolute: (url) => new URL(url, pathToFileURL(`${process.cwd()}/`)).href,
  cores: () => os.availableParallelism?.() ?? os.cpus().length,
  persist: async () => true,
});

export * from './api.js';
