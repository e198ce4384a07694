/** What was typed and not sent, for each conversation (`''`: the one that is not begun), of this tab. It survives a reload. */
const PREFIX = 'picolm:draft:';

export function draftOf(conversation: string): string {
  try {
    return sessionStorage.getItem(PREFIX + conversation) ?? '';
  } catch {
    // The browser keeps nothing for this page.
    return '';
  }
}

export function keepDraft(conversation: string, text: string): void {
  try {
    if (text) sessionStorage.setItem(PREFIX + conversation, text);
    else sessionStorage.removeItem(PREFIX + conversation);
  } catch {
    // It is too long to be kept, or nothing is: then it only is in its field.
  }
}

/** Of conversations that are gone. */
export function forgetDrafts(isGone: (conversation: string) => boolean): void {
  try {
    const keys = Array.from({ length: sessionStorage.length }, (_, index) => sessionStorage.key(index)!);
    for (const key of keys) if (key.startsWith(PREFIX) && isGone(key.slice(PREFIX.length))) sessionStorage.removeItem(key);
  } catch {
    // There are none, then.
  }
}
