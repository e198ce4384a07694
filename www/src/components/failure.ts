/** What went wrong, and the next steps as buttons. */
import { html, nothing, type TemplateResult } from 'lit';
import { t } from '../i18n';
import { adviceFor, type Step } from '../app/errors';
import * as format from '../app/format';
import { focusOn } from '../app/keys';
import { newConversation } from '../app/conversations';
import { openModel } from '../app/engine';
import { download, forgetFailure } from '../app/models';
import { current, update, type Suggestion } from '../app/state';
import type { Failure } from '../store/types';
import { icon } from './icons';

/** `retry` does again what failed; `url` is the model it is about. */
export interface About {
  url?: string;
  retry?: () => void;
  dismiss?: () => void;
}

export function failureView(failure: Failure, about: About = {}): TemplateResult {
  const { storage, unkept } = current();
  const { title, advice, steps } = adviceFor(failure, unkept === undefined);
  const offered = steps.filter((step) => step !== 'retry' || about.retry);
  return html`
    <div class="failure" role="alert">
      ${icon('warn')}
      <div>
        <strong>${t(title)}</strong>
        <p>${t(advice)}</p>
        ${failure.code === 'quota_exceeded' && storage ? html`<p>${t('storage', { used: format.bytes(storage.used), free: format.bytes(storage.free) })}</p>` : nothing}
        ${failure.message ? html`<details><summary>${t('details')}</summary><p>${failure.message}</p></details>` : nothing}
        <div class="row">
          ${offered.map((step, at) => html`<button type="button" class=${at === 0 ? 'primary small' : 'small'} @click=${() => run(step, about)}>${t(`step.${step}`)}</button>`)}
          ${about.dismiss ? html`<button type="button" class="small" @click=${about.dismiss}>${t('close')}</button>` : nothing}
        </div>
      </div>
    </div>
  `;
}

function run(step: Step, { url, retry }: About): void {
  const { engine } = current();
  switch (step) {
    case 'models':
    case 'free-space':
      return update({ dialog: 'models' });
    case 'settings':
      return update({ dialog: 'settings' });
    case 'new-chat':
      return focusOn('#prompt', newConversation);
    case 'reload':
      return location.reload();
    case 'retry':
      return retry?.();
    case 'reopen':
      if (retry) return retry();
      if (engine.status === 'failed') void openModel(engine.model);
      return;
    case 'resume':
    case 'redownload':
      if (retry) return retry();
      if (url) again(url);
  }
}

/** Downloads it again, as far as the page knows how. */
function again(url: string): void {
  forgetFailure(url);
  const known = current().suggestions.find((one) => one.url === url);
  void download(known ? orderFor(known) : { url }, true);
}

export function orderFor(one: Suggestion) {
  const { url, sha256, bytes, name, license, architecture, parameters } = one;
  const note = { name, license, ...(architecture && { architecture }), ...(parameters && { parameters }) };
  return { url, bytes, ...(sha256 && { sha256 }), note };
}
