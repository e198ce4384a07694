/**
 * What of a conversation the model reads. A context that is full drops the oldest turns, whole, and never the instructions.
 *
 * ```text
 *   instructions │ turn 1 │ turn 2 │ turn 3 │ turn 4: the question │ room for the answer
 *                  ╰ no longer read ╯ first
 * ```
 *
 * Where it begins is kept with the answer: the next one begins there too, so that what was computed stands. When turns have to go,
 * some more go than have to, or each further question would have all of it read anew.
 */
import type { ChatMessage, Engine } from 'picolm';
import type { Message } from '../store/types';
import { current } from './state';
import { splitThinking } from './thread';

/** Tokens that an answer should have room for. */
const ANSWER = 256;
/** What of the context is filled after turns were dropped. */
const FILLED = 0.6;

/** Of a token, on average: no text has so many. */
const MOST_CHARACTERS = 16;

export interface Reading {
  messages: ChatMessage[];
  /** The first message that is read, where some are not. */
  from: string | undefined;
  /** The text that the model's template makes of them. */
  prompt: string;
}

/** What the model is told before an answer to `above`, of which `begun` is written already. */
export async function reading(engine: Engine, above: readonly Message[], begun: string, kwargs: object): Promise<Reading> {
  const turns = turnsOf(above);
  const { context } = engine.info;
  const before = above.findLast(({ role }) => role === 'assistant')?.from;
  const told = async (first: number) => {
    const messages = said(turns.slice(first).flat());
    const prompt = await engine.renderChat({ messages, ...kwargs });
    const tokens = await engine.tokenize(prompt + begun, { special: true, bos: true });
    return { messages, prompt, tokens: tokens.length };
  };
  let first = Math.max(0, mayFit(turns, context), turns.findIndex((turn) => turn.some(({ id }) => id === before)));
  let result = await told(first);
  const { maxTokens } = current().settings;
  if (result.tokens > context - Math.min(maxTokens || ANSWER, context / 4)) {
    // The last turn is read in any case: if it alone is too long, the engine says so.
    for (let [low, high] = [first, turns.length - 1]; low < high; ) {
      const middle = Math.floor((low + high) / 2);
      const { tokens } = await told(middle);
      if (tokens <= context * FILLED) high = middle;
      else low = middle + 1;
      first = low;
    }
    result = await told(first);
  }
  const { messages, prompt } = result;
  return { messages, prompt, from: first > 0 ? turns[first]![0]!.id : undefined };
}

/** The first turn that could be in so many tokens: a book need not be rendered to know that it is too long. */
function mayFit(turns: readonly (readonly Message[])[], context: number): number {
  let room = context * MOST_CHARACTERS;
  const first = turns.findLastIndex((turn) => (room -= turn.reduce((sum, { content }) => sum + content.length, 0)) < 0);
  return Math.min(first + 1, turns.length - 1);
}

/** A turn begins with what the user says, and ends before the next. */
function turnsOf(messages: readonly Message[]): Message[][] {
  const turns: Message[][] = [];
  for (const message of messages) {
    if (message.role === 'user' || turns.length === 0) turns.push([message]);
    else turns.at(-1)!.push(message);
  }
  return turns;
}

/** The instructions, and the messages without what the model thought. */
function said(messages: readonly Message[]): ChatMessage[] {
  const told = messages
    .filter(({ role, content }) => role === 'user' || content)
    .map(({ role, content }) => ({ role, content: role === 'assistant' ? splitThinking(content).answer : content }));
  const system = current().settings.systemPrompt.trim();
  return system ? [{ role: 'system', content: system }, ...told] : told;
}
