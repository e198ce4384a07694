/** `<pl-notices>`: short messages, read out by screen readers. */
import { html, nothing } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { t } from '../i18n';
import { dismiss } from '../app/notices';
import { current } from '../app/state';
import { icon } from './icons';
import { View } from './view';

class Notices extends View {
  static override uses = ['notices'] as const;

  override render() {
    return html`
      <div role="status" aria-live="polite">
        ${repeat(
          current().notices,
          ({ id }) => id,
          ({ id, text, kind, action }) => html`
            <div class="notice ${kind}">
              <span dir="auto">${text}</span>
              ${action ? html`<button type="button" class="link" @click=${() => (action.run(), dismiss(id))}>${action.label}</button>` : nothing}
              <button type="button" class="quiet square" aria-label=${t('close')} @click=${() => dismiss(id)}>${icon('close')}</button>
            </div>
          `,
        )}
      </div>
    `;
  }
}

customElements.define('pl-notices', Notices);
