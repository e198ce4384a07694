/** The one engine of the page: opens models, answers, and notices when it breaks down. */
import { Engine, type EngineOptions, type Progress } from 'picolm';
import { t } from '../i18n';
import * as db from '../store/db';
import type { Failure } from '../store/types';
import { failureOf, isAbort } from './errors';
import { readFiles, type FileRef } from './files';
import * as format from './format';
import { notify } from './notices';
import { changeSettings } from './settings';
import { current, update, type ModelRef } from './state';

let engine: Engine | undefined;
let opening: { model: ModelRef; control: AbortController; done: Promise<Engine | undefined> } | undefined;

/** Set while a model is being opened: if it is still there when the page starts, opening it took the page down. */
const MARK = 'picolm:opening';
// Leaving or reloading the page is no crash.
addEventListener('pagehide', () => localStorage.removeItem(MARK));

/** How opening a model is followed: what is downloaded on the way, and what ends it. */
export interface Following {
  progress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

/**
 * Opens a model, in place of the one before; if it cannot be opened, the one before is there again. Never throws: the state tells how
 * it went.
 */
export async function openModel(model: ModelRef, following: Following = {}): Promise<Engine | undefined> {
  if (opening?.model.url === model.url) return opening.done;
  const control = new AbortController();
  following.signal?.addEventListener('abort', () => control.abort());
  opening?.control.abort();
  const done = replace(model, control.signal, following);
  opening = { model, control, done };
  return done.finally(() => {
    if (opening?.control === control) opening = undefined;
  });
}

/** The engine, once it is open; opens it again where it broke down. */
export async function readyEngine(): Promise<Engine | undefined> {
  const { engine: state } = current();
  if (opening) return opening.done;
  if (state.status === 'failed') return openModel(state.model);
  return engine;
}

/** What no second try will change: another model has to be chosen. */
const FOR_GOOD = /^(invalid_model|unsupported_.*|evicted|crashed|model_not_found|file_.*|checksum_mismatch)$/;

/** Whether a message would be answered: a model is open, is being opened, or may be opened again. */
export function canAnswer(): boolean {
  const { engine: state } = current();
  return state.status === 'failed' ? !FOR_GOOD.test(state.failure.code) : state.status !== 'none';
}

/** Gives the engine's memory back. */
export async function closeModel(): Promise<void> {
  opening?.control.abort();
  opening = undefined;
  update({ engine: { status: 'none' } });
  await endEngine();
}

/** The worker died or the model cannot be used any more. */
export function engineFailed(error: unknown): void {
  const { engine: state } = current();
  if (state.status !== 'ready') return;
  void endEngine();
  update({ engine: { status: 'failed', model: state.model, failure: failureOf(error) } });
}

/** Takes over what the engine says about itself after an answer. */
export function refreshInfo(): void {
  const { engine: state } = current();
  if (engine && state.status === 'ready') update({ engine: { ...state, info: engine.info } });
}

/** Opens the model anew if the settings it was opened with have changed. */
export async function reopen(): Promise<void> {
  const { engine: state } = current();
  if (state.status !== 'ready' && state.status !== 'failed') return;
  const opened = await openModel(state.model);
  const { context } = current().settings;
  if (opened && opened.info.context < context) notify(t('context.trained', { context: format.number(opened.info.context) }));
}

/** The model whose opening ended the page the last time, if one did. */
export function crashedOn(): string | undefined {
  const mark = localStorage.getItem(MARK) ?? undefined;
  localStorage.removeItem(MARK);
  return mark;
}

async function replace(model: ModelRef, signal: AbortSignal, following: Following): Promise<Engine | undefined> {
  const { engine: state } = current();
  const before = state.status === 'ready' ? state : undefined;
  update({ refused: undefined });
  try {
    if (model.kind === 'file') await look(model);
    // What is downloaded straight into memory may take minutes: the one before works until it is there.
    if (model.kind !== 'memory' || !before) await endEngine();
    return await open(model, signal, following);
  } catch (error) {
    if (isAbort(error) || signal.aborted) {
      if (!engine && current().engine.status === 'opening') update({ engine: { status: 'none' } });
      return undefined;
    }
    return refuse(model, failureOf(error), before, signal);
  }
}

/** Another model is opened, or the one before again. */
async function refuse(model: ModelRef, failure: Failure, before: { model: ModelRef } | undefined, signal: AbortSignal): Promise<Engine | undefined> {
  if (!before || before.model.url === model.url || (before.model.kind === 'memory' && !engine)) {
    update({ engine: { status: 'failed', model, failure } });
    return undefined;
  }
  update({ refused: { model, failure } });
  if (engine) return undefined;
  try {
    return await open(before.model, signal, {});
  } catch (error) {
    if (!signal.aborted) update({ engine: { status: 'failed', model: before.model, failure: failureOf(error) }, refused: undefined });
    return undefined;
  }
}

async function open(model: ModelRef, signal: AbortSignal, following: Following): Promise<Engine | undefined> {
  // A model that was trained for less than the settings ask for gets what it was trained for.
  const { context: maxContext, kv, threads } = current().settings;
  const progress = (progress: Progress) => {
    following.progress?.(progress);
    const { phase, loaded, total = 0 } = progress;
    if (!signal.aborted && (model.kind !== 'memory' || phase === 'load')) update({ engine: { status: 'opening', model, loaded, total } });
  };
  if (model.kind !== 'memory') progress({ phase: 'load', loaded: 0 });
  localStorage.setItem(MARK, model.url);
  try {
    const opened = await start(model, { maxContext, kv, threads: threads || 'auto', progress, signal });
    if (signal.aborted) {
      await opened.dispose();
      return undefined;
    }
    await endEngine();
    engine = opened;
    update({ engine: { status: 'ready', model, info: opened.info } });
    remember(model);
    return opened;
  } finally {
    localStorage.removeItem(MARK);
  }
}

async function start(model: ModelRef, options: EngineOptions): Promise<Engine> {
  if (model.kind === 'stored') return Engine.fromStore(model.key, options);
  if (model.kind === 'file') return Engine.fromFile(await readFiles(model), options);
  const { url, sha256, token } = model.order;
  return Engine.fromUrl(url, { ...options, ...(sha256 && { sha256 }), ...(token && { headers: { authorization: `Bearer ${token}` } }) });
}

/** Files that are obviously no models are refused before the one that works is closed for them. */
async function look(model: FileRef): Promise<void> {
  for (const file of await readFiles(model)) {
    if ((await file.slice(0, 4).text()) === 'GGUF') continue;
    throw Object.assign(new Error(`${file.name} does not begin as a GGUF file does.`), { code: 'invalid_model' });
  }
}

/** The next visit begins with it. */
function remember(model: ModelRef): void {
  if (model.kind === 'memory') return;
  changeSettings({ model: model.url });
  if (model.kind === 'stored') return;
  const { url, name, handles } = model;
  update({ files: [...current().files.filter((file) => file.url !== url), model] });
  if (handles.length > 0) db.saveFile({ url, name, handles }).catch(() => {});
}

async function endEngine(): Promise<void> {
  const old = engine;
  engine = undefined;
  await old?.dispose();
}
