/** What the page shows, kept in one place, told to whoever listens, and written into the address as a permalink. */

export interface Shape {
  /** A drawn outline, or the cell below a point. */
  kind: 'drawn' | 'cell';
  polygon: GeoJSON.Polygon;
}

export interface View {
  cube: string;
  model: string;
  variable: string;
  by: 'day' | 'year';
  day: string;
  year: number;
  field: string | null;
  shape: Shape | null;
  chart: string;
  span: string;
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

export interface Camera {
  lat: number;
  lon: number;
  zoom: number;
}

const DIGITS = 5;

export function writeHash(view: View, camera: Camera | null): string {
  const parts = new URLSearchParams();
  parts.set('cube', view.cube);
  if (view.model) parts.set('model', view.model);
  parts.set('map', view.variable);
  parts.set('when', view.by === 'day' ? view.day : String(view.year));
  if (camera) parts.set('at', `${camera.lat.toFixed(4)},${camera.lon.toFixed(4)},${camera.zoom.toFixed(2)}`);
  if (view.field) parts.set('field', view.field);
  if (view.shape) {
    const ring = view.shape.polygon.coordinates[0]!;
    const write = (p: number[]): string => `${p[0]!.toFixed(DIGITS)} ${p[1]!.toFixed(DIGITS)}`;
    const middle = [(ring[0]![0]! + ring[2]![0]!) / 2, (ring[0]![1]! + ring[2]![1]!) / 2];
    parts.set(view.shape.kind, view.shape.kind === 'cell' ? write(middle) : ring.slice(0, -1).map(write).join(','));
  }
  if (view.field || view.shape) parts.set('chart', view.chart);
  return `#${parts.toString().replaceAll('%2C', ',').replaceAll('%3A', ':')}`;
}

export interface Link {
  cube?: string;
  model?: string;
  variable?: string;
  when?: string;
  camera?: Camera;
  field?: string;
  drawn?: GeoJSON.Polygon;
  /** A point of the cell. */
  cell?: [number, number];
  chart?: string;
}

/** What a permalink says; parts that do not parse are left out. */
export function readHash(hash: string): Link {
  const parts = new URLSearchParams(hash.replace(/^#/, ''));
  const link: Link = {};
  const text = (key: string): string | undefined => parts.get(key) || undefined;
  const [cube, model, variable, when, field, chart] = ['cube', 'model', 'map', 'when', 'field', 'chart'].map(text);
  if (cube) link.cube = cube;
  if (model) link.model = model;
  if (variable) link.variable = variable;
  if (when) link.when = when;
  if (field) link.field = field;
  if (chart) link.chart = chart;
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
