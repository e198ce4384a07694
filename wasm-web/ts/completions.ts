/** OpenAI's answers from the parts that the worker sends. */
import { PicolmError } from './errors.js';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Completion,
  FinishReason,
  TextLogprobs,
  TextRequest,
  Timings,
  TokenLogprobs,
  ToolCall,
  ToolCallDelta,
  Usage,
} from './types.js';

/** What the worker sends while it answers: the events of `picolm-engine`, and at the end how long it took. */
export type Part =
  | { prompt: { done: number; of: number } }
  | { text: string; token: number | null; logprobs: TokenLogprobs | null; reasoning_content?: string; tool_calls?: ToolCallDelta[] }
  | { finish_reason: FinishReason; usage: Usage; timings: Timings }
  | { embedding: number[]; usage: Usage };

/** Runs a request in the worker; resolves at its end. */
export type Generate = (request: object, event: (part: Part) => void, signal?: AbortSignal) => Promise<void>;
type Kind = 'chat' | 'text';
type Request = ChatRequest | TextRequest;

/** An answer that comes in chunks. It begins when it is asked for the first; leaving the loop stops it. */
export async function stream(kind: Kind, model: string, request: Request, generate: Generate) {
  const fields = check(kind, request);
  return (kind === 'chat' ? chatChunks(model, fields, request, generate) : textChunks(model, fields, request, generate)) as AsyncGenerator<never>;
}

/** The whole answer. */
export async function answer(kind: Kind, model: string, request: Request, generate: Generate): Promise<ChatCompletion | Completion> {
  const fields = check(kind, request);
  let [text, reasoning] = ['', ''];
  const calls: ToolCall[] = [];
  const entries: TokenLogprobs[] = [];
  for await (const part of parts(fields, request, generate)) {
    if ('text' in part) {
      text += part.text;
      reasoning += part.reasoning_content ?? '';
      calls.push(...(part.tool_calls ?? []).map(({ index: _, ...call }) => call));
      if (part.logprobs) entries.push(part.logprobs);
    }
    if (!('finish_reason' in part)) continue;
    const { finish_reason, usage, timings } = part;
    if (kind === 'text') {
      const logprobs = asked(request) ? textLogprobs(entries) : null;
      return { ...head('text_completion', model), choices: [{ index: 0, text, logprobs, finish_reason }], usage, timings };
    }
    const message = {
      role: 'assistant' as const,
      content: text || !calls.length ? text : null,
      ...(reasoning && { reasoning_content: reasoning }),
      ...(calls.length && { tool_calls: calls }),
    };
    const logprobs = asked(request) ? { content: entries } : null;
    return { ...head('chat.completion', model), choices: [{ index: 0, message, logprobs, finish_reason }], usage, timings };
  }
  throw new PicolmError('worker_failed', 'The answer has no end.');
}

async function* chatChunks(model: string, fields: object, request: Request, generate: Generate): AsyncGenerator<ChatCompletionChunk, void, void> {
  const start = head('chat.completion.chunk', model);
  yield { ...start, choices: [{ index: 0, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }] };
  for await (const part of parts(fields, request, generate)) {
    if ('text' in part && (part.text || part.logprobs || part.reasoning_content || part.tool_calls)) {
      const { text: content, token: _, logprobs: entry, ...apart } = part;
      const logprobs = entry && { content: [entry] };
      const delta = content || !Object.keys(apart).length ? { content, ...apart } : apart;
      yield { ...start, choices: [{ index: 0, delta, logprobs, finish_reason: null }] };
    }
    if (!('finish_reason' in part)) continue;
    const { finish_reason, usage, timings } = part;
    yield { ...start, choices: [{ index: 0, delta: {}, logprobs: null, finish_reason }], timings };
    if (request.stream_options?.include_usage) yield { ...start, choices: [], usage };
  }
}

