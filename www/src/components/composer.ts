/** `<pl-composer>`: where one writes, and the live figures below it. */
import { html, nothing } from 'lit';
import { t } from '../i18n';
import { send, stop } from '../app/chat';
import { draftOf, keepDraft } from '../app/drafts';
import * as format from '../app/format';
import { current, update, type State } from '../app/state';
import { pathTo } from '../app/thread';
import { icon } from './icons';
import { onScreenKeyboard } from './message';
import { View } from './view';

/** From this part of the context on, the page says what will happen when it is full. */
const FULL = 0.8;

class Composer extends View {
  static override uses = ['answer', 'engine', 'current', 'messages', 'ready', 'writers'] as const;
  static override properties = { empty: { state: true } };
  declare empty: boolean;
  private said = '';
  /** The conversation whose draft is in the field. */
  private shown: string | undefined;
  private focused = false;

  constructor() {
    super();
    this.empty = true;
  }

  override render() {
    const state = current();
    const { answer, engine } = state;
    const elsewhere = answer ? answer.conversation !== state.current?.id : state.writers.has(state.current?.id ?? '');
    return html`
      <form class="composer" @submit=${this.submit}>
        <div class="field">
          <textarea
            id="prompt"
            rows="1"
            aria-label=${t('prompt')}
            dir="auto"
            placeholder=${engine.status === 'none' ? t('prompt.no_model') : t('prompt')}
            enterkeyhint=${onScreenKeyboard() ? 'enter' : 'send'}
            @input=${this.typed}
            @keydown=${this.keys}
          ></textarea>
          ${answer
            ? html`<button type="button" class="round" aria-label=${t('stop')} title=${t('stop')} @click=${this.stop}>${icon('stop')}</button>`
            : html`<button class="round primary" aria-label=${t('send')} title=${t('send')} ?disabled=${this.empty}>${icon('send')}</button>`}
        </div>
        <div class="figures">
          ${elsewhere ? html`<span>${t(answer ? 'answer.elsewhere' : 'tabs.writing')}</span>` : html`<span class=${this.isNearlyFull() ? 'soon' : ''}>${this.pace(state)}</span>`}
          <span class="grow"></span>
          ${this.context(state)}
        </div>
        <p class="hidden" role="status">${this.announcement(state)}</p>
      </form>
    `;
  }

  protected override updated(): void {
    const { current: open, ready, stored, files } = current();
    const id = open?.id ?? '';
    // What another tab was faster than is a draft again.
    if (this.shown !== id || (!this.area.value && draftOf(id))) this.fill(id);
    // Whoever has a model comes to write. (On the first visit there is something else to do.)
    if (!ready || this.focused) return;
    this.focused = true;
    const free = document.activeElement === document.body || document.activeElement === null;
    if (free && !onScreenKeyboard() && (files.length > 0 || stored.some(({ complete }) => complete))) this.area.focus();
  }

  private fill(id: string): void {
    // What was typed before a conversation began goes with it.
    this.shown = id;
    this.area.value = draftOf(id);
    this.grow();
  }

  private pace({ answer }: Readonly<State>) {
    if (!answer) return this.isNearlyFull() ? t('context.soon') : t('private');
    if (answer.phase === 'writing') return t('figures.writing', { rate: format.rate(answer.perSecond), tokens: format.number(answer.tokens) });
    if (answer.promptTotal > 0) return t('answer.reading', { done: format.number(answer.promptDone), total: format.number(answer.promptTotal) });
    return t('answer.waiting');
  }

  private isNearlyFull(): boolean {
    const { engine } = current();
    return engine.status === 'ready' && this.used() > engine.info.context * FULL;
  }

  /** Tokens of the context that are filled. */
  private used(): number {
    const { engine, answer, current: open, messages } = current();
    if (engine.status !== 'ready') return 0;
    const last = pathTo(messages, open?.head ?? null).findLast(({ stats }) => stats)?.stats;
    const now = answer && answer.promptTotal > 0 ? answer.promptTotal + answer.tokens : last ? last.promptTokens + last.tokens : 0;
    return Math.min(engine.info.context, now);
  }

  private context({ engine }: Readonly<State>) {
    if (engine.status !== 'ready') return nothing;
    const { context } = engine.info;
    const used = this.used();
    const values = { used: format.number(used), context: format.number(context), left: format.number(context - used) };
    return html`
      <span class="context" title=${t('figures.context.left', values)}>
        <meter min="0" max=${context} high=${context * FULL} value=${used} aria-label=${t('figures.context.left', values)}></meter>
        ${t('figures.context', values)}
      </span>
    `;
  }

  /** Screen readers hear the beginning and the end, not every word. */
  private announcement({ answer, messages, current: open }: Readonly<State>): string {
    if (answer) return (this.said = t('say.writing'));
    const last = messages.find(({ id }) => id === open?.head);
    if (this.said && last?.role === 'assistant') return (this.said = t(last.status === 'failed' ? 'say.failed' : 'say.done'));
    return this.said;
  }

  private get area(): HTMLTextAreaElement {
    return this.querySelector('textarea')!;
  }

  private typed(): void {
    keepDraft(this.shown ?? '', this.area.value);
    this.grow();
  }

  private grow(): void {
    this.empty = !this.area.value.trim();
    // Browsers without `field-sizing` grow it by hand.
    if (CSS.supports('field-sizing', 'content')) return;
    this.area.style.height = 'auto';
    this.area.style.height = `${this.area.scrollHeight}px`;
  }

  private keys(event: KeyboardEvent): void {
    // While a word is being composed (Vietnamese, Chinese …) Enter belongs to the input method.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === 'Enter' && !event.shiftKey && !onScreenKeyboard()) this.submit(event);
    else if (event.key === 'ArrowUp' && !this.area.value) this.editLast(event);
  }

  private editLast(event: Event): void {
    const { current: open, messages, answer } = current();
    const last = pathTo(messages, open?.head ?? null).findLast(({ role }) => role === 'user');
    if (!last || answer) return;
    event.preventDefault();
    update({ editing: last.id });
  }

  private submit(event: Event): void {
    event.preventDefault();
    // The draft is of the conversation that is open now; sending may begin another.
    const [text, before] = [this.area.value, this.shown ?? ''];
    if (!text.trim() || !send(text)) return;
    keepDraft(before, '');
    this.area.value = '';
    this.grow();
    if (!onScreenKeyboard()) this.area.focus();
  }

  private stop(): void {
    stop();
    // The button is gone now.
    if (!onScreenKeyboard()) this.area.focus();
  }
}

customElements.define('pl-composer', Composer);
