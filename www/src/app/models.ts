/** Models: what is stored, what is offered, downloads with pause and resume, checks, files. */
import { models, type DownloadOptions, type Estimate, type Progress, type StoredModel } from 'picolm';
import { t } from '../i18n';
import * as db from '../store/db';
import type { ModelNote } from '../store/types';
import { closeModel, crashedOn, openModel } from './engine';
import { failureOf, isAbort } from './errors';
import { isAwake, readFiles, refOf, rememberedFiles, type FileRef, type Picked } from './files';
import * as format from './format';
import { notify } from './notices';
import { changeSettings } from './settings';
import { nameOf, plainUrl } from './sources';
import { Speed } from './speed';
import { current, update, type ModelRef, type Order, type Suggestion, type Transfer } from './state';

const running = new Map<string, AbortController>();

export async function loadModels(): Promise<void> {
  const [stored, storage, suggestions] = await Promise.all([models.list(), models.storage(), loadSuggestions()]);
  // Some private windows have no database.
  const [notes, files] = await Promise.all([db.allNotes(), rememberedFiles()]).catch(() => [[], []]);
  update({ stored, notes, suggestions, files, unkept: storage.kind === 'memory' ? (storage.why ?? '') : undefined });
  void refreshStorage();
}

/** Opens the model of the last visit, unless opening it took the page down, or the browser has thrown it away. */
export async function openLast(): Promise<void> {
  const { settings, stored, suggestions, notes, unkept } = current();
  const crashed = crashedOn();
  const url = settings.model || stored.find(({ complete }) => complete)?.url;
  if (!url || unkept !== undefined) return;
  const whole = stored.find((model) => model.url === url && model.complete);
  if (!whole && url.startsWith('file:')) return openLastFile(url, crashed);
  const name = titleFor(url, notes, suggestions);
  if (whole && crashed !== url) return void openModel(refTo(whole));
  const model: ModelRef = { kind: 'stored', key: whole?.key ?? '', url, name };
  const code = whole ? 'crashed' : 'evicted';
  // A download that was begun goes on from its card.
  if (!whole && stored.some((model) => model.url === url)) return;
  update({ engine: { status: 'failed', model, failure: { code, message: url } } });
}

/** The file of the last visit, if it can be found and read without asking; else the page says what it takes. */
async function openLastFile(url: string, crashed: string | undefined): Promise<void> {
  const known = current().files.find((file) => file.url === url);
  const model: FileRef = known ?? { kind: 'file', files: [], handles: [], url, name: nameOf(url) };
  const code = crashed === url ? 'crashed' : !known ? 'file_forgotten' : (await isAwake(known)) ? undefined : 'file_asleep';
  if (code === undefined) return void openModel(model);
  update({ engine: { status: 'failed', model, failure: { code, message: model.name } } });
}

/** Downloads a model, or the rest of it. `open`: then opens it. */
export async function download(order: Order, open = false): Promise<void> {
  const url = plainUrl(order.url);
  if (running.has(url)) return;
  const control = new AbortController();
  running.set(url, control);
  const known = current().stored.find((model) => model.url === url);
  transfer(url, { phase: 'starting', loaded: known?.bytesOnDisk ?? 0, total: known?.bytes || order.bytes || 0, speed: 0, failure: undefined });
  try {
    await remember(url, order.note);
    if (current().unkept !== undefined) return await openUnkept(order, url, control.signal);
    await requirePlace(order.bytes ?? 0, known);
    const done = await models.download(order.url, { ...requestOf(order), progress: downloading(url), signal: control.signal });
    running.delete(url);
    transfer(url, undefined);
    await refreshModels();
    if (open) await openModel(refTo(done));
    else notify(t('models.arrived', { name: refTo(done).name }), { action: { label: t('models.use'), run: () => void openModel(refTo(done)) } });
  } catch (error) {
    running.delete(url);
    if (isAbort(error)) transfer(url, undefined);
    else transfer(url, { phase: 'failed', failure: failureOf(error) });
    await refreshModels();
  }
}

