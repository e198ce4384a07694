/** Storage and download of models in a browser's worker. For Node, Deno and Bun, `files.ts` has `fileStore`. */
import { memoryStore, type MemoryOptions } from './memory.js';
import { opfsStore } from './opfs.js';
import type { Store } from './types.js';

export { download, peek, type DownloadOptions } from './download.js';
export { keep, type KeepOptions } from './keep.js';
export { memoryStore, type MemoryOptions } from './memory.js';
export { list, openModel, remove, validate, type OpenModel, type Validation } from './models.js';
export { blobHandle } from './opfs.js';
export { inWords } from './progress.js';
export { parseSource, withoutSecrets, type Source, type SourceOptions } from './source.js';
export type * from './types.js';

/** The browser's private file system; memory, and the reason, where it is refused. */
export async function openStore(allocate?: MemoryOptions['allocate']): Promise<Store> {
  const store = await opfsStore();
  if ('kind' in store) return store;
  const why = `${store.why} The model is kept in memory and has to be downloaded again next time.`;
  return memoryStore({ why, allocate });
}

/**
 * Asks the browser not to evict what is stored. Call it on the page, not in a worker; some browsers ask the user. `false` where
 * it was refused or there is nothing to ask.
 */
export async function requestPersistence(): Promise<boolean> {
  const storage = globalThis.navigator?.storage;
  try {
    return (await storage?.persisted?.()) || ((await storage?.persist?.()) ?? false);
  } catch {
    return false;
  }
}
