/** Settings: loaded once, saved when they change, shown at once. */
import { setLocale } from '../i18n';
import * as db from '../store/db';
import { DEFAULTS, type Settings } from '../store/types';
import { current, update } from './state';

export async function loadSettings(): Promise<void> {
  const settings = await db.loadSettings();
  update({ settings });
  await show(settings);
}

export function changeSettings(patch: Partial<Settings>): void {
  const settings = { ...current().settings, ...patch };
  update({ settings });
  void show(settings);
  // What cannot be saved still holds until the page is closed.
  db.saveSettings(settings).catch(() => {});
}

/** Sampling and engine as they were; language and looks stay. */
export function resetSettings(): void {
  const { locale, theme, fontSize, model } = current().settings;
  changeSettings({ ...DEFAULTS, locale, theme, fontSize, model });
}

async function show({ theme, fontSize, locale }: Settings): Promise<void> {
  const root = document.documentElement;
  root.dataset['theme'] = theme;
  root.style.fontSize = `${fontSize}px`;
  const dark = theme === 'dark' || (theme === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.querySelector('meta[name=theme-color]')?.setAttribute('content', dark ? '#171614' : '#faf9f7');
  update({ locale: await setLocale(locale) });
}
