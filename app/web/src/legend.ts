/** The colours of the map, with their values and unit. */

import type { Legend, Variable } from './api';
import { el, h } from './dom';
import { capital, number, unit } from './format';

export function showLegend(legend: Legend | null, variable: Variable | undefined): void {
  const node = el('legend');
  if (!legend || !variable) {
    node.replaceChildren();
    return;
  }
  const { low, high, stops } = legend;
  const part = (v: number): number => (100 * (v - low)) / (high - low);
  const ramp = stops.map((s) => `${s.color} ${part(s.value).toFixed(2)}%`).join(', ');
  const ticks = [low, (low + high) / 2, high];
  node.replaceChildren(
    h('figcaption', {}, h('span', {}, variable.sign ? capital(variable.sign) : capital(variable.long_name)), unit(legend.unit)),
    h('div', { class: 'ramp', style: `background:linear-gradient(to right, ${ramp})` }),
    h('div', { class: 'ramp-ticks' }, ...ticks.map((t, i) => h('span', {}, `${i === 0 ? '≤ ' : i === 2 ? '≥ ' : ''}${number(t, Number.isInteger(t) ? 0 : Number.isInteger(10 * t) ? 1 : 2)}`))),
  );
}
