/**
 * Calls into a worker. Each has a number; progress, parts of an answer, and the result or error come back under it.
 *
 * ```text
 *   page                                worker
 *   { id, call, args }        ──►
 *                             ◄──      { id, event }      progress, text …
 *   { abort: id }             ──►                         the signal of that call
 *                             ◄──      { id, result } or { id, error }
 *                             ◄──      { member }         start one more worker of the team
 * ```
 */
import { PicolmError, abortError, fromErrorData, throwIfAborted, type ErrorData } from './errors.js';
import { platform, type WorkerPort } from './platform.js';

export interface CallMessage {
  id: number;
  call: string;
  args: unknown;
}
export type ToWorker = CallMessage | { abort: number } | { member: unknown };
export type FromWorker =
  | { id: number; event: unknown }
  | { id: number; result: unknown }
  | { id: number; error: ErrorData }
  | { member: unknown };

interface Call {
  event: ((event: never) => void) | undefined;
  resolve: (result: never) => void;
  reject: (error: unknown) => void;
}

export interface CallOptions<Event> {
  event?: ((event: Event) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** After an abort the worker is waited for: it has something to tidy up. */
  patient?: boolean;
}

/** A worker that answers calls, and the workers of its team. */
export class RemoteWorker {
  private readonly ports: WorkerPort[] = [];
  private readonly calls = new Map<number, Call>();
  private next = 1;
  private ended: Error | undefined;

  constructor() {
    const port = this.spawn('engine');
    port.onMessage = (message: FromWorker) => this.receive(message);
    port.onError = (message) => this.end(new PicolmError('worker_failed', `The engine stopped: ${message}`));
  }

  call<Result, Event = never>(call: string, args: unknown, { event, signal, patient }: CallOptions<Event> = {}): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      throwIfAborted(signal);
      if (this.ended) throw this.ended;
      const id = this.next++;
      const abort = () => {
        this.ports[0]?.post({ abort: id } satisfies ToWorker);
        if (patient) return;
        settle(id);
        reject(abortError(undefined, signal?.reason));
      };
      const settle = (id: number) => {
        this.calls.delete(id);
        signal?.removeEventListener('abort', abort);
      };
      signal?.addEventListener('abort', abort);
      this.calls.set(id, {
        event: event as ((event: never) => void) | undefined,
        resolve: (result) => (settle(id), resolve(result)),
        reject: (error) => (settle(id), reject(error)),
      });
      try {
        this.ports[0]!.post({ id, call, args } satisfies ToWorker);
      } catch (error) {
        settle(id);
        throw new PicolmError('invalid_request', `This cannot be sent to the engine: ${(error as Error).message}`, {}, error);
      }
    });
  }

  /** Ends all workers; their memory is free at once. Calls that wait are rejected with `error`. */
  end(error: Error): void {
    if (this.ended) return;
    this.ended = error;
    for (const port of this.ports.splice(0)) port.terminate();
    for (const call of [...this.calls.values()]) call.reject(error);
  }

  private spawn(name: string): WorkerPort {
    const port = platform().spawn(name);
    this.ports.push(port);
    return port;
  }

  private receive(message: FromWorker): void {
    if ('member' in message) {
      // A member that cannot start is not missed: the others do its work.
      if (!this.ended) this.spawn('team').post(message);
      return;
    }
    const call = this.calls.get(message.id);
    if (!call) return;
    if ('event' in message) call.event?.(message.event as never);
    else if ('error' in message) call.reject(fromErrorData(message.error));
    else call.resolve(message.result as never);
  }
}
