/** A button that picks `.gguf` files of this device. */
import { html, type TemplateResult } from 'lit';
import { openFiles } from '../app/models';
import { icon } from './icons';

export function filePicker(label: string, look: string): TemplateResult {
  const picked = (event: Event) => {
    const input = event.target as HTMLInputElement;
    void openFiles([...(input.files ?? [])]).finally(() => (input.value = ''));
  };
  const pick = (event: Event) => ((event.currentTarget as HTMLElement).nextElementSibling as HTMLInputElement).click();
  return html`
    <span class="picker">
      <button type="button" class=${look} @click=${pick}>${look === 'link' ? '' : icon('file')}${label}</button>
      <input type="file" accept=".gguf" multiple hidden aria-label=${label} @change=${picked} />
    </span>
  `;
}
