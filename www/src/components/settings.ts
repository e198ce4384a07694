/** `<pl-settings>`: looks, what the model is told, sampling, the engine, and what is kept here. */
import { html, nothing, type TemplateResult } from 'lit';
import { LANGUAGES, t } from '../i18n';
import type { Key } from '../i18n/en';
import { stop } from '../app/chat';
import { removeAllConversations } from '../app/conversations';
import { reopen } from '../app/engine';
import * as format from '../app/format';
import { notify } from '../app/notices';
import { changeSettings, resetSettings } from '../app/settings';
import { current, update } from '../app/state';
import { exportJson, importJson } from '../app/transfer';
import { DEFAULTS, type Settings } from '../store/types';
import { dialog } from './dialog';
import { icon } from './icons';
import { View } from './view';

type Numeric = { [K in keyof Settings]: Settings[K] extends number ? K : never }[keyof Settings];

class SettingsView extends View {
  static override uses = ['settings', 'engine', 'conversations'] as const;
  static override properties = { deleting: { state: true }, failed: { state: true } };
  declare deleting: boolean;
  declare failed: string | undefined;

  override render() {
    return dialog('settings', t('settings'), html`${this.looks()}${this.model()}${this.engine()}${this.data()}`);
  }

  private looks() {
    return html`
      <section>
        <h3>${t('settings.looks')}</h3>
        ${choice('locale', 'settings.language', [['auto', t('settings.auto')], ...LANGUAGES])}
        ${choice('theme', 'settings.theme', [['system', t('theme.system')], ['light', t('theme.light')], ['dark', t('theme.dark')]])}
        ${number('fontSize', 'settings.font', { min: 13, max: 24, step: 1 })}
        ${choice('thinking', 'settings.thinking', [['folded', t('thinking.folded')], ['shown', t('thinking.shown')], ['off', t('thinking.off')]], 'settings.thinking.hint')}
      </section>
    `;
  }

  private model() {
    const { systemPrompt, seed } = current().settings;
    return html`
      <section>
        <h3>${t('settings.answers')}</h3>
        <div class="setting tall">
          <label for="set-system">${t('settings.system')}</label>
          <textarea id="set-system" rows="3" placeholder=${t('settings.system.example')} .value=${systemPrompt} @change=${(event: Event) => changeSettings({ systemPrompt: valueOf(event) })}></textarea>
        </div>
        ${number('temperature', 'settings.temperature', { min: 0, max: 2, step: 0.05 }, 'settings.temperature.hint')}
        ${number('topP', 'settings.top_p', { min: 0.05, max: 1, step: 0.05 })}
        ${number('topK', 'settings.top_k', { min: 0, max: 200, step: 1 }, 'settings.top_k.hint')}
        ${number('minP', 'settings.min_p', { min: 0, max: 1, step: 0.01 })}
        ${number('repetitionPenalty', 'settings.repetition', { min: 1, max: 2, step: 0.05 })}
        ${number('maxTokens', 'settings.max_tokens', { min: 0, max: 32768, step: 1 }, 'settings.max_tokens.hint')}
        <div class="setting">
          <label for="set-seed">${t('settings.seed')}</label>
          <input id="set-seed" inputmode="numeric" pattern="[0-9]{0,9}" placeholder=${t('settings.seed.random')} .value=${seed} @change=${this.seed} />
          <p class="hint">${t('settings.seed.hint')}</p>
        </div>
        <button type="button" class="small" @click=${resetSettings}>${t('settings.reset')}</button>
      </section>
    `;
  }

  private engine() {
    const cores = navigator.hardwareConcurrency || 1;
    const { engine, settings } = current();
    return html`
      <section>
        <h3>${t('settings.engine')}</h3>
        ${number('context', 'settings.context', { min: 256, max: 131072, step: 256 }, 'settings.context.hint')}
        ${engine.status === 'ready' && engine.info.context < settings.context
          ? html`<p class="hint">${t('context.trained', { context: format.number(engine.info.context) })}</p>`
          : nothing}
        ${number('threads', 'settings.threads', { min: 0, max: 64, step: 1 }, 'settings.threads.hint', { cores })}
        ${choice('kv', 'settings.kv', [['f16', t('kv.f16')], ['q8_0', t('kv.q8')]])}
        ${engine.status === 'none' ? nothing : html`<button type="button" class="small" @click=${() => void reopen()}>${icon('retry')}${t('settings.reopen')}</button>`}
      </section>
    `;
  }

