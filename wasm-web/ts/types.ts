/** What the package takes and gives, in OpenAI's shapes where there are such. */
import type { Progress } from './store/types.js';

/** How a model is opened. */
export interface EngineOptions {
  /** Tokens of the conversation; default: what the model was trained for, at most 4096. */
  context?: number;
  /** In place of `context`: what the model was trained for, but at most so many tokens. */
  maxContext?: number;
  /** Workers on shared memory; `'auto'`: as many as there are cores, at most 8. Without cross-origin isolation it is one. */
  threads?: number | 'auto';
  /** How keys and values are kept: 16 bits, or 8 in half the memory. Default `'f16'`. */
  kv?: 'f16' | 'q8_0';
  /** Bytes of wasm memory the model may take; what does not fit is read from storage layer by layer. Default: all there is. */
  maxMemory?: number;
  /** Which instructions to use; default: the best this browser has. All compute the same bits. */
  simd?: 'auto' | 'relaxed' | 'simd128';
  /** Called while the model is downloaded, verified and loaded. */
  progress?: (progress: Progress) => void;
  /** Gives up opening: AbortError. A download resumes the next time. */
  signal?: AbortSignal;
}

/** How a model is downloaded. */
export interface DownloadOptions {
  /** Expected SHA-256 in hex, a list for several parts. Without it, the one of the first download is recorded. */
  sha256?: string | readonly string[];
  /** Sent with the requests, never stored. */
  headers?: Readonly<Record<string, string>>;
  /** Requests at a time; 4. */
  connections?: number;
  progress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

/** A file in a repository of huggingface.co. */
export interface HFSource {
  repo: string;
  file: string;
  /** Branch, tag or commit; `main`. */
  revision?: string;
  /** For private and gated repositories; never stored. */
  token?: string;
  /** Another server with the same paths. */
  endpoint?: string;
}

/** Where models are kept, and why not in files. */
export interface ModelStorage {
  kind: 'opfs' | 'files' | 'memory';
  why?: string;
}

/** What a model's file says about itself. */
export interface ModelHeader {
  name?: string;
  architecture?: string;
  license?: string;
  parameters: number;
  /** Files it is split into. */
  files: number;
  headerBytes: number;
  /** Tokens it was trained for. */
  context?: number;
  layers?: number;
  /** Bytes of keys and values a token takes. */
  kvBytesF16?: number;
  kvBytesQ8?: number;
  /** Why it does not run. */
  reason?: string;
}

/** Whether a model would fit, from its header alone. */
export interface Estimate {
  header: ModelHeader;
  /** Of all files. */
  fileBytes: number;
  /** Wasm memory: weights, keys and values of the context, buffers (about). */
  memoryBytes: number;
  /** Storage still free here, if it can be known, and whether the model is there already. */
  storageFree?: number;
  stored: boolean;
  /** `yes`; `streamed`: it does not fit in memory and runs slower; `no`, and why. */
  fits: 'yes' | 'streamed' | 'no';
  why?: string;
}

/** What runs, and how. */
export interface EngineInfo {
  architecture: string;
  /** Kernels: `simd128` or `relaxed-simd`. */
  backend: string;
  threads: number;
  /** Why there is one thread, where more were asked for. */
  threadsWhy?: string;
  crossOriginIsolated: boolean;
  context: number;
  contextUsed: number;
  trainedContext: number;
  vocabulary: number;
  layers: number;
  chatTemplate: boolean;
  /** Where the model's file is kept, and why not in files. */
  storage: 'opfs' | 'files' | 'memory' | 'file';
  storageWhy?: string;
  /** Whether layers are read from storage for each pass, and why. */
  streamed: boolean;
  streamedWhy?: string;
  fileBytes: number;
  /** Size of the wasm memory now; of it keys and values, and buffers. */
  memoryBytes: number;
  kvBytes: number;
  bufferBytes: number;
}

export interface ChatMessage {
  role: string;
  content: string | null | { type: 'text'; text: string }[];
  [field: string]: unknown;
}

/** A JSON schema of draft 2020-12, or what most libraries write (zod: `z.toJSONSchema(type)`). What cannot be enforced is refused. */
export type JsonSchema = boolean | object;

/** The form of an answer. All but `text` and `json_object` have a module fetched, once. */
export type ResponseFormat =
  | { type: 'text' }
  /** One JSON object, whole within `max_tokens`. With a schema, as llama.cpp's clients write it, the same as `json_schema`. */
  | { type: 'json_object'; schema?: JsonSchema | null }
  /** A value that fits a schema, which is always enforced. */
  | { type: 'json_schema'; json_schema: { schema: JsonSchema; name?: string | null; description?: string | null; strict?: boolean | null } }
  /** A text that the expression matches as a whole; without look-around. */
  | { type: 'regex'; pattern: string }
  /** A text of a grammar: llama.cpp's GBNF or, beginning with `%llguidance`, llguidance's Lark. */
  | { type: 'grammar'; grammar: string };

/** What chat and text completions share. Anything else is refused by name. */
export interface SamplingOptions {
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  /** Tokens before which the model cannot end the answer. */
  min_tokens?: number | null;
  /** 0.8; 0 always takes the best token. */
  temperature?: number | null;
  /** 0.95 */
  top_p?: number | null;
  /** 40; 0 is off. */
  top_k?: number | null;
  /** 0.05 */
  min_p?: number | null;
  repetition_penalty?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  penalty_last_n?: number | null;
  logit_bias?: Record<string, number> | null;
  /** The same seed and request give the same answer on every machine. Default: a random one. */
  seed?: number | null;
  stop?: string | string[] | null;
  /** Tries tokens that followed the last ones before, up to so many; the answer stays the same. 0 is off. */
  lookup?: number | null;
  /** `false`: computes all of the prompt, also what the request before had in common with it. The answer is the same. */
  cache_prompt?: boolean | null;
  /** The form of the answer. Tell the model of it, too: it is only kept from anything else. */
  response_format?: ResponseFormat | null;
  /** The same as `response_format` of that type, under llama.cpp's names; only one of them may be there. */
  json_schema?: JsonSchema | null;
  regex?: string | null;
  grammar?: string | null;
  stream_options?: { include_usage?: boolean } | null;
  model?: string | null;
  user?: string | null;
  n?: 1 | null;
  /** Stops waiting, reading the prompt or writing: AbortError. */
  signal?: AbortSignal;
  /** Called while the prompt is read: its tokens, and how many are done. */
  promptProgress?: (done: number, total: number) => void;
}

export interface ChatRequest extends SamplingOptions {
  messages: ChatMessage[];
  stream?: boolean | null;
  /** Functions that the model may call; its template tells it of them. */
  tools?: Tool[] | null;
  /** `none`: the model is not told of them. `required`, or the name of one: it has to call one. */
  tool_choice?: 'auto' | 'none' | 'required' | { type: 'function'; function: { name: string } } | null;
  /** `false`: the answer ends behind its first call. */
  parallel_tool_calls?: boolean | null;
  /** `none`: what the model thinks stays in the text, as it writes it; otherwise it is `reasoning_content`. */
  reasoning_format?: 'auto' | 'deepseek' | 'none' | null;
  /** `true`: each token comes with its log-probability, before any sampling option, */
  logprobs?: boolean | null;
  /** and with those of the most likely ones, up to 20. */
  top_logprobs?: number | null;
  /** `false`: the template ends behind the last message, and begins no answer. `true`: it begins one also behind a message of the assistant. */
  add_generation_prompt?: boolean | null;
  /** Whether the last message, an assistant's, is continued. If it is not said: yes, unless `add_generation_prompt` is true. */
  continue_final_message?: boolean | null;
  /** Take control tokens written out in the messages for such. Otherwise they are text, so that nobody who is quoted there ends a turn or begins one. */
  parse_special?: boolean | null;
  /** Variables of the model's own template, such as `enable_thinking`. */
  chat_template_kwargs?: Record<string, unknown> | null;
}

export interface TextRequest extends SamplingOptions {
  /** Taken as it is; control tokens in it are recognised. Or tokens. */
  prompt: string | readonly number[];
  stream?: boolean | null;
  /** Each token comes with its log-probability, before any sampling option, and with those of the so many most likely ones, up to 20. */
  logprobs?: number | null;
  best_of?: 1 | null;
  echo?: false | null;
  suffix?: '' | null;
}

export type FinishReason = 'stop' | 'length' | 'tool_calls';

/** A function; `parameters` is a JSON schema. */
export interface Tool {
  type: 'function';
  function: { name: string; description?: string; parameters?: Record<string, unknown>; [field: string]: unknown };
}

/** A call of a tool. Its arguments are a JSON object, as text. */
export interface ToolCall {
  id: string;
  type: 'function';
  function: { name: string; arguments: string };
}

/** A call in a stream comes as a whole; `index`: which of the answer's it is. */
export interface ToolCallDelta extends ToolCall {
  index: number;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** `cached_tokens` were in the session already. */
  prompt_tokens_details: { cached_tokens: number };
  /** Tokens that `lookup` proposed: those that were right, and the others. */
  completion_tokens_details: { accepted_prediction_tokens: number; rejected_prediction_tokens: number };
}

/** A token and how likely the model finds it: the natural logarithm of its probability, before any sampling option. */
export interface TokenLogprob {
  /** Its text; � where its bytes are not whole characters. */
  token: string;
  id: number;
  logprob: number;
  bytes: number[];
}

/** A token of an answer, and the most likely ones in its place, best first. */
export interface TokenLogprobs extends TokenLogprob {
  top_logprobs: TokenLogprob[];
}

/** OpenAI's older form, of text completions: lists side by side, an entry a token. */
export interface TextLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  /** Characters of the answer before it. */
  text_offset: number[];
}

