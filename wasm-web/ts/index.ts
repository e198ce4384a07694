/** picolm in a browser: the engine runs in a worker, models are kept in the browser's private file system. */
import { usePlatform, type WorkerPort } from './platform.js';
import { requestPersistence } from './store/index.js';

usePlatform({
  spawn(name) {
    // Bundlers look for exactly this expression. (Its name can only be a constant.)
    const worker = new Worker(new URL('./worker/browser.js', import.meta.url), { type: 'module', name: 'picolm' });
    const port: WorkerPort = {
      post: (message, transfer = []) => worker.postMessage(message, transfer),
      onMessage: () => {},
      onError: () => {},
      terminate: () => worker.terminate(),
    };
    worker.onmessage = ({ data }) => port.onMessage(data as never);
    worker.onerror = (event) => {
      event.preventDefault?.();
      const causes = "Is its script served, and allowed by the page's CSP? Does vite.config.js have optimizeDeps: { exclude: ['picolm'] }?";
      port.onError(event.message || `the ${name} worker could not be started. ${causes}`);
    };
    return port;
  },
  absolute: (url) => new URL(url, globalThis.location?.href).href,
  cores: () => globalThis.navigator?.hardwareConcurrency ?? 1,
  persist: requestPersistence,
});

export * from './api.js';
