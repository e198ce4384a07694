/* tslint:disable */
/* eslint-disable */

/**
 * A loaded model. `begin_chat` or `begin_text` prepare an answer, each `step` computes a part of it.
 */
export class Engine {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Prepares an answer: to `messages` by the model's chat template, or to a `prompt` as it is. Options are OpenAI's.
     *
     * # Errors
     * `invalid_request`, `invalid_template`, `context_full`. The session is then as it was.
     */
    begin(request: string): void;
    /**
     * Tokens of the prompt, how many of them were in the session already, how many are there now, and tokens of the answer.
     */
    counts(): Uint32Array;
    /**
     * The text of tokens; control tokens are written out if `special`.
     */
    detokenize(ids: Uint32Array | number[], special: boolean): string;
    /**
     * The digest of `picolm digest`: SHA-256 over the logits of a fixed sequence of tokens.
     *
     * # Errors
     * As `step`.
     */
    digest(): string;
    /**
     * Why the answer ended: `stop` (by the model or a stop string), `length`, or nothing yet.
     */
    finish_reason(): string | undefined;
    /**
     * JSON: what `EngineInfo` in `types.ts` says of the model.
     */
    info(): string;
    /**
     * Loads the model in `weights`. `context` tokens, or as many as the model was trained for and at most 4096 if that is 0; `q8` stores
     * keys and values in 8 bits; streamed weights keep `budget` bytes in memory.
     *
     * # Errors
     * `invalid_model`, `unsupported_…`, `invalid_request` for a context the model has not, `out_of_memory`.
     */
    static load(weights: Weights, context: number, q8: boolean, budget: number, team: Team): Engine;
    /**
     * Goes on from a saved session of the same model.
     *
     * # Errors
     * `invalid_state`, `out_of_memory`; the session is then as it was.
     */
    load_state(bytes: Uint8Array | number[]): void;
    /**
     * The prompt that the model's chat template makes of a request with `messages`.
     *
     * # Errors
     * `invalid_request`, `invalid_template`.
     */
    render(request: string): string;
    /**
     * Forgets all tokens. The memory is kept.
     */
    reset(): void;
    /**
     * The session as bytes, for `load_state`.
     *
     * # Errors
     * `out_of_memory`.
     */
    save_state(): Uint8Array;
    /**
     * Feeds up to `most` tokens of the prompt, or computes the next token (or several, with lookup). Returns new text.
     *
     * # Errors
     * `invalid_request` without an answer that was begun; `invalid_model`, `out_of_memory`, `storage_unavailable`.
     */
    step(most: number): string;
    /**
     * Ends the answer early; returns text that was held back.
     */
    stop(): string;
    /**
     * The tokens of a text; `special` recognises control tokens written out in it, `bos` begins as the model's file asks for.
     */
    tokenize(text: string, special: boolean, bos: boolean): Uint32Array;
}

/**
 * A hash on its way.
 */
export class Sha256 {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * The hash of all bytes so far, as 64 hexadecimal digits.
     */
    hex(): string;
    /**
     * Of nothing yet.
     */
    constructor();
    /**
     * Takes the next bytes.
     */
    update(bytes: Uint8Array | number[]): void;
}

/**
 * A team of workers. Member 0 is the engine's.
 */
export class Team {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Where a member finds the team. Each call makes one more owner, who must call `team_member` once.
     */
    address(): number;
    /**
     * A team of `size` members. Each but the first is a worker that calls `team_member` with `address`.
     */
    constructor(size: number);
    /**
     * Members that have come to work, the engine's worker included.
     */
    present(): number;
    /**
     * Lets the members go.
     */
    stop(): void;
}

/**
 * The files of a model, in order.
 */
export class Weights {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Makes room for the next file, `len` bytes, and returns its address: the caller writes all of it before `Engine.load`.
     *
     * # Errors
     * `out_of_memory`.
     */
    add(len: number): number;
    /**
     * The next file stays where it is, and `header` is its beginning, tensor directory and all.
     */
    add_streamed(header: Uint8Array | number[], len: number): void;
    /**
     * No files yet.
     */
    constructor();
    /**
     * How streamed files are read: `(file, at, address, length) => void`, which throws if it cannot.
     */
    static set_reader(reader: Function): void;
}

