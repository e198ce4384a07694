// The store's side of the test page.
import { sha256 } from '/node_modules/@noble/hashes/sha2.js';
import { download, list, openModel, openStore, remove, validate } from '/dist/store/index.js';
import { toErrorData } from '/dist/errors.js';

let store;
let controller = new AbortController();
const open = [];
const progress = (progress) => postMessage({ progress });

function hasher() {
  const hash = sha256.create();
  return {
    update: (bytes) => void hash.update(bytes),
    hex: () => hash.digest().reduce((hex, byte) => hex + byte.toString(16).padStart(2, '0'), ''),
  };
}

const methods = {
  async init({ without } = {}) {
    if (without === 'opfs') delete StorageManager.prototype.getDirectory;
    if (without === 'refused') StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException('not here', 'SecurityError'));
    if (without === 'handles') delete self.FileSystemSyncAccessHandle;
    if (without === 'sharing') delete FileSystemSyncAccessHandle.prototype.mode;
    store = await openStore();
    return { kind: store.kind, why: store.why, isolated: crossOriginIsolated };
  },
  download: (options) => download(store, { retryDelay: 20, ...options, hasher, progress, signal: controller.signal }),
  abort() {
    controller.abort();
    controller = new AbortController();
  },
  list: () => list(store),
  remove: (key) => remove(store, key),
  validate: (key) => validate(store, key, { hasher, progress }),
  /** The hashes of a model's files, which stay open until `close`. */
  async open(key) {
    const model = await openModel(store, key);
    open.push(model);
    return model.files.map((file) => {
      const bytes = new Uint8Array(file.getSize());
      file.read(bytes, { at: 0 });
      const hash = hasher();
      hash.update(bytes);
      return hash.hex();
    });
  },
  close: () => open.splice(0).forEach((model) => model.close()),
  /** Flips a byte of a model's first file behind the store's back. */
  async spoil(key, at) {
    const root = await navigator.storage.getDirectory();
    const folder = await (await root.getDirectoryHandle('picolm-models')).getDirectoryHandle(key);
    const handle = await (await folder.getFileHandle('0.gguf')).createSyncAccessHandle();
    const byte = new Uint8Array(1);
    handle.read(byte, { at });
    byte[0] ^= 1;
    handle.write(byte, { at });
    handle.close();
  },
};

onmessage = async ({ data: { id, method, args } }) => {
  try {
    postMessage({ id, answer: await methods[method](...args) });
  } catch (error) {
    postMessage({ id, error: toErrorData(error) });
  }
};
