/** The first run: one model, its size, what will happen, one button. */
import { html, nothing, type TemplateResult } from 'lit';
import { t } from '../i18n';
import * as format from '../app/format';
import { download } from '../app/models';
import { update, type State } from '../app/state';
import { orderFor } from './failure';
import { filePicker } from './file-picker';
import { icon } from './icons';
import { transferView } from './transfer';

export function welcome(state: Readonly<State>): TemplateResult {
  const [one] = state.suggestions;
  return html`
    <div class="welcome">
      <img src="icons/icon.svg" alt="" width="64" height="64" />
      <h1>${t('welcome.title')}</h1>
      <p class="lead">${t('welcome.text')}</p>
      ${one ? card(state, one) : html`<p class="hint">${t('welcome.no_list')}</p>`}
      <p class="row centre">
        ${filePicker(t('models.open_file'), 'link')}
        <button type="button" class="link" @click=${() => update({ dialog: 'models' })}>${t('welcome.others')}</button>
      </p>
    </div>
  `;
}

function card(state: Readonly<State>, one: State['suggestions'][number]): TemplateResult {
  const { transfers, stored, unkept } = state;
  const storage = unkept === undefined ? state.storage : undefined;
  const begun = stored.find((model) => model.url === one.url);
  const missing = one.bytes - (begun?.bytesOnDisk ?? 0);
  const fits = !storage || storage.free >= missing;
  const transfer = transfers[one.url];
  const go = () => void download(orderFor(one), true);
  const host = new URL(one.url).origin === location.origin ? t('welcome.here') : new URL(one.url).host;
  return html`
    <section class="card suggestion" aria-label=${one.name}>
      <header>
        <h2>${one.name}</h2>
        <p>${[format.bytes(one.bytes), one.license, one.about === 'small' && t('about.small')].filter(Boolean).join(' · ')}</p>
      </header>
      <ol class="steps">
        <li>${t('welcome.step1', { size: format.bytes(one.bytes), host })}</li>
        ${unkept === undefined ? html`<li>${t('welcome.step2')}</li><li>${t('welcome.step3')}</li>` : html`<li title=${unkept}>${t('welcome.unkept')}</li>`}
      </ol>
      ${transfer
        ? transferView({ url: one.url, transfer, resume: go })
        : html`<button type="button" class="primary big" ?disabled=${!fits} @click=${go}>
            ${icon('download')}${begun ? t('welcome.resume', { size: format.bytes(missing) }) : t('welcome.go', { size: format.bytes(one.bytes) })}
          </button>`}
      ${storage && !transfer ? html`<p class="hint">${fits ? t('fits.storage', { free: format.bytes(storage.free) }) : t('fits.no_storage', { free: format.bytes(storage.free), needed: format.bytes(missing) })}</p>` : nothing}
    </section>
  `;
}
