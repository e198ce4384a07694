/** A download or a check in progress, with what one can do about it. */
import { html, nothing, type TemplateResult } from 'lit';
import { t } from '../i18n';
import * as format from '../app/format';
import { forgetFailure, pause } from '../app/models';
import { current, type Transfer } from '../app/state';
import { failureView } from './failure';
import { icon } from './icons';

interface Shown {
  url: string;
  transfer: Transfer;
  /** Goes on with it, or does it again. */
  resume: () => void;
}

export function transferView({ url, transfer, resume }: Shown): TemplateResult {
  const { phase, loaded, total, speed, note, failure } = transfer;
  if (phase === 'failed') return failureView(failure!, { url, retry: resume, dismiss: () => forgetFailure(url) });
  if (phase === 'checked') return html`<p class="good" role="status">${icon('shield')}${t('models.valid')}</p>`;
  // What was not copied to its end, or lies in memory, is gone when it is stopped.
  const kept = phase !== 'copying' && current().unkept === undefined;
  const left = speed > 0 ? t('transfer.left', { time: format.time((total - loaded) / speed) }) : '';
  const figures = total > 0 ? t('transfer.of', { loaded: format.bytes(loaded), total: format.bytes(total) }) : '';
  return html`
    <div class="transfer">
      <div class="row">
        <span>${t(`transfer.${phase}`)}</span>
        <span class="grow"></span>
        <strong>${total > 0 ? format.percent(Math.floor((100 * loaded) / total), 100) : ''}</strong>
      </div>
      <progress max=${total || 1} value=${loaded} aria-label=${t(`transfer.${phase}`)}></progress>
      <div class="row">
        <span class="hint">${[figures, speed > 0 ? t('transfer.speed', { speed: format.bytes(speed) }) : '', left].filter(Boolean).join(' · ')}</span>
        <span class="grow"></span>
        ${phase === 'checking' ? nothing : html`<button type="button" class="small" @click=${() => pause(url)}>${kept ? icon('pause') : icon('close')}${t(kept ? 'pause' : 'cancel')}</button>`}
      </div>
      ${note ? html`<p class="hint">${note}</p>` : nothing}
    </div>
  `;
}
