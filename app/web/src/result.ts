/** The answer about the chosen land: what it is, its daily chart, its yearly totals, and what to know about them. */

import * as api from './api';
import { Chart, type Line } from './chart';
import { download, toCsv } from './download';
import { el, fill, h, say } from './dom';
import { capital, dayNumber, number, sentence, unit } from './format';
import type { State } from './state';
import { bars, columnOf, table, type YearColumn } from './yearly';

export interface Land {
  title: string;
  geometry: GeoJSON.Geometry;
}

const BALANCE = 'balance';
const CARBON_YEAR = 'gC m-2 yr-1';
const ORIGIN = {
  store: 'Read from the map that was computed before.',
  computed: 'Computed for these cells when you asked.',
  both: 'Read from the map that was computed before; years that it lacks were computed when you asked.',
};
const TINTS: Record<string, string> = { gpp: 'gpp', reco: 'reco', nee: 'nee', ra: 'reco', rh: 'reco' };
const SHORT: Record<string, string> = { gpp: 'GPP', reco: 'Reco', nee: 'NEE', ra: 'Ra', rh: 'Rh', et: 'ET', lai: 'LAI', le: 'LE', h: 'H' };
const FIRST = ['gpp', 'reco', 'nee'];
const YEARLY: [string, string, string][] = [
  ['gpp', 'GPP', 'Gross primary production'],
  ['reco', 'Reco', 'Ecosystem respiration'],
  ['nee', 'NEE', 'Net ecosystem exchange'],
  ['yield', 'Yield', 'Harvested carbon'],
  ['delta_soc', 'ΔSOC', 'Soil carbon change'],
];

export interface Context {
  cube: api.Cube;
  model: api.Model;
  variables: api.Variable[];
}

export class Result {
  private node = el('result');
  private chart = new Chart();
  private running: AbortController | null = null;
  private daily: api.Series | null = null;
  private yearly: api.Series | null = null;
  private land: Land | null = null;
  private context: Context | null = null;
  private body = h('div', { class: 'result-body' });
  private head = h('div', { class: 'result-head' });
  private pick = h('select', { id: 'chart-variable' });
  private span = h('select', { id: 'chart-span' });
  private legend = h('div', { class: 'keys' });
  private wait = h('p', { class: 'wait', role: 'status' });

  constructor(private state: State, private closed: () => void) {
    this.chart.onDay = (day) => state.set({ day, by: 'day' });
    this.pick.addEventListener('change', () => state.set({ chart: this.pick.value }));
    this.span.addEventListener('change', () => state.set({ span: this.span.value }));
    state.listen((now, before) => {
      if (now.day !== before.day || now.by !== before.by) this.chart.mark(now.by === 'day' ? now.day : null);
      if (now.chart !== before.chart || now.span !== before.span) void this.draw();
    });
  }

  get open(): boolean {
    return !this.node.hidden;
  }

  close(): void {
    this.running?.abort();
    this.running = null;
    this.land = null;
    this.node.hidden = true;
    document.body.classList.remove('has-result');
    this.node.replaceChildren();
  }

  /** Ask for the land's series and show them. */
  async show(land: Land, context: Context, focus: boolean): Promise<void> {
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    this.land = land;
    this.context = context;
    this.daily = this.yearly = null;
    this.frame(land);
    if (focus) this.node.focus({ preventScroll: true });
    this.node.scrollIntoView({ block: 'nearest' });
    try {
      const has = new Set(context.model.outputs);
      const daily = FIRST.filter((name) => has.has(name));
      const yearly = YEARLY.map(([name]) => name).filter((name) => has.has(name));
      [this.daily, this.yearly] = await Promise.all([
        this.request(land, daily, 'day', running.signal),
        this.request(land, yearly, 'year', running.signal),
      ]);
      this.answer();
      say(`${land.title}: chart and yearly totals are shown.`);
    } catch (error) {
      if (running.signal.aborted) return;
      this.fail(error);
    }
  }

