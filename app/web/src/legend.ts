/** The colours of the map, with their values and unit. */

import type { Legend } from './api';
import { timeInWords } from './compare';
import { h } from './dom';
import { capital, unit } from './format';

/** `of`: what is shown, in words; by itself the variable's sign, or what its values are. */
export function showLegend(node: HTMLElement, legend: Legend | null, of = ''): void {
  if (!legend) {
    node.replaceChildren();
    return;
  }
  const { low, high, stops, ticks } = legend;
  const part = (v: number): number => (100 * (v - low)) / (high - low);
  const ramp = stops.map((s) => `${s.color} ${part(s.value).toFixed(2)}%`).join(', ');
  const words = of || (legend.of ? capital(legend.of.replace(/\S+\.\.\S+/g, timeInWords)) : legend.sign ? capital(legend.sign) : capital(legend.title));
  // Marks too near to each other or to the ends would be written over each other.
  const room = ticks.filter((t, i) => i === 0 || i === ticks.length - 1 || (part(t.value) > 14 && part(t.value) < 86));
  const shown = room.length > 5 ? room.filter((_, i) => i === 0 || i === room.length - 1 || i === Math.floor(room.length / 2)) : room;
  node.replaceChildren(
    h('figcaption', {}, h('span', {}, words), unit(legend.unit)),
    h('div', { class: 'ramp', style: `background:linear-gradient(to right, ${ramp})` }),
    h(
      'div',
      { class: 'ramp-ticks' },
      ...shown.map((t) => {
        const at = part(t.value);
        const side = at < 5 ? 'left' : at > 95 ? 'right' : '';
        const end = t.value <= low ? '≤ ' : t.value >= high ? '≥ ' : '';
        const label = /^[≤≥<>]/.test(t.label) ? t.label : `${end}${t.label}`;
        return h('span', { class: side, style: side ? '' : `left:${at.toFixed(1)}%` }, label.replace('-', '−'));
      }),
    ),
  );
}
