/** What the page shows, kept in one place, told to whoever listens, and written into the address as a permalink. */

import { isDay } from './format';

export interface Shape {
  /** A drawn outline, or the cell below a point. */
  kind: 'drawn' | 'cell';
  polygon: GeoJSON.Polygon;
}

export type By = 'day' | 'month' | 'year' | 'span';
export type Compare = '' | 'swipe' | 'minus' | 'anomaly';

export interface View {
  cube: string;
  model: string;
  variable: string;
  by: By;
  /** The day shown; its month or year is what is shown by month or year; the first day of a span. */
  day: string;
  /** The last day of a span. */
  until: string;
  compare: Compare;
  /** The day that stands for the other time, in the same way as `day`. */
  other: string;
  /** The variable on the right of a swipe; empty for the same. */
  otherVariable: string;
  /** Where the swipe's divider stands, 0 to 1 from the left. */
  split: number;
  palette: string;
  /** Lowest and highest value of the colours, as "0,20"; empty for the variable's own. */
  range: string;
  opacity: number;
  field: string | null;
  /** A field of one's own, by its id. */
  mine: string | null;
  shape: Shape | null;
  /** Variables of the chart, with commas between, or "balance". */
  chart: string;
  span: string;
  /** Whether the chart shows sums since its first day. */
  sums: boolean;
}

export type Change = Partial<View>;
type Listener = (now: View, before: View) => void;

export class State {
  private listeners: Listener[] = [];

  constructor(private view: View) {}

  get now(): View {
    return this.view;
  }

  set(change: Change): void {
    const before = this.view;
    const now = { ...before, ...change };
    if ((Object.keys(change) as (keyof View)[]).every((key) => before[key] === now[key])) return;
    this.view = now;
    for (const listener of this.listeners) listener(now, before);
  }

  listen(listener: Listener): void {
    this.listeners.push(listener);
  }
}

/** The time that a view shows, as the API names it; `yearly`: whether its variable has a value a year only. */
export function whenOf(view: Pick<View, 'by' | 'day' | 'until'>, yearly = false): string {
  const { by, day, until } = view;
  if (by === 'span') return yearly ? `${day.slice(0, 4)}..${until.slice(0, 4)}` : `${day}..${until}`;
  if (by === 'year' || yearly) return day.slice(0, 4);
  return by === 'month' ? day.slice(0, 7) : day;
}

/** The other time of a comparison: of the same length. */
export function otherWhen(view: View, yearly = false): string {
  const years = Number(view.other.slice(0, 4)) - Number(view.day.slice(0, 4));
  const until = inYear(view.until, Number(view.until.slice(0, 4)) + years);
  return whenOf({ by: view.by, day: view.other, until }, yearly);
}

/** The same day of another year; 29 February becomes the 28th. */
export function inYear(day: string, year: number): string {
  const moved = `${year}${day.slice(4)}`;
  return isDay(moved) && new Date(`${moved}T00:00:00Z`).toISOString().startsWith(moved) ? moved : `${year}-02-28`;
}

export interface Camera {
  lat: number;
  lon: number;
  zoom: number;
}

const DIGITS = 5;

export function writeHash(view: View, camera: Camera | null, yearly: boolean): string {
  const parts = new URLSearchParams();
  parts.set('cube', view.cube);
  if (view.model) parts.set('model', view.model);
  parts.set('map', view.variable);
  parts.set('when', whenOf(view, yearly));
  if (view.compare) {
    parts.set('compare', view.compare);
    if (view.compare !== 'anomaly') parts.set('other', otherWhen(view, yearly));
    if (view.compare === 'swipe') {
      if (view.otherVariable) parts.set('right', view.otherVariable);
      parts.set('split', view.split.toFixed(2));
    }
  }
  if (view.palette) parts.set('colours', view.palette);
  if (view.range) parts.set('range', view.range);
  if (view.opacity < 1) parts.set('opacity', view.opacity.toFixed(2));
  if (camera) parts.set('at', `${camera.lat.toFixed(4)},${camera.lon.toFixed(4)},${camera.zoom.toFixed(2)}`);
  if (view.field) parts.set('field', view.field);
  if (view.mine) parts.set('mine', view.mine);
  if (view.shape) {
    const ring = view.shape.polygon.coordinates[0]!;
    const write = (p: number[]): string => `${p[0]!.toFixed(DIGITS)} ${p[1]!.toFixed(DIGITS)}`;
    const middle = [(ring[0]![0]! + ring[2]![0]!) / 2, (ring[0]![1]! + ring[2]![1]!) / 2];
    parts.set(view.shape.kind, view.shape.kind === 'cell' ? write(middle) : ring.slice(0, -1).map(write).join(','));
  }
  if (view.field || view.mine || view.shape) {
    parts.set('chart', view.chart);
    if (view.span !== 'all') parts.set('years', view.span);
    if (view.sums) parts.set('sums', '1');
  }
  return `#${parts.toString().replaceAll('%2C', ',').replaceAll('%3A', ':')}`;
}

