/**
 * Errors with a stable `code`, that survive the way from a worker to the page.
 *
 * `message` is for people: what happened and what to do. `code` is for programs. `details` has the figures of the message
 * (bytes needed and free, both hashes …). An abort is the platform's own `AbortError`, with the `code` `"aborted"` added.
 */

/** What went wrong, for programs; these strings do not change between versions. */
export type ErrorCode =
  | 'model_not_found'
  | 'unsupported_architecture'
  | 'unsupported_format'
  | 'invalid_model'
  | 'download_interrupted'
  | 'checksum_mismatch'
  | 'quota_exceeded'
  | 'out_of_memory'
  | 'context_full'
  | 'aborted'
  | 'invalid_request'
  | 'model_in_use'
  | 'storage_unavailable'
  | 'disposed'
  | 'unsupported_tokenizer'
  | 'unsupported_platform'
  | 'invalid_template'
  | 'invalid_state'
  | 'module_unavailable'
  | 'worker_failed';

/** Figures of an error: plain data only, since it travels through `postMessage`. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | undefined>>;

/** An error of this package. */
export class PicolmError extends Error {
  override readonly name = 'PicolmError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }
}

/** An error as plain data, for `postMessage`. */
export interface ErrorData {
  name: string;
  code: ErrorCode;
  message: string;
  details: ErrorDetails;
}

/** Makes plain data of whatever was thrown. Anything foreign becomes `worker_failed` with its own message. */
export function toErrorData(error: unknown): ErrorData {
  if (error instanceof PicolmError) {
    return { name: error.name, code: error.code, message: error.message, details: error.details };
  }
  const { name = 'Error', message = String(error) } = (error ?? {}) as Partial<Error>;
  return { name, code: name === 'AbortError' ? 'aborted' : 'worker_failed', message, details: {} };
}

/** The error that `toErrorData` was given, as far as data can say. */
export function fromErrorData(data: ErrorData): Error {
  if (data.name === 'AbortError') return abortError(data.message);
  return new PicolmError(data.code, data.message, data.details);
}

/** The platform's AbortError (`name` is `"AbortError"`), whose `code` is `"aborted"` instead of the legacy number 20. */
export function abortError(message = 'The operation was aborted.', cause?: unknown): DOMException {
  const error = new DOMException(message, 'AbortError');
  Object.defineProperty(error, 'code', { value: 'aborted', enumerable: true });
  if (cause !== undefined) Object.defineProperty(error, 'cause', { value: cause });
  return error;
}

/** Throws an AbortError if the signal says so; the signal's reason is its `cause`. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(undefined, signal.reason);
}

/** Whether something thrown is an abort, ours or the platform's. */
export function isAbort(error: unknown): boolean {
  return (error as Partial<Error> | undefined)?.name === 'AbortError';
}