  private data() {
    const count = current().conversations.length;
    return html`
      <section>
        <h3>${t('settings.data')}</h3>
        <p class="hint">${t('settings.data.hint', { count })}</p>
        <div class="row">
          <button type="button" class="small" ?disabled=${count === 0} @click=${() => void exportJson()}>${icon('download')}${t('export.all')}</button>
          <button type="button" class="small" @click=${() => this.querySelector<HTMLInputElement>('#import')!.click()}>${icon('upload')}${t('import')}</button>
          <input id="import" type="file" accept=".json,application/json" hidden aria-label=${t('import')} @change=${this.import} />
          <button type="button" class="small" ?disabled=${count === 0} @click=${() => (this.deleting = true)}>${icon('trash')}${t('delete.all')}</button>
        </div>
        ${this.failed ? html`<p class="bad" role="alert">${this.failed}</p>` : nothing}
        ${this.deleting
          ? html`<div class="row" role="alert">
              <span>${t('delete.all.sure', { count })}</span>
              <button type="button" class="danger small" @click=${this.deleteAll}>${t('delete')}</button>
              <button type="button" class="small" @click=${() => (this.deleting = false)}>${t('cancel')}</button>
            </div>`
          : nothing}
        <p><button type="button" class="link" @click=${() => update({ dialog: 'keys' })}>${t('keys.title')}</button></p>
      </section>
    `;
  }

  private seed(event: Event): void {
    const input = event.target as HTMLInputElement;
    if (input.reportValidity()) changeSettings({ seed: input.value.trim() });
  }

  private async import(event: Event): Promise<void> {
    const input = event.target as HTMLInputElement;
    const [file] = input.files ?? [];
    this.failed = undefined;
    try {
      if (file) notify(t('import.done', { count: await importJson(file) }));
    } catch (error) {
      this.failed = (error as Error).message;
    }
    input.value = '';
  }

  private deleteAll(): void {
    this.deleting = false;
    stop();
    void removeAllConversations();
  }
}

function choice<K extends 'locale' | 'theme' | 'thinking' | 'kv'>(key: K, label: Key, options: readonly (readonly [Settings[K], string])[], hint?: Key): TemplateResult {
  const id = `set-${key}`;
  const change = (event: Event) => changeSettings({ [key]: valueOf(event) });
  return html`
    <div class="setting">
      <label for=${id}>${t(label)}</label>
      <select id=${id} @change=${change}>
        ${options.map(([value, name]) => html`<option value=${value} ?selected=${current().settings[key] === value} .selected=${current().settings[key] === value}>${name}</option>`)}
      </select>
      ${hint ? html`<p class="hint">${t(hint)}</p>` : nothing}
    </div>
  `;
}

/** A number within bounds; what lies outside is moved inside, what is none becomes the default. */
function number(key: Numeric, label: Key, { min, max, step }: { min: number; max: number; step: number }, hint?: Key, values: Record<string, number> = {}): TemplateResult {
  const id = `set-${key}`;
  const change = (event: Event) => {
    const input = event.target as HTMLInputElement;
    const typed = input.value === '' || !Number.isFinite(input.valueAsNumber) ? DEFAULTS[key] : input.valueAsNumber;
    const whole = Number.isInteger(step) ? Math.round(typed) : typed;
    const value = Math.min(max, Math.max(min, whole));
    input.valueAsNumber = value;
    changeSettings({ [key]: value });
  };
  return html`
    <div class="setting">
      <label for=${id}>${t(label)}</label>
      <input id=${id} type="number" min=${min} max=${max} step=${step} .value=${String(current().settings[key])} @change=${change} />
      ${hint ? html`<p class="hint">${t(hint, values)}</p>` : nothing}
    </div>
  `;
}

function valueOf(event: Event): string {
  return (event.target as HTMLInputElement).value;
}

customElements.define('pl-settings', SettingsView);
