/** Asking and answering. */
import type { ChatCompletionChunk, ChatRequest, Completion, SamplingOptions } from 'picolm';
import { t } from '../i18n';
import * as db from '../store/db';
import type { Conversation, Message, MessageStatus, Stats } from '../store/types';
import { reading } from './context';
import { keep, leave } from './conversations';
import { keepDraft } from './drafts';
import { canAnswer, engineFailed, readyEngine, refreshInfo } from './engine';
import { failureOf, isAbort } from './errors';
import { newId, now } from './id';
import { notify } from './notices';
import { current, update, type Answer } from './state';
import { asWriter } from './tabs';
import { endsInLoop, pathTo, titleOf } from './thread';

/** Text is shown this often, and kept in the database that often: a killed browser loses no more. */
const SHOW_MS = 40;
const KEEP_MS = 2000;

let control: AbortController | undefined;

/** Sends a message at the end of the branch that is shown, and has it answered. Returns whether it was taken. */
export function send(text: string): boolean {
  const content = text.trim();
  if (!content || !mayWrite()) return false;
  const conversation = current().current ?? start(content);
  void ask(conversation, content, conversation.head);
  return true;
}

/** Another answer to the same message, beside this one. */
export async function regenerate(message: Message): Promise<void> {
  const { current: open } = current();
  if (open && mayWrite()) await reply(open, message.parent);
}

/** Another message in the place of this one, and its answer; the old branch stays. */
export async function edit(message: Message, text: string): Promise<void> {
  const { current: open } = current();
  if (!open || !text.trim()) return update({ editing: undefined });
  if (!mayWrite()) return;
  update({ editing: undefined });
  await ask(open, text.trim(), message.parent);
}

/** Whether an answer can be begun; if not, what has to be done first is shown. */
function mayWrite(): boolean {
  const { answer, ready, current: open, writers } = current();
  if (answer || !ready) return false;
  if (open && writers.has(open.id)) {
    notify(t('tabs.writing'), { kind: 'error' });
    return false;
  }
  if (canAnswer()) return true;
  notify(t('prompt.no_model.do'));
  update({ dialog: 'models' });
  return false;
}

/** Ends the answer (if it is written in this conversation); what is written stays. */
export function stop(conversation = current().answer?.conversation): void {
  if (current().answer?.conversation === conversation) control?.abort();
}

function start(content: string): Conversation {
  leave();
  const time = now();
  const conversation = { id: newId(), title: titleOf(content), created: time, updated: time, head: null };
  update({ current: conversation, messages: [] });
  history.replaceState(null, '', `#${conversation.id}`);
  document.title = `${conversation.title} · picolm`;
  return conversation;
}

async function ask(conversation: Conversation, content: string, parent: string | null): Promise<void> {
  const message = { ...blank(conversation, parent, 'user'), content };
  add(message);
  await reply(conversation, message.id, [message]);
}

/** Has the branch up to `parent` answered; `unsaved` is saved with it. */
async function reply(conversation: Conversation, parent: string | null, unsaved: Message[] = []): Promise<void> {
  const message: Message = { ...blank(conversation, parent, 'assistant'), status: 'writing' };
  // Taken now: by the time the model is open, another conversation may be.
  const above = pathTo(current().messages, parent);
  add(message);
  const alone = await answer({ ...conversation, head: message.id, updated: message.created }, message, above, unsaved);
  if (!alone) takeBack(conversation, [...unsaved, message]);
}

/** Goes on with an answer that was cut. */
export async function goOn(message: Message): Promise<void> {
  const { current: open, messages } = current();
  if (!open || !mayWrite()) return;
  const { failure: _, ...rest } = message;
  const live: Message = { ...rest, status: 'writing' };
  replace(live);
  const alone = await answer({ ...open, updated: now() }, live, pathTo(messages, message.parent));
  if (alone) return;
  replace(message);
  notify(t('tabs.writing'), { kind: 'error' });
}

