/** The answer about the chosen land: what it is, its daily chart, its yearly totals, and what to know about them. */

import * as api from './api';
import { Chart, type Line } from './chart';
import { asText, download, toCsv } from './download';
import { el, fill, h, say } from './dom';
import { capital, dayNumber, digitsOf, number, sentence, unit, unitText } from './format';
import { chartPicture } from './picture';
import { forecastPart } from './forecast';
import type { State } from './state';
import { soilAnswer } from './soil';
import { bars, columnOf, table, type YearColumn } from './yearly';

export interface Land {
  title: string;
  geometry: GeoJSON.Geometry;
  /** The outlines, where it is several fields together. */
  parts?: GeoJSON.Geometry[];
  /** Whether it can be kept as a field of one's own. */
  keep: boolean;
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
/** Of a model of crops, which gives no fluxes. */
const GROWTH = ['biomass', 'grain'];
/** What a model's chart shows first. */
const firstOf = (has: Set<string>): string[] => (FIRST.some((n) => has.has(n)) ? FIRST : GROWTH).filter((n) => has.has(n));
const YEARLY: [string, string, string][] = [
  ['gpp', 'GPP', 'Gross primary production'],
  ['reco', 'Reco', 'Ecosystem respiration'],
  ['nee', 'NEE', 'Net ecosystem exchange'],
  ['yield', 'Harvest', 'Harvested carbon'],
  ['delta_soc', 'ΔSOC', 'Soil carbon change'],
];

export interface Context {
  cube: api.Cube;
  model: api.Model;
  variables: api.Variable[];
}

export interface Doings {
  closed(): void;
  /** Keep the land as a field of one's own. */
  keep(land: Land): Promise<void>;
  about(): void;
  card(model: string): Promise<api.Card>;
}

/** Tints of lines that have none of their own, one after the other. */
const MORE = ['other', 'other2', 'other3'];
const MOST_LINES = 4;

export class Result {
  private node = el('result');
  private chart = new Chart();
  private running: AbortController | null = null;
  private daily: api.Series | null = null;
  private yearly: api.Series | null = null;
  private seasons: api.Season[] = [];
  private land: Land | null = null;
  private context: Context | null = null;
  private body = h('div', { class: 'result-body' });
  private head = h('div', { class: 'result-head' });
  private pick = h('select', { id: 'chart-variable' });
  private add = h('select', { id: 'chart-more', 'aria-label': 'Add a variable to the chart' });
  private span = h('select', { id: 'chart-span' });
  private sums = h('input', { type: 'checkbox', id: 'chart-sums' });
  private lines: Line[] = [];
  private legend = h('div', { class: 'keys' });
  private more = h('div', { hidden: true });
  private wait = h('p', { class: 'wait', role: 'status' });

  constructor(private state: State, private doings: Doings) {
    this.chart.onDay = (day) => state.set({ day, by: 'day' });
    this.pick.addEventListener('change', () => state.set({ chart: this.pick.value }));
    this.span.addEventListener('change', () => state.set({ span: this.span.value }));
    this.sums.addEventListener('change', () => state.set({ sums: this.sums.checked }));
    this.add.addEventListener('change', () => {
      if (this.add.value) state.set({ chart: [...this.names(), this.add.value].join(',') });
    });
    state.listen((now, before) => {
      if (now.day !== before.day || now.by !== before.by) this.chart.mark(now.by === 'day' ? now.day : null);
      if (now.chart !== before.chart || now.span !== before.span || now.sums !== before.sums) void this.draw();
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
    this.seasons = [];
    this.frame(land);
    if (focus) this.node.focus({ preventScroll: true });
    this.node.scrollIntoView({ block: 'nearest' });
    try {
      const has = new Set(context.model.outputs);
      if (context.variables.every((v) => v.period === 'static' || !has.has(v.name))) {
        await this.soil(land, context, running.signal);
        return;
      }
      const daily = firstOf(has);
      const yearly = YEARLY.map(([name]) => name).filter((name) => has.has(name));
      [this.daily, this.yearly, this.seasons] = await Promise.all([
        this.request(land, daily, 'day', running.signal),
        this.request(land, yearly, 'year', running.signal),
        // Without it the chart only lacks its strip of crops; those of many fields would lie over each other.
        land.parts ? [] : api.calendar(land.geometry, context.cube.id, running.signal).catch(() => []),
      ]);
      this.answer();
      say(`${land.title}: chart and yearly totals are shown.`);
    } catch (error) {
      if (running.signal.aborted) return;
      this.fail(error);
    }
  }

  /** Of a model without days: the soil as it is. */
  private async soil(land: Land, { cube, model }: Context, signal: AbortSignal): Promise<void> {
    const profile = await this.patiently(() => api.soilProfile(land.geometry, cube.id, model.id, signal), signal);
    const what = (scenario: api.SoilScenario): Promise<api.SoilCourse> => api.soilScenario(land.geometry, cube.id, model.id, scenario, signal);
    this.node.removeAttribute('aria-busy');
    this.body.replaceChildren(...soilAnswer(land, profile, what, () => this.doings.about()));
    say(`${land.title}: its soil is shown.`);
  }

  private async request(land: Land, variables: string[], step: 'day' | 'year', signal: AbortSignal): Promise<api.Series> {
    const request = this.asked(land, variables, step);
    return this.patiently(() => api.series(request, signal), signal);
  }

  private async patiently<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        // The server computes what it does not have yet and says when to ask again.
        if (!(error instanceof api.Problem) || error.status !== 503 || error.retryAfter === null) throw error;
        this.wait.textContent = `${sentence(error.detail || error.title)} This page asks again by itself.`;
        await pause(Math.min(error.retryAfter, 10) * 1000, signal);
      }
    }
  }

