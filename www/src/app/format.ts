/** Figures for people, in their language. */
import { localeName } from '../i18n';

/** Decimal units, as file managers have them: `98 MB`. */
export function bytes(count: number): string {
  const [size, unit] = count >= 1e9 ? [1e9, 'GB'] : count >= 1e6 ? [1e6, 'MB'] : count >= 1e3 ? [1e3, 'kB'] : [1, 'B'];
  return `${number(count / size, count < 10 * size && size > 1 ? 1 : 0)} ${unit}`;
}

export function number(value: number, digits = 0): string {
  const { numbers } = formats();
  return numbers[digits === 0 ? 0 : 1].format(value);
}

/** `21 Nov 2026` */
export function date(time: number): string {
  return formats().dates.format(time);
}

/** `21 Nov 2026, 14:05` */
export function moment(time: number): string {
  return formats().moments.format(time);
}

/** Tokens a second: one digit where there are few. */
export function rate(perSecond: number): string {
  return number(perSecond, perSecond < 10 ? 1 : 0);
}

/** `360 M`, `1.7 B`. */
export function parameters(count: number): string {
  return count >= 1e9 ? `${number(count / 1e9, 1)} B` : `${number(count / 1e6)} M`;
}

export function percent(part: number, whole: number): string {
  return formats().percents.format(whole > 0 ? part / whole : 0);
}

/** Minutes and seconds until something is done: `2:05`. */
export function time(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

let made: ReturnType<typeof make> | undefined;

/** They take long to make, so they are kept as long as the language is the same. */
function formats(): ReturnType<typeof make> {
  return made?.locale === localeName() ? made : (made = make(localeName()));
}

function make(locale: string) {
  const numbers = [0, 1].map((digits) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits })) as [Intl.NumberFormat, Intl.NumberFormat];
  const percents = new Intl.NumberFormat(locale, { style: 'percent' });
  return { locale, numbers, percents, dates: new Intl.DateTimeFormat(locale, { dateStyle: 'medium' }), moments: new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' }) };
}
