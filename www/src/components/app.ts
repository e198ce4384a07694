/** `<pl-app>`: the frame of the page, the dialogs, and files that are dropped anywhere. */
import { html, nothing } from 'lit';
import { t } from '../i18n';
import { dropped } from '../app/files';
import { openFiles } from '../app/models';
import { current, update } from '../app/state';
import { View } from './view';
import './chat';
import './composer';
import './keys';
import './models';
import './notices';
import './settings';
import './sidebar';

class App extends View {
  static override uses = ['dialog', 'drawer', 'ready'] as const;
  static override properties = { dropping: { state: true } };
  declare dropping: boolean;

  constructor() {
    super();
    this.dropping = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files');
    addEventListener('dragover', (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.dropping = true;
    });
    addEventListener('dragleave', (event) => {
      if (!event.relatedTarget) this.dropping = false;
    });
    addEventListener('drop', (event) => {
      this.dropping = false;
      if (!hasFiles(event)) return;
      event.preventDefault();
      void dropped(event.dataTransfer!).then(openFiles);
    });
  }

  override render() {
    const { dialog, drawer } = current();
    return html`
      <a class="skip" href="#prompt" @click=${this.skip}>${t('skip')}</a>
      <pl-sidebar class=${drawer ? 'open' : ''}></pl-sidebar>
      ${drawer ? html`<div class="shade" @click=${() => update({ drawer: false })}></div>` : nothing}
      <main>
        <pl-chat></pl-chat>
        <pl-composer></pl-composer>
      </main>
      ${dialog === 'models' ? html`<pl-models></pl-models>` : nothing}
      ${dialog === 'settings' ? html`<pl-settings></pl-settings>` : nothing}
      ${dialog === 'keys' ? html`<pl-keys></pl-keys>` : nothing}
      <pl-notices></pl-notices>
      ${this.dropping ? html`<div class="dropping"><p>${t('drop')}</p></div>` : nothing}
    `;
  }

  private skip(event: Event): void {
    event.preventDefault();
    document.querySelector<HTMLElement>('#prompt')?.focus();
  }
}

customElements.define('pl-app', App);
