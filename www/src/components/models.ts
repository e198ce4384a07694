/** `<pl-models>`: what is on this device, what is offered, and how to add more. */
import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { StoredModel } from 'picolm';
import { t } from '../i18n';
import { closeModel, openModel } from '../app/engine';
import * as format from '../app/format';
import { closeFile, download, forgetFailure, keepCopy, refTo, removeModel, titleFor, verify } from '../app/models';
import type { FileRef } from '../app/files';
import { current, update, type ModelRef, type Order, type State, type Suggestion } from '../app/state';
import { dialog } from './dialog';
import { orderFor } from './failure';
import { filePicker } from './file-picker';
import { icon } from './icons';
import { transferView } from './transfer';
import { View } from './view';
import './add-model';

class Models extends View {
  static override uses = ['stored', 'notes', 'suggestions', 'transfers', 'files', 'storage', 'unkept', 'engine'] as const;
  static override properties = { deleting: { state: true } };
  /** The model whose deletion waits for a yes. */
  declare deleting: string | undefined;

  override render() {
    const state = current();
    const { stored, files, suggestions, transfers } = state;
    const here = new Set(stored.map(({ url }) => url));
    const offered = suggestions.filter(({ url }) => !here.has(url));
    const shown = new Set([...here, ...offered.map(({ url }) => url), ...files.map(({ url }) => url)]);
    const others = Object.keys(transfers).filter((url) => !shown.has(url));
    const any = stored.length + files.length + others.length > 0;
    return dialog(
      'models',
      t('models'),
      html`
        ${storageView(state)}
        ${any
          ? html`<h3>${t('models.here')}</h3>
              <ul class="cards">
                ${repeat(stored, ({ key }) => key, (model) => this.storedCard(state, model))}
                ${others.map((url) => this.otherCard(state, url))}
                ${files.map((file) => fileCard(state, file))}
              </ul>`
          : nothing}
        ${offered.length > 0 ? html`<h3>${t('models.suggested')}</h3><ul class="cards">${offered.map((one) => suggestedCard(state, one))}</ul>` : nothing}
        <h3>${t('models.add')}</h3>
        <pl-add-model></pl-add-model>
        <p class="row">${filePicker(t('models.open_file'), 'small')}<span class="hint">${t('models.drop')}</span></p>
      `,
    );
  }

  private storedCard(state: Readonly<State>, model: StoredModel): TemplateResult {
    const { url, complete, bytes, bytesOnDisk } = model;
    const transfer = state.transfers[url];
    const go = () => void (complete ? this.checkAgain(model) : download(this.orderOf(state, model)));
    const size = complete ? format.bytes(bytes) : t('transfer.of', { loaded: format.bytes(bytesOnDisk), total: format.bytes(bytes) });
    const busy = transfer && !['failed', 'checked'].includes(transfer.phase);
    const actions = html`
      ${complete ? useButton(state, refTo(model)) : busy || url.startsWith('file:') ? nothing : html`<button type="button" class="primary small" @click=${go}>${icon('play')}${t('resume')}</button>`}
      ${complete && !busy ? html`<button type="button" class="small" @click=${() => void verify(model)}>${icon('shield')}${t('verify')}</button>` : nothing}
      <button type="button" class="small" @click=${() => (this.deleting = url)}>${icon('trash')}${t('delete')}</button>
    `;
    const status = complete ? undefined : busy ? undefined : t('models.paused', { percent: format.percent(bytesOnDisk, bytes) });
    return card(state, url, size, this.deleting === url ? this.confirm(model) : actions, {
      transfer: transfer ? transferView({ url, transfer, resume: go }) : nothing,
      status,
    });
  }

  private otherCard(state: Readonly<State>, url: string): TemplateResult {
    const transfer = state.transfers[url]!;
    const resume = () => void download({ url });
    return card(state, url, transfer.total ? format.bytes(transfer.total) : '', html``, { transfer: transferView({ url, transfer, resume }) });
  }

  private confirm(model: StoredModel): TemplateResult {
    const yes = () => {
      this.deleting = undefined;
      void removeModel(model);
    };
    return html`
      <span>${t('models.delete.sure', { size: format.bytes(model.bytesOnDisk) })}</span>
      <button type="button" class="danger small" @click=${yes}>${t('delete')}</button>
      <button type="button" class="small" @click=${() => (this.deleting = undefined)}>${t('cancel')}</button>
    `;
  }

