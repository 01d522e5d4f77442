/** Yearly totals: small bars with their intervals, and a table of the numbers. */

import type { Column, CropShare, Series } from './api';
import { h, svg } from './dom';
import { digitsOf, number, unit } from './format';

export interface YearColumn {
  name: string;
  head: string;
  title: string;
  unit: string;
  values: Column;
  low: Column | undefined;
  high: Column | undefined;
}

/** Bars of one yearly variable, with a whisker for the interval. */
export function bars(column: YearColumn, years: string[], tint: (value: number) => string): HTMLElement {
  const [wide, tall, foot, left] = [230, 104, 16, 32];
  const all = [0, ...column.values, ...(column.low ?? []), ...(column.high ?? [])].filter((v): v is number => v !== null);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const reach = most - least || 1;
  const y = (v: number): number => 8 + ((most - v) / reach) * (tall - 16);
  const slot = (wide - left) / years.length;
  const marks = years.flatMap((year, i) => {
    const value = column.values[i];
    const middle = left + slot * (i + 0.5);
    const parts: SVGElement[] = [];
    if (years.length <= 8 || i % Math.ceil(years.length / 6) === 0)
      parts.push(svg('text', { x: middle, y: tall + foot - 4, 'text-anchor': 'middle' }, years.length <= 6 ? year : `’${year.slice(2)}`));
    if (value === null || value === undefined) return parts;
    const width = Math.min(slot * 0.62, 22);
    parts.push(
      svg(
        'rect',
        {
          x: middle - width / 2, y: Math.min(y(value), y(0)), width, height: Math.max(Math.abs(y(value) - y(0)), 1),
          rx: 1.5, fill: `var(--${tint(value)})`,
        },
        svg('title', {}, `${year}: ${number(value)} ${column.unit}`),
      ),
    );
    const [low, high] = [column.low?.[i], column.high?.[i]];
    if (low !== null && low !== undefined && high !== null && high !== undefined)
      parts.push(svg('path', { d: `M${middle} ${y(low)}V${y(high)}M${middle - 3} ${y(low)}h6M${middle - 3} ${y(high)}h6`, class: 'whisker' }));
    return parts;
  });
  const grid = ticks(least, most).flatMap((v) => [
    svg('line', { x1: left, x2: wide, y1: y(v), y2: y(v), class: 'grid' }),
    svg('text', { x: left - 5, y: y(v) + 3.5, 'text-anchor': 'end' }, number(v, digitsOf([most, least]))),
  ]);
  const zero = svg('line', { x1: left, x2: wide, y1: y(0), y2: y(0), class: 'zero' });
  const known = column.values.filter((v): v is number => v !== null);
  const mean = known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
  return h(
    'figure',
    { class: 'bars' },
    h('figcaption', {}, column.title, ' ', unit(column.unit)),
    svg('svg', { viewBox: `0 0 ${wide} ${tall + foot}`, role: 'img', 'aria-label': `${column.title} by year; the mean is ${number(mean, digitsOf([mean]))}` }, ...grid, ...marks, zero) as unknown as HTMLElement,
  );
}

/** Two to four round values from the least to the most. */
function ticks(least: number, most: number): number[] {
  const rough = (most - least) / 4 || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * size).find((s) => s >= rough)!;
  const first = Math.ceil(least / step);
  return Array.from({ length: Math.floor(most / step) - first + 1 }, (_, i) => (first + i) * step);
}

/** The numbers, a row a year, and their mean. `crops`: of each year, the largest share first. */
export function table(columns: YearColumn[], years: string[], crops: CropShare[][]): HTMLElement {
  const tonnes = digitsOf(crops.map((shares) => main(shares)?.t_ha));
  const cropped = crops.some((shares) => shares.length);
  const weighed = crops.some((shares) => main(shares)?.t_ha);
  const mean = (values: Column): number | null => {
    const known = values.filter((v): v is number => v !== null && v !== undefined);
    return known.length === values.length && known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
  };
  const digits = new Map(columns.map((c) => [c, digitsOf(c.values)]));
  const cell = (c: YearColumn, i: number): HTMLElement => {
    const [low, high] = [c.low?.[i], c.high?.[i]];
    const range = low !== null && low !== undefined && high !== null && high !== undefined && high > low;
    const text = range ? `${number(low, digits.get(c))} to ${number(high, digits.get(c))}` : '';
    // Only the number that people are paid on shows its interval in the table; the others on request.
    return h('td', { title: text }, number(c.values[i], digits.get(c)), c.name === 'delta_soc' && text ? h('small', {}, text) : null);
  };
  const heads = columns.map((c) => h('th', { scope: 'col', title: c.title }, c.head));
  const extra = h('th', { scope: 'col', title: 'Yield of the main crop at market moisture' }, 'Yield', h('small', {}, unit('t ha-1')));
  const at = columns.findIndex((c) => c.name === 'yield') + 1;
  const rows = years.map((year, i) => {
    const cells = columns.map((c) => cell(c, i));
    if (weighed) cells.splice(at, 0, h('td', {}, number(main(crops[i]!)?.t_ha, tonnes)));
    return h('tr', {}, h('th', { scope: 'row' }, year), cropped && crop(crops[i]!), ...cells);
  });
  const means = columns.map((c) => h('td', {}, number(mean(c.values), digits.get(c))));
  if (weighed) {
    heads.splice(at, 0, extra);
    means.splice(at, 0, h('td'));
  }
  return h(
    'div',
    { class: 'scroller', tabindex: 0, role: 'region', 'aria-label': 'Yearly totals, table' },
    h(
      'table',
      { id: 'totals' },
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Year'), cropped && h('th', { scope: 'col', class: 'crop' }, 'Crop'), ...heads)),
      h('tbody', {}, ...rows),
      years.length > 1 && h('tfoot', {}, h('tr', {}, h('th', { scope: 'row' }, 'Mean'), cropped && h('td'), ...means)),
    ),
  );
}

const main = (shares: CropShare[]): CropShare | undefined => shares[0];

function crop(shares: CropShare[]): HTMLElement {
  const first = main(shares);
  if (!first) return h('td', { class: 'crop' }, '–');
  const words = (c: CropShare): string => `${c.name ?? 'other'} ${number(100 * c.fraction, 0)} %`;
  const whole = first.fraction > 0.9;
  return h('td', { class: 'crop', title: shares.map(words).join(', ') }, first.name ?? 'other', !whole && h('small', {}, `${number(100 * first.fraction, 0)} %`));
}

/** A column of a yearly answer, or null where it has none. */
export function columnOf(series: Series, name: string, head: string, title: string): YearColumn | null {
  const values = series.values[name];
  if (!values || values.every((v) => v === null)) return null;
  const given = series.units[name] ?? '';
  // A sum over each year: written as the rate that it is, like the yearly variables beside it.
  return { name, head, title, unit: given === 'gC m-2' ? 'gC m-2 yr-1' : given, values, low: series.low[name], high: series.high[name] };
}
