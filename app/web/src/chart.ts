/** The daily chart: variables with their intervals, on two axes at most, over the crops' calendar; linked to the map's day. */

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Column, Season, Series } from './api';
import { h, say } from './dom';
import { dayNumber, dayOf, inShort, inShortDay, number, unit, unitText } from './format';
import { color, onTheme, scaled } from './theme';

export interface Line {
  name: string;
  label: string;
  tint: string;
}

const DAY = 86400;

export class Chart {
  readonly node = h('div', { class: 'chart' });
  /** The crops below the days: a strip that moves with the chart. */
  readonly strip = h('div', { class: 'calendar', role: 'img' });
  private plot: uPlot | null = null;
  private tip = h('div', { class: 'chart-tip', hidden: true });
  private lines: Line[] = [];
  private series: Series | null = null;
  private shownDay = 0;
  private span: [number, number] | null = null;
  private cursor = -1;
  private seasons: Season[] = [];
  onDay: (day: string) => void = () => {};

  constructor() {
    this.node.tabIndex = 0;
    this.node.setAttribute('role', 'group');
    new ResizeObserver(() => this.resize()).observe(this.node);
    onTheme(() => this.build());
    this.node.addEventListener('keydown', (e) => this.key(e));
    this.node.addEventListener('blur', () => this.point(-1));
  }

  show(series: Series, lines: Line[], span: [number, number] | null): void {
    this.series = series;
    this.lines = lines;
    this.span = span;
    const names = lines.map((l) => `${l.label} (${unitText(this.unitOf(l))})`).join(', ');
    this.node.setAttribute(
      'aria-label',
      `Daily chart of ${names}. Left and right arrow keys read the days, Enter shows the day on the map.`,
    );
    this.build();
  }

  /** Mark the day that the map shows; null where it shows a year. */
  mark(day: string | null): void {
    this.shownDay = day ? dayNumber(day) * DAY : 0;
    this.plot?.redraw(false);
  }

  /** The seasons of crops on the land. */
  calendar(seasons: Season[]): void {
    this.seasons = seasons;
    const words = seasons.map((s) => {
      const dates = s.sown && s.harvested ? `, sown ${inShortDay(s.sown)}, harvested ${inShortDay(s.harvested)}` : '';
      return `${s.year} ${s.name ?? 'another crop'}${s.fraction < 0.95 ? ` on ${number(100 * s.fraction, 0)} %` : ''}${dates}`;
    });
    this.strip.setAttribute('aria-label', `Crop calendar: ${words.join('; ') || 'no crops are known'}.`);
    this.strip.hidden = !seasons.length;
    this.stripes();
  }

  /** The chart as it is seen. */
  get canvas(): HTMLCanvasElement | null {
    return this.node.querySelector('canvas');
  }

  private unitOf(line: Line): string {
    return this.series?.units[line.name] ?? '';
  }

  /** Units in the order of their axes: the first on the left. */
  private get units(): string[] {
    return [...new Set(this.lines.map((l) => this.unitOf(l)))];
  }

  private stripes(): void {
    const u = this.plot;
    if (!u || !this.seasons.length) {
      this.strip.replaceChildren();
      return;
    }
    const [left, wide] = [u.bbox.left / devicePixelRatio, u.bbox.width / devicePixelRatio];
    const of = (day: string): number => left + Math.max(0, Math.min(wide, u.valToPos(dayNumber(day) * DAY, 'x')));
    const bars = this.seasons.flatMap((s) => {
      const from = of(s.sown ?? `${s.year}-01-01`);
      const to = of(s.harvested ?? `${s.year}-12-31`);
      if (to - from < 2) return [];
      const second = this.seasons.some((o) => o.year === s.year && o !== s && o.fraction >= s.fraction && this.seasons.indexOf(o) < this.seasons.indexOf(s));
      if (second) return [];
      const name = s.name ?? 'other crop';
      const dates = s.sown && s.harvested ? `: sown ${inShortDay(s.sown)}, harvested ${inShortDay(s.harvested)}` : '';
      const label = to - from > scaled(6.4 * name.length + 8) ? name : to - from > scaled(16) ? name.slice(0, 1) : '';
      return [
        h('span', { class: `crop-${s.name ?? 'other'}`, style: `left:${from.toFixed(1)}px;width:${(to - from).toFixed(1)}px`, title: `${name}${s.fraction < 0.95 ? `, ${number(100 * s.fraction, 0)} % of the land` : ''}${dates}` }, label.replaceAll('_', ' ')),
      ];
    });
    this.strip.replaceChildren(...bars);
  }

