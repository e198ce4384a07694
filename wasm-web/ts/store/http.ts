/**
 * Asking a server for bytes: what a file is (`probe`), and ranges of it (`ranges`), with retries.
 *
 * A range is asked for with the header `Range` alone, which browsers send across origins without a preflight. `If-Range` would
 * cause one, which many hosts refuse; so it goes only where there is no preflight, and the validators of every answer are compared.
 */
import { PicolmError, abortError, isAbort, throwIfAborted } from '../errors.js';
import type { Version } from './journal.js';
import { withoutSecrets } from './source.js';

/** How requests are made; the same for all of a download. */
export interface HttpOptions {
  headers?: Readonly<Record<string, string>> | undefined;
  /** Failures in a row after which it gives up. */
  retries: number;
  /** Wait after the first failure, in ms; doubled after each further one. */
  retryDelay: number;
  /** A connection that has been silent for so long is given up, in ms. */
  stall: number;
  /** Told why there is a wait. */
  note(text: string): void;
}

/** What a server says of a file. */
export interface Probe {
  version: Version;
  /** Whether it serves parts of the file. */
  ranges: boolean;
  /** SHA-256 that the server names (Hugging Face does, for large files). */
  sha256?: string | undefined;
}

/** The file on the server is not the one that was begun. */
export class Changed extends Error {}

/** Something that may work when tried again. */
class Retryable extends Error {
  constructor(
    message: string,
    readonly afterMs = 0,
    /** No answer at all: the network, the server, or a page that may not ask it. */
    readonly unreachable = false,
  ) {
    super(message);
  }
}

/** What `details.why` says, in words. */
const CAUSES = {
  offline: 'There is no network',
  unreachable: 'The server cannot be reached',
  cors: 'The server is reached, but does not allow this page to read it (CORS)',
  unknown: 'The server cannot be reached, or does not allow this page to read it (CORS; browsers do not tell an isolated page which)',
  failed: 'The server or the network failed',
} as const;

const MAX_WAIT_MS = 30_000;
/** An attempt that brought less counts as a failure in a row. */
const SOME_BYTES = 64 << 10;

/** One file on a server. */
export class Remote {
  /** Where redirects led; asked directly from then on, without our headers if it is another origin. */
  private landed: string | undefined;

  constructor(
    readonly url: string,
    private readonly options: HttpOptions,
  ) {}

  /** Asks for the first byte, to learn size, validators and whether there are ranges. */
  async probe(signal: AbortSignal): Promise<Probe> {
    // Fewer tries than later on: a wrong address or a missing CORS header should be told soon.
    return this.patiently(Math.min(2, this.options.retries), signal, async (attempt) => {
      const response = await this.ask({ Range: 'bytes=0-0' }, attempt.signal).catch((error: unknown) => {
        throw error instanceof Changed ? this.notAFile('is empty: it has not even a first byte') : error;
      });
      void response.body?.cancel().catch(() => {});
      const version = versionOf(response);
      const linked = response.headers.get('x-linked-etag')?.replace(/^(W\/)?"|"$/g, '') ?? '';
      const sha256 = /^[0-9a-f]{64}$/i.test(linked) ? linked.toLowerCase() : undefined;
      if (response.status !== 206) return { version, ranges: false, sha256 };
      version.bytes ??= await this.sizeByHead(attempt.signal);
      const whole = response.headers.get('content-encoding') === null; // Parts of an encoded file are of no use.
      return { version, ranges: whole && version.bytes !== undefined, sha256 };
    });
  }

  /**
   * Fetches the bytes from `start` up to `end` and hands them to `sink` as they come; resumes where a connection broke.
   * Throws `Changed` where the server's file is no longer `version`.
   */
  async range(start: number, end: number, version: Version, sink: (bytes: Uint8Array) => void, signal: AbortSignal): Promise<void> {
    let at = start;
    await this.patiently(this.options.retries, signal, async (attempt) => {
      const from = at;
      try {
        const headers: Record<string, string> = { Range: `bytes=${at}-${end - 1}` };
        if (version.etag && !version.etag.startsWith('W/') && !this.preflights()) headers['If-Range'] = version.etag;
        const response = await this.ask(headers, attempt.signal);
        if (response.status !== 206 || differ(version, versionOf(response))) throw new Changed();
        await read(response, attempt, (bytes) => {
          const wanted = bytes.subarray(0, end - at);
          at += wanted.length;
          sink(wanted);
        });
        if (at < end) throw new Retryable('the connection was cut');
      } finally {
        if (at - from >= SOME_BYTES) attempt.worked();
      }
    });
  }

