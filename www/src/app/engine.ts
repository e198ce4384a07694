/** The one engine of the page: opens models, answers, and notices when it breaks down. */
import { Engine, type EngineOptions, type Progress } from 'picolm';
import { failureOf, isAbort } from './errors';
import { changeSettings } from './settings';
import { current, update, type ModelRef } from './state';

let engine: Engine | undefined;
let opening: { model: ModelRef; control: AbortController; done: Promise<Engine | undefined> } | undefined;

/** Set while a model is being opened: if it is still there when the page starts, opening it took the page down. */
const MARK = 'picolm:opening';
// Leaving or reloading the page is no crash.
addEventListener('pagehide', () => localStorage.removeItem(MARK));

/** Opens a model, in place of the one before. Never throws: the state tells how it went. */
export async function openModel(model: ModelRef): Promise<Engine | undefined> {
  if (opening?.model.url === model.url) return opening.done;
  await closeModel();
  const control = new AbortController();
  const done = open(model, control.signal);
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

/** Gives the engine's memory back. */
export async function closeModel(): Promise<void> {
  opening?.control.abort();
  opening = undefined;
  const old = engine;
  engine = undefined;
  update({ engine: { status: 'none' } });
  await old?.dispose();
}

/** The worker died or the model cannot be used any more. */
export function engineFailed(error: unknown): void {
  const { engine: state } = current();
  if (state.status !== 'ready') return;
  void engine?.dispose();
  engine = undefined;
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
  if (state.status === 'ready' || state.status === 'failed') await openModel(state.model);
}

/** The model whose opening ended the page the last time, if one did. */
export function crashedOn(): string | undefined {
  const mark = localStorage.getItem(MARK) ?? undefined;
  localStorage.removeItem(MARK);
  return mark;
}

async function open(model: ModelRef, signal: AbortSignal): Promise<Engine | undefined> {
  const { context, kv, threads } = current().settings;
  const progress = ({ loaded, total = 0 }: Progress) => {
    if (!signal.aborted) update({ engine: { status: 'opening', model, loaded, total } });
  };
  progress({ phase: 'load', loaded: 0 });
  localStorage.setItem(MARK, model.url);
  try {
    const options: EngineOptions = { context, kv, threads: threads || 'auto', progress, signal };
    const opened = await openWithin(model, options);
    if (signal.aborted) {
      await opened.dispose();
      return undefined;
    }
    engine = opened;
    update({ engine: { status: 'ready', model, info: opened.info } });
    if (model.kind === 'stored') changeSettings({ model: model.url });
    return opened;
  } catch (error) {
    if (!isAbort(error) && !signal.aborted) update({ engine: { status: 'failed', model, failure: failureOf(error) } });
    return undefined;
  } finally {
    localStorage.removeItem(MARK);
  }
}

/** A model that was trained for less than the settings ask for gets what it was trained for. */
async function openWithin(model: ModelRef, options: EngineOptions): Promise<Engine> {
  const start = (options: EngineOptions) =>
    model.kind === 'stored' ? Engine.fromStore(model.key, options) : Engine.fromFile(model.files, options);
  try {
    return await start(options);
  } catch (error) {
    if ((error as { code?: string }).code !== 'invalid_request' || !/context/.test((error as Error).message)) throw error;
    const { context: _, ...rest } = options;
    return start(rest);
  }
}
