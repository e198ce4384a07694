import { abortError } from '../errors.js';
import type { Lock, LockRequest } from './types.js';

interface Waiting {
  mode: LockRequest['mode'];
  start: () => void;
}

/** Locks within one worker, served in the order they were asked for: what Web Locks are between tabs. */
export class LocalLocks {
  private readonly held = new Map<string, { mode: LockRequest['mode']; count: number }>();
  private readonly queues = new Map<string, Waiting[]>();

  lock(key: string, { mode, wait, signal }: LockRequest): Promise<Lock | undefined> {
    const queue = this.queues.get(key) ?? [];
    this.queues.set(key, queue);
    if (!wait && (queue.length > 0 || !this.free(key, mode))) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const start = () => {
        signal?.removeEventListener('abort', stop);
        resolve(this.take(key, mode));
      };
      const stop = () => {
        queue.splice(queue.indexOf(waiting), 1);
        reject(abortError(undefined, signal?.reason));
        this.serve(key);
      };
      const waiting: Waiting = { mode, start };
      queue.push(waiting);
      if (signal?.aborted) stop();
      else {
        signal?.addEventListener('abort', stop, { once: true });
        this.serve(key);
      }
    });
  }

  private free(key: string, mode: LockRequest['mode']): boolean {
    const held = this.held.get(key);
    return !held || (held.mode === 'shared' && mode === 'shared');
  }

  private take(key: string, mode: LockRequest['mode']): Lock {
    const held = this.held.get(key) ?? { mode, count: 0 };
    held.count++;
    this.held.set(key, held);
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      if (--held.count === 0) this.held.delete(key);
      this.serve(key);
    };
    return { release };
  }

  private serve(key: string): void {
    const queue = this.queues.get(key) ?? [];
    while (queue[0] && this.free(key, queue[0].mode)) queue.shift()!.start();
  }
}
