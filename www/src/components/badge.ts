/** What the engine runs on, in a word, and in full behind it: threads, SIMD, isolation, each with the reason. */
import { html, nothing, type TemplateResult } from 'lit';
import { t } from '../i18n';
import * as format from '../app/format';
import type { State } from '../app/state';

export function engineBadge({ engine, isolated }: Readonly<State>): TemplateResult | typeof nothing {
  if (engine.status !== 'ready') return nothing;
  const { info } = engine;
  const simd = info.backend === 'relaxed-simd' ? t('badge.relaxed') : t('badge.simd');
  const rows: [string, unknown, string?][] = [
    [t('badge.threads'), format.number(info.threads), info.threadsWhy && t('badge.threads.why')],
    [t('badge.kernels'), simd],
    [t('badge.isolated'), isolated ? t('yes') : t('no'), isolated ? undefined : t('badge.isolated.why')],
    [t('badge.architecture'), t('badge.layers', { architecture: info.architecture, layers: info.layers })],
    [t('badge.context'), t('badge.context.of', { context: format.number(info.context), trained: format.number(info.trainedContext) })],
    [t('badge.memory'), format.bytes(info.memoryBytes), info.streamedWhy && t('badge.streamed')],
    [t('badge.file'), t(`badge.storage.${info.storage === 'files' ? 'opfs' : info.storage}`), info.storageWhy],
  ];
  return html`
    <button type="button" class="pill" popovertarget="engine-info" title=${t('badge')}>
      ${t(info.threads === 1 ? 'badge.short.one' : 'badge.short', { threads: info.threads })}<span class="wide"> · ${simd}</span>${info.streamed ? html` · ${t('badge.slow')}` : nothing}
    </button>
    <div id="engine-info" class="popover" popover>
      <dl>${rows.map(([name, value, why]) => html`<div><dt>${name}</dt><dd>${value}${why ? html`<small>${why}</small>` : nothing}</dd></div>`)}</dl>
    </div>
  `;
}