  /** The first `count` bytes (fewer if there are no more) and the size of the file, if the server tells. */
  async head(count: number, signal: AbortSignal): Promise<{ head: Uint8Array; bytes: number | undefined }> {
    return this.patiently(Math.min(2, this.options.retries), signal, async (attempt) => {
      const response = await this.ask({ Range: `bytes=0-${count - 1}` }, attempt.signal);
      const head = new Uint8Array(count);
      let at = 0;
      await read(response, attempt, (chunk) => {
        head.set(chunk.subarray(0, count - at), at);
        at = Math.min(count, at + chunk.length);
        return at < count;
      });
      const { bytes } = versionOf(response);
      return { head: head.subarray(0, at), bytes: bytes ?? (await this.sizeByHead(signal)) };
    });
  }

  /** Fetches the whole file as one stream; `restart` is called before each further attempt. Returns its size. */
  async stream(sink: (bytes: Uint8Array) => void, restart: () => void, signal: AbortSignal): Promise<number> {
    let first = true;
    return this.patiently(this.options.retries, signal, async (attempt) => {
      if (!first) restart();
      first = false;
      let at = 0;
      const response = await this.ask({}, attempt.signal);
      const { bytes } = versionOf(response);
      await read(response, attempt, (chunk) => {
        at += chunk.length;
        sink(chunk);
      });
      if (bytes !== undefined && at < bytes) throw new Retryable('the connection was cut');
      return at;
    });
  }

  /** Content-Range may be hidden across origins; the length that HEAD gives is not. */
  private async sizeByHead(signal: AbortSignal): Promise<number | undefined> {
    const response = await this.ask({}, signal, 'HEAD').catch((error: unknown) => {
      if (isAbort(error)) throw error;
      return undefined;
    });
    return response && versionOf(response).bytes;
  }

  private async ask(headers: Record<string, string>, signal: AbortSignal, method = 'GET'): Promise<Response> {
    const url = this.landed ?? this.url;
    const own = new URL(url).origin === new URL(this.url).origin ? this.options.headers : {};
    let response;
    try {
      // `no-store`: the HTTP cache would keep a second copy, and would let only one request for a URL through at a time.
      response = await fetch(url, { method, headers: { ...own, ...headers }, signal, cache: 'no-store' });
    } catch (error) {
      if (signal.aborted) throw abortError();
      const { message, cause } = error as Error;
      throw new Retryable(cause instanceof Error ? `${message}: ${cause.message}` : message, 0, true);
    }
    if (response.ok) {
      if (response.redirected && response.url) this.landed = response.url;
      if (!/^text\/html/i.test(response.headers.get('content-type') ?? '')) return response;
      throw this.notAFile('is a web page, not a model file. On Hugging Face, use the address with /resolve/ instead of /blob/');
    }
    void response.body?.cancel().catch(() => {});
    if (response.status === 416) throw new Changed();
    const transient = response.status >= 500 || [408, 425, 429].includes(response.status);
    if (transient || this.landed) {
      this.landed = undefined; // A redirect's target expires: ask the first address again.
      throw new Retryable(`the server answered ${status(response)}`, retryAfter(response));
    }
    throw this.notFound(response);
  }

