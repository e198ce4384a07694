/** Short messages at the edge of the page, some with a way back. */
import { current, update, type Notice } from './state';

const SHOWN_MS = 8000;
let next = 1;

export function notify(text: string, options: { kind?: Notice['kind']; action?: Notice['action'] } = {}): void {
  const notice: Notice = { id: next++, text, kind: options.kind ?? 'info', ...(options.action && { action: options.action }) };
  update({ notices: [...current().notices.slice(-2), notice] });
  setTimeout(() => dismiss(notice.id), SHOWN_MS);
}

export function dismiss(id: number): void {
  const { notices } = current();
  if (notices.some((notice) => notice.id === id)) update({ notices: notices.filter((notice) => notice.id !== id) });
}
