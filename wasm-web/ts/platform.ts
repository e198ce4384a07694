/** What differs between browsers and Node, Deno or Bun on the caller's side: how a worker is made. */

/** A worker, however it is made. */
export interface WorkerPort {
  post(message: unknown, transfer?: Transferable[]): void;
  onMessage: (message: never) => void;
  /** The worker could not start, or died. */
  onError: (message: string) => void;
  terminate(): void;
}

export interface Platform {
  spawn(name: string): WorkerPort;
  /** Addresses relative to the page become whole: a worker has another base. */
  absolute(url: string | URL): string;
  cores(): number;
  /** Asks that what is stored is kept. */
  persist(): Promise<boolean>;
}

let current: Platform | undefined;

/** Called once by each entry point. */
export function usePlatform(platform: Platform): void {
  current = platform;
}

export function platform(): Platform {
  if (!current) throw new Error('import "picolm", not one of its parts');
  return current;
}