/** Writes an answer, or the rest of it, and saves it. Returns whether this tab could. */
async function answer(conversation: Conversation, message: Message, above: readonly Message[], unsaved: readonly Message[] = []): Promise<boolean> {
  const running = (control = new AbortController());
  const start = { phase: 'waiting', promptDone: 0, promptTotal: 0, tokens: 0, perSecond: 0 } as const;
  update({ answer: { ...start, conversation: conversation.id, message: message.id, text: message.content } });
  const alone = await asWriter(conversation.id, async () => {
    await keep(conversation, [...unsaved, message]).catch(cannotSave);
    const ended = await write(message, above, running.signal);
    // In this order: the message has its text before it stops being the live one.
    replace(ended);
    update({ answer: undefined });
    // It may have been deleted meanwhile.
    if (current().conversations.some(({ id }) => id === conversation.id)) await db.save([], [ended]).catch(cannotSave);
  });
  if (control === running) control = undefined;
  if (!alone) update({ answer: undefined });
  return alone;
}

/** Another tab was faster: what was sent here is in its field again. */
function takeBack(conversation: Conversation, messages: readonly Message[]): void {
  const ids = new Set(messages.map(({ id }) => id));
  const sent = messages.find(({ role }) => role === 'user');
  if (sent) keepDraft(conversation.id, sent.content);
  update({ messages: current().messages.filter(({ id }) => !ids.has(id)) });
  notify(t('tabs.writing'), { kind: 'error' });
}

/** Writes the answer to the messages `above` it, or goes on with it; returns the message as it ended. Never throws. */
async function write(message: Message, above: readonly Message[], signal: AbortSignal): Promise<Message> {
  const writer = new Writer(message);
  try {
    const engine = await untilAborted(readyEngine(), signal);
    const { engine: state } = current();
    if (!engine || state.status !== 'ready') {
      const failure = state.status === 'failed' ? state.failure : { code: 'no_model', message: '' };
      return { ...message, status: 'failed', failure };
    }
    message.model = state.model.name;
    writer.model = state.model.name;
    const { messages, prompt, from } = await untilAborted(reading(engine, above, message.content, templateOptions()), signal);
    if (from) message.from = from;
    else delete message.from;
    // The line at which reading begins is shown at once.
    replace({ ...message });
    const promptProgress = (done: number, total: number) => writer.reading(done, total);
    const options = { ...sampling(), stream: true as const, stream_options: { include_usage: true }, signal, promptProgress };
    const chunks = message.content
      ? await engine.completions.create({ ...options, prompt: prompt + message.content })
      : await engine.chat.completions.create({ ...options, ...templateOptions(), messages });
    return writer.end(await writer.follow(chunks));
  } catch (error) {
    if (isAbort(error)) return writer.end('stopped');
    const failure = failureOf(error);
    if (failure.code === 'worker_failed' || failure.code === 'disposed') engineFailed(error);
    // Another model was opened meanwhile: that is the user's own doing.
    if (failure.code === 'disposed') return writer.end('stopped');
    return { ...writer.end('failed'), failure };
  } finally {
    refreshInfo();
  }
}

/** Collects the parts of an answer, and passes them on no more often than a screen needs. */
class Writer {
  model: string | undefined;
  private text: string;
  private tokens = 0;
  private first = 0;
  private prompt = { done: 0, total: 0 };
  private stats: Stats | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private kept = Date.now();

  constructor(private readonly message: Message) {
    this.text = message.content;
  }

  /** Takes in an answer until its end; returns how it ended. */
  async follow(chunks: AsyncGenerator<ChatCompletionChunk | Completion, void, void>): Promise<MessageStatus> {
    let status: MessageStatus = 'done';
    for await (const { choices, timings, usage } of chunks) {
      const [choice] = choices;
      const text = choice && ('delta' in choice ? choice.delta.content : choice.text);
      if (text) this.add(text);
      // What was there before an answer went on is the user's wish.
      if (text && endsInLoop(this.text.slice(this.message.content.length))) return 'loop';
      if (choice?.finish_reason === 'length') status = 'length';
      if (timings) this.timings(timings);
      if (usage) this.usage(usage);
    }
    return status;
  }

