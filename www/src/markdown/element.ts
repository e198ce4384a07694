/**
 * `<pl-markdown>`: shows a text that may still be growing.
 *
 * ```text
 *   frozen blocks (never touched again)  |  the tail: blocks that what comes may still change
 * ```
 *
 * A block is frozen once another begins in a whole line after it: then nothing can become part of it any more. So an update costs
 * a block or two, however long the text is, and what has grown is what the whole text gives. Code is coloured when its block is
 * frozen; while it grows it only gets its new characters.
 */
import { highlight } from './highlight';
import { typeset } from './math';
import { blocksOf, nodesOf, type Block, type References } from './render';

export class Markdown extends HTMLElement {
  private shown = '';
  private ended = false;
  /** Where the tail begins in the text, and what the frozen text says that links refer to. */
  private start = 0;
  private references: References = {};
  private tail: { block: Block; place: HTMLElement }[] = [];
  private readonly caret = caret();

  /** Shows `text`; `growing`: more is to come. */
  show(text: string, growing: boolean): void {
    const plain = text.replace(/\r\n?/g, '\n');
    if (this.ended && !growing && plain === this.shown) return;
    if (this.ended || !plain.startsWith(this.shown)) this.clear();
    this.caret.remove();
    let { blocks, references } = blocksOf(plain.slice(this.start), this.references);
    // What is shown already may refer to what is said further down.
    if (!growing && Object.keys(references).length > 0) {
      this.clear();
      ({ blocks, references } = blocksOf(plain, {}));
    }
    this.shown = plain;
    this.ended = !growing;
    const frozen = growing ? certain(blocks, plain.slice(this.start)) : blocks.length;
    for (const [index, block] of blocks.entries()) this.render(index, block);
    for (const { place } of this.tail.splice(blocks.length)) place.remove();
    for (const { place } of this.tail.splice(0, frozen)) {
      for (const code of place.querySelectorAll<HTMLElement>('code[data-lang]')) void highlight(code);
    }
    if (!growing) return;
    const last = blocks[frozen - 1];
    if (last) {
      const end = this.start + last.start + last.raw.length;
      this.references = blocksOf(plain.slice(this.start, end), this.references).references;
      this.start = end;
    }
    if (this.lastElementChild) endOf(this.lastElementChild).append(this.caret);
  }

  private render(index: number, block: Block): void {
    const known = this.tail[index];
    const place = known?.place ?? document.createElement('div');
    if (!known) {
      place.className = 'block';
      this.append(place);
    }
    const before = known?.block;
    this.tail[index] = { block, place };
    if (before?.raw === block.raw && before.kind === block.kind) return;
    const code = place.querySelector('code');
    const text = block.tokens[0]!.content;
    if (block.kind.startsWith('fence') && block.kind === before?.kind && code && text.startsWith(code.textContent)) {
      code.append(text.slice(code.textContent.length));
      code.normalize();
    } else place.replaceChildren(nodesOf(block));
    typeset(place);
  }

  private clear(): void {
    this.replaceChildren();
    this.shown = '';
    this.start = 0;
    this.references = {};
    this.tail = [];
  }
}

/** How many of the blocks can no longer change: those before the last that begins in a whole line. */
function certain(blocks: readonly Block[], text: string): number {
  const whole = text.lastIndexOf('\n') + 1;
  return Math.max(0, blocks.findLastIndex(({ start }) => start < whole));
}

function caret(): HTMLElement {
  const caret = document.createElement('span');
  caret.className = 'caret';
  caret.setAttribute('aria-hidden', 'true');
  return caret;
}

const INLINE = 'a, em, strong, del, code, br, span, button';

/** The element in which the next word will come. */
function endOf(block: Element): Element {
  const last = block.lastElementChild;
  if (!last || (last.matches(INLINE) && !last.matches('pre > code'))) return block;
  return last.matches('hr') ? block : endOf(last);
}

customElements.define('pl-markdown', Markdown);
