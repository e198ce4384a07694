/** `<pl-sidebar>`: the conversations, their search, and the way to models and settings. */
import { html, nothing } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { t } from '../i18n';
import { stop } from '../app/chat';
import { find, newConversation, openConversation, removeConversation, rename } from '../app/conversations';
import * as format from '../app/format';
import { focusOn } from '../app/keys';
import { current, update } from '../app/state';
import { exportJson, exportMarkdown } from '../app/transfer';
import type { Conversation } from '../store/types';
import { icon } from './icons';
import { menu } from './menu';
import { View } from './view';

const DAY = 86_400_000;

class Sidebar extends View {
  static override uses = ['conversations', 'current', 'query', 'found', 'install', 'answer', 'drawer'] as const;
  static override properties = { renaming: { state: true } };
  declare renaming: string | undefined;
  /** Titles that several conversations have; of these conversations. */
  private twins: ReadonlySet<string> = new Set();
  private counted: readonly Conversation[] | undefined;

  override render() {
    const { query, found, conversations, install } = current();
    if (this.counted !== conversations) {
      const seen = new Set<string>();
      this.twins = new Set(conversations.map(({ title }) => title).filter((title) => seen.has(title) || !seen.add(title)));
      this.counted = conversations;
    }
    return html`
      <nav class="sidebar" aria-label=${t('sidebar')}>
        <header>
          <a class="brand" href="./" @click=${this.home}><img src="icons/icon.svg" alt="" width="26" height="26" />picolm</a>
          <button type="button" class="quiet square drawer-close" aria-label=${t('close')} @click=${() => update({ drawer: false })}>${icon('close')}</button>
        </header>
        <button type="button" class="new" @click=${() => focusOn('#prompt', newConversation)}>${icon('plus')}${t('chat.new')}</button>
        <div class="search">
          ${icon('search')}
          <input id="search" type="search" aria-label=${t('search')} placeholder=${t('search')} .value=${query} @input=${this.search} @keydown=${this.searchKeys} />
        </div>
        <div class="list" @keydown=${this.listKeys}>
          ${found ? this.results(found) : this.groups(conversations)}
        </div>
        <footer>
          ${install ? html`<button type="button" class="quiet" @click=${install}>${icon('download')}${t('install')}</button>` : nothing}
          <button type="button" class="quiet" @click=${() => update({ dialog: 'models', drawer: false })}>${icon('cube')}${t('models')}</button>
          <button type="button" class="quiet" @click=${() => update({ dialog: 'settings', drawer: false })}>${icon('settings')}${t('settings')}</button>
        </footer>
      </nav>
    `;
  }

  private results(found: { conversation: Conversation; excerpt: string }[]) {
    if (found.length === 0) return html`<p class="hint" role="status">${t('search.none')}</p>`;
    return html`<ul>${found.map(({ conversation, excerpt }) => this.item(conversation, excerpt))}</ul>`;
  }

  private groups(conversations: readonly Conversation[]) {
    if (conversations.length === 0) return html`<p class="hint">${t('chat.none')}</p>`;
    const today = new Date().setHours(0, 0, 0, 0);
    const bounds: [string, number][] = [
      [t('time.today'), today],
      [t('time.yesterday'), today - DAY],
      [t('time.week'), today - 7 * DAY],
      [t('time.earlier'), -Infinity],
    ];
    let rest = conversations;
    return bounds.map(([label, from]) => {
      const end = rest.findIndex(({ updated }) => updated < from);
      const group = end < 0 ? rest : rest.slice(0, end);
      rest = end < 0 ? [] : rest.slice(end);
      if (group.length === 0) return nothing;
      return html`<h2>${label}</h2><ul>${repeat(group, ({ id }) => id, (one) => this.item(one))}</ul>`;
    });
  }

  private item(conversation: Conversation, excerpt = '') {
    const { id, title, updated } = conversation;
    const open = current().current?.id === id;
    // What has the same title is told apart by its time.
    const small = excerpt || (this.twins.has(title) ? format.moment(updated) : '');
    if (this.renaming === id) return html`<li><input class="rename" aria-label=${t('rename')} .value=${title} @keydown=${this.renameKeys} @blur=${this.renamed} autofocus /></li>`;
    // One stop of the Tab key for the whole list; arrows move in it.
    const stop = open || (!current().current && id === (current().found?.[0]?.conversation ?? current().conversations[0])?.id);
    return html`
      <li class=${open ? 'open' : ''}>
        <a href="#${id}" title="${title} · ${format.date(updated)}" tabindex=${stop ? 0 : -1} aria-current=${open ? 'page' : nothing} @click=${this.go}>
          <span dir="auto">${title}</span>${small ? html`<small dir="auto">${small}</small>` : nothing}
        </a>
        ${menu(t('more', { title }), open ? 0 : -1, () => [
          { icon: 'pencil', label: t('rename'), run: () => this.startRename(id) },
          { icon: 'file', label: t('export.md'), run: () => void exportMarkdown(id) },
          { icon: 'download', label: t('export.json'), run: () => void exportJson(id) },
          { icon: 'trash', label: t('delete'), run: () => remove(id) },
        ])}
      </li>
    `;
  }

  private home(event: Event): void {
    event.preventDefault();
    focusOn('#prompt', newConversation);
  }

  private go(event: Event): void {
    event.preventDefault();
    const link = event.currentTarget as HTMLAnchorElement;
    void openConversation(link.hash.slice(1));
  }

  private search(event: InputEvent): void {
    void find((event.target as HTMLInputElement).value);
  }

  private searchKeys(event: KeyboardEvent): void {
    if (event.key === 'Escape') void find('');
    if (event.key === 'ArrowDown') this.querySelector<HTMLElement>('.list a')?.focus();
    else if (event.key !== 'Escape') return;
    event.preventDefault();
  }

  /** Arrows move between conversations; Delete removes one, F2 renames it. */
  private listKeys(event: KeyboardEvent): void {
    const links = [...this.querySelectorAll<HTMLAnchorElement>('.list li > a')];
    const at = links.indexOf(event.target as HTMLAnchorElement);
    if (at < 0) return;
    const id = links[at]!.hash.slice(1);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to !== undefined) (links[to] ?? (to < 0 ? this.querySelector<HTMLElement>('#search') : links[at]))?.focus();
    else if (event.key === 'ArrowRight') links[at]!.parentElement?.querySelector<HTMLElement>('button')?.focus();
    else if (event.key === 'Delete') remove(id);
    else if (event.key === 'F2') this.startRename(id);
    else return;
    event.preventDefault();
  }

  private startRename(id: string): void {
    this.renaming = id;
    void this.updateComplete.then(() => this.querySelector<HTMLInputElement>('.rename')?.select());
  }

  private renameKeys(event: KeyboardEvent): void {
    if (event.key === 'Enter' && !event.isComposing) this.renamed(event);
    if (event.key === 'Escape') this.renaming = undefined;
    event.stopPropagation();
  }

  private renamed(event: Event): void {
    if (this.renaming) void rename(this.renaming, (event.target as HTMLInputElement).value);
    this.renaming = undefined;
  }
}

function remove(id: string): void {
  stop(id);
  void removeConversation(id);
}

customElements.define('pl-sidebar', Sidebar);
