/** What GitHub adds to CommonMark and markdown-it does otherwise or not at all: one tilde strikes too, addresses without brackets, tasks. */
import type { MarkdownIt, StateCore, StateInline, Token } from 'markdown-it';

export function github(parser: MarkdownIt): void {
  parser.inline.ruler.at('strikethrough', openOrClose);
  parser.inline.ruler2.at('strikethrough', strike);
  parser.core.ruler.push('addresses', addresses);
  parser.core.ruler.push('tasks', tasks);
}

// --- strikethrough -------------------------------------------------------------------------------------------------------

const TILDE = 0x7e;
/** Two runs go together only if they are as long: for the search for pairs they are different marks. */
const MARKS = [0, TILDE, TILDE << 8];

function openOrClose(state: StateInline, silent: boolean): boolean {
  if (silent || state.src.charCodeAt(state.pos) !== TILDE) return false;
  const { length, can_open: open, can_close: close } = state.scanDelims(state.pos, true);
  state.push('text', '', 0).content = '~'.repeat(length);
  const marker = MARKS[length];
  if (marker) state.delimiters.push({ marker, length: 0, token: state.tokens.length - 1, end: -1, open, close });
  state.pos += length;
  return true;
}

function strike(state: StateInline): void {
  for (const delimiters of [state.delimiters, ...state.tokens_meta.map((meta) => meta?.delimiters ?? [])]) {
    for (const { marker, end, token } of delimiters) {
      if (!MARKS.includes(marker) || end < 0) continue;
      become(state.tokens[token]!, 'del_open', 'del', 1);
      become(state.tokens[delimiters[end]!.token]!, 'del_close', 'del', -1);
    }
  }
}

function become(token: Token, type: string, tag: string, nesting: 1 | -1): void {
  Object.assign(token, { type, tag, nesting, content: '' });
}

// --- addresses -----------------------------------------------------------------------------------------------------------

// Bounded, since a page of letters without a space must not be looked at from each of them.
const MAIL = '[\\w.+-]{1,64}@[\\w-]+(?:\\.[\\w-]+)+';
const ADDRESS = new RegExp(
  [`(?<=^|[\\s*_~(])(?:(?:https?|ftp)://|www\\.)[^\\s<]+`, `(?<![\\w.+-])(?:xmpp:${MAIL}(?:/[\\w@.]+)?|(?:mailto:)?${MAIL})`].join('|'),
  'gi',
);
const LONGEST = 2000;
/** Labels and dots; none of the last two labels has an underscore. */
const HOST = /^(?:[a-z]+:\/\/)?(?:[\p{L}\p{N}_-]+\.)*?[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)?(?=[/?#:]|$)/iu;

function addresses({ tokens, md, Token }: StateCore): void {
  for (const token of tokens) {
    if (token.type !== 'inline' || !/[@.:]/.test(token.content)) continue;
    let depth = 0;
    token.children = token.children!.flatMap((child) => {
      if (child.type === 'link_open') depth++;
      if (child.type === 'link_close') depth--;
      return child.type === 'text' && depth === 0 ? linked(child, md, Token) : [child];
    });
  }
}

/** A text with its addresses as links. */
function linked(text: Token, md: MarkdownIt, Token: StateCore['Token']): Token[] {
  const parts: Token[] = [];
  const add = (type: string, tag: string, nesting: -1 | 0 | 1, content = '') => {
    const token = new Token(type, tag, nesting);
    token.content = content;
    parts.push(token);
    return token;
  };
  let end = 0;
  for (const match of text.content.matchAll(ADDRESS)) {
    const address = match[0].includes('@') && !/^(www|https?:|ftp:)/i.test(match[0]) ? mail(match[0]) : web(match[0]);
    if (!address) continue;
    const { shown, target } = address;
    add('text', '', 0, text.content.slice(end, match.index));
    add('link_open', 'a', 1).attrs = [['href', md.normalizeLink(target)]];
    add('text', '', 0, shown);
    add('link_close', 'a', -1);
    end = match.index + shown.length;
  }
  if (end === 0) return [text];
  add('text', '', 0, text.content.slice(end));
  return parts;
}

interface Address {
  shown: string;
  target: string;
}

function mail(found: string): Address | undefined {
  // A dot at the end is the sentence's; after a dash or an underscore it is no address at all.
  const shown = found.replace(/\.+$/, '');
  if (/[-_]$/.test(shown)) return undefined;
  return { shown, target: /^(mailto|xmpp):/i.test(shown) ? shown : `mailto:${shown}` };
}

function web(found: string): Address | undefined {
  if (found.length > LONGEST) return undefined;
  const shown = trimmed(found);
  const bare = /^www\./i.test(shown);
  if (!HOST.test(shown) || (bare && !/^www\.[^./]+/i.test(shown))) return undefined;
  return { shown, target: bare ? `http://${shown}` : shown };
}

/** Without what belongs to the sentence: punctuation, a bracket that was opened before, what looks like an entity. */
function trimmed(address: string): string {
  for (let text = address; ; ) {
    let next = text.replace(/[?!.,:*_~'"]+$/, '').replace(/&[a-z\d]+;$/i, '');
    if (next.endsWith(')') && count(next, ')') > count(next, '(')) next = next.slice(0, -1);
    if (next === text) return text;
    text = next;
  }
}

function count(text: string, character: string): number {
  return text.split(character).length - 1;
}

// --- tasks ---------------------------------------------------------------------------------------------------------------

function tasks({ tokens }: StateCore): void {
  for (const [at, { type }] of tokens.entries()) {
    const [paragraph, inline] = [tokens[at + 1], tokens[at + 2]];
    if (type !== 'list_item_open' || paragraph?.type !== 'paragraph_open') continue;
    const first = inline?.children?.[0];
    if (first?.type === 'text') first.content = first.content.replace(/^\[([ x])\](?=\s)/i, (_, mark) => (mark === ' ' ? '☐' : '☑'));
  }
}
