/** Files of this device: picked or dropped, and found again the next time where the browser gives handles. */
import * as db from '../store/db';
import type { ModelRef } from './state';

/** TypeScript's library does not have what only some browsers have. */
interface Handle extends FileSystemFileHandle {
  queryPermission?(wish: { mode: 'read' }): Promise<PermissionState>;
  requestPermission?(wish: { mode: 'read' }): Promise<PermissionState>;
}
type Picker = (options: object) => Promise<FileSystemFileHandle[]>;
type Dropped = DataTransferItem & { getAsFileSystemHandle?(): Promise<FileSystemHandle | null> };

export type FileRef = Extract<ModelRef, { kind: 'file' }>;

/** What was picked: files, and their handles where there are such. */
export interface Picked {
  files: File[];
  handles: FileSystemFileHandle[];
  /** Whether there is a folder among it, which nothing can be done with. */
  folder?: boolean;
}

/** Whether the browser's own dialog gives handles. */
export function hasPicker(): boolean {
  return 'showOpenFilePicker' in globalThis;
}

/** The browser's dialog; nothing if it was closed. */
export async function pick(): Promise<Picked | undefined> {
  const { showOpenFilePicker } = globalThis as unknown as { showOpenFilePicker: Picker };
  const types = [{ description: 'GGUF', accept: { 'application/octet-stream': ['.gguf' as const] } }];
  try {
    const handles = await showOpenFilePicker({ multiple: true, types });
    return { handles, files: await Promise.all(handles.map((handle) => handle.getFile())) };
  } catch (error) {
    if ((error as Error).name === 'AbortError') return undefined;
    throw error;
  }
}

/** What was dropped. Handles have to be asked for before anything is waited for. */
export async function dropped({ items, files }: DataTransfer): Promise<Picked> {
  const [list, kept] = [[...files], [...items].filter(({ kind }) => kind === 'file')];
  const folder = kept.some((item) => item.webkitGetAsEntry()?.isDirectory);
  const asked = kept.map((item) => (item as Dropped).getAsFileSystemHandle?.().catch(() => null));
  const handles = (await Promise.all(asked)).filter((handle) => handle?.kind === 'file') as FileSystemFileHandle[];
  return { files: list, handles: handles.length === list.length ? handles : [], folder };
}

/** One model of what was picked: all parts of a split one at once, in order of their names. */
export function refOf({ files, handles }: Picked): FileRef | undefined {
  const order = files.map((_, index) => index).sort((a, b) => (files[a]!.name < files[b]!.name ? -1 : 1));
  const first = files[order[0] ?? 0];
  if (!first) return undefined;
  return {
    kind: 'file',
    files: order.map((index) => files[index]!),
    handles: handles.length > 0 ? order.map((index) => handles[index]!) : [],
    url: `file:${encodeURIComponent(first.name)}`,
    name: first.name.replace(/\.gguf$/i, ''),
  };
}

/** Those of the last visits. */
export async function rememberedFiles(): Promise<FileRef[]> {
  return (await db.allFiles()).map(({ url, name, handles }) => ({ kind: 'file', files: [], handles, url, name }));
}

/** Whether the files can be read without asking. */
export async function isAwake({ files, handles }: FileRef): Promise<boolean> {
  if (handles.length === 0) return files.length > 0;
  const states = await Promise.all((handles as Handle[]).map((handle) => handle.queryPermission?.({ mode: 'read' }) ?? 'granted'));
  return states.every((state) => state === 'granted');
}

/** The files as they are now. Asks for permission, which browsers allow only where somebody has just clicked. */
export async function readFiles(model: FileRef): Promise<File[]> {
  const { files, handles } = model;
  if (handles.length === 0 && files.length === 0) throw coded('file_forgotten', model.name);
  if (handles.length === 0) return files;
  for (const handle of handles as Handle[]) {
    const state = (await isAwake(model)) ? 'granted' : await handle.requestPermission?.({ mode: 'read' }).catch(() => 'prompt');
    if (state !== 'granted') throw coded('file_asleep', model.name);
  }
  try {
    return await Promise.all(handles.map((handle) => handle.getFile()));
  } catch (error) {
    throw (error as Error).name === 'NotFoundError' ? coded('file_gone', model.name) : error;
  }
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