  private asked(land: Land, variables: string[], step: 'day' | 'month' | 'year'): api.SeriesRequest {
    const { cube, model } = this.context!;
    return {
      ...where(land),
      first: `${cube.years[0]}-01-01`,
      last: `${cube.years.at(-1)}-12-31`,
      variables,
      step,
      cube: cube.id,
      model: model.id,
    };
  }

  private frame(land: Land): void {
    const close = h('button', { type: 'button', class: 'icon', 'aria-label': 'Close the result' }, '×');
    close.addEventListener('click', () => this.doings.closed());
    const keep = h('button', { type: 'button', class: 'quiet small', id: 'keep' }, 'Keep as my field');
    keep.addEventListener('click', () => {
      keep.disabled = true;
      this.doings.keep(land).catch((error: unknown) => {
        keep.disabled = false;
        keep.after(h('span', { class: 'hint bad', role: 'alert' }, api.words(error)));
      });
    });
    this.head.replaceChildren(h('h2', {}, land.title), h('div', { class: 'head-tools' }, land.keep && keep, close));
    this.wait.textContent = 'Computing…';
    this.body.replaceChildren(this.wait);
    this.node.replaceChildren(this.head, this.body);
    this.node.hidden = false;
    this.node.setAttribute('aria-busy', 'true');
    document.body.classList.add('has-result');
  }

  private fail(error: unknown): void {
    const problem = error instanceof api.Problem ? error : null;
    const { land, context } = this;
    // What is asked wrongly stays wrong; what a server could not do it may do now.
    const again = land && context && (!problem || problem.status === 0 || problem.status >= 500) && h('button', { type: 'button', class: 'quiet small' }, 'Try again');
    if (again) again.addEventListener('click', () => void this.show(land, context, true));
    this.node.removeAttribute('aria-busy');
    this.body.replaceChildren(
      h(
        'div',
        { class: 'failure', role: 'alert' },
        h('strong', {}, sentence(problem?.title ?? 'The answer could not be shown')),
        h('p', {}, problem ? problem.detail : String(error)),
        again,
      ),
    );
    if (!problem) console.error(error);
  }

