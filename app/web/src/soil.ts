/** The soil of the chosen land: its carbon by depth, what it results from, and what other management would make of it. */

import * as api from './api';
import { asText, download } from './download';
import { h, svg } from './dom';
import { capital, number, sentence, unit } from './format';

const LEVEL = 0.9;

/** Everything about a profile, for the result's body. `what`: asks for a scenario of the same land. */
export function soilAnswer(
  land: { title: string },
  profile: api.SoilProfile,
  what: (scenario: api.SoilScenario) => Promise<api.SoilCourse>,
  about: () => void,
): HTMLElement[] {
  const [year, end] = profile.record.map((day) => day.slice(0, 4));
  const stock = profile.stocks.soc_30 ?? Object.values(profile.stocks)[0];
  return [
    h(
      'dl',
      { class: 'facts' },
      fact('Area', `${number(profile.area_ha)} ha`),
      fact(profile.cell_count === 1 ? 'Cell of 250 m' : 'Cells of 250 m', number(profile.cell_count, 0)),
      fact('Climate', `${year}–${end}`),
    ),
    stock
      ? h(
          'p',
          { class: 'headline' },
          'The upper 30 cm hold ', h('b', {}, number(stock.value, 0), ' ', unit(stock.unit)), ' of organic carbon',
          stock.low !== null && stock.high !== null ? ` (${LEVEL * 100}\u00a0%: ${number(stock.low, 0)} to ${number(stock.high, 0)})` : '',
          stock.total?.value != null ? `, ${number(stock.total.value, 0)} t on this land.` : '.',
        )
      : h('p', { hidden: true }),
    h('h3', {}, 'Carbon by depth', h('small', {}, unit(profile.density.unit), '; whiskers: the networks’ spread')),
    depths(profile),
    scenario(what),
    h('h3', {}, 'What it results from'),
    processes(profile),
    ...notes(profile.notes),
    h(
      'div',
      { class: 'about' },
      h('b', { class: 'over' }, 'Download'),
      h('div', { class: 'tools' }, fileButton(land.title, profile)),
      profile.synthetic && h('p', { class: 'synthetic' }, 'SYNTHETIC demo data: this is no real land, and these are no measurements.'),
      h('p', {}, h('b', {}, 'Model '), `${profile.model_title} (${profile.model})`),
      h('p', {}, h('b', {}, 'Inputs '), sentence(profile.statement)),
      h('p', {}, link('Where these numbers come from', about)),
    ),
  ];
}

/** Bars of density, one a layer as tall as it is thick, with whiskers. */
function depths(profile: api.SoilProfile): HTMLElement {
  const { top, bottom } = profile.depth;
  const { value, low, high } = profile.density;
  const [wide, tall, left, head] = [430, 230, 64, 8];
  const all = [...value, ...high].filter((v): v is number => v !== null);
  const most = Math.max(...all, 1);
  const deepest = Math.max(...bottom, 0.01);
  // Thin layers near the surface hold most: depth is drawn by its root.
  const y = (depth: number): number => head + Math.sqrt(depth / deepest) * (tall - head - 4);
  const x = (v: number): number => left + (v / most) * (wide - left - 70);
  const rows = value.flatMap((v, i) => {
    const [from, to] = [y(top[i]!), y(bottom[i]!)];
    const middle = (from + to) / 2;
    const name = `${Math.round(100 * top[i]!)}–${Math.round(100 * bottom[i]!)} cm`;
    const parts: SVGElement[] = [svg('text', { x: left - 8, y: middle + 4, 'text-anchor': 'end' }, name)];
    if (v === null) return parts;
    parts.push(svg('rect', { x: left, y: from + 1, width: Math.max(x(v) - left, 1), height: Math.max(to - from - 2, 1), rx: 1.5, fill: 'var(--reco)' }, svg('title', {}, `${name}: ${number(v, 0)} ${profile.density.unit}`)));
    const [a, b] = [low[i] ?? null, high[i] ?? null];
    if (a !== null && b !== null) parts.push(svg('path', { d: `M${x(a)} ${middle}H${x(b)}M${x(a)} ${middle - 3}v6M${x(b)} ${middle - 3}v6`, class: 'whisker' }));
    parts.push(svg('text', { x: Math.max(x(v), b === null ? 0 : x(b)) + 6, y: middle + 4 }, number(v, 0)));
    return parts;
  });
  const said = value.map((v, i) => `${Math.round(100 * top[i]!)} to ${Math.round(100 * bottom[i]!)} cm ${number(v, 0)}`).join(', ');
  return h('figure', { class: 'bars depths' }, svg('svg', { viewBox: `0 0 ${wide} ${tall}`, role: 'img', 'aria-label': `Carbon by depth: ${said}` }, ...rows) as unknown as HTMLElement);
}

function processes(profile: api.SoilProfile): HTMLElement {
  const rows = [...Object.values(profile.stocks), ...Object.values(profile.processes)].map((p) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row', class: 'words' }, capital(p.long_name)),
      h('td', {}, figure(p.value), ' ', unit(p.unit), p.low !== null && p.high !== null ? h('small', {}, `${figure(p.low)} to ${figure(p.high)}`) : null),
    ),
  );
  return h('div', { class: 'scroller', tabindex: 0, role: 'region', 'aria-label': 'Stocks and processes, table' }, h('table', { id: 'soil-processes' }, h('tbody', {}, ...rows)));
}

