/** `<pl-message>`: one message with what one can do with it. An answer that is being written renders as it grows. */
import { html, nothing } from 'lit';
import { t } from '../i18n';
import { edit, goOn, regenerate } from '../app/chat';
import { branchOff, removeMessage, showBranch } from '../app/conversations';
import * as format from '../app/format';
import { current, update, type Answer, type State } from '../app/state';
import { splitThinking } from '../app/thread';
import type { Markdown } from '../markdown/element';
import type { Message } from '../store/types';
import { failureView } from './failure';
import { icon, type Icon } from './icons';
import { View } from './view';
import '../markdown/element';

/** A message of more characters or lines is folded. */
const [LONG, LINES] = [1500, 20];

class MessageView extends View {
  static override properties = { message: { attribute: false }, siblings: { attribute: false }, last: { attribute: false }, copied: { state: true }, unfolded: { state: true } };
  declare message: Message;
  declare siblings: Message[];
  /** Whether it is the end of the branch. */
  declare last: boolean;
  declare copied: boolean;
  /** A long message that is shown whole. */
  declare unfolded: boolean;
  private wasLive = false;
  private wasEditing = false;
  private wasAnswering = false;

  protected override affected(changed: ReadonlySet<keyof State>): boolean {
    // While an answer grows, only its own message renders; the others when it begins and ends, for their buttons.
    const answering = current().answer !== undefined;
    if (changed.has('answer') && (this.live || this.wasLive || this.wasAnswering !== answering)) return true;
    return (changed.has('editing') && (this.editing || this.wasEditing)) || changed.has('settings');
  }

  private get live(): Answer | undefined {
    const { answer } = current();
    return answer?.message === this.message.id ? answer : undefined;
  }

  private get editing(): boolean {
    return current().editing === this.message.id;
  }

  override render() {
    const { message, live } = this;
    this.wasLive = live !== undefined;
    this.wasEditing = this.editing;
    this.wasAnswering = current().answer !== undefined;
    const mine = message.role === 'user';
    const name = mine ? t('message.you') : (message.model ?? modelName() ?? t('message.assistant'));
    return html`
      <article class=${message.role} aria-label=${name} aria-busy=${live ? 'true' : nothing}>
        <header class=${mine ? 'hidden' : ''}>${name}</header>
        ${mine ? (this.editing ? this.editor() : this.bubble()) : this.answer(live)}
        ${live || this.editing ? nothing : this.footer(mine)}
      </article>
    `;
  }

  protected override updated(): void {
    const { answer, thinking, open } = splitThinking(this.live?.text ?? this.message.content);
    const growing = this.live !== undefined;
    this.querySelector<Markdown>('pl-markdown.thoughts')?.show(thinking, growing && open);
    this.querySelector<Markdown>('pl-markdown.text')?.show(answer, growing && !open);
    if (this.editing) this.focusEditor();
  }

  private answer(live: Answer | undefined) {
    const { status, failure, content } = this.message;
    const { thinking, answer, open } = splitThinking(live?.text ?? content);
    const unfold = current().settings.thinking === 'shown';
    return html`
      ${live && live.phase !== 'writing' ? waiting(live) : nothing}
      ${thinking || open
        ? html`<details class="thinking" ?open=${unfold}>
            <summary>${open && live ? t('thinking.now') : t('thinking.done')}</summary>
            <pl-markdown class="thoughts"></pl-markdown>
          </details>`
        : nothing}
      <pl-markdown class="text" ?hidden=${!answer}></pl-markdown>
      ${status === 'failed' && failure && !live ? failureView(failure, { retry: () => void regenerate(this.message) }) : nothing}
      ${status === 'length' || status === 'stopped' || status === 'loop' ? this.cut(status) : nothing}
    `;
  }

  private cut(status: 'length' | 'stopped' | 'loop') {
    const more = this.last && this.message.content && !current().answer;
    return html`
      <p class="row hint">
        ${t(`message.${status}`)}
        ${more ? html`<button type="button" class="small" @click=${() => void goOn(this.message)}>${icon('play')}${t('answer.go_on')}</button>` : nothing}
      </p>
    `;
  }