/** Where nothing is kept, the model lives in the worker that downloads it. */
async function openUnkept(order: Order, url: string, signal: AbortSignal): Promise<void> {
  const model: ModelRef = { kind: 'memory', order, url, name: titleFor(url, current().notes, current().suggestions) };
  await openModel(model, { progress: downloading(url), signal });
  running.delete(url);
  transfer(url, undefined);
}

/** Stops a download; what has come stays. */
export function pause(url: string): void {
  running.get(url)?.abort();
}

/** Forgets that something failed. */
export function forgetFailure(url: string): void {
  transfer(url, undefined);
}

/** Reads a stored model and compares it with what came. A broken one is named. */
export async function verify(model: StoredModel): Promise<void> {
  const { url, key } = model;
  transfer(url, { phase: 'checking', loaded: 0, total: model.bytes, speed: 0 });
  try {
    const progress = ({ loaded, total = 0 }: Progress) => transfer(url, { phase: 'checking', loaded, total });
    const { valid } = await models.validate(key, { progress });
    if (valid) transfer(url, { phase: 'checked' });
    else transfer(url, { phase: 'failed', failure: { code: 'checksum_mismatch', message: t('models.broken') } });
  } catch (error) {
    transfer(url, { phase: 'failed', failure: failureOf(error) });
  }
}

/** Deletes a model, whole or begun; its space is free at once. */
export async function removeModel(model: StoredModel): Promise<void> {
  pause(model.url);
  const { engine, settings } = current();
  if (engine.status !== 'none' && engine.model.url === model.url) await closeModel();
  try {
    await removed(model.key);
    if (settings.model === model.url) changeSettings({ model: '' });
    transfer(model.url, undefined);
    await db.removeNote(model.url);
  } catch (error) {
    transfer(model.url, { phase: 'failed', failure: failureOf(error) });
  }
  await refreshModels();
}

/** Opens what was picked or dropped: all parts of a split model at once, in order of their names. */
export async function openFiles(picked: Picked): Promise<void> {
  const model = refOf(picked);
  if (picked.folder) return notify(t('files.folder'), { kind: 'error' });
  if (!model) return;
  update({ dialog: undefined });
  const opened = await openModel(model);
  if (!opened || current().engine.status !== 'ready' || current().refused) return;
  if (model.handles.length > 0 || current().unkept !== undefined) return;
  notify(t('files.forgotten', { name: model.name }), { action: { label: t('files.keep'), run: () => void keepCopy(model) } });
}

/** Copies a file of this device into the browser's storage, so that it is there the next time. */
export async function keepCopy(model: FileRef): Promise<void> {
  const { url } = model;
  if (running.has(url)) return;
  const control = new AbortController();
  running.set(url, control);
  const bytes = model.files.reduce((sum, { size }) => sum + size, 0);
  transfer(url, { phase: 'copying', loaded: 0, total: bytes, speed: 0, failure: undefined });
  try {
    const progress = ({ loaded, total = 0 }: Progress) => transfer(url, { phase: 'copying', loaded, total });
    const done = await models.keep(await readFiles(model), { progress, signal: control.signal });
    transfer(url, undefined);
    await refreshModels();
    const kept = refTo(done);
    closeFile(model);
    const { engine } = current();
    if (engine.status === 'ready' && engine.model.url === url) update({ engine: { ...engine, model: kept } });
    notify(t('files.kept', { name: kept.name }));
  } catch (error) {
    if (isAbort(error)) transfer(url, undefined);
    else transfer(url, { phase: 'failed', failure: failureOf(error) });
  } finally {
    running.delete(url);
  }
}

/** Takes a file out of the list; whether it is open is another matter. */
export function closeFile(model: FileRef): void {
  update({ files: current().files.filter((file) => file.url !== model.url) });
  db.removeFile(model.url).catch(() => {});
}