/** How long it took; milliseconds, tokens per second. */
export interface Timings {
  prompt_n: number;
  prompt_ms: number;
  prompt_per_second: number;
  predicted_n: number;
  predicted_ms: number;
  predicted_per_second: number;
}

interface Answer<Kind extends string, Choice> {
  id: string;
  object: Kind;
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: Choice[];
  usage?: Usage;
  timings?: Timings;
}

/** An entry for each token of the answer, or of the chunk. */
interface ChatLogprobs {
  content: TokenLogprobs[];
}

export type ChatCompletionChunk = Answer<
  'chat.completion.chunk',
  { index: 0; delta: { role?: 'assistant'; content?: string; reasoning_content?: string; tool_calls?: ToolCallDelta[] }; logprobs: ChatLogprobs | null; finish_reason: FinishReason | null }
>;
export type ChatCompletion = Answer<
  'chat.completion',
  { index: 0; message: { role: 'assistant'; content: string | null; reasoning_content?: string; tool_calls?: ToolCall[] }; logprobs: ChatLogprobs | null; finish_reason: FinishReason }
>;
/** Text completions have one shape for parts and the whole. */
export type Completion = Answer<'text_completion', { index: 0; text: string; logprobs: TextLogprobs | null; finish_reason: FinishReason | null }>;
