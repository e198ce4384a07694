/** Keys that work everywhere on the page. */
import { newConversation } from './conversations';
import { stop } from './chat';
import { current, update } from './state';

export const KEYS: readonly { keys: string; label: `keys.${'new' | 'search' | 'models' | 'settings' | 'stop' | 'help' | 'send' | 'line' | 'edit'}` }[] = [
  { keys: 'Enter', label: 'keys.send' },
  { keys: 'Shift+Enter', label: 'keys.line' },
  { keys: '↑', label: 'keys.edit' },
  { keys: 'Esc', label: 'keys.stop' },
  { keys: 'Alt+N', label: 'keys.new' },
  { keys: 'Ctrl+K', label: 'keys.search' },
  { keys: 'Alt+M', label: 'keys.models' },
  { keys: 'Alt+S', label: 'keys.settings' },
  { keys: 'Ctrl+/', label: 'keys.help' },
];

export function watchKeys(): void {
  addEventListener('keydown', (event) => {
    const { altKey, ctrlKey, metaKey } = event;
    const command = ctrlKey || metaKey;
    if (event.key === 'Escape' && current().answer && !current().dialog && !current().drawer) stop();
    else if (event.key === 'Escape' && current().drawer) update({ drawer: false });
    else if (command && event.key === 'k') focusOn('#search', () => update({ drawer: true }));
    else if (command && event.key === '/') update({ dialog: 'keys' });
    else if (altKey && event.code === 'KeyN') focusOn('#prompt', newConversation);
    else if (altKey && event.code === 'KeyM') update({ dialog: 'models' });
    else if (altKey && event.code === 'KeyS') update({ dialog: 'settings' });
    else return;
    if (event.key !== 'Escape') event.preventDefault();
  });
}

/** Does something, and then moves the focus to what it made. */
export function focusOn(selector: string, first: () => void = () => {}): void {
  first();
  const focus = () => document.querySelector<HTMLElement>(selector)?.focus();
  focus();
  // What is not visible yet will be, in a moment.
  if (!document.activeElement?.matches(selector)) requestAnimationFrame(focus);
}
