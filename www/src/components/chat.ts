/** `<pl-chat>`: the bar at the top, and below it the conversation, or what there is to do before one. */
import { html, nothing } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { t } from '../i18n';
import { send } from '../app/chat';
import { openModel, reopen } from '../app/engine';
import { focusOn } from '../app/keys';
import { download, refTo } from '../app/models';
import { current, update, type State } from '../app/state';
import { pathTo, siblingsOf } from '../app/thread';
import { engineBadge } from './badge';
import { failureView } from './failure';
import { icon } from './icons';
import { View } from './view';
import { welcome } from './welcome';
import './message';

/** Whoever is so near to the end, in pixels, is there. */
const NEAR = 48;

class Chat extends View {
  static override uses = ['ready', 'current', 'messages', 'engine', 'refused', 'stored', 'suggestions', 'transfers', 'files', 'notes', 'storage', 'unkept', 'online', 'isolated'] as const;
  static override properties = { away: { state: true } };
  /** The user has gone away from the newest. Only what the user does says so: the page scrolls, too, and browsers do when things get shorter. */
  declare away: boolean;
  private shown: string | undefined;
  private answering: string | undefined;
  /** Where the user's last input goes, until the view has followed; `anywhere`: the bar is held, or the focus moves. */
  private going: 'up' | 'down' | 'anywhere' | undefined;
  private touch = 0;
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
      <div
        class="scroll"
        tabindex="-1"
        @keydown=${this.keyed}
        @pointerdown=${this.held}
        @scroll=${this.scrolled}
      >
        <div class="thread">${this.content(state)}</div>
      </div>
      ${this.away ? html`<button type="button" class="to-end square" aria-label=${t('chat.end')} @click=${this.toEnd}>${icon('down')}</button>` : nothing}
    `;
  }

  /** A new answer is looked at from its beginning. */
  protected override affected(changed: ReadonlySet<keyof State>): boolean {
    const { answer, current: open } = current();
    if (changed.has('answer') && answer?.message !== this.answering) {
      this.answering = answer?.message;
      if (answer && answer.conversation === open?.id) this.toEnd();
    }
    return super.affected(changed);
  }

  protected override firstUpdated(): void {
    // Whatever makes the thread longer, the end stays in view, unless somebody scrolled away from it.
    this.observer = new ResizeObserver(() => this.away || this.follow());
    // Passive: the browser need not wait for them.
    this.frame.addEventListener('wheel', (event) => this.wheeled(event), { passive: true });
    this.frame.addEventListener('touchstart', (event) => this.touched(event), { passive: true });
    this.frame.addEventListener('touchmove', (event) => this.dragged(event), { passive: true });
    this.observer.observe(this.querySelector('.thread')!);
    this.observer.observe(this.querySelector('.scroll')!);
  }

  protected override updated(): void {
    const { current: open } = current();
    if (open?.id === this.shown) return;
    this.shown = open?.id;
    this.toEnd();
  }

  private content(state: Readonly<State>) {
    const { messages, current: open, engine } = state;
    if (!open) return this.start(state);
    const path = pathTo(messages, open.head);
    const from = path.findLast(({ role }) => role === 'assistant')?.from;
    const failed = engine.status === 'failed' && path.at(-1)?.status !== 'failed';
    return html`
      <h1 class="hidden">${open.title}</h1>
      ${repeat(
        path,
        ({ id }) => id,
        (message, at) => html`
          ${message.id === from ? html`<p class="unread">${t('context.unread')}</p>` : nothing}
          <pl-message .message=${message} .siblings=${siblingsOf(messages, message)} .last=${at === path.length - 1} ?data-last=${at === path.length - 1}></pl-message>
        `,
      )}
      ${failed ? this.engineFailure(state) : nothing} ${this.refusal(state)}
    `;
  }

  private start(state: Readonly<State>) {
    const { ready, engine, stored, files } = state;
    if (engine.status === 'failed') return html`<h1 class="hidden">picolm</h1>${this.engineFailure(state)}`;
    if (!ready) return html`<p class="hint" role="status">${t('loading')}</p>`;
    const any = stored.some(({ complete }) => complete) || files.length > 0 || engine.status !== 'none';
    return html`${this.refusal(state)} ${any ? this.empty() : welcome(state)}`;
  }

  private engineFailure({ engine }: Readonly<State>) {
    if (engine.status !== 'failed') return nothing;
    const { failure, model } = engine;
    const again = model.kind === 'memory' ? () => void download(model.order, true) : () => void openModel(model);
    return failureView(failure, { url: model.url, ...(failure.code !== 'evicted' && { retry: again }) });
  }

  /** Another model was not opened; the one before goes on. */
  private refusal({ refused }: Readonly<State>) {
    if (!refused) return nothing;
    const { model, failure } = refused;
    return html`
      <p class="hint">${t('model.refused', { name: model.name })}</p>
      ${failureView(failure, { url: model.url, retry: () => void openModel(model), dismiss: () => update({ refused: undefined }) })}
    `;
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

  private wheeled({ deltaY }: WheelEvent): void {
    this.go(deltaY < 0 ? 'up' : 'down');
  }

  private touched({ touches }: TouchEvent): void {
    this.touch = touches[0]!.clientY;
  }

  private dragged({ touches }: TouchEvent): void {
    const { clientY } = touches[0]!;
    if (clientY !== this.touch) this.go(clientY > this.touch ? 'up' : 'down');
    this.touch = clientY;
  }

  private keyed({ key, shiftKey, target }: KeyboardEvent): void {
    if ((target as Element).matches('textarea, input, select')) return;
    if (['ArrowUp', 'PageUp', 'Home'].includes(key) || (key === ' ' && shiftKey)) this.go('up');
    else if (['ArrowDown', 'PageDown', 'End', ' '].includes(key)) this.go('down');
    else if (key === 'Tab') {
      // The view follows the focus within a frame.
      this.going = 'anywhere';
      requestAnimationFrame(() => requestAnimationFrame(() => (this.going = undefined)));
    }
  }

  /** The bar of the frame: what lies outside of its content. */
  private held({ target, currentTarget, offsetX }: PointerEvent): void {
    if (target !== currentTarget || offsetX < (currentTarget as HTMLElement).clientWidth) return;
    this.going = 'anywhere';
    addEventListener('pointerup', () => (this.going = undefined), { once: true });
  }

  private go(where: 'up' | 'down'): void {
    const { scrollHeight, clientHeight, scrollTop } = this.frame;
    this.going = where;
    if (where === 'up' && scrollHeight > clientHeight && scrollTop > 0) this.away = true;
  }

  private scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.frame;
    const near = scrollHeight - scrollTop - clientHeight <= NEAR;
    if (this.going === 'anywhere') this.away = !near;
    else if (this.going === 'down' && near) this.away = false;
  }

  private get frame(): HTMLElement {
    return this.querySelector('.scroll')!;
  }

  private toEnd = (): void => {
    this.away = false;
    this.going = undefined;
    this.follow();
  };

  private follow(): void {
    const frame = this.querySelector('.scroll');
    if (frame && current().current) frame.scrollTop = frame.scrollHeight;
  }
}

customElements.define('pl-chat', Chat);