  private answer(): void {
    const { daily, yearly, land, context } = this;
    if (!daily || !yearly || !land || !context) return;
    this.node.removeAttribute('aria-busy');
    const options = this.options();
    const known = new Set(options.map((o) => o.value));
    const kept = this.state.now.chart.split(',').filter((name) => known.has(name));
    this.state.set({ chart: kept.join(',') || BALANCE });
    fill(this.pick, options, kept[0] ?? BALANCE);
    const years = context.cube.years.map(String);
    const spans = [{ value: 'all', text: years.length > 1 ? 'All years' : years[0]! }];
    if (years.length > 1) spans.push(...years.map((y) => ({ value: y, text: y })));
    fill(this.span, spans, spans.some((s) => s.value === this.state.now.span) ? this.state.now.span : 'all');

    const columns = YEARLY.map(([name, head, title]) => columnOf(yearly, name, head, title)).filter((c): c is YearColumn => c !== null);
    const labels = yearly.time.map((t) => t.slice(0, 4));
    const crops = labels.map((y) => yearly.crops.filter((c) => c.year === Number(y)));
    const charted = [
      ['delta_soc', (v: number) => (v < 0 ? 'loss' : 'gain')],
      ['yield', () => 'gpp'],
    ] as const;
    const small = charted.flatMap(([name, tint]) => {
      const column = columns.find((c) => c.name === name);
      return column ? [bars(column, labels, tint)] : [];
    });
    const more = h('div', { class: 'row narrow' }, h('label', { for: 'chart-more' }, 'Beside it'), this.add);

    this.body.replaceChildren(
      this.facts(),
      this.headline(columns, labels, crops),
      h(
        'div',
        { class: 'chart-head' },
        h('div', { class: 'row' }, h('label', { for: 'chart-variable' }, 'Daily chart'), this.pick),
        more,
        h('div', { class: 'row years' }, h('label', { for: 'chart-span' }, 'Years'), this.span),
      ),
      this.legend,
      this.chart.node,
      this.chart.strip,
      h(
        'div',
        { class: 'under' },
        h('label', { class: 'check' }, this.sums, ' Add the days up'),
        h('p', { class: 'hint' }, 'Click a day to see it on the map; drag to zoom, double-click for all.'),
      ),
      h('h3', {}, 'Year by year', h('small', {}, unit(CARBON_YEAR))),
      h('div', { class: 'bars-row' }, ...small),
      table(columns, labels, crops),
      this.more,
      ...this.notes(),
      this.about(),
    );
    void this.offerForecast(land, context).catch((error: unknown) => console.warn(error));
    this.chart.calendar(this.seasons);
    this.chart.mark(this.state.now.by === 'day' ? this.state.now.day : null);
    void this.draw();
  }

  /** Where the model was tested as a forecast of harvests. */
  private async offerForecast(land: Land, { cube, model }: Context): Promise<void> {
    const { signal } = this.running!;
    this.more.hidden = true;
    const card = await this.doings.card(model.id);
    if (signal.aborted || !card.recipe.forecast_intervals) return;
    const ask = (day: string): Promise<api.Forecast> =>
      this.patiently(() => api.forecast(land.geometry, cube.id, model.id, day, signal), signal).then((told) => ({
        ...told,
        // What the answer says anyway is not said again.
        notes: told.notes.filter((note) => !this.daily?.notes.includes(note)),
      }));
    // The first years have no earlier ones whose weather could go on.
    const year = this.state.now.day.slice(0, 4) === String(cube.years[0]) ? cube.years.at(-1)! : Number(this.state.now.day.slice(0, 4));
    this.more.replaceChildren(forecastPart(`${year}-07-15`, cube.years, ask));
    this.more.hidden = false;
  }

  /** The variables that the chart shows. */
  private names(): string[] {
    const { chart } = this.state.now;
    const daily = this.daily!;
    return chart.split(',').flatMap((name) => (name === BALANCE ? firstOf(new Set(Object.keys(daily.values))) : [name]));
  }

  private options(): { value: string; text: string }[] {
    const outputs = new Set(this.context!.model.outputs);
    const daily = this.context!.variables.filter((v) => v.period === 'day' && outputs.has(v.name));
    const rank = (name: string): number => (['nee', 'gpp', 'reco', 'ra', 'rh'].indexOf(name) + 6) % 6;
    daily.sort((a, b) => (rank(a.name) || 9) - (rank(b.name) || 9));
    return [
      { value: BALANCE, text: FIRST.some((n) => outputs.has(n)) ? 'Carbon balance' : 'Growth' },
      ...daily.map((v) => ({ value: v.name, text: capital(v.long_name) })),
    ];
  }

