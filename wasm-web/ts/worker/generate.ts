/** An answer, step by step, with turns of the event loop between the steps so that an abort is heard. */
import { throwIfAborted } from '../errors.js';
import type { Part } from '../completions.js';
import type { Timings, Usage } from '../types.js';
import { turn, type WasmEngine } from './model.js';

/** A part of the prompt should take about so long, in milliseconds: an abort waits for it, and fewer tokens at once cost more each. */
const STEP_MS = 300;
const FIRST_STEP = 32;
const LONGEST_STEP = 512;

/** Answers a request, or makes its embedding; what is new is told to `event`. `lend` gives the engine the module for schemas and grammars. */
export async function generate(
  engine: WasmEngine,
  request: object,
  event: (part: Part) => void,
  signal: AbortSignal,
  lend: () => Promise<void>,
): Promise<void> {
  const text = JSON.stringify(request);
  if (!engine.begin(text)) {
    await lend();
    throwIfAborted(signal);
    engine.begin(text);
  }
  const start = performance.now();
  let [first, most] = [0, FIRST_STEP];
  for (;;) {
    const before = performance.now();
    const parts = JSON.parse(engine.step(most)) as Part[];
    const now = performance.now();
    for (const part of parts) {
      if (!('prompt' in part)) first ||= now;
      // A part that is not the last was as long as it could be.
      else if (part.prompt.done < part.prompt.of) most = nextStep(most, now - before);
      event('finish_reason' in part ? { ...part, timings: timings(part.usage, first - start, now - first) } : part);
      if ('usage' in part) return;
    }
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

function timings(usage: Usage, prompt_ms: number, predicted_ms: number): Timings {
  const [prompt_n, predicted_n] = [usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens, usage.completion_tokens];
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
