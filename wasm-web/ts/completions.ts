/** OpenAI's answers from the parts that the worker sends. */
import { PicolmError } from './errors.js';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Completion,
  FinishReason,
  TextRequest,
  Timings,
  Usage,
} from './types.js';

/** What the worker sends while it answers. */
export type Part =
  | { prompt: { done: number; total: number } }
  | { text: string }
  | { end: { finish_reason: FinishReason; usage: Usage; timings: Timings } };

/** Runs a request in the worker; resolves at its end. */
type Generate = (request: object, event: (part: Part) => void, signal?: AbortSignal) => Promise<void>;
type Kind = 'chat' | 'text';
type Request = ChatRequest | TextRequest;

/** An answer that comes in chunks. It begins when it is asked for the first; leaving the loop stops it. */
export async function stream(kind: Kind, model: string, request: Request, generate: Generate) {
  check(kind, request);
  return (kind === 'chat' ? chatChunks(model, request, generate) : textChunks(model, request, generate)) as AsyncGenerator<never>;
}

/** The whole answer. */
export async function answer(kind: Kind, model: string, request: Request, generate: Generate): Promise<ChatCompletion | Completion> {
  check(kind, request);
  let text = '';
  for await (const part of parts(request, generate)) {
    if ('text' in part) text += part.text;
    if (!('end' in part)) continue;
    const { finish_reason, usage, timings } = part.end;
    if (kind === 'text') return { ...head('text_completion', model), choices: [{ index: 0, text, finish_reason }], usage, timings };
    const message = { role: 'assistant' as const, content: text };
    return { ...head('chat.completion', model), choices: [{ index: 0, message, finish_reason }], usage, timings };
  }
  throw new PicolmError('worker_failed', 'The answer has no end.');
}

async function* chatChunks(model: string, request: Request, generate: Generate): AsyncGenerator<ChatCompletionChunk, void, void> {
  const start = head('chat.completion.chunk', model);
  yield { ...start, choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }] };
  for await (const part of parts(request, generate)) {
    if ('text' in part) yield { ...start, choices: [{ index: 0, delta: { content: part.text }, finish_reason: null }] };
    if (!('end' in part)) continue;
    const { finish_reason, usage, timings } = part.end;
    yield { ...start, choices: [{ index: 0, delta: {}, finish_reason }], timings };
    if (request.stream_options?.include_usage) yield { ...start, choices: [], usage };
  }
}

async function* textChunks(model: string, request: Request, generate: Generate): AsyncGenerator<Completion, void, void> {
  const start = head('text_completion', model);
  for await (const part of parts(request, generate)) {
    if ('text' in part) yield { ...start, choices: [{ index: 0, text: part.text, finish_reason: null }] };
    if (!('end' in part)) continue;
    const { finish_reason, usage, timings } = part.end;
    yield { ...start, choices: [{ index: 0, text: '', finish_reason }], timings };
    if (request.stream_options?.include_usage) yield { ...start, choices: [], usage };
  }
}

/** The parts of an answer as they come. Leaving the loop aborts what is still being computed. */
async function* parts(request: Request, generate: Generate): AsyncGenerator<Part, void, void> {
  const { signal, promptProgress, stream: _, stream_options: __, ...options } = request;
  // A seed of 32 bits, so that JSON and people can hold it.
  const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
  const stop = new AbortController();
  const abort = () => stop.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort);
  const waiting: Part[] = [];
  let [ended, failure, wake] = [false, undefined as unknown, () => {}];
  const receive = (part: Part) => {
    if ('prompt' in part) promptProgress?.(part.prompt.done, part.prompt.total);
    else waiting.push(part);
    wake();
  };
  const done = generate({ ...options, seed }, receive, stop.signal)
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

/** What the types say, for callers without types; the worker checks the rest. */
function check(kind: Kind, request: Request): void {
  const field = kind === 'chat' ? 'messages' : 'prompt';
  const value = (request as unknown as Record<string, unknown>)[field];
  const right = kind === 'chat' ? Array.isArray(value) && value.length > 0 : typeof value === 'string';
  if (right) return;
  const form = kind === 'chat' ? 'a list of at least one message' : 'a text';
  throw new PicolmError('invalid_request', `${field} is missing or not ${form}.`);
}

function head<Kind extends string>(object: Kind, model: string) {
  // Not randomUUID: pages without https have none.
  const random = [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(36)).join('');
  const id = `${object === 'text_completion' ? 'cmpl' : 'chatcmpl'}-${random}`;
  return { id, object, created: Math.floor(Date.now() / 1000), model };
}