  private async draw(): Promise<void> {
    const { daily, land } = this;
    if (!daily || !land || !this.running) return;
    const { chart, span, sums } = this.state.now;
    this.pick.value = chart.split(',')[0]!;
    this.span.value = span;
    this.sums.checked = sums;
    const names = [...new Set(this.names())];
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
    const summed = (name: string): boolean => this.context!.variables.find((v) => v.name === name)?.over_time === 'sum';
    const shown = sums ? names.filter(summed) : names;
    // States such as biomass are not added up; who has ticked it before can still untick it.
    this.sums.closest('label')!.hidden = !sums && !names.some(summed);
    let more = 0;
    const tint = (name: string): string => {
      const own = TINTS[name];
      return own && (own === name || !names.includes(own)) ? own : MORE[more++ % MORE.length]!;
    };
    this.lines = shown.map((name) => ({ name, label: SHORT[name] ?? this.longName(name), tint: tint(name) }));
    const [first, last] = span === 'all' ? ['', '~'] : [`${span}-01-01`, `${span}-12-31`];
    const series = sums ? addedUp(daily, shown, first, last) : daily;
    const units = [...new Set(shown.map((name) => series.units[name] ?? ''))];
    const banded = shown.some((n) => series.low[n]);
    this.legend.replaceChildren(
      ...(this.lines.length > 1
        ? this.lines.map((l) => this.key(l, chart, units.length > 1 ? (series.units[l.name] ?? '') : ''))
        : [h('span', {}, shown.length ? this.note(shown[0]!) : 'Nothing here can be added up: choose a flux.')]),
      h(
        'span',
        { class: 'of' },
        units.length === 1 && unit(units[0]!),
        banded && daily.interval ? `${units.length === 1 ? ', ' : ''}band: ${daily.interval}` : null,
        sums && 'the table has intervals of sums',
      ),
    );
    // Two axes are all that a chart can be read by.
    const fits = this.options().filter((o) => {
      const of = this.context!.variables.find((v) => v.name === o.value)?.unit;
      return o.value !== BALANCE && !names.includes(o.value) && (units.length < 2 || (of !== undefined && units.includes(of)));
    });
    this.add.disabled = names.length >= MOST_LINES || !fits.length;
    fill(this.add, [{ value: '', text: 'Add…' }, ...fits], '');
    const range: [number, number] | null = span === 'all' ? null : [dayNumber(first) * 86400, dayNumber(last) * 86400];
    this.chart.show(series, this.lines, range);
  }