  private async request(land: Land, variables: string[], step: 'day' | 'year', signal: AbortSignal): Promise<api.Series> {
    const { cube, model } = this.context!;
    const request: api.SeriesRequest = {
      geometry: land.geometry,
      first: `${cube.years[0]}-01-01`,
      last: `${cube.years.at(-1)}-12-31`,
      variables,
      step,
      cube: cube.id,
      model: model.id,
    };
    for (;;) {
      try {
        return await api.series(request, signal);
      } catch (error) {
        // The server computes what it does not have yet and says when to ask again.
        if (!(error instanceof api.Problem) || error.status !== 503 || error.retryAfter === null) throw error;
        this.wait.textContent = `${sentence(error.detail || error.title)} This page asks again by itself.`;
        await pause(Math.min(error.retryAfter, 10) * 1000, signal);
      }
    }
  }

  private frame(land: Land): void {
    const close = h('button', { type: 'button', class: 'icon', 'aria-label': 'Close the result' }, '×');
    close.addEventListener('click', () => this.closed());
    this.head.replaceChildren(h('h2', {}, land.title), close);
    this.wait.textContent = 'Computing…';
    this.body.replaceChildren(this.wait);
    this.node.replaceChildren(this.head, this.body);
    this.node.hidden = false;
    this.node.setAttribute('aria-busy', 'true');
    document.body.classList.add('has-result');
  }

  private fail(error: unknown): void {
    const problem = error instanceof api.Problem ? error : null;
    this.node.removeAttribute('aria-busy');
    this.body.replaceChildren(
      h(
        'div',
        { class: 'failure', role: 'alert' },
        h('strong', {}, sentence(problem?.title ?? 'The answer could not be shown')),
        h('p', {}, problem ? problem.detail : String(error)),
      ),
    );
    if (!problem) console.error(error);
  }

  private answer(): void {
    const { daily, yearly, land, context } = this;
    if (!daily || !yearly || !land || !context) return;
    this.node.removeAttribute('aria-busy');
    const options = this.options();
    if (!options.some((o) => o.value === this.state.now.chart)) this.state.set({ chart: BALANCE });
    fill(this.pick, options, this.state.now.chart);
    const years = context.cube.years.map(String);
    const spans = [{ value: 'all', text: years.length > 1 ? 'All years' : years[0]! }];
    if (years.length > 1) spans.push(...years.map((y) => ({ value: y, text: y })));
    fill(this.span, spans, spans.some((s) => s.value === this.state.now.span) ? this.state.now.span : 'all');

    const columns = YEARLY.map(([name, head, title]) => columnOf(yearly, name, head, title)).filter((c): c is YearColumn => c !== null);
    const labels = yearly.time.map((t) => t.slice(0, 4));
    const crops = labels.map((y) => yearly.crops.filter((c) => c.year === Number(y)));
    const charted = [
      ['yield', () => 'gpp'],
      ['delta_soc', (v: number) => (v < 0 ? 'loss' : 'gain')],
    ] as const;
    const small = charted.flatMap(([name, tint]) => {
      const column = columns.find((c) => c.name === name);
      return column ? [bars(column, labels, tint)] : [];
    });

    this.body.replaceChildren(
      this.facts(),
      h(
        'div',
        { class: 'chart-head' },
        h('div', { class: 'row' }, h('label', { for: 'chart-variable' }, 'Daily chart'), this.pick),
        h('div', { class: 'row narrow' }, h('label', { for: 'chart-span' }, 'Years'), this.span),
      ),
      this.legend,
      this.chart.node,
      h('p', { class: 'hint' }, 'Click the chart to see that day on the map; drag to zoom, double-click to zoom out.'),
      h('h3', {}, 'Yearly totals', h('small', {}, unit(CARBON_YEAR))),
      table(columns, labels, crops),
      h('div', { class: 'bars-row' }, ...small),
      ...this.notes(),
      this.about(),
    );
    this.chart.mark(this.state.now.by === 'day' ? this.state.now.day : null);
    void this.draw();
  }

  private options(): { value: string; text: string }[] {
    const outputs = new Set(this.context!.model.outputs);
    const daily = this.context!.variables.filter((v) => v.period === 'day' && outputs.has(v.name));
    const rank = (name: string): number => (['nee', 'gpp', 'reco', 'ra', 'rh'].indexOf(name) + 6) % 6;
    daily.sort((a, b) => (rank(a.name) || 9) - (rank(b.name) || 9));
    return [
      { value: BALANCE, text: 'Carbon balance: GPP, Reco, NEE' },
      ...daily.map((v) => ({ value: v.name, text: capital(v.long_name) })),
    ];
  }