  private orderOf(state: Readonly<State>, { url, bytes }: StoredModel): Order {
    const known = state.suggestions.find((one) => one.url === url);
    return known ? orderFor(known) : { url, bytes };
  }

  private checkAgain(model: StoredModel): void {
    forgetFailure(model.url);
    void verify(model);
  }
}

function card(state: Readonly<State>, url: string, size: string, actions: TemplateResult, more: { transfer?: unknown; status?: string | undefined; about?: string } = {}): TemplateResult {
  const { notes, suggestions, engine } = state;
  const known = notes.find((note) => note.url === url) ?? suggestions.find((one) => one.url === url);
  const open = engine.status === 'ready' && engine.model.url === url;
  const facts = [size, known?.parameters && t('models.parameters', { count: format.parameters(known.parameters) }), known?.license, known?.architecture];
  return html`
    <li class="card ${open ? 'open' : ''}">
      <div class="card-head">
        <strong>${titleFor(url, notes, suggestions)}</strong>
        ${open ? html`<span class="tag">${t('models.open')}</span>` : nothing}
        ${more.status ? html`<span class="tag">${more.status}</span>` : nothing}
      </div>
      <p class="hint">${facts.filter(Boolean).join(' · ')}</p>
      ${more.about ? html`<p>${more.about}</p>` : nothing}
      ${more.transfer ?? nothing}
      <div class="row">${actions}</div>
    </li>
  `;
}

function suggestedCard(state: Readonly<State>, one: Suggestion): TemplateResult {
  const { url, bytes, about } = one;
  const transfer = state.transfers[url];
  const go = () => void download(orderFor(one));
  const room = !state.storage || state.unkept !== undefined || state.storage.free >= bytes;
  // Where nothing is kept, it may be open all the same.
  const { engine } = state;
  const actions = transfer
    ? html``
    : engine.status === 'ready' && engine.model.url === url
    ? useButton(state, engine.model)
    : html`<button type="button" class="small" ?disabled=${!room} @click=${go}>${icon('download')}${t('download')}</button>
        <span class="hint">${room ? t('fits.yes') : t('fits.no_storage', { free: format.bytes(state.storage!.free), needed: format.bytes(bytes) })}</span>`;
  return card(state, url, format.bytes(bytes), actions, {
    about: about === 'small' || about === 'medium' || about === 'thinks' ? t(`about.${about}`) : '',
    transfer: transfer ? transferView({ url, transfer, resume: go }) : nothing,
  });
}

function fileCard(state: Readonly<State>, model: FileRef): TemplateResult {
  const { url } = model;
  const bytes = model.files.reduce((sum, { size }) => sum + size, 0);
  const { engine, transfers, unkept } = state;
  const transfer = transfers[url];
  const keep = () => void keepCopy(model);
  const close = () => {
    closeFile(model);
    if (engine.status !== 'none' && engine.model.url === url) void closeModel();
  };
  const actions = html`
    ${useButton(state, model)}
    ${transfer || unkept !== undefined ? nothing : html`<button type="button" class="small" @click=${keep}>${icon('download')}${t('files.keep')}</button>`}
    <button type="button" class="small" @click=${close}>${icon('close')}${t('close')}</button>
  `;
  return card(state, url, bytes > 0 ? format.bytes(bytes) : '', actions, {
    transfer: transfer ? transferView({ url, transfer, resume: keep }) : nothing,
    status: t('models.file'),
  });
}

function useButton({ engine }: Readonly<State>, model: ModelRef): TemplateResult {
  const open = (engine.status === 'ready' || engine.status === 'opening') && engine.model.url === model.url;
  const use = () => {
    void openModel(model);
    update({ dialog: undefined });
  };
  if (open) return html`<button type="button" class="small" @click=${() => void closeModel()}>${t('models.unload')}</button>`;
  return html`<button type="button" class="primary small" @click=${use}>${t('models.use')}</button>`;
}

function storageView({ storage, unkept }: Readonly<State>): TemplateResult | typeof nothing {
  if (unkept !== undefined) return html`<p class="hint" title=${unkept}>${t('storage.unkept')}</p>`;
  if (!storage) return nothing;
  const { used, free, persisted } = storage;
  const text = t('storage', { used: format.bytes(used), free: format.bytes(free) });
  return html`
    <div class="storage">
      <meter min="0" max=${used + free || 1} value=${used} aria-label=${text}></meter>
      <p><strong>${text}</strong> <span class="hint">${t(persisted ? 'storage.persisted' : 'storage.evictable')}</span></p>
    </div>
  `;
}

customElements.define('pl-models', Models);
