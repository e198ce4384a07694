/** Which of the four builds of the engine runs here, and how it is started; and the module that knows schemas and grammars. */
import { PicolmError } from '../errors.js';
import * as grammar from '../wasm/grammar.js';
import * as single from '../wasm/single.js';
import * as threaded from '../wasm/threads.js';

export type Bindings = typeof threaded;
export type Simd = 'relaxed' | 'simd128';
/** The files in `wasm/`, but for their ending. */
export type ModuleName = Simd | `${Simd}-threads` | 'grammar';
type Compile = (name: ModuleName) => Promise<WebAssembly.Module>;

/** A running engine: the functions of the crate `picolm-web`, and its memory. */
export interface Instance {
  bindings: Bindings;
  memory: WebAssembly.Memory;
  module: WebAssembly.Module;
  simd: Simd;
  /** Whether memory is shared, and why not. */
  shared: boolean;
  why?: string | undefined;
}

/** What a worker of the team is told. */
export interface Member {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  address: number;
}

/** Modules of one function each: `v128.any_true(i32x4.splat(0))`, and a relaxed dot. */
const SIMD128 = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 17, 253, 83, 11];
const RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 17, 65, 0, 253, 17, 65, 0, 253, 17, 253, 147, 2, 11,
];

/** The best instructions of this engine, or those that were asked for. */
export function chooseSimd(wanted: Simd | 'auto' = 'auto'): Simd {
  const has = (bytes: number[]) => WebAssembly.validate(new Uint8Array(bytes)) && (bytes !== RELAXED || !isExperimental());
  if (!has(SIMD128)) {
    throw new PicolmError('unsupported_platform', 'There is no WebAssembly SIMD here. Browsers have it since 2023 at the latest, Node since 16: please update.');
  }
  if (wanted === 'simd128' || (wanted === 'auto' && !has(RELAXED))) return 'simd128';
  if (has(RELAXED)) return 'relaxed';
  throw new PicolmError('unsupported_platform', "This engine has no relaxed SIMD: leave out simd: 'relaxed'.");
}

/** V8 before 12 has relaxed SIMD behind a flag (Node 20), and its sums are wrong at times: registers get lost. */
function isExperimental(): boolean {
  const { v8 } = (globalThis as { process?: { versions?: { v8?: string } } }).process?.versions ?? {};
  return v8 !== undefined && Number.parseInt(v8, 10) < 12;
}

/** Starts a build. `threads` above 1 wants shared memory. */
export async function start(simd: Simd, threads: number, compile: Compile): Promise<Instance> {
  const [shared, why] = threads > 1 ? canShare() : [false, undefined];
  const module = await compile(shared ? `${simd}-threads` : simd);
  try {
    if (!shared) {
      const { memory } = single.initSync({ module });
      return { bindings: single as unknown as Bindings, memory, module, simd, shared, why };
    }
    const memory = sharedMemory();
    threaded.initSync({ module, memory });
    return { bindings: threaded, memory, module, simd, shared };
  } catch (error) {
    throw new PicolmError('out_of_memory', `The engine does not start: ${(error as Error).message}. Close other tabs, then try again.`, {}, error);
  }
}

/** Fetches and starts the module for schemas, regular expressions and grammars: once a worker. */
export async function startGrammars(compile: Compile): Promise<grammar.Grammars> {
  try {
    grammar.initSync({ module: await compile('grammar') });
    return new grammar.Grammars();
  } catch (error) {
    throw new PicolmError('module_unavailable', `The module for schemas and grammars does not start: ${(error as Error).message}`, {}, error);
  }
}

/** What a worker of the team does, until the team is stopped. */
export function work({ module, memory, address }: Member): void {
  threaded.initSync({ module, memory });
  threaded.team_member(address);
}

function canShare(): [shared: boolean, why?: string] {
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated;
  if (typeof SharedArrayBuffer === 'function' && isolated !== false) return [true];
  return [
    false,
    'One thread: the page is not cross-origin isolated. Serve it with "Cross-Origin-Opener-Policy: same-origin" and "Cross-Origin-Embedder-Policy: require-corp" to use more.',
  ];
}

const PAGE = 65536;
/** More than any build needs to start. */
const FIRST_PAGES = 64;

/** As much address space as this device gives: phones refuse 4 GiB. */
function sharedMemory(): WebAssembly.Memory {
  for (let pages = (4 << 20) / (PAGE >> 10); ; pages /= 2) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: pages, shared: true });
    } catch (error) {
      if (pages < 4096) throw error;
    }
  }
}
