/** How numbers, units and days are written. */

import { h } from './dom';

const formats = [0, 1, 2, 3].map(
  (digits) => new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);

/** A number with as many digits as its size deserves; an en dash where there is none. */
export function number(value: number | null | undefined, digits?: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const places = digits ?? digitsOf([value]);
  const text = formats[Math.min(places, 3)]!.format(value);
  return (/^-0(\.0*)?$/.test(text) ? text.slice(1) : text).replace('-', '−');
}

/** Digits after the point that suit all of these, as of a column: those of the largest. */
export function digitsOf(values: readonly (number | null | undefined)[]): number {
  const size = Math.max(0, ...values.filter((v): v is number => Number.isFinite(v)).map(Math.abs));
  return size >= 100 ? 0 : size >= 10 ? 1 : 2;
}

/** A unit of the vocabulary ("gC m-2 d-1") with raised exponents. */
export function unit(text: string): HTMLSpanElement {
  const span = h('span', { class: 'unit' });
  text.split(' ').forEach((part, i) => {
    if (i) span.append('\u2009');
    const match = /^([A-Za-z%]+)(-?\d+)$/.exec(part);
    if (!match) span.append(part === 'degC' ? '°C' : part === '1' ? '' : part);
    else span.append(match[1]!, h('sup', {}, match[2]!.replace('-', '−')));
  });
  return span;
}

/** The same unit in plain text, for places without markup. */
export function unitText(text: string): string {
  return text
    .split(' ')
    .map((part) => part.replace(/(-?\d+)$/, (n) => [...n].map((c) => RAISED[c] ?? c).join('')))
    .join(' ');
}

const RAISED: Record<string, string> = { '-': '⁻', '0': '⁰', '1': '¹', '2': '²', '3': '³', '4': '⁴' };

const DAY = 86_400_000;

export const dayNumber = (day: string): number => Math.round(Date.parse(`${day}T00:00:00Z`) / DAY);
export const dayOf = (n: number): string => new Date(n * DAY).toISOString().slice(0, 10);
export const isDay = (text: string): boolean => /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(dayNumber(text));

const longDay = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' });
const shortDay = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });

const longMonth = new Intl.DateTimeFormat('en-GB', { month: 'long', year: 'numeric', timeZone: 'UTC' });

export const monthInWords = (day: string): string => longMonth.format(new Date(`${day.slice(0, 7)}-10T00:00:00Z`));
export const spanInWords = (first: string, last: string): string =>
  shortDay.formatRange(new Date(`${first}T00:00:00Z`), new Date(`${last}T00:00:00Z`));
export const inShortDay = (day: string): string => shortDay.format(new Date(`${day}T00:00:00Z`));
export const inWords = (day: string): string => longDay.format(new Date(`${day}T00:00:00Z`));
export const inShort = (seconds: number): string => shortDay.format(new Date(seconds * 1000));

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1).replaceAll('CO2', 'CO₂');
export const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