async function* textChunks(model: string, fields: object, request: Request, generate: Generate): AsyncGenerator<Completion, void, void> {
  const start = head('text_completion', model);
  let offset = 0;
  for await (const part of parts(fields, request, generate)) {
    if ('text' in part && (part.text || part.logprobs)) {
      const logprobs = part.logprobs && textLogprobs([part.logprobs], offset);
      offset += part.logprobs ? characters(part.logprobs.token) : 0;
      yield { ...start, choices: [{ index: 0, text: part.text, logprobs, finish_reason: null }] };
    }
    if (!('finish_reason' in part)) continue;
    const { finish_reason, usage, timings } = part;
    yield { ...start, choices: [{ index: 0, text: '', logprobs: null, finish_reason }], timings };
    if (request.stream_options?.include_usage) yield { ...start, choices: [], usage };
  }
}

/** The parts of an answer as they come. Leaving the loop aborts what is still being computed. */
async function* parts(fields: object, { signal, promptProgress }: Request, generate: Generate): AsyncGenerator<Part, void, void> {
  const stop = new AbortController();
  const abort = () => stop.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort);
  const waiting: Part[] = [];
  let [ended, failure, wake] = [false, undefined as unknown, () => {}];
  const receive = (part: Part) => {
    if ('prompt' in part) promptProgress?.(part.prompt.done, part.prompt.of);
    else waiting.push(part);
    wake();
  };
  const done = generate(fields, receive, stop.signal)
    .catch((error: unknown) => void (failure = error))
    .finally(() => {
      ended = true;
      wake();
    });
  try {
    for (;;) {
      const part = waiting.shift();
      if (part) yield part;
      else if (ended) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    if (failure !== undefined) throw failure;
  } finally {
    signal?.removeEventListener('abort', abort);
    if (!ended) stop.abort();
    await done;
  }
}

/** OpenAI's fields that are no business of the engine's, and what may stand there, since it says the same as leaving them out. */
const ABOUT_ANSWERS: Readonly<Record<string, readonly string[]>> = {
  n: ['1'],
  best_of: ['1'],
  echo: ['false'],
  suffix: ['""'],
};

/** The fields that go to the engine, which checks all else. */
function check(kind: Kind, request: Request): object {
  const { signal: _, promptProgress: __, stream: ___, stream_options: ____, ...fields } = request as unknown as Record<string, unknown>;
  const prompt = kind === 'chat' ? 'messages' : 'prompt';
  if (fields[prompt] == null) throw new PicolmError('invalid_request', `${prompt} is missing.`, { field: prompt });
  for (const [field, same] of Object.entries(ABOUT_ANSWERS)) {
    const value = fields[field] ?? undefined;
    delete fields[field];
    if (value === undefined || same.includes(JSON.stringify(value))) continue;
    throw new PicolmError('invalid_request', `${field} is not supported with this value: leave it out.`, { field });
  }
  for (const [field, value] of Object.entries(fields)) checkNumbers(field, value);
  return fields;
}

/** JSON has no NaN and no infinity: they would cross as null, which means the default. */
function checkNumbers(field: string, value: unknown): void {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new PicolmError('invalid_request', `${field} is ${value}, which is not a number that can be computed with.`, { field });
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [name, part] of Object.entries(value)) checkNumbers(Array.isArray(value) ? `${field}[${name}]` : `${field}.${name}`, part);
}

/** Whether log-probabilities are asked for: 0 likely tokens beside each are a wish, too. */
function asked({ logprobs }: Request): boolean {
  return logprobs === true || typeof logprobs === 'number';
}

/** OpenAI's older form: lists side by side. `offset`: characters of the text before. */
function textLogprobs(entries: TokenLogprobs[], offset = 0): TextLogprobs {
  const lists: TextLogprobs = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
  for (const { token, logprob, top_logprobs } of entries) {
    lists.tokens.push(token);
    lists.token_logprobs.push(logprob);
    lists.top_logprobs.push(Object.fromEntries(top_logprobs.map(({ token, logprob }) => [token, logprob])));
    lists.text_offset.push(offset);
    offset += characters(token);
  }
  return lists;
}

function characters(text: string): number {
  return [...text].length;
}

function head<Kind extends string>(object: Kind, model: string) {
  // Not randomUUID: pages without https have none.
  const random = [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(36)).join('');
  const id = `${object === 'text_completion' ? 'cmpl' : 'chatcmpl'}-${random}`;
  return { id, object, created: Math.floor(Date.now() / 1000), model };
}
