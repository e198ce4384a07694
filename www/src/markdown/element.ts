/**
 * `<pl-markdown>`: shows a text that may still be growing.
 *
 * ```text
 *   frozen blocks (never touched again)  |  the last block (rendered anew when the text has grown)
 * ```
 *
 * A block is frozen once another follows it. So an update costs one block, however long the text is. Code is coloured when
 * its block is frozen; the last block, if it is code, only gets its new characters.
 */
import type { Token } from 'marked';
import { highlight } from './highlight';
import { blocksOf, nodesOf } from './render';

export class Markdown extends HTMLElement {
  private shown = '';
  /** Where the last block begins in the text, and its nodes. */
  private start = 0;
  private last: HTMLElement | undefined;
  private lastKind = '';

  /** Shows `text`; `growing`: more is to come. */
  show(text: string, growing: boolean): void {
    if (!text.startsWith(this.shown)) this.clear();
    this.shown = text;
    const blocks = blocksOf(text.slice(this.start));
    const end = blocks.findLastIndex(({ type }) => type !== 'space');
    for (const [index, block] of blocks.entries()) {
      if (block.type !== 'space') {
        if (index < end || !growing) this.freeze(block);
        else this.grow(block);
      }
      if (index < end || !growing) this.start += block.raw.length;
    }
    if (!growing) this.start = text.length;
  }

  private freeze(block: Token): void {
    const place = this.place();
    place.replaceChildren(nodesOf(block));
    for (const code of place.querySelectorAll<HTMLElement>('code[data-lang]')) void highlight(code);
    this.last = undefined;
    this.lastKind = '';
  }

  private grow(block: Token): void {
    const place = this.place();
    const kind = block.type === 'code' ? `code ${block['lang'] ?? ''}` : block.type;
    const code = place.querySelector('code');
    if (block.type === 'code' && kind === this.lastKind && code) {
      const text = block['text'] as string;
      const before = code.textContent;
      if (text.startsWith(before)) code.append(text.slice(before.length));
      else code.textContent = text;
      code.normalize();
    } else place.replaceChildren(nodesOf(block));
    this.lastKind = kind;
  }

  private place(): HTMLElement {
    if (!this.last) {
      this.last = document.createElement('div');
      this.last.className = 'block';
      this.append(this.last);
    }
    return this.last;
  }

  private clear(): void {
    this.replaceChildren();
    this.start = 0;
    this.last = undefined;
    this.lastKind = '';
  }
}

customElements.define('pl-markdown', Markdown);
