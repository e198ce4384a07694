// Lets a test call the store's worker: `call(method, ...arguments)` resolves with its answer; `progress` has what it reported.
import { fromErrorData } from '/dist/errors.js';
import { requestPersistence } from '/dist/store/index.js';

const worker = new Worker(new URL('worker.mjs', import.meta.url), { type: 'module' });
const pending = new Map();
let last = 0;

worker.onmessage = ({ data }) => {
  if (data.progress) return void globalThis.progress.push(data.progress);
  const { resolve, reject } = pending.get(data.id);
  pending.delete(data.id);
  if (data.error) reject(fromErrorData(data.error));
  else resolve(data.answer);
};

globalThis.progress = [];
globalThis.requestPersistence = requestPersistence;
globalThis.call = (method, ...args) =>
  new Promise((resolve, reject) => {
    pending.set(++last, { resolve, reject });
    worker.postMessage({ id: last, method, args });
  });
/** As `call`, but an error comes back as data: a test sees its name and code. */
globalThis.fails = (method, ...args) =>
  globalThis.call(method, ...args).then(
    () => undefined,
    (error) => ({ name: error.name, code: error.code, message: error.message, details: error.details, dom: error instanceof DOMException }),
  );