  /** A line's name in the key; with a button to take it away, where it was added. */
  private key(line: Line, chart: string, of: string): HTMLElement {
    const label = h('span', {}, h('i', { style: `background:var(--${line.tint})` }), line.label, of ? ' ' : null, of ? unit(of) : null);
    const parts = chart.split(',');
    if (parts.length < 2 || !parts.includes(line.name)) return label;
    const off = h('button', { type: 'button', class: 'off', 'aria-label': `Take ${line.label} off the chart` }, '×');
    off.addEventListener('click', () => this.state.set({ chart: parts.filter((name) => name !== line.name).join(',') }));
    label.append(off);
    return label;
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

  /** What matters most, in a sentence: the soil and the harvest of the year shown on the map. */
  private headline(columns: YearColumn[], labels: string[], crops: api.CropShare[][]): HTMLElement {
    const soil = columns.find((c) => c.name === 'delta_soc');
    const asked = labels.indexOf(this.state.now.day.slice(0, 4));
    const at = asked >= 0 ? asked : labels.length - 1;
    const value = soil?.values[at];
    if (!soil || value === null || value === undefined) return h('p', { hidden: true });
    const [low, high] = [soil.low?.[at], soil.high?.[at]];
    const known = low !== null && low !== undefined && high !== null && high !== undefined;
    const crop = crops[at]?.[0];
    const level = this.yearly!.interval;
    const unclear = known && low < 0 && high > 0;
    const digits = digitsOf([value, low, high]);
    const amount = h('b', {}, `${number(value, digits)} `, unit('gC m-2'));
    const says = unclear
      ? ['Whether the soil gained or lost carbon is not certain: ', amount]
      : [`The soil ${value < 0 ? 'lost' : 'gained'} carbon: `, amount];
    const grown = crop ? `${crop.name?.replaceAll('_', ' ') ?? 'another crop'} ${crop.t_ha ? `yielded ${number(crop.t_ha)} t/ha` : 'grew'}` : null;
    return h(
      'p',
      { class: 'headline' },
      grown ? `In ${labels[at]} ${grown}. ` : `${labels[at]}: `,
      ...says,
      known ? ` (${level} ${number(low, digits)} to ${number(high, digits)})` : null,
      `; ${number(this.tonnes(value))} t of carbon on this land.`,
    );
  }

  /** gC m-2 on the whole land, in tonnes. */
  private tonnes(value: number): number {
    return (value * this.daily!.area_ha) / 100;
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
    const tell = h('p', { class: 'hint bad', role: 'alert', hidden: true });
    const button = (label: string, title: string, run: () => void | Promise<void>): HTMLButtonElement => {
      const b = h('button', { type: 'button', class: 'quiet small', title }, label);
      b.addEventListener('click', () => {
        tell.hidden = true;
        Promise.resolve(run()).catch((error: unknown) => {
          tell.textContent = api.words(error);
          tell.hidden = false;
        });
      });
      return b;
    };
    const whole = (format: string) => async (): Promise<void> => {
      const names = [...new Set([...FIRST.filter((n) => this.daily!.values[n]), ...this.names()])];
      download(`${name}-daily.${format === 'netcdf' ? 'nc' : format}`, await api.seriesFile(this.asked(land, names, 'day'), format));
    };
    const sources = h('button', { type: 'button', class: 'link' }, 'Where these numbers come from');
    sources.addEventListener('click', () => this.doings.about());
    return h(
      'div',
      { class: 'about' },
      h('b', { class: 'over' }, 'Download'),
      h(
        'div',
        { class: 'tools' },
        button('Daily CSV', 'Days and intervals, for a spreadsheet', () => download(`${name}-daily.csv`, asText('text/csv', toCsv(this.daily!)))),
        button('Yearly CSV', 'Years and intervals, for a spreadsheet', () => download(`${name}-yearly.csv`, asText('text/csv', toCsv(this.yearly!)))),
        button('JSON', "The server's answers as they are", () =>
          download(`${name}.json`, asText('application/json', JSON.stringify({ geometry: land.geometry, day: this.daily!.raw, year: this.yearly!.raw }))),
        ),
        button('Parquet', 'Days for pandas, R or a database', whole('parquet')),
        button('NetCDF', 'Days for scientists, CF conventions', whole('netcdf')),
        button('Chart PNG', 'The chart as it is seen', () => this.picture(name)),
        this.yearly!.values.delta_soc && button('Carbon statement', "Signed account of the soil's carbon, for a verifier (JSON)", () => this.stated(name)),
      ),
      tell,
      s.synthetic && h('p', { class: 'synthetic' }, 'SYNTHETIC demo data: this is no real land, and these are no measurements.'),
      h('p', {}, h('b', {}, 'Model '), `${s.model_title} (${s.model})`),
      h('p', {}, h('b', {}, 'Answer '), ORIGIN[s.origin]),
      h('p', {}, h('b', {}, 'Inputs '), sentence(s.statement)),
      h('p', {}, sources),
    );
  }

  private async stated(name: string): Promise<void> {
    const { cube, model } = this.context!;
    const { signal } = this.running!;
    const statement = await this.patiently(() => api.statement(where(this.land!), cube.id, model.id, { years: cube.years }), signal);
    download(`${name}-statement.json`, statement);
  }

  private async picture(name: string): Promise<void> {
    const canvas = this.chart.canvas;
    if (!canvas) return;
    const s = this.daily!;
    const units = [...new Set(this.lines.map((l) => unitText(s.units[l.name] ?? '')))].join('; ');
    const lines = [`${units}${s.interval ? `; band: ${s.interval}` : ''}`, `${s.model_title} (${s.model}). ${s.synthetic ? 'SYNTHETIC demo data.' : s.statement}`];
    download(`${name}-chart.png`, await chartPicture(canvas, this.lines, { title: this.land!.title, lines, legend: null }));
  }
}

const where = (land: Land): api.Where =>
  land.parts ? { features: land.parts.map((geometry) => ({ type: 'Feature', properties: {}, geometry })) } : { geometry: land.geometry };

/** Sums of days since a first day. Without intervals: that of a sum is not the sum of the days'. */
function addedUp(series: api.Series, names: string[], first: string, last: string): api.Series {
  const values: Record<string, api.Column> = {};
  const units: Record<string, string> = { ...series.units };
  for (const name of names) {
    let sum = 0;
    let whole = true;
    values[name] = (series.values[name] ?? []).map((value, i) => {
      const day = series.time[i]!;
      if (day < first || day > last) return null;
      // After a day without a value the sum is not known.
      whole &&= value !== null;
      sum += value ?? 0;
      return whole ? sum : null;
    });
    units[name] = (series.units[name] ?? '').replace(/ d-1$/, '');
  }
  return { ...series, values, units, low: {}, high: {} };
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
