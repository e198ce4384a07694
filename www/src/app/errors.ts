/** Errors as plain data, and what a person can do about each. */
import type { Failure } from '../store/types';
import type { Key } from '../i18n/en';

/** What the page offers as the next step. */
export type Step = 'models' | 'reopen' | 'retry' | 'new-chat' | 'settings' | 'free-space' | 'reload' | 'redownload' | 'resume';

interface Advice {
  title: Key;
  advice: Key;
  steps: Step[];
}

const ADVICE: Record<string, Advice> = {
  no_model: { title: 'error.no_model', advice: 'error.no_model.do', steps: ['models'] },
  model_not_found: { title: 'error.not_found', advice: 'error.not_found.do', steps: ['models'] },
  evicted: { title: 'error.evicted', advice: 'error.evicted.do', steps: ['redownload', 'models'] },
  invalid_model: { title: 'error.invalid', advice: 'error.invalid.do', steps: ['models'] },
  unsupported_architecture: { title: 'error.unsupported', advice: 'error.unsupported.do', steps: ['models'] },
  unsupported_format: { title: 'error.unsupported', advice: 'error.unsupported.do', steps: ['models'] },
  unsupported_tokenizer: { title: 'error.unsupported', advice: 'error.unsupported.do', steps: ['models'] },
  invalid_template: { title: 'error.template', advice: 'error.template.do', steps: ['settings', 'models'] },
  download_interrupted: { title: 'error.interrupted', advice: 'error.interrupted.do', steps: ['resume'] },
  checksum_mismatch: { title: 'error.checksum', advice: 'error.checksum.do', steps: ['redownload'] },
  quota_exceeded: { title: 'error.quota', advice: 'error.quota.do', steps: ['free-space', 'retry'] },
  storage_unavailable: { title: 'error.storage', advice: 'error.storage.do', steps: ['reload'] },
  model_in_use: { title: 'error.in_use', advice: 'error.in_use.do', steps: ['retry'] },
  out_of_memory: { title: 'error.memory', advice: 'error.memory.do', steps: ['settings', 'models'] },
  context_full: { title: 'error.context', advice: 'error.context.do', steps: ['settings', 'new-chat'] },
  unsupported_platform: { title: 'error.platform', advice: 'error.platform.do', steps: [] },
  worker_failed: { title: 'error.worker', advice: 'error.worker.do', steps: ['reopen', 'models'] },
  crashed: { title: 'error.crashed', advice: 'error.crashed.do', steps: ['reopen', 'models'] },
  file_asleep: { title: 'error.file_asleep', advice: 'error.file_asleep.do', steps: ['reopen', 'models'] },
  file_forgotten: { title: 'error.file_forgotten', advice: 'error.file_forgotten.do', steps: ['models'] },
  file_gone: { title: 'error.file_gone', advice: 'error.file_gone.do', steps: ['models'] },
  not_saved: { title: 'error.not_saved', advice: 'error.not_saved.do', steps: ['free-space'] },
};
/** What is more exactly known than by the code. */
const CAUSES: Record<string, Advice> = {
  offline: { title: 'error.offline', advice: 'error.offline.do', steps: ['resume'] },
  unreachable: { title: 'error.unreachable', advice: 'error.unreachable.do', steps: ['resume', 'models'] },
  cors: { title: 'error.cors', advice: 'error.cors.do', steps: ['models'] },
  unknown: { title: 'error.unknown_host', advice: 'error.unknown_host.do', steps: ['resume', 'models'] },
  forbidden: { title: 'error.forbidden', advice: 'error.forbidden.do', steps: ['models'] },
  no_file: { title: 'error.no_file', advice: 'error.no_file.do', steps: ['models'] },
};
const OTHER: Advice = { title: 'error.other', advice: 'error.other.do', steps: ['retry'] };

/** `kept`: whether what has come of a download stays. */
export function adviceFor({ code, why = '' }: Failure, kept = true): Advice {
  const advice = CAUSES[why] ?? ADVICE[code] ?? OTHER;
  return advice.advice === 'error.interrupted.do' && !kept ? { ...advice, advice: 'error.interrupted.unkept' } : advice;
}

export function failureOf(error: unknown): Failure {
  const { code, name, message, details } = (error ?? {}) as { code?: unknown; name?: string; message?: string; details?: { why?: string } };
  if (name === 'QuotaExceededError') return { code: 'not_saved', message: message ?? name };
  // Workers do not always hear that the network is gone.
  const lost = (details?.why === 'unreachable' || details?.why === 'unknown') && !navigator.onLine;
  const why = lost ? 'offline' : details?.why;
  return { code: typeof code === 'string' ? code : 'other', message: message ?? String(error), ...(why && { why }) };
}

export function isAbort(error: unknown): boolean {
  return (error as { name?: string } | undefined)?.name === 'AbortError';
}
