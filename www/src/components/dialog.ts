/** The frame of a dialog: modal, closed by Escape, its cross or a click beside it; the focus goes back where it was. */
import { html, type TemplateResult } from 'lit';
import { ref } from 'lit/directives/ref.js';
import { t } from '../i18n';
import { current, update, type State } from '../app/state';
import { icon } from './icons';

export function dialog(name: NonNullable<State['dialog']>, title: string, content: TemplateResult): TemplateResult {
  const show = (element?: Element) => {
    const dialog = element as HTMLDialogElement | undefined;
    // It is in the document a moment later.
    queueMicrotask(() => dialog?.isConnected && !dialog.open && dialog.showModal());
  };
  // The event comes late: another one may be open by then.
  const close = () => current().dialog === name && update({ dialog: undefined });
  const beside = (event: MouseEvent) => {
    if (event.target === event.currentTarget) close();
  };
  return html`
    <dialog class="panel panel-${name}" aria-labelledby="${name}-title" ${ref(show)} @close=${close} @click=${beside}>
      <div class="panel-inner">
        <header>
          <h2 id="${name}-title" tabindex="-1" autofocus>${title}</h2>
          <button type="button" class="quiet square" aria-label=${t('close')} @click=${close}>${icon('close')}</button>
        </header>
        <div class="panel-body">${content}</div>
      </div>
    </dialog>
  `;
}
