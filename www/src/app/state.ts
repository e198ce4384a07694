/**
 * The state of the page, in one place. Data flows one way:
 *
 * ```text
 *   event ──► action (app/*.ts) ──► update(…) ──► components that use what changed render again
 *                 │  ▲
 *                 ▼  │
 *        database, engine, storage
 * ```
 */
import type { EngineInfo, StoredModel } from 'picolm';
import { DEFAULTS, type Conversation, type Failure, type Message, type ModelNote, type Settings } from '../store/types';

/**
 * A model one can talk to: from the store; a file that was picked (without `files`, but with handles, if that was on another visit); or, where
 * there is no store, what is downloaded straight into memory.
 */
export type ModelRef =
  | { kind: 'stored'; key: string; url: string; name: string }
  | { kind: 'file'; files: File[]; handles: FileSystemFileHandle[]; url: string; name: string }
  | { kind: 'memory'; order: Order; url: string; name: string };

/** What the page needs to know to fetch a model. */
export interface Order {
  url: string;
  sha256?: string;
  /** Of a private repository; sent with the requests, never stored. */
  token?: string;
  bytes?: number;
  note?: Partial<ModelNote>;
}

type FileRef = Extract<ModelRef, { kind: 'file' }>;

export type EngineState =
  | { status: 'none' }
  | { status: 'opening'; model: ModelRef; loaded: number; total: number }
  | { status: 'ready'; model: ModelRef; info: EngineInfo }
  | { status: 'failed'; model: ModelRef; failure: Failure };

/** A download, a check or a failure of one; by address. */
export interface Transfer {
  phase: 'starting' | 'waiting' | 'download' | 'verify' | 'failed' | 'checking' | 'checked' | 'copying';
  loaded: number;
  total: number;
  /** Bytes a second, over the last seconds. */
  speed: number;
  note?: string | undefined;
  failure?: Failure | undefined;
}

/** A model the page offers. */
export interface Suggestion {
  name: string;
  url: string;
  /** Where it is when it does not lie beside the page. */
  source?: string;
  bytes: number;
  sha256?: string;
  license: string;
  about: string;
  parameters?: number;
  architecture?: string;
}

/** The answer that is being written. */
export interface Answer {
  conversation: string;
  message: string;
  phase: 'waiting' | 'reading' | 'writing';
  promptDone: number;
  promptTotal: number;
  tokens: number;
  perSecond: number;
  text: string;
}

export interface Notice {
  id: number;
  text: string;
  kind: 'info' | 'error';
  action?: { label: string; run: () => void };
}

/** A conversation that matches the search, and where. */
export interface Found {
  conversation: Conversation;
  excerpt: string;
}

export interface Storage {
  used: number;
  free: number;
  persisted: boolean;
}

export interface State {
  ready: boolean;
  locale: string;
  settings: Settings;
  conversations: Conversation[];
  query: string;
  found: Found[] | undefined;
  /** The open conversation, and all its messages, of all branches. */
  current: Conversation | undefined;
  messages: Message[];
  /** The message that is being edited. */
  editing: string | undefined;
  stored: StoredModel[];
  notes: ModelNote[];
  suggestions: Suggestion[];
  transfers: Readonly<Record<string, Transfer>>;
  files: FileRef[];
  storage: Storage | undefined;
  /** Why models are not kept here, where they are not: in memory until the tab is closed. */
  unkept: string | undefined;
  engine: EngineState;
  /** A model that could not be opened, while the one before works on. */
  refused: { model: ModelRef; failure: Failure } | undefined;
  answer: Answer | undefined;
  dialog: 'models' | 'settings' | 'keys' | undefined;
  drawer: boolean;
  notices: Notice[];
  online: boolean;
  /** Conversations that another tab is writing in. */
  writers: ReadonlySet<string>;
  /** Why the page runs on one thread, if it does. */
  isolated: boolean;
  /** Offered by the browser: installs the page. */
  install: (() => void) | undefined;
}

let state: State = {
  ready: false,
  locale: 'en',
  settings: DEFAULTS,
  conversations: [],
  query: '',
  found: undefined,
  current: undefined,
  messages: [],
  editing: undefined,
  stored: [],
  notes: [],
  suggestions: [],
  transfers: {},
  files: [],
  storage: undefined,
  unkept: undefined,
  engine: { status: 'none' },
  refused: undefined,
  answer: undefined,
  dialog: undefined,
  drawer: false,
  notices: [],
  online: navigator.onLine,
  writers: new Set(),
  isolated: globalThis.crossOriginIsolated ?? false,
  install: undefined,
};

type Listener = (changed: ReadonlySet<keyof State>) => void;
const listeners = new Set<Listener>();

export function current(): Readonly<State> {
  return state;
}

/** The only way the state changes. */
export function update(patch: Partial<State>): void {
  const changed = new Set((Object.keys(patch) as (keyof State)[]).filter((key) => state[key] !== patch[key]));
  if (changed.size === 0) return;
  state = { ...state, ...patch };
  for (const listener of [...listeners]) listener(changed);
}

export function subscribe(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
