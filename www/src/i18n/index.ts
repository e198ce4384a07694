/** Translations: English is in the page, others are fetched when they are chosen. */
import { en, type Key } from './en';

type Dictionary = Record<Key, string>;

const LOADERS: Record<string, () => Promise<Dictionary>> = {
  en: async () => en,
  vi: async () => (await import('./vi')).vi,
  zh: async () => (await import('./zh')).zh,
};
/** By their own names. */
export const LANGUAGES: readonly [code: 'en' | 'vi' | 'zh', name: string][] = [
  ['en', 'English'],
  ['vi', 'Tiếng Việt'],
  ['zh', '简体中文'],
];

let dictionary: Dictionary = en;
let locale = 'en';

/** A text in the language of the page. `{name}` in it is replaced; for a `count` of one there may be a text of its own. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const one = `${key}.one` as Key;
  const text = values['count'] === 1 && one in dictionary ? dictionary[one] : dictionary[key];
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** Changes the language: one of ours, or `auto` for the first of the browser's that we have. Returns which it is. */
export async function setLocale(wanted: string): Promise<string> {
  const chosen = wanted === 'auto' ? navigator.languages.map((tag) => tag.split('-')[0]!).find((tag) => tag in LOADERS) : wanted;
  const next = chosen ?? 'en';
  try {
    dictionary = await LOADERS[next]!();
    locale = next;
  } catch {
    // Offline, and never fetched: English is here.
    [dictionary, locale] = [en, 'en'];
  }
  document.documentElement.lang = locale === 'zh' ? 'zh-Hans' : locale;
  return locale;
}

export function localeName(): string {
  return locale;
}
