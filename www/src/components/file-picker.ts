/** A button that picks `.gguf` files of this device. */
import { html, type TemplateResult } from 'lit';
import { failureOf } from '../app/errors';
import { hasPicker, pick } from '../app/files';
import { openFiles } from '../app/models';
import { notify } from '../app/notices';
import { icon } from './icons';

export function filePicker(label: string, look: string): TemplateResult {
  const picked = (event: Event) => {
    const input = event.target as HTMLInputElement;
    void openFiles({ files: [...(input.files ?? [])], handles: [] }).finally(() => (input.value = ''));
  };
  // The browser's own dialog gives handles, by which files are found again; a field does not.
  const ask = (event: Event) => {
    const input = (event.currentTarget as HTMLElement).nextElementSibling as HTMLInputElement;
    if (!hasPicker()) return input.click();
    pick().then((picked) => picked && openFiles(picked), (error: unknown) => notify(failureOf(error).message, { kind: 'error' }));
  };
  return html`
    <span class="picker">
      <button type="button" class=${look} @click=${ask}>${look === 'link' ? '' : icon('file')}${label}</button>
      <input type="file" accept=".gguf" multiple hidden aria-label=${label} @change=${picked} />
    </span>
  `;
}