/** A form of management, and the answer below it. */
function scenario(what: (scenario: api.SoilScenario) => Promise<api.SoilCourse>): HTMLElement {
  const tillage = select('soil-tillage', [['', 'as now'], ['none', 'no till'], ['low', 'reduced'], ['high', 'ploughed']]);
  const residue = select('soil-residue', [['', 'as now'], ['0', 'all stays'], ['0.35', '35 % taken'], ['0.7', '70 % taken']]);
  const years = select('soil-years', [['10', '10 years'], ['20', '20 years'], ['50', '50 years']]);
  years.value = '20';
  const cover = h('input', { type: 'checkbox', id: 'soil-cover' });
  const run = h('button', { type: 'button', class: 'quiet small', id: 'soil-run' }, 'What would change?');
  const answer = h('div', { id: 'soil-answer', role: 'status' });
  run.addEventListener('click', () => {
    run.disabled = true;
    answer.replaceChildren(h('p', { class: 'wait' }, 'Computing…'));
    what({
      years: Number(years.value),
      ...(tillage.value ? { tillage: tillage.value } : {}),
      ...(residue.value ? { residue_removed: Number(residue.value) } : {}),
      cover_crop: cover.checked,
    })
      .then((course) => answer.replaceChildren(...told(course)))
      .catch((error: unknown) => {
        answer.replaceChildren(h('p', { class: 'hint bad', role: 'alert' }, api.words(error)));
      })
      .finally(() => (run.disabled = false));
  });
  const row = (name: string, control: HTMLElement): HTMLElement => h('div', { class: 'row' }, h('label', { for: control.id }, name), control);
  return h(
    'section',
    { class: 'scenario', 'aria-label': 'Other management' },
    h('h3', {}, 'Under other management'),
    row('Tillage', tillage),
    row('Residue', residue),
    row('For', years),
    h('div', { class: 'under' }, h('label', { class: 'check' }, cover, ' A cover crop every winter'), run),
    answer,
  );
}

function told(course: api.SoilCourse): HTMLElement[] {
  const change = course.columns.soc_change_30;
  const at = course.year.length - 1;
  const value = change?.value[at];
  if (!change || value === null || value === undefined) return [h('p', {}, 'There is no value for this land.')];
  const [low, high] = [change.low?.[at], change.high?.[at]];
  const total = change.total?.value[at];
  const way = value < 0 ? 'lose' : 'gain';
  const line = h(
    'p',
    { class: 'headline' },
    `In ${at} years the upper 30 cm would ${way} `,
    h('b', {}, number(Math.abs(value), 0), ' ', unit(change.unit)),
    low !== null && low !== undefined && high !== null && high !== undefined ? ` (${number(low, 0)} to ${number(high, 0)}, the networks' spread)` : '',
    total !== null && total !== undefined ? `, ${number(total / at, 1)} t a year on this land.` : '.',
  );
  const [wide, tall] = [430, 90];
  const known = [...change.value, ...(change.low ?? []), ...(change.high ?? []), 0].filter((v): v is number => v !== null);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const y = (v: number): number => 6 + ((most - v) / (most - least || 1)) * (tall - 12);
  const x = (i: number): number => 4 + (i / Math.max(at, 1)) * (wide - 8);
  const path = (column: (number | null)[]): string => column.map((v, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${y(v ?? 0).toFixed(1)}`).join('');
  const parts = [svg('line', { x1: 0, x2: wide, y1: y(0), y2: y(0), class: 'zero' })];
  if (change.low && change.high)
    parts.push(svg('path', { d: `${path(change.low)}${path(change.high).split(/(?=[ML])/).reverse().join('').replaceAll('M', 'L')}Z`, fill: 'var(--reco)', opacity: 0.2 }));
  parts.push(svg('path', { d: path(change.value), fill: 'none', stroke: 'var(--reco)', 'stroke-width': 2 }));
  return [
    line,
    h('figure', { class: 'bars' }, svg('svg', { viewBox: `0 0 ${wide} ${tall}`, role: 'img', 'aria-label': `Change over ${at} years, from 0 to ${number(value, 0)}` }, ...parts) as unknown as HTMLElement),
    h('p', { class: 'hint' }, sentence(capital(`against ${course.against}`))),
    ...notes(course.notes),
  ];
}

function notes(all: string[]): HTMLElement[] {
  if (!all.length) return [];
  const items = [...new Set(all)].map((note) => h('li', {}, sentence(note)));
  return [h('details', { class: 'notes' }, h('summary', {}, 'What to know about this answer'), h('ul', {}, ...items))];
}

function fileButton(title: string, profile: api.SoilProfile): HTMLElement {
  const button = h('button', { type: 'button', class: 'quiet small' }, 'JSON');
  const name = title.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  button.addEventListener('click', () => download(`${name}-soil.json`, asText('application/json', JSON.stringify(profile))));
  return button;
}

function link(text: string, run: () => void): HTMLElement {
  const button = h('button', { type: 'button', class: 'link' }, text);
  button.addEventListener('click', run);
  return button;
}

const fact = (term: string, text: string): HTMLElement => h('div', {}, h('dt', {}, term), h('dd', {}, text));
const figure = (v: number | null): string => (v !== null && Math.abs(v) < 1 ? number(v, 3) : number(v));

function select(id: string, options: [string, string][]): HTMLSelectElement {
  return h('select', { id }, ...options.map(([value, text]) => h('option', { value }, text)));
}
