/** Asking and answering. */
import type { ChatMessage, ChatRequest } from 'picolm';
import { t } from '../i18n';
import * as db from '../store/db';
import type { Conversation, Message, MessageStatus, Stats } from '../store/types';
import { keep, leave } from './conversations';
import { engineFailed, readyEngine, refreshInfo } from './engine';
import { failureOf, isAbort } from './errors';
import { newId, now } from './id';
import { notify } from './notices';
import { current, update, type Answer } from './state';
import { pathTo, splitThinking, titleOf } from './thread';

/** Text is shown this often, and kept in the database that often: a killed browser loses no more. */
const SHOW_MS = 40;
const KEEP_MS = 2000;

let control: AbortController | undefined;

/** Sends a message at the end of the branch that is shown, and has it answered. */
export async function send(text: string): Promise<void> {
  const content = text.trim();
  if (!content || current().answer) return;
  const conversation = current().current ?? start(content);
  await ask(conversation, content, conversation.head);
}

/** Another answer to the same message, beside this one. */
export async function regenerate(message: Message): Promise<void> {
  const { current: open, answer } = current();
  if (open && !answer) await reply(open, message.parent);
}

/** Another message in the place of this one, and its answer; the old branch stays. */
export async function edit(message: Message, text: string): Promise<void> {
  const { current: open, answer } = current();
  update({ editing: undefined });
  if (open && !answer && text.trim()) await ask(open, text.trim(), message.parent);
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
  const next = { ...conversation, head: message.id, updated: message.created };
  // Taken now: by the time the model is open, another conversation may be.
  const above = pathTo(current().messages, parent);
  add(message);
  const running = (control = new AbortController());
  update({ answer: { conversation: next.id, message: message.id, phase: 'waiting', promptDone: 0, promptTotal: 0, tokens: 0, perSecond: 0, text: '' } });
  await keep(next, [...unsaved, message]).catch(cannotSave);
  const ended = await write(message, above, running.signal);
  control = undefined;
  // In this order: the message has its text before it stops being the live one.
  replace(ended);
  update({ answer: undefined });
  // It may have been deleted meanwhile.
  if (current().conversations.some(({ id }) => id === next.id)) await db.save([], [ended]).catch(cannotSave);
}

/** Writes the answer to the messages `above` it; returns the message as it ended. Never throws. */
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
    const request: ChatRequest & { stream: true } = { ...sampling(), messages: said(above), stream: true, stream_options: { include_usage: true }, signal };
    request.promptProgress = (done, total) => writer.reading(done, total);
    let status: MessageStatus = 'done';
    for await (const chunk of await engine.chat.completions.create(request)) {
      const [choice] = chunk.choices;
      if (choice?.delta.content) writer.add(choice.delta.content);
      if (choice?.finish_reason === 'length') status = 'length';
      if (chunk.timings) writer.timings(chunk.timings);
      if (chunk.usage) writer.usage(chunk.usage);
    }
    refreshInfo();
    return writer.end(status);
  } catch (error) {
    if (isAbort(error)) {
      refreshInfo();
      return writer.end('stopped');
    }
    const failure = failureOf(error);
    if (failure.code === 'worker_failed' || failure.code === 'disposed') engineFailed(error);
    // Another model was opened meanwhile: that is the user's own doing.
    if (failure.code === 'disposed') return writer.end('stopped');
    return { ...writer.end('failed'), failure };
  }
}

/** Collects the parts of an answer, and passes them on no more often than a screen needs. */
class Writer {
  model: string | undefined;
  private text = '';
  private tokens = 0;
  private first = 0;
  private prompt = { done: 0, total: 0 };
  private stats: Stats | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private kept = Date.now();

  constructor(private readonly message: Message) {}

  reading(done: number, total: number): void {
    this.prompt = { done, total };
    this.show();
  }

  add(text: string): void {
    this.text += text;
    this.tokens++;
    this.first ||= performance.now();
    this.show();
    if (Date.now() - this.kept < KEEP_MS) return;
    this.kept = Date.now();
    db.save([], [this.now('writing')]).catch(() => {});
  }

  timings({ prompt_n, prompt_per_second, predicted_n, predicted_per_second }: { prompt_n: number; prompt_per_second: number; predicted_n: number; predicted_per_second: number }): void {
    this.stats = { promptTokens: prompt_n, cachedTokens: 0, promptPerSecond: prompt_per_second, tokens: predicted_n, perSecond: predicted_per_second };
  }

  usage({ prompt_tokens, prompt_tokens_details }: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } }): void {
    if (this.stats) this.stats = { ...this.stats, promptTokens: prompt_tokens, cachedTokens: prompt_tokens_details.cached_tokens };
  }

  end(status: MessageStatus): Message {
    clearTimeout(this.timer);
    const { tokens, perSecond = 0 } = this.progress();
    if (tokens) this.stats ??= { promptTokens: this.prompt.total, cachedTokens: 0, promptPerSecond: 0, tokens, perSecond };
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

/** What the model is told: the instructions, and the messages without what it thought. */
function said(above: readonly Message[]): ChatMessage[] {
  const path = above.filter(({ role, content }) => role === 'user' || content);
  const messages = path.map(({ role, content }) => ({ role, content: role === 'assistant' ? splitThinking(content).answer : content }));
  const system = current().settings.systemPrompt.trim();
  return system ? [{ role: 'system', content: system }, ...messages] : messages;
}

function sampling(): Partial<ChatRequest> {
  const { temperature, topP, topK, minP, repetitionPenalty, maxTokens, seed, thinking } = current().settings;
  return {
    temperature,
    top_p: topP,
    top_k: topK,
    min_p: minP,
    ...(repetitionPenalty !== 1 && { repetition_penalty: repetitionPenalty }),
    ...(maxTokens > 0 && { max_tokens: maxTokens }),
    ...(seed !== '' && { seed: Number(seed) }),
    ...(thinking === 'off' && { chat_template_kwargs: { enable_thinking: false } }),
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
