/** An answer, step by step, with turns of the event loop between the steps so that an abort is heard. */
import { throwIfAborted } from '../errors.js';
import type { Part } from '../completions.js';
import type { FinishReason } from '../types.js';
import { turn, type WasmEngine } from './model.js';

/** A part of the prompt should take about so long, in milliseconds: an abort waits for it, and fewer tokens at once cost more each. */
const STEP_MS = 300;
const FIRST_STEP = 32;
const LONGEST_STEP = 512;

/** Answers a request; what is new is told to `event`. */
export async function generate(engine: WasmEngine, request: object, event: (part: Part) => void, signal: AbortSignal): Promise<void> {
  engine.begin(JSON.stringify(request));
  const start = performance.now();
  let [first, most] = [0, FIRST_STEP];
  for (;;) {
    const before = performance.now();
    const [, , fedBefore = 0] = engine.counts();
    const text = engine.step(most);
    const [total = 0, reused = 0, done = 0, tokens = 0] = engine.counts();
    if (tokens === 0 || first === 0) event({ prompt: { done, total } });
    if (tokens > 0) first ||= performance.now();
    if (text) event({ text });
    const finish_reason = engine.finish_reason() as FinishReason | undefined;
    if (finish_reason) {
      const end = performance.now();
      first ||= end;
      event({ end: { finish_reason, usage: usage(total, tokens, reused), timings: timings(total - reused, first - start, tokens, end - first) } });
      return;
    }
    if (done - fedBefore === most) most = nextStep(most, performance.now() - before);
    await turn();
    throwIfAborted(signal);
  }
}

/** Whole batches that take about `STEP_MS`. */
function nextStep(tokens: number, ms: number): number {
  const wanted = (tokens * STEP_MS) / Math.max(ms, 1);
  const even = wanted >= 64 ? Math.floor(wanted / 64) * 64 : wanted >= 16 ? Math.floor(wanted / 16) * 16 : Math.max(1, Math.floor(wanted));
  return Math.min(even, LONGEST_STEP);
}

function usage(prompt_tokens: number, completion_tokens: number, cached_tokens: number) {
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens, prompt_tokens_details: { cached_tokens } };
}

function timings(prompt_n: number, prompt_ms: number, predicted_n: number, predicted_ms: number) {
  // The first token comes with the prompt.
  const perSecond = (n: number, ms: number) => (ms > 0 ? (n / ms) * 1000 : 0);
  return {
    prompt_n,
    prompt_ms,
    prompt_per_second: perSecond(prompt_n, prompt_ms),
    predicted_n,
    predicted_ms,
    predicted_per_second: perSecond(Math.max(0, predicted_n - 1), predicted_ms),
  };
}
