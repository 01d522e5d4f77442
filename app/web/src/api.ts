/** The Fieldflux HTTP API, typed. Every failure is a Problem with a sentence to show. */

import { NATIONAL_GRID, type GridInfo } from './albers';

export interface Variable {
  name: string;
  long_name: string;
  unit: string;
  units: { day: string; month: string; year: string; total: string };
  period: 'day' | 'year' | 'static';
  over_time: 'sum' | 'mean' | 'last';
  sign: string;
}

export interface Cube {
  id: string;
  title: string;
  statement: string;
  synthetic: boolean;
  years: number[];
  bounds: [number, number, number, number];
  /** Addresses; null where the cube has none. */
  outline: string | null;
  fields: string | null;
  grid: GridInfo;
}

export interface Model {
  /** "name/version" */
  id: string;
  title: string;
  outputs: string[];
}

export interface Status {
  state: 'ready' | 'building' | 'computing' | 'failed';
  message: string;
  progress: number | null;
  seconds_left: number | null;
  queue: { waiting: number; running: number; failed: string[] };
  cube: string | null;
  model: string | null;
  snapshot: string | null;
  busy: boolean;
}

export interface Catalogue<T> {
  standard: string | null;
  listed: T[];
}

export interface Stop {
  value: number;
  color: string;
}

export interface Legend {
  unit: string;
  low: number;
  high: number;
  stops: Stop[];
}

export interface Tiles {
  legend: Legend;
  snapshot: string | null;
}

export type Column = (number | null)[];

export interface Series {
  time: string[];
  values: Record<string, Column>;
  low: Record<string, Column>;
  high: Record<string, Column>;
  interval: string;
  units: Record<string, string>;
  area_ha: number;
  cell_count: number;
  /** What to know about the answer, in sentences. */
  notes: string[];
  crops: CropShare[];
  model: string;
  model_title: string;
  cube: string;
  origin: 'store' | 'computed' | 'both';
  statement: string;
  synthetic: boolean;
  raw: Record<string, unknown>;
}

/** A crop's share of the land in a year, 0 to 1, and its yield at market moisture, where there is one. */
export interface CropShare {
  year: number;
  name: string | null;
  fraction: number;
  t_ha: number | null;
}

export interface SeriesRequest {
  geometry: GeoJSON.Geometry;
  first: string;
  last: string;
  variables: string[];
  step: 'day' | 'year';
  cube: string;
  model: string;
}

export class Problem extends Error {
  constructor(
    readonly title: string,
    readonly detail: string,
    readonly status: number,
    readonly retryAfter: number | null,
  ) {
    super(detail || title);
    this.name = 'Problem';
  }
}

type Json = Record<string, any>;

async function ask(path: string, init: RequestInit = {}): Promise<any> {
  let reply: Response;
  try {
    reply = await fetch(path, { ...init, headers: { accept: 'application/json', ...init.headers } });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Problem(
      'The server does not answer',
      'The Fieldflux server could not be reached. Check that it is running, then try again.',
      0,
      null,
    );
  }
  if (reply.ok) return reply.json();
  const body: Json = await reply.json().catch(() => ({}));
  const wait = Number(reply.headers.get('retry-after') ?? NaN);
  throw new Problem(
    body.title ?? `The server answered ${reply.status}`,
    typeof body.detail === 'string' ? body.detail : '',
    reply.status,
    Number.isFinite(wait) ? wait : null,
  );
}

const query = (values: Record<string, string>): string => {
  const parts = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  return parts.size ? `?${parts}` : '';
};

export async function cubes(): Promise<Catalogue<Cube>> {
  const reply = await ask('v1/cubes');
  const listed = reply.cubes.map(
    (c: Json): Cube => ({
      id: c.id,
      title: c.title,
      statement: c.statement,
      synthetic: c.synthetic,
      years: c.years,
      bounds: c.bounds,
      outline: c.outline,
      fields: c.fields,
      grid: { ...NATIONAL_GRID, crs: c.crs, size: c.cell_m },
    }),
  );
  return { standard: reply.default, listed };
}

/** GeoJSON at an address that the API gave; features get their id as a property too, where map layers can read it. */
export async function geojson(address: string): Promise<GeoJSON.FeatureCollection> {
  const found = await ask(address.replace(/^\//, ''));
  const features: GeoJSON.Feature[] =
    found.type === 'FeatureCollection'
      ? found.features
      : [found.type === 'Feature' ? found : { type: 'Feature', properties: {}, geometry: found }];
  for (const [i, f] of features.entries())
    f.properties = { ...f.properties, id: String(f.properties?.id ?? f.id ?? i + 1) };
  return { type: 'FeatureCollection', features };
}

export async function variables(): Promise<Variable[]> {
  return (await ask('v1/variables')).variables;
}

export async function models(): Promise<Catalogue<Model>> {
  const reply = await ask('v1/models');
  return { standard: reply.default, listed: reply.models };
}

export async function status(): Promise<Status> {
  return ask('v1/status');
}

/** What TileJSON says about the tiles of a variable, by day or by year. */
export async function tiles(variable: string, when: string, cube: string, model: string): Promise<Tiles> {
  return ask(`v1/tiles/${variable}/tilejson.json${query({ when, cube, model })}`);
}

export function tileUrl(variable: string, when: string, cube: string, model: string, snapshot: string): string {
  const at = new URL('v1/tiles/', document.baseURI);
  return `${at}${variable}/${when}/{z}/{x}/{y}.png${query({ cube, model, v: snapshot })}`;
}

/** Whether the middle of a cube is computed for a day or year: told by a tile's headers. */
export async function computed(variable: string, when: string, cube: Cube, model: string): Promise<boolean> {
  const [west, south, east, north] = cube.bounds;
  const lat = (((south + north) / 2) * Math.PI) / 180;
  const z = 11;
  const x = Math.floor((((west + east) / 2 + 180) / 360) * 2 ** z);
  const y = Math.floor((0.5 - Math.asinh(Math.tan(lat)) / (2 * Math.PI)) * 2 ** z);
  const reply = await fetch(`v1/tiles/${variable}/${when}/${z}/${x}/${y}.png${query({ cube: cube.id, model })}`);
  return reply.ok && !reply.headers.has('x-fieldflux-missing');
}

export async function series(request: SeriesRequest, signal: AbortSignal): Promise<Series> {
  return toSeries(
    await ask('v1/series', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request),
      signal,
    }),
  );
}

function toSeries(s: Json): Series {
  const bounds = (end: 'low' | 'high'): Record<string, Column> =>
    Object.fromEntries(Object.entries<Json>(s.intervals).map(([name, found]) => [name, found[end]]));
  return {
    time: s.time,
    values: s.values,
    low: bounds('low'),
    high: bounds('high'),
    interval: s.interval_level ? `${Math.round(100 * s.interval_level)} % interval` : '',
    units: s.units,
    area_ha: s.area_ha,
    cell_count: s.cell_count,
    notes: s.notes,
    crops: s.crops.map((c: Json): CropShare => ({
      year: c.year,
      name: c.name,
      fraction: c.fraction,
      t_ha: c.yield?.['t ha-1'] ?? null,
    })),
    model: s.model,
    model_title: s.model_title,
    cube: s.cube,
    origin: s.origin,
    statement: s.statement,
    synthetic: s.synthetic,
    raw: s,
  };
}
