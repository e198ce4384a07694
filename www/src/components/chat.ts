/** `<pl-chat>`: the bar at the top, and below it the conversation, or what there is to do before one. */
import { html, nothing } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { t } from '../i18n';
import { send } from '../app/chat';
import { openModel, reopen } from '../app/engine';
import { focusOn } from '../app/keys';
import { refTo } from '../app/models';
import { current, update, type State } from '../app/state';
import { pathTo, siblingsOf } from '../app/thread';
import { engineBadge } from './badge';
import { failureView } from './failure';
import { icon } from './icons';
import { View } from './view';
import { welcome } from './welcome';
import './message';

class Chat extends View {
  static override uses = ['ready', 'current', 'messages', 'engine', 'stored', 'suggestions', 'transfers', 'files', 'notes', 'storage', 'online', 'isolated'] as const;
  static override properties = { away: { state: true } };
  /** Scrolled up, away from the newest. */
  declare away: boolean;
  private shown: string | undefined;
  private observer: ResizeObserver | undefined;

  constructor() {
    super();
    this.away = false;
  }

  override render() {
    const state = current();
    return html`
      <div class="bar">
        <button type="button" class="quiet square drawer-open" aria-label=${t('sidebar.open')} @click=${() => focusOn('.drawer-close', () => update({ drawer: true }))}>${icon('menu')}</button>
        ${this.modelSelect(state)}
        <span class="grow"></span>
        ${state.online ? nothing : html`<span class="pill" title=${t('offline.why')}>${icon('offline')}${t('offline')}</span>`}
        ${engineBadge(state)}
      </div>
      <div class="scroll" tabindex="-1" @scroll=${this.scrolled}>
        <div class="thread">${this.content(state)}</div>
      </div>
      ${this.away ? html`<button type="button" class="to-end square" aria-label=${t('chat.end')} @click=${this.toEnd}>${icon('down')}</button>` : nothing}
    `;
  }

  protected override firstUpdated(): void {
    // Whatever makes the thread longer, the end stays in view, unless somebody scrolled away from it.
    this.observer = new ResizeObserver(() => this.away || this.toEnd());
    this.observer.observe(this.querySelector('.thread')!);
    this.observer.observe(this.querySelector('.scroll')!);
  }

  protected override updated(): void {
    const { current: open } = current();
    if (open?.id === this.shown) return;
    this.shown = open?.id;
    this.away = false;
    this.toEnd();
  }

  private content(state: Readonly<State>) {
    const { messages, current: open, engine } = state;
    if (!open) return this.start(state);
    const path = pathTo(messages, open.head);
    const failed = engine.status === 'failed' && path.at(-1)?.status !== 'failed';
    return html`
      <h1 class="hidden">${open.title}</h1>
      ${repeat(
        path,
        ({ id }) => id,
        (message, at) => html`<pl-message .message=${message} .siblings=${siblingsOf(messages, message)} ?data-last=${at === path.length - 1}></pl-message>`,
      )}
      ${failed ? this.engineFailure(state) : nothing}
    `;
  }

  private start(state: Readonly<State>) {
    const { ready, engine, stored, files } = state;
    if (engine.status === 'failed') return html`<h1 class="hidden">picolm</h1>${this.engineFailure(state)}`;
    if (!ready) return html`<p class="hint" role="status">${t('loading')}</p>`;
    const any = stored.some(({ complete }) => complete) || files.length > 0 || engine.status !== 'none';
    return any ? this.empty() : welcome(state);
  }

  private engineFailure({ engine }: Readonly<State>) {
    if (engine.status !== 'failed') return nothing;
    const { failure, model } = engine;
    const retry = failure.code === 'evicted' ? undefined : () => void openModel(model);
    return failureView(failure, { url: model.url, ...(retry && { retry }) });
  }

  private empty() {
    const ideas = ['idea.1', 'idea.2', 'idea.3', 'idea.4'] as const;
    return html`
      <div class="empty">
        <img src="icons/icon.svg" alt="" width="56" height="56" />
        <h1>${t('empty.title')}</h1>
        <p>${t('empty.text')}</p>
        <ul class="ideas">
          ${ideas.map((idea) => html`<li><button type="button" @click=${() => void send(t(idea))}>${t(idea)}</button></li>`)}
        </ul>
      </div>
    `;
  }

  private modelSelect({ engine, stored, files }: Readonly<State>) {
    const open = engine.status === 'none' ? undefined : engine.model;
    const models = [...stored.filter(({ complete }) => complete).map(refTo), ...files];
    if (open && !models.some(({ url }) => url === open.url)) models.push(open);
    const choose = (event: Event) => {
      const select = event.target as HTMLSelectElement;
      const model = models.find(({ url }) => url === select.value);
      if (select.value === 'manage') {
        update({ dialog: 'models' });
        select.value = open?.url ?? '';
      } else if (model) void (model.url === open?.url ? reopen() : openModel(model));
    };
    const opening = engine.status === 'opening' ? Math.round((100 * engine.loaded) / (engine.total || 1)) : undefined;
    return html`
      <label class="model">
        <span class="dot ${engine.status}"></span>
        <select aria-label=${t('model')} @change=${choose}>
          ${open ? nothing : html`<option value="" selected>${t('model.none')}</option>`}
          ${models.map(({ url, name }) => html`<option value=${url} ?selected=${url === open?.url} .selected=${url === open?.url}>${name}</option>`)}
          <option value="manage">${t('models.manage')}</option>
        </select>
        ${icon('down')}
      </label>
      ${opening === undefined ? nothing : html`<span class="hint" role="status">${t('model.opening', { percent: opening })}</span>`}
    `;
  }

  private scrolled(event: Event): void {
    const { scrollHeight, scrollTop, clientHeight } = event.currentTarget as HTMLElement;
    this.away = scrollHeight - scrollTop - clientHeight > 48;
  }

  private toEnd = (): void => {
    const frame = this.querySelector('.scroll');
    if (frame && current().current) frame.scrollTop = frame.scrollHeight;
  };
}

customElements.define('pl-chat', Chat);