  /** What was pasted may be long: then its beginning is enough. */
  private bubble() {
    const { content } = this.message;
    const long = content.length > LONG || content.split('\n', LINES + 1).length > LINES;
    const fold = () => (this.unfolded = !this.unfolded);
    return html`
      <div class="bubble ${long && !this.unfolded ? 'folded' : ''}" dir="auto">${content}</div>
      ${long ? html`<button type="button" class="link" aria-expanded=${this.unfolded ? 'true' : 'false'} @click=${fold}>${t(this.unfolded ? 'message.fold' : 'message.unfold')}</button>` : nothing}
    `;
  }

  private footer(mine: boolean) {
    const { message, siblings } = this;
    const busy = current().answer !== undefined;
    const at = siblings.findIndex(({ id }) => id === message.id);
    return html`
      <footer>
        ${siblings.length > 1 ? this.branches(at) : nothing}
        ${button(this.copied ? 'check' : 'copy', this.copied ? t('copied') : t('copy'), () => this.copy())}
        ${mine ? button('pencil', t('edit'), () => update({ editing: message.id }), busy) : button('retry', t('regenerate'), () => void regenerate(message), busy)}
        ${button('branch', t('branch'), () => void branchOff(message), busy)}
        ${button('trash', t('delete'), () => void removeMessage(message), busy)}
        ${message.stats ? html`<span class="stats">${t('message.stats', { rate: format.rate(message.stats.perSecond), tokens: format.number(message.stats.tokens) })}</span>` : nothing}
      </footer>
    `;
  }

  private branches(at: number) {
    const to = (step: number) => () => void showBranch(this.siblings[at + step]!);
    return html`
      <span class="branches" role="group" aria-label=${t('branches')}>
        ${button('left', t('branch.before'), to(-1), at === 0)}
        <span>${at + 1}/${this.siblings.length}</span>
        ${button('right', t('branch.after'), to(1), at === this.siblings.length - 1)}
      </span>
    `;
  }

  private editor() {
    const done = () => void edit(this.message, this.querySelector('textarea')!.value);
    const cancel = () => update({ editing: undefined });
    const keys = (event: KeyboardEvent) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && !onScreenKeyboard()) done();
      else if (event.key === 'Escape') cancel();
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
    return html`
      <div class="editor">
        <textarea aria-label=${t('edit')} .value=${this.message.content} @keydown=${keys}></textarea>
        <div class="row">
          <span class="grow"></span>
          <button type="button" class="small" @click=${cancel}>${t('cancel')}</button>
          <button type="button" class="primary small" @click=${done}>${t('send')}</button>
        </div>
      </div>
    `;
  }

  private focusEditor(): void {
    const area = this.querySelector('textarea');
    if (!area || area.matches(':focus-within')) return;
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  private copy(): void {
    const { answer } = splitThinking(this.message.content);
    void navigator.clipboard.writeText(answer).then(() => {
      this.copied = true;
      setTimeout(() => (this.copied = false), 2000);
    });
  }
}

/** Where Enter has to make a line, because no other key does. */
export function onScreenKeyboard(): boolean {
  return matchMedia('(hover: none) and (pointer: coarse)').matches;
}

function waiting({ phase, promptDone, promptTotal }: Answer) {
  const reading = phase === 'reading' && promptTotal > 0;
  const values = { done: format.number(promptDone), total: format.number(promptTotal) };
  return html`
    <div class="waiting">
      <span>${reading ? t('answer.reading', values) : t('answer.waiting')}</span>
      <progress max=${promptTotal || 1} value=${reading ? promptDone : nothing} aria-label=${t('answer.waiting')}></progress>
    </div>
  `;
}

function modelName(): string | undefined {
  const { engine } = current();
  return engine.status === 'none' ? undefined : engine.model.name;
}

function button(name: Icon, label: string, run: () => void, disabled = false) {
  return html`<button type="button" class="quiet square" aria-label=${label} title=${label} ?disabled=${disabled} @click=${run}>${icon(name)}</button>`;
}

customElements.define('pl-message', MessageView);