  private build(): void {
    this.plot?.destroy();
    this.plot = null;
    this.cursor = -1;
    const series = this.series;
    if (!series || !this.lines.length || !this.node.clientWidth) return;
    const x = series.time.map((day) => dayNumber(day) * DAY);
    const data: Column[] = [];
    const units = this.units;
    const shown: uPlot.Series[] = [{}];
    const bands: uPlot.Band[] = [];
    for (const line of this.lines) {
      const values = series.values[line.name];
      if (!values) continue;
      const stroke = color(line.tint);
      const scale = units.indexOf(this.unitOf(line)) === 1 ? 'y2' : 'y';
      const [low, high] = [series.low[line.name], series.high[line.name]];
      if (low && high) {
        const at = data.length + 1;
        data.push(high, low);
        shown.push({ show: true, scale, stroke: 'transparent', points: { show: false } });
        shown.push({ show: true, scale, stroke: 'transparent', points: { show: false } });
        bands.push({ series: [at, at + 1], fill: `${stroke}33` });
      }
      data.push(values);
      shown.push({ label: line.label, scale, stroke, width: 1.5, points: { show: false } });
    }
    const axis = color('muted');
    const grid = { stroke: color('line'), width: 1 };
    const options: uPlot.Options = {
      width: this.node.clientWidth,
      height: this.height,
      padding: [10, 6, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
      legend: { show: false },
      series: shown,
      bands,
      scales: { x: { time: true, ...(this.span ? { min: this.span[0], max: this.span[1] } : {}) } },
      axes: [
        {
          stroke: axis, grid, ticks: { ...grid, size: 4 }, font: font(), size: scaled(38), space: scaled(60),
          values: [
            [DAY * 365, '{YYYY}', null, null, null, null, null, null, 1],
            [DAY * 28, '{MMM}', '\n{YYYY}', null, null, null, null, null, 1],
            [DAY, '{D} {MMM}', '\n{YYYY}', null, null, null, null, null, 1],
          ],
        },
        { stroke: axis, grid, ticks: { ...grid, size: 4 }, font: font(), size: scaled(42), space: scaled(26), values: (_, at) => at.map((v) => number(v, tidy(at))) },
        ...(units.length > 1
          ? [{ scale: 'y2', side: 1, stroke: axis, grid: { show: false }, ticks: { ...grid, size: 4 }, font: font(), size: scaled(46), space: scaled(26), values: (_: uPlot, at: number[]) => at.map((v) => number(v, tidy(at))) } as uPlot.Axis]
          : []),
      ],
      cursor: {
        y: false,
        points: { size: 7, show: (_, i) => (shown[i]?.label ? dot(String(shown[i]!.stroke)) : (undefined as never)) },
        drag: { x: true, y: false, dist: 8 },
      },
      hooks: {
        setCursor: [(u) => this.tell(u)],
        drawClear: [(u) => this.zero(u)],
        draw: [(u) => this.today(u)],
        setScale: [(_, key) => key === 'x' && queueMicrotask(() => this.stripes())],
        setSize: [() => queueMicrotask(() => this.stripes())],
      },
    };
    this.plot = new uPlot(options, [x, ...data] as uPlot.AlignedData, this.node);
    this.plot.over.append(this.tip);
    this.stripes();
    let down = 0;
    this.plot.over.addEventListener('mousedown', (e) => (down = e.clientX));
    this.plot.over.addEventListener('click', (e) => {
      const at = this.plot?.cursor.idx;
      if (Math.abs(e.clientX - down) < 5 && at !== null && at !== undefined) this.onDay(this.series!.time[at]!);
    });
  }

  private get height(): number {
    return Math.round(Math.max(scaled(190), Math.min(scaled(300), this.node.clientWidth * 0.5)));
  }

  private resize(): void {
    if (!this.plot) this.build();
    else if (this.plot.width !== this.node.clientWidth && this.node.clientWidth)
      this.plot.setSize({ width: this.node.clientWidth, height: this.height });
  }

  private zero(u: uPlot): void {
    const y = u.valToPos(0, 'y', true);
    if (y < u.bbox.top || y > u.bbox.top + u.bbox.height) return;
    u.ctx.save();
    u.ctx.strokeStyle = color('muted');
    u.ctx.lineWidth = devicePixelRatio;
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
    u.ctx.restore();
  }

  private today(u: uPlot): void {
    if (!this.shownDay) return;
    const x = u.valToPos(this.shownDay, 'x', true);
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return;
    u.ctx.save();
    u.ctx.strokeStyle = color('map-chosen');
    u.ctx.lineWidth = 1.5 * devicePixelRatio;
    u.ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.bbox.top);
    u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
    u.ctx.stroke();
    u.ctx.restore();
  }

