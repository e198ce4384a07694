/** `<pl-keys>`: the list of keys. */
import { html } from 'lit';
import { t } from '../i18n';
import { KEYS } from '../app/keys';
import { dialog } from './dialog';
import { View } from './view';

class Keys extends View {
  override render() {
    const rows = KEYS.map(({ keys, label }) => html`<div><dt>${keys.split('+').map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${t(label)}</dd></div>`);
    return dialog('keys', t('keys.title'), html`<dl class="key-list">${rows}</dl>`);
  }
}

customElements.define('pl-keys', Keys);