  reading(done: number, total: number): void {
    this.prompt = { done, total };
    this.show();
  }

  private add(text: string): void {
    this.text += text;
    this.tokens++;
    this.first ||= performance.now();
    this.show();
    if (Date.now() - this.kept < KEEP_MS) return;
    this.kept = Date.now();
    db.save([], [this.now('writing')]).catch(() => {});
  }

  private timings({ prompt_n, prompt_per_second, predicted_n, predicted_per_second }: { prompt_n: number; prompt_per_second: number; predicted_n: number; predicted_per_second: number }): void {
    this.stats = { promptTokens: prompt_n, cachedTokens: 0, promptPerSecond: prompt_per_second, tokens: this.before + predicted_n, perSecond: predicted_per_second };
  }

  private usage({ prompt_tokens, prompt_tokens_details }: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } }): void {
    if (this.stats) this.stats = { ...this.stats, promptTokens: prompt_tokens - this.before, cachedTokens: prompt_tokens_details.cached_tokens };
  }

  /** Tokens of the answer that were there when it went on. */
  private get before(): number {
    return this.message.content ? (this.message.stats?.tokens ?? 0) : 0;
  }

  end(status: MessageStatus): Message {
    clearTimeout(this.timer);
    const { tokens, perSecond = 0 } = this.progress();
    const [promptTokens, all] = [Math.max(0, this.prompt.total - this.before), this.before + this.tokens];
    if (tokens) this.stats ??= { promptTokens, cachedTokens: 0, promptPerSecond: 0, tokens: all, perSecond };
    return this.now(status);
  }

  private now(status: MessageStatus): Message {
    return { ...this.message, content: this.text, status, ...(this.model && { model: this.model }), ...(this.stats && { stats: this.stats }) };
  }

  private show(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const { answer } = current();
      if (answer?.message === this.message.id) update({ answer: { ...answer, ...this.progress() } });
    }, SHOW_MS);
  }

  private progress(): Partial<Answer> {
    const seconds = (performance.now() - this.first) / 1000;
    const perSecond = this.tokens > 1 && seconds > 0 ? (this.tokens - 1) / seconds : 0;
    const phase = this.tokens ? 'writing' : 'reading';
    return { phase, promptDone: this.prompt.done, promptTotal: this.prompt.total, tokens: this.tokens, perSecond, text: this.text };
  }
}

/** The page tells thoughts apart itself, in what it keeps. */
function templateOptions(): Pick<ChatRequest, 'chat_template_kwargs' | 'reasoning_format'> {
  return { reasoning_format: 'none', ...(current().settings.thinking === 'off' && { chat_template_kwargs: { enable_thinking: false } }) };
}

function sampling(): SamplingOptions {
  const { temperature, topP, topK, minP, repetitionPenalty, maxTokens, seed } = current().settings;
  return {
    temperature,
    top_p: topP,
    top_k: topK,
    min_p: minP,
    ...(repetitionPenalty !== 1 && { repetition_penalty: repetitionPenalty }),
    ...(maxTokens > 0 && { max_tokens: maxTokens }),
    ...(seed !== '' && { seed: Number(seed) }),
  };
}

function blank(conversation: Conversation, parent: string | null, role: Message['role']): Message {
  return { id: newId(), conversation: conversation.id, parent, role, content: '', created: now(), status: 'done' };
}

function add(message: Message): void {
  const { current: open, messages } = current();
  if (open?.id === message.conversation) update({ messages: [...messages, message] });
}

function replace(message: Message): void {
  const { messages } = current();
  update({ messages: messages.map((other) => (other.id === message.id ? message : other)) });
}

function cannotSave(error: unknown): void {
  notify(`${t('error.not_saved')}: ${failureOf(error).message}`, { kind: 'error' });
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
    promise.then(resolve, reject);
  });
}