  private tell(u: uPlot): void {
    const at = u.cursor.idx;
    const left = u.cursor.left ?? -1;
    if (at === null || at === undefined || left < 0) {
      this.tip.hidden = true;
      return;
    }
    this.tip.replaceChildren(...this.reading(at));
    this.tip.hidden = false;
    const room = u.over.clientWidth;
    const wide = this.tip.offsetWidth;
    this.tip.style.left = `${Math.min(Math.max(left + (left > room / 2 ? -wide - 12 : 12), 0), Math.max(room - wide, 0))}px`;
  }

  private reading(at: number): HTMLElement[] {
    const s = this.series!;
    const rows = this.lines.map((line) => {
      const [low, high] = [s.low[line.name]?.[at], s.high[line.name]?.[at]];
      const range = this.lines.length === 1 && low !== null && low !== undefined && high !== null && high !== undefined;
      return h(
        'div',
        { class: 'tip-row' },
        h('i', { style: `background:var(--${line.tint})` }),
        h('span', {}, line.label),
        h('b', {}, number(s.values[line.name]?.[at])),
        range && h('small', {}, `${number(low)} to ${number(high)}`),
        this.units.length > 1 && h('small', {}, unit(this.unitOf(line))),
      );
    });
    const crops = this.seasons.filter((c) => c.sown && c.harvested && s.time[at]! >= c.sown && s.time[at]! <= c.harvested);
    return [
      h('div', { class: 'tip-day' }, inShort(dayNumber(s.time[at]!) * DAY), crops[0] ? h('small', {}, ` ${crops[0].name ?? 'other crop'}`) : null),
      ...rows,
      this.units.length === 1 && h('div', { class: 'tip-unit' }, unit(this.units[0]!)),
    ].filter((row): row is HTMLDivElement => row !== false);
  }

  private key(e: KeyboardEvent): void {
    const s = this.series;
    const u = this.plot;
    if (!s || !u) return;
    const last = s.time.length - 1;
    const [from, to] = [u.scales.x!.min ?? 0, u.scales.x!.max ?? 0];
    const clamp = (i: number): number => Math.max(0, Math.min(last, i));
    const first = clamp(Math.round(from / DAY) - dayNumber(s.time[0]!));
    const final = clamp(Math.round(to / DAY) - dayNumber(s.time[0]!));
    const step = e.shiftKey ? 30 : 1;
    const now = this.cursor < 0 ? first - 1 : this.cursor;
    if (e.key === 'ArrowRight') this.point(Math.min(final, now + step));
    else if (e.key === 'ArrowLeft') this.point(Math.max(first, (this.cursor < 0 ? final + 1 : now) - step));
    else if (e.key === 'Home') this.point(first);
    else if (e.key === 'End') this.point(final);
    else if (e.key === 'Escape' && this.cursor >= 0) this.point(-1);
    else if (e.key === 'Enter' && this.cursor >= 0) this.onDay(s.time[this.cursor]!);
    else return;
    e.preventDefault();
  }

  private point(at: number): void {
    const u = this.plot;
    this.cursor = at;
    if (!u) return;
    if (at < 0) {
      u.setCursor({ left: -10, top: -10 });
      return;
    }
    const seconds = u.data[0][at]!;
    u.setCursor({ left: u.valToPos(seconds, 'x'), top: 20 });
    const values = this.lines.map((l) => `${l.label} ${number(this.series!.values[l.name]?.[at])}`).join(', ');
    say(`${dayOf(seconds / DAY)}: ${values}`);
  }
}

const font = (): string => `${scaled(11)}px "Inter Variable", system-ui, sans-serif`;

function dot(stroke: string): HTMLElement {
  return h('div', { style: `background:${stroke};border-radius:50%` });
}

/** Digits that keep the ticks apart. */
function tidy(at: number[]): number {
  const step = at.length > 1 ? Math.abs(at[1]! - at[0]!) : 1;
  return step >= 1 ? 0 : step >= 0.1 ? 1 : 2;
}