export interface Link {
  cube?: string;
  model?: string;
  variable?: string;
  when?: string;
  compare?: Compare;
  other?: string;
  otherVariable?: string;
  split?: number;
  palette?: string;
  range?: string;
  opacity?: number;
  camera?: Camera;
  field?: string;
  mine?: string;
  drawn?: GeoJSON.Polygon;
  /** A point of the cell. */
  cell?: [number, number];
  chart?: string;
  span?: string;
  sums?: boolean;
}

/** A time as the API names it, taken apart; null where it is none. */
export function readWhen(text: string): Pick<View, 'by' | 'day' | 'until'> | null {
  const SUMMER = '-07-10';
  if (/^\d{4}$/.test(text)) return { by: 'year', day: `${text}${SUMMER}`, until: `${text}-09-30` };
  if (/^\d{4}-(0[1-9]|1[0-2])$/.test(text)) return { by: 'month', day: `${text}-10`, until: `${text.slice(0, 4)}-09-30` };
  if (isDay(text)) return { by: 'day', day: text, until: `${text.slice(0, 4)}-09-30` };
  const [first = '', last = ''] = text.split('..');
  if (isDay(first) && isDay(last) && first <= last) return { by: 'span', day: first, until: last };
  if (/^\d{4}$/.test(first) && /^\d{4}$/.test(last) && first <= last)
    return { by: 'span', day: `${first}-01-01`, until: `${last}-12-31` };
  return null;
}

/** What a permalink says; parts that do not parse are left out. */
export function readHash(hash: string): Link {
  const parts = new URLSearchParams(hash.replace(/^#/, ''));
  const link: Link = {};
  const text = (key: string): string | undefined => parts.get(key) || undefined;
  const named = {
    cube: 'cube', model: 'model', variable: 'map', when: 'when', field: 'field', mine: 'mine', chart: 'chart', span: 'years',
    other: 'other', otherVariable: 'right', palette: 'colours',
  } as const;
  for (const [name, key] of Object.entries(named)) {
    const found = text(key);
    if (found) (link as Record<string, string>)[name] = found;
  }
  const compare = text('compare');
  if (compare === 'swipe' || compare === 'minus' || compare === 'anomaly') link.compare = compare;
  const share = (key: string): number | undefined => {
    const value = Number(text(key) ?? NaN);
    return value >= 0 && value <= 1 ? value : undefined;
  };
  const [split, opacity] = [share('split'), share('opacity')];
  if (split !== undefined) link.split = split;
  if (opacity !== undefined) link.opacity = opacity;
  const range = (text('range') ?? '').split(',').map(Number);
  if (range.length === 2 && range.every(Number.isFinite) && range[0]! < range[1]!) link.range = range.join(',');
  link.sums = text('sums') === '1';
  const [lat, lon, zoom] = (text('at') ?? '').split(',').map(Number);
  if (lat !== undefined && lon !== undefined && zoom !== undefined && [lat, lon, zoom].every(Number.isFinite))
    link.camera = { lat, lon, zoom };
  const points = (key: string): number[][] => (text(key) ?? '').split(',').map((p) => p.split(' ').map(Number));
  const valid = (p: number[]): boolean => p.length === 2 && p.every(Number.isFinite);
  const ring = points('drawn');
  if (ring.length >= 3 && ring.every(valid)) link.drawn = { type: 'Polygon', coordinates: [[...ring, ring[0]!]] };
  const [cell] = points('cell');
  if (cell && valid(cell)) link.cell = [cell[0]!, cell[1]!];
  return link;
}
