import { PicolmError, throwIfAborted } from '../errors.js';
import { blockBytes, type FileState } from './journal.js';
import { BLOCK, type FileHandle, type Hasher } from './types.js';
import { sleep } from './http.js';

/** Blocks hashed between two looks at the event loop: some milliseconds. */
const AT_ONCE = 4;
const CUT =
  'The stored file is shorter than what was written to it: something else has changed it. Remove the model and download it again.';

/**
 * The SHA-256 of a file that is still coming: follows the contiguous part of it that is there. Blocks are read back from the
 * file, so it vouches for what is stored and not only for what was received; and after a restart it simply begins at 0.
 */
export class PrefixHash {
  private digest: Hasher;
  private next = 0;
  private wake: () => void = () => {};
  private readonly buffer = new Uint8Array(BLOCK);

  constructor(
    private readonly handle: FileHandle,
    private readonly state: FileState,
    private readonly hasher: () => Hasher,
  ) {
    this.digest = hasher();
  }

  /** Bytes hashed so far. */
  get hashed(): number {
    return Math.min(this.next * BLOCK, this.state.version.bytes ?? Infinity);
  }

  /** More blocks are there, or the size has become known. */
  more(): void {
    this.wake();
  }

  /** The file begins anew. */
  restart(): void {
    this.digest = this.hasher();
    this.next = 0;
  }

  /** Hashes until the end of the file, waiting for what is not there yet; tells after each step. Returns the digest in hex. */
  async run(signal: AbortSignal, step: () => void): Promise<string> {
    const stop = () => this.wake();
    signal.addEventListener('abort', stop);
    try {
      while (!this.ended()) {
        throwIfAborted(signal);
        if (!this.advance()) await new Promise<void>((resolve) => (this.wake = resolve));
        else await sleep(0, signal);
        step();
      }
      return this.digest.hex();
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  private ended(): boolean {
    const { bytes } = this.state.version;
    return bytes !== undefined && this.next * BLOCK >= bytes;
  }

  private advance(): boolean {
    const from = this.next;
    while (this.next < from + AT_ONCE && !this.ended() && this.state.done.has(this.next)) {
      const block = this.buffer.subarray(0, blockBytes(this.next, this.state.version.bytes));
      if (this.handle.read(block, { at: this.next * BLOCK }) !== block.length) throw new PicolmError('storage_unavailable', CUT);
      this.digest.update(block);
      this.next++;
    }
    return this.next > from;
  }
}
