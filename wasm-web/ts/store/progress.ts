import type { Progress } from './types.js';

const INTERVAL_MS = 100;

/** Passes progress on at most ten times a second. A new phase, a note and the end of a phase always go through. */
export function throttled(send: ((progress: Progress) => void) | undefined): (progress: Progress) => void {
  let last = { phase: '', note: undefined as string | undefined, at: 0 };
  return (progress) => {
    const now = Date.now();
    const news = progress.phase !== last.phase || progress.note !== last.note || progress.loaded === progress.total;
    if (!news && now - last.at < INTERVAL_MS) return;
    last = { phase: progress.phase, note: progress.note, at: now };
    send?.(progress);
  };
}

/** A number of bytes for people: `"1.3 GB"`, `"98 MB"`, `"512 bytes"`. Decimal units, as file managers have them. */
export function inWords(bytes: number): string {
  for (const [unit, size] of [
    ['GB', 1e9],
    ['MB', 1e6],
    ['KB', 1e3],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(bytes < 10 * size ? 1 : 0)} ${unit}`;
  }
  return `${bytes} bytes`;
}