/** What a model's header says, and whether it would fit. */
export function estimate(order: Order): Promise<Estimate> {
  const { context, kv } = current().settings;
  return models.estimate(order.url, { context, kv, ...requestOf(order) });
}

export function refTo(model: StoredModel): ModelRef {
  const { notes, suggestions } = current();
  return { kind: 'stored', key: model.key, url: model.url, name: titleFor(model.url, notes, suggestions) };
}

export function titleFor(url: string, notes: readonly ModelNote[], suggestions: readonly Suggestion[]): string {
  const known = notes.find((note) => note.url === url) ?? suggestions.find((one) => one.url === url || one.source === url);
  return known?.name ?? nameOf(url);
}

export async function refreshModels(): Promise<void> {
  const [stored, notes] = await Promise.all([models.list(), db.allNotes()]);
  update({ stored, notes });
  void refreshStorage();
}

async function refreshStorage(): Promise<void> {
  const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.()) ?? {};
  const persisted = (await navigator.storage?.persisted?.()) ?? false;
  update({ storage: { used: usage, free: Math.max(0, quota - usage), persisted } });
}

/** The list beside the page. A model that does not lie there is taken from its source. */
async function loadSuggestions(): Promise<Suggestion[]> {
  try {
    const response = await fetch('models.json');
    const list = (await response.json()) as Suggestion[];
    return await Promise.all(list.map(async (one) => ({ ...one, url: plainUrl((await isHere(one)) ? one.url : (one.source ?? one.url)) })));
  } catch {
    return [];
  }
}

async function isHere({ url, source, bytes }: Suggestion): Promise<boolean> {
  if (!source) return true;
  try {
    const { ok, headers } = await fetch(url, { method: 'HEAD' });
    // Some servers answer with their start page instead of "not found".
    return ok && Number(headers.get('content-length')) === bytes;
  } catch {
    // Without network nobody knows; what was downloaded from beside the page has its address.
    return current().stored.some((model) => model.url === plainUrl(url)) || !navigator.onLine;
  }
}

function requestOf({ sha256, token }: Order): Pick<DownloadOptions, 'sha256' | 'headers'> {
  return { ...(sha256 && { sha256 }), ...(token && { headers: { authorization: `Bearer ${token}` } }) };
}

/** Says so before the download where there is not enough room, with both figures. */
async function requirePlace(bytes: number, known: StoredModel | undefined): Promise<void> {
  const { usage = 0, quota } = (await navigator.storage?.estimate?.()) ?? {};
  const missing = bytes - (known?.bytesOnDisk ?? 0);
  if (quota === undefined || missing <= quota - usage) return;
  const message = t('fits.no_storage', { needed: format.bytes(missing), free: format.bytes(Math.max(0, quota - usage)) });
  throw Object.assign(new Error(message), { code: 'quota_exceeded' });
}

async function remember(url: string, note: Partial<ModelNote> | undefined): Promise<void> {
  if (!note) return;
  const full = { name: nameOf(url), ...note, url };
  update({ notes: [...current().notes.filter((other) => other.url !== url), full] });
  await db.saveNote(full).catch(() => {});
}

function downloading(url: string): (progress: Progress) => void {
  const speed = new Speed();
  return ({ phase, loaded, total = 0, note }) => {
    if (phase === 'load' || !running.has(url)) return;
    transfer(url, { phase, loaded, total, note, speed: phase === 'download' ? speed.at(loaded) : 0 });
  };
}

function transfer(url: string, patch: Partial<Transfer> | undefined): void {
  const { [url]: before, ...others } = current().transfers;
  if (!patch) return update({ transfers: others });
  const start: Transfer = { phase: 'starting', loaded: 0, total: 0, speed: 0 };
  update({ transfers: { ...others, [url]: { ...(before ?? start), ...patch } } });
}

/** A worker that was ended gives its lock back a moment later. */
async function removed(key: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await models.remove(key);
    } catch (error) {
      if ((error as { code?: string }).code !== 'model_in_use' || tries === 10) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