/**
 * Reads the header of a model of `len` bytes from its first `bytes`. JSON: `{needed}` if it takes more of them, or what
 * `ModelHeader` in `types.ts` says.
 *
 * # Errors
 * `invalid_model`.
 */
export function header(bytes: Uint8Array | number[], len: number): string;

/**
 * What a member does all its life: returns when the team is stopped.
 *
 * # Safety
 * `address` came from [`Team::address`] in the same memory, and is used once.
 */
export function team_member(address: number): void;

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly __wbg_engine_free: (a: number, b: number) => void;
    readonly __wbg_sha256_free: (a: number, b: number) => void;
    readonly __wbg_team_free: (a: number, b: number) => void;
    readonly __wbg_weights_free: (a: number, b: number) => void;
    readonly engine_begin: (a: number, b: number, c: number) => [number, number];
    readonly engine_counts: (a: number) => [number, number];
    readonly engine_detokenize: (a: number, b: number, c: number, d: number) => [number, number];
    readonly engine_digest: (a: number) => [number, number, number, number];
    readonly engine_finish_reason: (a: number) => [number, number];
    readonly engine_info: (a: number) => [number, number];
    readonly engine_load: (a: number, b: number, c: number, d: number, e: number) => [number, number, number];
    readonly engine_load_state: (a: number, b: number, c: number) => [number, number];
    readonly engine_render: (a: number, b: number, c: number) => [number, number, number, number];
    readonly engine_reset: (a: number) => void;
    readonly engine_save_state: (a: number) => [number, number, number, number];
    readonly engine_step: (a: number, b: number) => [number, number, number, number];
    readonly engine_stop: (a: number) => [number, number];
    readonly engine_tokenize: (a: number, b: number, c: number, d: number, e: number) => [number, number];
    readonly header: (a: number, b: number, c: number) => [number, number, number, number];
    readonly sha256_hex: (a: number) => [number, number];
    readonly sha256_new: () => number;
    readonly sha256_update: (a: number, b: number, c: number) => void;
    readonly team_address: (a: number) => number;
    readonly team_member: (a: number) => void;
    readonly team_new: (a: number) => number;
    readonly team_present: (a: number) => number;
    readonly team_stop: (a: number) => void;
    readonly weights_add: (a: number, b: number) => [number, number, number];
    readonly weights_add_streamed: (a: number, b: number, c: number, d: number) => void;
    readonly weights_new: () => number;
    readonly weights_set_reader: (a: any) => void;
    readonly memory: WebAssembly.Memory;
    readonly __wbindgen_malloc: (a: number, b: number) => number;
    readonly __wbindgen_realloc: (a: number, b: number, c: number, d: number) => number;
    readonly __wbindgen_free: (a: number, b: number, c: number) => void;
    readonly __wbindgen_exn_store: (a: number) => void;
    readonly __externref_table_alloc: () => number;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __externref_table_dealloc: (a: number) => void;
    readonly __wbindgen_thread_destroy: (a?: number, b?: number, c?: number) => void;
    readonly __wbindgen_start: (a: number) => void;
}

export type SyncInitInput = BufferSource | WebAssembly.Module;

/**
 * Instantiates the given `module`, which can either be bytes or
 * a precompiled `WebAssembly.Module`.
 *
 * @param {{ module: SyncInitInput, memory?: WebAssembly.Memory, thread_stack_size?: number }} module - Passing `SyncInitInput` directly is deprecated.
 * @param {WebAssembly.Memory} memory - Deprecated.
 *
 * @returns {InitOutput}
 */
export function initSync(module: { module: SyncInitInput, memory?: WebAssembly.Memory, thread_stack_size?: number } | SyncInitInput, memory?: WebAssembly.Memory): InitOutput;

/**
 * If `module_or_path` is {RequestInfo} or {URL}, makes a request and
 * for everything else, calls `WebAssembly.instantiate` directly.
 *
 * @param {{ module_or_path: InitInput | Promise<InitInput>, memory?: WebAssembly.Memory, thread_stack_size?: number }} module_or_path - Passing `InitInput` directly is deprecated.
 * @param {WebAssembly.Memory} memory - Deprecated.
 *
 * @returns {Promise<InitOutput>}
 */
export default function __wbg_init (module_or_path: { module_or_path: InitInput | Promise<InitInput>, memory?: WebAssembly.Memory, thread_stack_size?: number } | InitInput | Promise<InitInput>, memory?: WebAssembly.Memory): Promise<InitOutput>;