  private async draw(): Promise<void> {
    const { daily, land } = this;
    if (!daily || !land || !this.running) return;
    const { chart, span } = this.state.now;
    this.pick.value = chart;
    this.span.value = span;
    const names = chart === BALANCE ? FIRST.filter((n) => daily.values[n]) : [chart];
    const missing = names.filter((name) => !daily.values[name]);
    if (missing.length) {
      try {
        const more = await this.request(land, missing, 'day', this.running.signal);
        for (const name of missing) {
          daily.values[name] = more.values[name] ?? [];
          daily.units[name] = more.units[name] ?? '';
          if (more.low[name]) daily.low[name] = more.low[name];
          if (more.high[name]) daily.high[name] = more.high[name];
        }
      } catch (error) {
        if (!this.running?.signal.aborted) this.fail(error);
        return;
      }
      if (this.daily !== daily || this.state.now.chart !== chart) return;
    }
    const lines: Line[] = names.map((name) => ({ name, label: SHORT[name] ?? this.longName(name), tint: TINTS[name] ?? 'other' }));
    const banded = names.some((n) => daily.low[n]);
    this.legend.replaceChildren(
      ...(lines.length > 1
        ? lines.map((l) => h('span', {}, h('i', { style: `background:var(--${l.tint})` }), l.label))
        : [h('span', {}, this.note(names[0]!))]),
      h('span', { class: 'of' }, unit(daily.units[names[0]!] ?? ''), banded && daily.interval ? `, band: ${daily.interval}` : null),
    );
    const range: [number, number] | null =
      span === 'all' ? null : [dayNumber(`${span}-01-01`) * 86400, dayNumber(`${span}-12-31`) * 86400];
    this.chart.show(daily, lines, range);
  }

  private longName(name: string): string {
    return capital(this.context!.variables.find((v) => v.name === name)?.long_name ?? name);
  }

  private note(name: string): string {
    const found = this.context!.variables.find((v) => v.name === name);
    return found?.sign ? capital(found.sign) : this.longName(name);
  }

  private facts(): HTMLElement {
    const s = this.daily!;
    const items = [
      ['Area', `${number(s.area_ha)} ha`],
      [s.cell_count === 1 ? 'Cell of 250 m' : 'Cells of 250 m', number(s.cell_count, 0)],
    ] as const;
    return h('dl', { class: 'facts' }, ...items.map(([term, text]) => h('div', {}, h('dt', {}, term), h('dd', {}, text))));
  }

  private notes(): HTMLElement[] {
    const all = [...new Set([...this.daily!.notes, ...this.yearly!.notes])];
    if (!all.length) return [];
    return [
      h(
        'details',
        { class: 'notes', open: true },
        h('summary', {}, 'What to know about this answer'),
        h('ul', {}, ...all.map((note) => h('li', {}, sentence(note)))),
      ),
    ];
  }

  private about(): HTMLElement {
    const s = this.daily!;
    const land = this.land!;
    const name = land.title.toLowerCase().replace(/[^a-z0-9]+/g, '-');
    const button = (label: string, run: () => void): HTMLButtonElement => {
      const b = h('button', { type: 'button', class: 'quiet' }, label);
      b.addEventListener('click', run);
      return b;
    };
    return h(
      'div',
      { class: 'about' },
      h(
        'div',
        { class: 'tools' },
        button('Daily CSV', () => download(`${name}-daily.csv`, 'text/csv', toCsv(this.daily!))),
        button('Yearly CSV', () => download(`${name}-yearly.csv`, 'text/csv', toCsv(this.yearly!))),
        button('JSON', () =>
          download(`${name}.json`, 'application/json', JSON.stringify({ geometry: land.geometry, day: this.daily!.raw, year: this.yearly!.raw })),
        ),
      ),
      s.synthetic && h('p', { class: 'synthetic' }, 'SYNTHETIC demo data: this is no real land, and these are no measurements.'),
      h('p', {}, h('b', {}, 'Model '), `${s.model_title} (${s.model})`),
      h('p', {}, h('b', {}, 'Answer '), ORIGIN[s.origin]),
      h('p', {}, h('b', {}, 'Inputs '), sentence(s.statement)),
    );
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done, stop) => {
    const timer = window.setTimeout(done, ms);
    signal.addEventListener('abort', () => {
      window.clearTimeout(timer);
      stop(new DOMException('stopped', 'AbortError'));
    });
  });
}