  /**
   * Why there was no answer at all: the device is offline, the host is not reached, or it is and does not allow this page to read. Browsers do
   * not tell the last two apart; a request whose answer nobody may read does, but in isolated pages that one is refused, too.
   */
  private async reachability(): Promise<'offline' | 'unreachable' | 'cors' | 'unknown'> {
    if (globalThis.navigator?.onLine === false) return 'offline';
    if (!this.preflights()) return 'unreachable';
    const reached = await fetch(this.url, { method: 'HEAD', mode: 'no-cors', cache: 'no-store' }).then(() => true, () => false);
    if (reached) return 'cors';
    return (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated ? 'unknown' : 'unreachable';
  }

  /** Runs `work` until it succeeds; gives up after `retries` failures in a row. */
  private async patiently<T>(retries: number, signal: AbortSignal, work: (attempt: Attempt) => Promise<T>): Promise<T> {
    for (let failures = 0; ; failures++) {
      const attempt = new Attempt(signal, this.options.stall);
      try {
        return await work(attempt);
      } catch (error) {
        throwIfAborted(signal);
        const why = attempt.stalled ? new Retryable(`nothing came for ${this.options.stall / 1000} seconds`) : error;
        if (!(why instanceof Retryable)) throw error;
        if (attempt.brought) failures = 0;
        if (failures >= retries) throw await this.gaveUp(why);
        const wait = Math.max(why.afterMs, Math.min(this.options.retryDelay * 2 ** failures, MAX_WAIT_MS) * (0.75 + Math.random() / 2));
        if (why.afterMs > 10 * MAX_WAIT_MS) throw await this.gaveUp(why);
        this.options.note(`${capital(why.message)}; trying again in ${Math.ceil(wait / 1000)} s.`);
        await sleep(wait, signal);
      } finally {
        attempt.end();
      }
    }
  }

  /** Whether a header beyond the safelisted ones costs a preflight: in a browser, across origins. */
  private preflights(): boolean {
    const here = globalThis.location?.origin;
    return here !== undefined && here !== new URL(this.landed ?? this.url).origin;
  }

  private notFound(response: Response): PicolmError {
    const where = `${withoutSecrets(this.url)} (the server answered ${status(response)})`;
    const forbidden = response.status === 401 || response.status === 403;
    const details = { url: withoutSecrets(this.url), status: response.status, why: forbidden ? 'forbidden' : 'missing' };
    if (forbidden) {
      const advice = 'If the model needs an account or a licence to be accepted, pass a token in `headers`.';
      const message = `No permission to read ${where}. ${advice}`;
      return new PicolmError('model_not_found', message, details);
    }
    return new PicolmError('model_not_found', `There is no model at ${where}. Check the address.`, details);
  }

  private notAFile(what: string): PicolmError {
    const url = withoutSecrets(this.url);
    return new PicolmError('model_not_found', `${url} ${what}.`, { url, why: 'no_file' });
  }

  private async gaveUp(failure: Retryable): Promise<PicolmError> {
    const why = failure.unreachable ? await this.reachability() : 'failed';
    const message = `The download of ${withoutSecrets(this.url)} was interrupted. ${CAUSES[why]}: ${failure.message}.`;
    return new PicolmError('download_interrupted', message, { url: withoutSecrets(this.url), why }, failure);
  }
}

/** One attempt: its signal ends with the caller's, or when nothing comes for too long. */
class Attempt {
  private readonly controller = new AbortController();
  private readonly stop = () => this.controller.abort();
  private timer: ReturnType<typeof setTimeout> | undefined;
  stalled = false;
  brought = false;

  constructor(
    private readonly outer: AbortSignal,
    private readonly stallMs: number,
  ) {
    outer.addEventListener('abort', this.stop);
    if (outer.aborted) this.stop();
    this.alive();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Bytes came: the watch begins anew. */
  alive(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.stalled = true;
      this.stop();
    }, this.stallMs);
  }

  /** Enough bytes came for the next failure to count as the first. */
  worked(): void {
    this.brought = true;
  }

  /** Also ends a connection whose rest is not wanted. */
  end(): void {
    clearTimeout(this.timer);
    this.outer.removeEventListener('abort', this.stop);
    this.stop();
  }
}

/** Resolves after `ms`, or throws an AbortError at once when the signal says so. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(abortError(undefined, signal?.reason));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
  });
}

/** Hands the body to `sink` until its end, or until `sink` returns false. */
async function read(response: Response, attempt: Attempt, sink: (bytes: Uint8Array) => boolean | void): Promise<void> {
  const reader = response.body?.getReader();
  if (!reader) return;
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      if (attempt.signal.aborted) throw abortError();
      throw new Retryable(`the connection was cut (${(error as Error).message})`);
    });
    if (done) return;
    if (attempt.signal.aborted) throw abortError();
    attempt.alive();
    if (sink(value) === false) return;
  }
}

/** Size and validators, as far as this page may see them. An encoded answer's length is not the file's. */
function versionOf(response: Response): Version {
  const { headers } = response;
  const encoded = (headers.get('content-encoding') ?? 'identity') !== 'identity';
  const total = response.status === 206 ? /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1] : headers.get('content-length');
  return {
    bytes: total == null || encoded ? undefined : Number(total),
    etag: headers.get('etag') ?? undefined,
    modified: headers.get('last-modified') ?? undefined,
  };
}

/** Whether two versions of a file are certainly not the same. What is unknown in one tells nothing. */
export function differ(a: Version, b: Version): boolean {
  const unlike = (x: unknown, y: unknown) => x !== undefined && y !== undefined && x !== y;
  if (unlike(a.bytes, b.bytes)) return true;
  // An ETag is the better witness: mirrors of one file may have different dates.
  return a.etag !== undefined && b.etag !== undefined ? a.etag !== b.etag : unlike(a.modified, b.modified);
}

function retryAfter({ headers }: Response): number {
  const value = headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

function status(response: Response): string {
  return `${response.status} ${response.statusText}`.trim();
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
