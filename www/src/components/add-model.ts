/** `<pl-add-model>`: any address, or a file of a Hugging Face repository; first the look at its header, then the download. */
import { html, nothing } from 'lit';
import type { Estimate } from 'picolm';
import { t } from '../i18n';
import { failureOf } from '../app/errors';
import * as format from '../app/format';
import { download, estimate } from '../app/models';
import { nameOf, parseSource } from '../app/sources';
import type { Order } from '../app/state';
import type { Failure } from '../store/types';
import { failureView } from './failure';
import { icon } from './icons';
import { View } from './view';

class AddModel extends View {
  static override properties = { problem: { state: true }, checking: { state: true }, found: { state: true }, failure: { state: true } };
  declare problem: string | undefined;
  declare checking: boolean;
  declare found: { order: Order; estimate: Estimate } | undefined;
  declare failure: Failure | undefined;

  override render() {
    return html`
      <form class="add" @submit=${this.check}>
        <label for="add-source">${t('add.source')}</label>
        <div class="row">
          <input id="add-source" class="grow" autocomplete="off" spellcheck="false" placeholder="owner/repo/file.gguf" aria-describedby="add-hint" @input=${this.reset} />
          <button class="small" ?disabled=${this.checking}>${icon('search')}${this.checking ? t('add.checking') : t('add.check')}</button>
        </div>
        <p id="add-hint" class=${this.problem ? 'bad' : 'hint'} role=${this.problem ? 'alert' : nothing}>${this.problem ?? t('add.hint')}</p>
        <details>
          <summary>${t('add.token')}</summary>
          <input id="add-token" type="password" autocomplete="off" aria-label=${t('add.token')} />
          <p class="hint">${t('add.token.hint')}</p>
        </details>
        ${this.failure ? failureView(this.failure, { retry: () => this.querySelector('form')!.requestSubmit(), dismiss: () => (this.failure = undefined) }) : nothing}
        ${this.found ? this.result(this.found) : nothing}
      </form>
    `;
  }

  private result({ order, estimate }: { order: Order; estimate: Estimate }) {
    const { header, fileBytes, memoryBytes, fits, why, stored, storageFree } = estimate;
    const facts = [
      format.bytes(fileBytes),
      t('models.parameters', { count: format.parameters(header.parameters) }),
      header.license,
      header.architecture,
      header.context && t('add.context', { context: format.number(header.context) }),
    ];
    const space = storageFree === undefined ? '' : t('fits.storage', { free: format.bytes(storageFree) });
    return html`
      <div class="card" role="status">
        <strong>${header.name ?? nameOf(order.url)}</strong>
        <p class="hint">${facts.filter(Boolean).join(' · ')}</p>
        <p class=${fits === 'no' ? 'bad' : 'good'}>
          ${t(stored ? 'fits.stored' : fits === 'yes' ? 'fits.yes' : fits === 'streamed' ? 'fits.streamed' : 'fits.no')} ${why ?? t('fits.memory', { memory: format.bytes(memoryBytes) })} ${fits === 'no' ? '' : space}
        </p>
        ${fits === 'no' || stored ? nothing : html`<button type="button" class="primary small" @click=${this.start}>${icon('download')}${t('welcome.go', { size: format.bytes(fileBytes) })}</button>`}
      </div>
    `;
  }

  private value(id: string): string {
    return this.querySelector<HTMLInputElement>(id)!.value.trim();
  }

  private reset(): void {
    this.problem = this.found = this.failure = undefined;
  }

  private async check(event: Event): Promise<void> {
    event.preventDefault();
    this.reset();
    const source = parseSource(this.value('#add-source'));
    if ('problem' in source) {
      this.problem = t(`add.problem.${source.problem}`);
      return;
    }
    const token = this.value('#add-token');
    const order: Order = { url: source.url, ...(token && { token }) };
    this.checking = true;
    try {
      this.found = { order, estimate: await estimate(order) };
    } catch (error) {
      this.failure = failureOf(error);
    }
    this.checking = false;
  }

  private start(): void {
    const { order, estimate } = this.found!;
    const { name, license, architecture, parameters } = estimate.header;
    const note = { name: name ?? nameOf(order.url), parameters, ...(license && { license }), ...(architecture && { architecture }) };
    this.querySelector('form')!.reset();
    this.reset();
    void download({ ...order, bytes: estimate.fileBytes, note });
  }
}

customElements.define('pl-add-model', AddModel);
