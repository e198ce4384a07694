/**
 * Markdown to DOM, block by block.
 *
 * ```text
 *   text ──► marked's lexer ──► top-level tokens ──► parser ──► HTML ──► DOMPurify ──► nodes
 * ```
 *
 * What a model writes is not trusted: HTML in it is shown as text, images become links, and DOMPurify has the last word.
 */
import createDOMPurify from 'dompurify';
import { Marked, type Token } from 'marked';
import { t } from '../i18n';

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text: string) => text.replace(/[&<>"']/g, (found) => escapes[found]!);

const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    html: ({ text }) => escape(text),
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    code: ({ text, lang }) => {
      const language = /^[\w+#-]+/.exec(lang ?? '')?.[0] ?? '';
      return `<figure class="code"><figcaption><span>${language}</span></figcaption><pre tabindex="0"><code data-lang="${language.toLowerCase()}">${escape(text)}</code></pre></figure>`;
    },
  },
});

const purify = createDOMPurify(window);
const ALLOWED = {
  ALLOWED_TAGS: 'a p br hr em strong del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table thead tbody tr th td figure figcaption span'.split(' '),
  ALLOWED_ATTR: ['href', 'start', 'align', 'class', 'data-lang', 'tabindex'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_DOM_FRAGMENT: true as const,
};
purify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return;
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer');
});

/** The top-level blocks of a text, with what separates them. */
export function blocksOf(text: string): Token[] {
  return marked.lexer(text);
}

/** The nodes of one block. */
export function nodesOf(block: Token): DocumentFragment {
  const fragment = purify.sanitize(marked.parser([block]), ALLOWED);
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

function copyButton(): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy-code';
  button.textContent = t('code.copy');
  button.addEventListener('click', () => {
    const code = button.closest('figure')?.querySelector('code')?.textContent ?? '';
    void navigator.clipboard.writeText(code).then(() => {
      button.textContent = t('copied');
      setTimeout(() => (button.textContent = t('code.copy')), 2000);
    });
  });
  return button;
}
