/** Where the numbers come from: the model's card and the region's inputs, in plain words. */

import * as api from './api';
import { el, h } from './dom';
import { capital, number, sentence, unit } from './format';

/** One line of how well a model did where it had not been trained. */
export interface Tested {
  variable: string;
  step: 'day' | 'year';
  where: string;
  error: number;
  unit: string;
  n: number;
  rule: string;
  floor: number | null;
}

/** The scores at places that no training has seen, of the largest test of each variable, by day and by year. */
export function tested(card: api.Card): Tested[] {
  const best = new Map<string, Tested>();
  for (const s of card.scores) {
    if (s.metric !== 'rmse' || !/^unseen (tower|county)/.test(s.split) || /outside the domain|given measured|median|seen place/.test(s.split)) continue;
    const step = /by year$/.test(s.split) ? 'year' : 'day';
    const key = `${s.variable} ${step} ${s.unit} ${/county/.test(s.split) ? s.split : ''}`;
    const held = best.get(key);
    if (held && held.n >= s.n) continue;
    const [rule, floor] = Object.entries(s.baseline).sort((a, b) => a[1] - b[1])[0] ?? ['', null];
    const where = s.split.replace(/^unseen (tower|county): /, '').replace(/, own GPP.*$/, '').replace(/ pooled$/, '');
    best.set(key, { variable: s.variable, step, where: `${where}`, error: s.value, unit: s.unit, n: s.n, rule, floor });
  }
  const order = ['nee', 'gpp', 'reco', 'yield', 'delta_soc', 'le', 'h'];
  const rank = (t: Tested): number => (order.indexOf(t.variable) + 99) % 99;
  return [...best.values()].sort((a, b) => rank(a) - rank(b) || (a.step < b.step ? -1 : 1));
}

export function showAbout(card: api.Card, cube: api.Cube, variables: api.Variable[]): void {
  const dialog = el<HTMLDialogElement>('about');
  const close = h('button', { type: 'button', class: 'icon', 'aria-label': 'Close' }, '×');
  close.addEventListener('click', () => dialog.close());
  dialog.onclick = (e) => e.target === dialog && dialog.close();
  const name = (id: string): string => capital(variables.find((v) => v.name === id)?.long_name ?? id);
  const rows = tested(card);
  const better = (t: Tested): boolean => t.floor !== null && t.error < t.floor;
  dialog.replaceChildren(
    h('div', { class: 'result-head' }, h('h2', { id: 'about-title' }, 'Where these numbers come from'), close),
    h(
      'div',
      { class: 'about-body' },
      h('h3', {}, 'The model'),
      h('p', {}, h('b', {}, `${card.title} `), `(${card.name}/${card.version}, made ${card.made}, ${card.licence})`),
      h('p', {}, sentence(card.description)),
      card.members > 1 &&
        h('p', {}, `Each number is the mean of ${card.members} members, and its interval comes from how far these lie apart, widened on data that they had not seen.`),
      h('p', {}, `Made for: ${card.domain.crops.join(', ').replaceAll('_', ' ')}; ${card.domain.climates}; ${card.domain.years}.`),
      h('h3', {}, 'How well it does where it was not trained'),
      rows.length
        ? h(
            'div',
            { class: 'scroller', tabindex: 0, role: 'region', 'aria-label': 'Scores, table' },
            h(
              'table',
              {},
              h(
                'thead',
                {},
                h('tr', {}, ...['What', 'Tested at', 'Its typical error', 'Best simple rule'].map((t) => h('th', { scope: 'col', class: 'words' }, t))),
              ),
              h(
                'tbody',
                {},
                ...rows.map((t) =>
                  h(
                    'tr',
                    {},
                    h('th', { scope: 'row', class: 'words' }, name(t.variable), h('small', {}, `by ${t.step}`)),
                    h('td', { class: 'words' }, t.where, h('small', {}, `${t.n.toLocaleString('en-US')} values`)),
                    h('td', { class: 'words' }, number(t.error), ' ', unit(t.unit)),
                    h('td', { class: 'words' }, t.floor === null ? '–' : h('span', {}, number(t.floor), h('small', {}, `${t.rule}: ${better(t) ? 'worse than the model' : 'better than the model'}`))),
                  ),
                ),
              ),
            ),
          )
        : h('p', {}, 'Its card has no scores from places that it was not trained on.'),
      h('p', { class: 'hint' }, 'Typical error: root mean square error. Simple rules, such as the mean of the season or a regression, know the same data and no processes.'),
      h('h3', {}, 'Known faults'),
      h('ul', {}, ...card.known_faults.map((fault) => h('li', {}, sentence(capital(fault.replaceAll('_', ' ')))))),
      h('h3', {}, 'The inputs of this region'),
      cube.synthetic && h('p', { class: 'synthetic' }, 'SYNTHETIC demo data: this is no real land, and these are no measurements.'),
      h('p', {}, sentence(cube.statement), cube.licence ? ` ${cube.licence}.` : ''),
      h('h3', {}, 'What it was trained and tested on'),
      h('ul', {}, ...[...new Set(card.data.map((d) => `${d.source} (${d.licence}; ${d.used_for})`))].map((text) => h('li', {}, text))),
    ),
  );
  dialog.showModal();
  dialog.scrollTop = 0;
}

/** Why a model cannot run on a region's inputs, in a sentence; empty where it can. */
export function lacking(card: api.Card, cube: api.Cube, variables: api.Variable[]): string {
  const missing = [...card.needs_daily, ...card.needs_annual, ...card.needs_static].filter((name) => !(name in cube.inputs));
  if (!missing.length) return '';
  const names = missing.map((name) => variables.find((v) => v.name === name)?.long_name ?? name);
  return `${card.title} cannot run here: ${cube.title} has no ${names.join(', no ')}.`;
}

/** How far off one value of the map typically is, in a sentence; null where no test tells. */
export function sureness(card: api.Card, variable: string, step: 'day' | 'year'): { text: string; error: number; unit: string } | null {
  const found = tested(card).find((t) => t.variable === variable && t.step === step && t.unit.startsWith(variable === 'yield' ? 't' : ''));
  if (!found) return null;
  return { text: `Typically off by ${number(found.error)}`, error: found.error, unit: found.unit };
}
