/** Highlighting, fetched when the first code is shown. Lines are coloured as DOM nodes: no markup is made from text here. */
import type { HLJSApi } from 'highlight.js';

let loading: Promise<HLJSApi> | undefined;

/** Beyond this many characters code stays plain: nobody reads so much, and it would take a frame. */
const MOST = 20_000;

/** Colours a `code` element by its `data-lang`. */
export async function highlight(code: HTMLElement): Promise<void> {
  const language = code.dataset['lang']?.toLowerCase();
  if (!language || code.textContent.length > MOST) return;
  const hljs = await (loading ??= import('./languages').then(({ default: hljs }) => hljs));
  if (!hljs.getLanguage(language)) return;
  const { _emitter } = hljs.highlight(code.textContent, { language, ignoreIllegals: true }) as unknown as { _emitter: { rootNode: Node_ } };
  code.replaceChildren(...nodes(_emitter.rootNode.children));
}

interface Node_ {
  scope?: string;
  children: (Node_ | string)[];
}

function nodes(children: Node_['children']): (Node | string)[] {
  return children.map((child) => {
    if (typeof child === 'string') return child;
    const inner = nodes(child.children);
    const span = document.createElement('span');
    if (child.scope) span.className = `hljs-${child.scope.split('.')[0]}`;
    span.append(...inner);
    return span;
  });
}
