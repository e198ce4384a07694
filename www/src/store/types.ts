/** What is kept in the browser's database. */

/** What went wrong, as plain data: `code` is one of picolm's or of the page's own. */
export interface Failure {
  code: string;
  message: string;
  /** Which of a code's causes, where it has several. */
  why?: string;
}

export interface Stats {
  /** Tokens of the prompt, and how many of them were computed already. */
  promptTokens: number;
  cachedTokens: number;
  promptPerSecond: number;
  tokens: number;
  perSecond: number;
}

/** `writing` is also what an answer stays if the browser is killed; the page then shows it as stopped. */
export type MessageStatus = 'done' | 'writing' | 'stopped' | 'length' | 'loop' | 'failed';

/** A message is a node of a tree: regenerating or editing adds a sibling. */
export interface Message {
  id: string;
  conversation: string;
  parent: string | null;
  role: 'user' | 'assistant';
  content: string;
  created: number;
  status: MessageStatus;
  /** Of answers: the name of the model, and how it went. */
  model?: string;
  stats?: Stats;
  /** The first message that was read for it, where the context had no room for all. */
  from?: string;
  failure?: Failure;
}

export interface Conversation {
  id: string;
  title: string;
  created: number;
  updated: number;
  /** The last message of the branch that is shown. */
  head: string | null;
}

/** What is known about a model besides its bytes; by its address without query. */
export interface ModelNote {
  url: string;
  name: string;
  license?: string;
  architecture?: string;
  parameters?: number;
}

/** A model's files that were picked, where the browser can find them again. */
export interface FileNote {
  url: string;
  name: string;
  handles: FileSystemFileHandle[];
}

export type Theme = 'system' | 'light' | 'dark';

export interface Settings {
  locale: 'auto' | 'en' | 'vi' | 'zh';
  theme: Theme;
  /** Of the text, in pixels. */
  fontSize: number;
  thinking: 'folded' | 'shown' | 'off';
  /** The address of the model that was used last. */
  model: string;
  systemPrompt: string;
  temperature: number;
  topP: number;
  topK: number;
  minP: number;
  repetitionPenalty: number;
  /** 0: as many as fit. */
  maxTokens: number;
  /** Empty: another one each time. */
  seed: string;
  context: number;
  /** 0: as many as there are cores. */
  threads: number;
  kv: 'f16' | 'q8_0';
}

export const DEFAULTS: Settings = {
  locale: 'auto',
  theme: 'system',
  fontSize: 16,
  thinking: 'folded',
  model: '',
  systemPrompt: '',
  temperature: 0.8,
  topP: 0.95,
  topK: 40,
  minP: 0.05,
  repetitionPenalty: 1,
  maxTokens: 0,
  seed: '',
  context: 4096,
  threads: 0,
  kv: 'f16',
};
