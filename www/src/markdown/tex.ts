/** Where formulas are in Markdown: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`. A price is none, and neither are brackets that are only escaped. */
import type { MarkdownIt, StateBlock, StateInline } from 'markdown-it';

export function tex(parser: MarkdownIt): void {
  parser.inline.ruler.before('escape', 'tex', inline);
  parser.block.ruler.before('fence', 'tex', block, { alt: ['paragraph', 'reference', 'blockquote', 'list'] });
  parser.renderer.rules['tex'] = (tokens, at) => {
    const { content, markup, block, info } = tokens[at]!;
    const { escapeHtml } = parser.utils;
    const formula = `<span class="math" data-tex="${escapeHtml(content)}"${info}>${escapeHtml(markup)}</span>`;
    return block ? `<p class="formula" tabindex="0">${formula}</p>\n` : formula;
  };
}

const DISPLAY = ' data-display="true"';
/** Bounded, so that a page of opening brackets is not read to its end from each. */
const [DOLLAR, DOLLARS, ROUND, SQUARE] = [
  /\$(?![\s$])((?:\\.|[^\\$]){1,2000})\$(?![\p{L}\p{N}])/suy,
  /\$\$([^$]{1,2000})\$\$/y,
  /\\\((.{1,2000}?)\\\)/sy,
  /\\\[(.{1,2000}?)\\\]/sy,
];
/** A formula says something. */
const SOMETHING = /[\p{L}\p{N}]/u;

function inline(state: StateInline, silent: boolean): boolean {
  const { src, pos, posMax } = state;
  const [first, second] = [src[pos], src[pos + 1]];
  if (first !== '$' && (first !== '\\' || (second !== '(' && second !== '['))) return false;
  const pattern = first === '$' ? (second === '$' ? DOLLARS : DOLLAR) : second === '(' ? ROUND : SQUARE;
  pattern.lastIndex = pos;
  const found = pattern.exec(src);
  if (!found || pattern.lastIndex > posMax || !SOMETHING.test(found[1]!)) return false;
  // "5 $ and 6 $" and "US$5 for A/$B" are about money.
  if (pattern === DOLLAR && (/\s$/.test(found[1]!) || /[\p{L}\p{N}]/u.test(src[pos - 1] ?? ''))) return false;
  if (!silent) {
    const token = state.push('tex', '', 0);
    token.content = found[1]!.trim();
    token.markup = found[0];
    token.info = pattern === DOLLARS || pattern === SQUARE ? DISPLAY : '';
  }
  state.pos += found[0].length;
  return true;
}

/** Lines from `$$` to `$$`, or from `\[` to `\]`. */
function block(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  const line = (at: number) => state.src.slice(state.bMarks[at]! + state.tShift[at]!, state.eMarks[at]!).trimEnd();
  const first = line(startLine);
  const open = first.slice(0, 2);
  if (state.sCount[startLine]! - state.blkIndent >= 4 || (open !== '$$' && open !== '\\[')) return false;
  const close = open === '$$' ? '$$' : '\\]';
  let last = startLine;
  // Within one line it ends there, or it is a text that begins with a formula.
  const rest = first.slice(2);
  if (rest.includes(close) && !rest.endsWith(close)) return false;
  if (!rest.endsWith(close)) {
    do last++;
    while (last < endLine && !state.isEmpty(last) && state.sCount[last]! >= state.blkIndent && !line(last).endsWith(close));
    if (last >= endLine || !line(last).endsWith(close)) return false;
  }
  const markup = Array.from({ length: last - startLine + 1 }, (_, index) => line(startLine + index)).join('\n');
  const content = markup.slice(2, -2).trim();
  if (!SOMETHING.test(content)) return false;
  if (silent) return true;
  const token = state.push('tex', '', 0);
  Object.assign(token, { block: true, content, markup, info: DISPLAY, map: [startLine, last + 1] });
  state.line = last + 1;
  return true;
}
