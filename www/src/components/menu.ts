/** A button with a menu: the platform's popover, arrows move in it, Escape closes it. Its items are made when it opens. */
import { html, render, type TemplateResult } from 'lit';
import { icon, type Icon } from './icons';

export interface Item {
  icon: Icon;
  label: string;
  run: () => void;
}

export function menu(label: string, tabindex: number, items: () => Item[]): TemplateResult {
  const show = (event: Event) => open(event.currentTarget as HTMLElement, items());
  return html`<button type="button" class="quiet square menu-button" aria-haspopup="menu" aria-label=${label} tabindex=${tabindex} @click=${show}>⋯</button>`;
}

function open(button: HTMLElement, items: Item[]): void {
  const list = document.createElement('div');
  list.className = 'menu';
  list.popover = 'auto';
  list.setAttribute('role', 'menu');
  const choose = (item: Item) => {
    list.hidePopover();
    item.run();
  };
  render(items.map((item) => html`<button type="button" role="menuitem" @click=${() => choose(item)}>${icon(item.icon)}${item.label}</button>`), list);
  list.addEventListener('keydown', (event) => {
    const buttons = [...list.querySelectorAll('button')];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === 'Tab') list.hidePopover();
    if (step === undefined) return;
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    buttons[(at + step + buttons.length) % buttons.length]?.focus();
    event.preventDefault();
  });
  list.addEventListener('toggle', (event) => {
    if ((event as ToggleEvent).newState !== 'closed') return;
    list.remove();
    button.removeAttribute('aria-expanded');
    if (document.activeElement === document.body) button.focus();
  });
  button.setAttribute('aria-expanded', 'true');
  button.after(list);
  list.showPopover();
  place(list, button.getBoundingClientRect());
  list.querySelector('button')?.focus();
}

/** Below the button, or above it where there is no room. */
function place(list: HTMLElement, { right, bottom, top }: DOMRect): void {
  const { offsetWidth: width, offsetHeight: height } = list;
  list.style.left = `${Math.max(8, Math.min(right - width, innerWidth - width - 8))}px`;
  list.style.top = `${bottom + height + 8 < innerHeight ? bottom + 4 : Math.max(8, top - height - 4)}px`;
}
