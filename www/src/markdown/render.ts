/**
 * Markdown to DOM, block by block.
 *
 * ```text
 *   text ──► markdown-it, github.ts and tex.ts ──► tokens, grouped by top-level block ──► HTML ──► DOMPurify ──► nodes
 * ```
 *
 * What a model writes is not trusted: HTML in it is shown as text, images become links, and DOMPurify has the last word.
 */
import createDOMPurify from 'dompurify';
import MarkdownIt, { type Env, type Token } from 'markdown-it';
import { t } from '../i18n';
import { github } from './github';
import { tex } from './tex';

export type References = NonNullable<Env['references']>;

/** A top-level block, and where it lies in the text. */
export interface Block {
  tokens: Token[];
  raw: string;
  /** In characters. */
  start: number;
  /** For code, its language; blocks of one kind can grow into each other. */
  kind: string;
}

const parser = new MarkdownIt({ html: false }).use(github).use(tex);
const { escapeHtml } = parser.utils;

const code = (text: string, language: string) =>
  `<figure class="code"><figcaption><span>${escapeHtml(language)}</span></figcaption><pre tabindex="0"><code data-lang="${escapeHtml(language)}">${escapeHtml(text)}</code></pre></figure>`;
const languageOf = ({ info }: Token) => parser.utils.unescapeAll(info).trim().split(/\s+/)[0]!;

parser.renderer.rules['fence'] = (tokens, at) => code(tokens[at]!.content, languageOf(tokens[at]!));
parser.renderer.rules['code_block'] = (tokens, at) => code(tokens[at]!.content, '');
parser.renderer.rules['image'] = (tokens, at, options, env, renderer) => {
  const image = tokens[at]!;
  const text = escapeHtml(renderer.renderInlineAsText(image.children ?? [], options, env) || String(image.attrGet('src')));
  const open = tokens.slice(0, at).reduce((depth, { type }) => depth + (type === 'link_open' ? 1 : type === 'link_close' ? -1 : 0), 0);
  if (open > 0) return text;
  const title = image.attrGet('title');
  return `<a href="${escapeHtml(String(image.attrGet('src')))}"${title ? ` title="${escapeHtml(String(title))}"` : ''}>${text}</a>`;
};
// The page's policy takes no styles.
for (const cell of ['th_open', 'td_open']) {
  parser.renderer.rules[cell] = (tokens, at) => {
    const align = /left|right|center/.exec(String(tokens[at]!.attrGet('style') ?? ''))?.[0];
    return `<${tokens[at]!.tag}${align ? ` align="${align}"` : ''}>`;
  };
}

const purify = createDOMPurify(window);
const ALLOWED = {
  ALLOWED_TAGS: 'a p br hr em strong del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table thead tbody tr th td figure figcaption span'.split(' '),
  ALLOWED_ATTR: ['href', 'title', 'start', 'align', 'class', 'data-lang', 'tabindex'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  // DOMPurify holds all attributes to the rule of addresses but those it knows to be none.
  ADD_URI_SAFE_ATTR: ['start', 'align', 'tabindex'],
  RETURN_DOM_FRAGMENT: true as const,
};
purify.addHook('afterSanitizeAttributes', (node) => {
  if (!node.hasAttribute('href')) return;
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer');
});

/** The top-level blocks of a text, and all references that are known then. */
export function blocksOf(text: string, known: References): { blocks: Block[]; references: References } {
  const env: Env = { references: { ...known } };
  const lines = lineStarts(text);
  const blocks: Block[] = [];
  let open: Token[] = [];
  for (const token of parser.parse(text, env)) {
    open.push(token);
    if (token.level > 0 || token.nesting === 1) continue;
    const [first] = open as [Token];
    const [from, to] = first.map!;
    const start = lines[from]!;
    const kind = first.type === 'fence' ? `fence ${languageOf(first)}` : first.type;
    blocks.push({ tokens: open, raw: text.slice(start, lines[to] ?? text.length), start, kind });
    open = [];
  }
  return { blocks, references: env.references! };
}

/** The nodes of one block. */
export function nodesOf({ tokens }: Block): DocumentFragment {
  const fragment = purify.sanitize(parser.renderer.render(tokens, parser.options), ALLOWED);
  // Each block in the direction of its own first letters; code always from the left.
  for (const element of fragment.querySelectorAll('p, h1, h2, h3, h4, h5, h6, ul, ol, blockquote, table, th, td')) element.setAttribute('dir', 'auto');
  for (const element of fragment.querySelectorAll('figure')) element.setAttribute('dir', 'ltr');
  for (const table of fragment.querySelectorAll('table')) {
    const frame = document.createElement('div');
    frame.className = 'table';
    frame.tabIndex = 0;
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const caption of fragment.querySelectorAll('figcaption')) caption.append(copyButton());
  return fragment;
}

/** Where each line begins. */
function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

function copyButton(): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy-code';
  button.textContent = t('code.copy');
  button.addEventListener('click', () => {
    const code = button.closest('figure')?.querySelector('code')?.textContent.replace(/\n$/, '') ?? '';
    void navigator.clipboard.writeText(code).then(() => {
      button.textContent = t('copied');
      setTimeout(() => (button.textContent = t('code.copy')), 2000);
    });
  });
  return button;
}
