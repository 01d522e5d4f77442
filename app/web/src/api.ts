/** The Fieldflux HTTP API, typed. Every failure is a Problem with a sentence to show. */

import { NATIONAL_GRID, type GridInfo } from './albers';

export interface Variable {
  name: string;
  long_name: string;
  unit: string;
  units: { day: string; month: string; year: string; total: string };
  period: 'day' | 'year' | 'static';
  digits: number;
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
  /** Inputs that it has: name and unit. */
  inputs: Record<string, string>;
  licence: string;
  sources: { name?: string; title?: string; licence?: string; statement?: string }[];
}

export interface Model {
  /** "name/version" */
  id: string;
  title: string;
  outputs: string[];
}

/** What is told of a model: where its numbers come from, how well it did, what is known to be wrong. */
export interface Card {
  name: string;
  version: string;
  title: string;
  description: string;
  members: number;
  needs_daily: string[];
  needs_annual: string[];
  needs_static: string[];
  domain: { crops: string[]; climates: string; years: string };
  scores: Score[];
  known_faults: string[];
  /** How it was made; `forecast_intervals` where it was tested as a forecast. */
  recipe: Record<string, unknown>;
  data: { name: string; source: string; licence: string; used_for: string }[];
  licence: string;
  made: string;
}

export interface Score {
  variable: string;
  metric: string;
  value: number;
  unit: string;
  split: string;
  data: string;
  n: number;
  baseline: Record<string, number>;
}

export interface Palette {
  name: string;
  kind: 'sequential' | 'diverging';
  colors: string[];
}

/** What tiles are of, and in which colours; empty parts are the server's own. */
export interface Picture {
  variable: string;
  when: string;
  minus: string;
  anomaly: string;
  cube: string;
  model: string;
  palette: string;
  range: string;
}

export interface Season {
  year: number;
  name: string | null;
  fraction: number;
  sown: string | null;
  harvested: string | null;
}

/** A field that was registered. */
export interface Mine {
  id: string;
  name: string;
  area_ha: number;
  geometry: GeoJSON.Geometry;
  bounds: [number, number, number, number];
  notes: string[];
}

export interface Upload {
  created: number;
  updated: number;
  unchanged: number;
  rejected: number;
  ids: string[];
  /** What is wrong with the first that were rejected, and what to know about the others. */
  faults: string[];
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
  variable: string;
  title: string;
  /** What the values are, as in "difference between". */
  of: string;
  unit: string;
  sign: string;
  ticks: { value: number; label: string }[];
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

/** One outline, or several and their sum. */
export type Where = { geometry: GeoJSON.Geometry } | { features: GeoJSON.Feature[] };

export type SeriesRequest = Where & {
  first: string;
  last: string;
  variables: string[];
  step: 'day' | 'month' | 'year';
  cube: string;
  model: string;
};

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

/** What went wrong, in a sentence to show. */
export function words(error: unknown): string {
  const text = error instanceof Problem ? error.detail || error.title : String((error as Error).message ?? error);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

type Json = Record<string, any>;

/** Notes for people: names of members are for programs. */
const plain = (notes: string[]): string[] => notes.map((note) => note.replace(/ ?\(see `[^`]*`\)/g, ''));

async function reach(path: string, init: RequestInit = {}): Promise<Response> {
  let reply: Response;
  try {
    reply = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Problem(
      'The server does not answer',
      'The Fieldflux server could not be reached. Check that it is running, then try again.',
      0,
      null,
    );
  }
  if (reply.ok) return reply;
  const body: Json = await reply.json().catch(() => ({}));
  const wait = Number(reply.headers.get('retry-after') ?? NaN);
  throw new Problem(
    body.title ?? `The server answered ${reply.status}`,
    typeof body.detail === 'string' ? body.detail : '',
    reply.status,
    Number.isFinite(wait) ? wait : null,
  );
}

async function ask(path: string, init: RequestInit = {}): Promise<any> {
  const reply = await reach(path, { ...init, headers: { accept: 'application/json', ...init.headers } });
  return reply.status === 204 ? null : reply.json();
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
      inputs: c.inputs,
      licence: c.licence,
      sources: c.sources,
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

const asked = (picture: Picture): Record<string, string> => ({
  cube: picture.cube,
  model: picture.model,
  minus: picture.minus,
  anomaly: picture.anomaly,
  colormap: picture.palette,
  range: picture.range,
});

/** What TileJSON says about the tiles of a picture. */
export async function tiles(picture: Picture): Promise<Tiles> {
  return ask(`v1/tiles/${picture.variable}/tilejson.json${query({ when: picture.when, ...asked(picture) })}`);
}

export function tileUrl(picture: Picture, snapshot: string): string {
  const at = new URL('v1/tiles/', document.baseURI);
  // Large tiles: a fourth of the requests on a plain screen, straight edges of cells on a dense one.
  return `${at}${picture.variable}/${picture.when}/{z}/{x}/{y}@2x.png${query({ ...asked(picture), v: snapshot })}`;
}

/** The address of one tile's values, float32 in NumPy's own format. */
export function valuesUrl(picture: Picture, z: number, x: number, y: number): string {
  const { cube, model, minus, anomaly } = asked(picture) as { cube: string; model: string; minus: string; anomaly: string };
  return `v1/tiles/${picture.variable}/${picture.when}/${z}/${x}/${y}.npy${query({ cube, model, minus, anomaly })}`;
}

export async function palettes(): Promise<Palette[]> {
  return (await ask('v1/styles')).palettes;
}

export async function card(model: string): Promise<Card> {
  return ask(`v1/models/${model}`);
}

const json = (method: string, body: unknown, signal?: AbortSignal): RequestInit => ({
  method,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
  ...(signal ? { signal } : {}),
});

/** The crops of a polygon with their days of sowing and harvest. */
export async function calendar(geometry: GeoJSON.Geometry, cube: string, signal: AbortSignal): Promise<Season[]> {
  return (await ask('v1/calendar', json('POST', { geometry, cube }, signal))).seasons;
}

const toMine = (f: Json): Mine => ({
  id: f.id,
  name: String(f.properties?.name ?? f.external_id ?? 'Unnamed field'),
  area_ha: f.area_ha,
  geometry: f.geometry,
  bounds: f.bbox,
  notes: f.notes ?? [],
});

/** One's own fields, the first thousand, and whether there are more. */
export async function myFields(): Promise<{ fields: Mine[]; more: boolean }> {
  const reply = await ask('v1/fields?limit=1000');
  return { fields: reply.items.map(toMine), more: reply.next !== null };
}

export async function myField(id: string): Promise<Mine> {
  return toMine(await ask(`v1/fields/${encodeURIComponent(id)}`));
}

export async function register(body: Blob | string, type: string): Promise<Upload> {
  const reply = await ask('v1/fields', { method: 'POST', headers: { 'content-type': type }, body });
  const told: string[] = reply.features
    .filter((f: Json) => f.problem)
    .map((f: Json) => `${f.external_id ?? `Feature ${f.index + 1}`}: ${f.problem.detail ?? f.problem.title}`);
  const ids: string[] = reply.features.filter((f: Json) => f.id).map((f: Json) => f.id);
  const { created, updated, unchanged, rejected } = reply;
  return { created, updated, unchanged, rejected, ids, faults: [...new Set(told)] };
}

export async function rename(id: string, name: string): Promise<Mine> {
  return toMine(await ask(`v1/fields/${encodeURIComponent(id)}`, json('PATCH', { properties: { name } })));
}

export async function remove(id: string): Promise<void> {
  await ask(`v1/fields/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

/** The address of the vector tiles of one's own fields. `edition` changes when they do. */
export function mineUrl(variable: string, when: string, cube: string, model: string, edition: string): string {
  const at = new URL('v1/fields/tiles/', document.baseURI);
  return `${at}{z}/{x}/{y}.mvt${query({ variable, when, cube, model, edition })}`;
}

/** An answer as a file that the server writes. */
export async function seriesFile(request: SeriesRequest, format: string): Promise<Blob> {
  const reply = await reach(`v1/series?f=${format}`, json('POST', request));
  return reply.blob();
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

export interface Told {
  long_name: string;
  unit: string;
  value: number | null;
  low: number | null;
  high: number | null;
  total?: { unit: string; value: number | null };
}

/** Columns over the layers from the top down. */
interface ByDepth {
  unit: string;
  value: Column;
  low: Column;
  high: Column;
}

export interface SoilProfile {
  depth: { unit: string; top: number[]; bottom: number[] };
  stock: ByDepth;
  density: ByDepth;
  stocks: Record<string, Told>;
  processes: Record<string, Told>;
  record: [string, string];
  area_ha: number;
  cell_count: number;
  notes: string[];
  statement: string;
  synthetic: boolean;
  model: string;
  model_title: string;
}

export interface SoilScenario {
  years: number;
  tillage?: string;
  residue_removed?: number;
  cover_crop: boolean;
}

/** Columns over years, the present first. */
export interface SoilCourse {
  year: number[];
  columns: Record<string, { unit: string; value: Column; low: Column | null; high: Column | null; total?: { unit: string; value: Column } }>;
  against: string;
  notes: string[];
}

export async function soilProfile(geometry: GeoJSON.Geometry, cube: string, model: string, signal: AbortSignal): Promise<SoilProfile> {
  const told = await ask('v1/soil/profile', json('POST', { geometry, cube, model }, signal));
  return { ...told, notes: plain(told.notes) };
}

export async function soilScenario(geometry: GeoJSON.Geometry, cube: string, model: string, scenario: SoilScenario, signal: AbortSignal): Promise<SoilCourse> {
  const told = await ask('v1/soil/scenario', json('POST', { geometry, cube, model, ...scenario }, signal));
  return { ...told, notes: plain(told.notes) };
}

/** A crop's yield at market moisture, t ha-1, as seen on a day of its season. */
export interface CropForecast {
  crop: string;
  area_fraction: number;
  harvest: string;
  days_to_harvest: number;
  yield: { value: number | null; low: number | null; high: number | null };
  /** Under the weather of each earlier year. */
  by_weather_year: Column;
}

export interface Forecast {
  crops: CropForecast[];
  level: string;
  notes: string[];
}

export async function forecast(geometry: GeoJSON.Geometry, cube: string, model: string, day: string, signal: AbortSignal): Promise<Forecast> {
  const told = await ask('v1/forecast', json('POST', { geometry, cube, model, issue_day: day }, signal));
  const crops = told.crops.map((c: Json): CropForecast => {
    const { value, low = null, high = null } = c.yield['t ha-1'];
    return { ...(c as CropForecast), yield: { value, low, high } };
  });
  return { crops, level: told.interval_level ? percent(told.interval_level) : '', notes: plain(told.notes) };
}

/** What a signed statement of soil carbon is about, beside the land: years that have been, or a scenario. */
export type Stated = { years: number[] } | { scenario: { years: number; baseline: object; project: object } };

/** A signed statement, as the server sends it: its bytes are what is signed. */
export async function statement(where: Where, cube: string, model: string, about: Stated): Promise<Blob> {
  const reply = await reach('v1/statements', json('POST', { ...where, cube, model, ...about }));
  return reply.blob();
}

const percent = (level: number): string => `${Math.round(100 * level)} %:`;

export async function series(request: SeriesRequest, signal: AbortSignal): Promise<Series> {
  if (!('features' in request)) return toSeries(await ask('v1/series', json('POST', request, signal)));
  return toSeries(together(await ask('v1/series', json('POST', { ...request, combine: true }, signal))));
}

/** The sum over several outlines, in the form of an answer about one. */
function together(reply: Json): Json {
  const sum: Json | null = reply.combined;
  if (!sum) throw new Problem('There is no sum of these fields', reply.features.map((f: Json) => f.problem?.detail ?? '').find(Boolean) ?? '', 422, null);
  const left = sum.not_counted.length ? [`${sum.not_counted.length} of ${reply.features.length} fields have no values and are not counted.`] : [];
  const twice = sum.overlap_ha > 0.05 ? [`Outlines overlap by ${sum.overlap_ha.toFixed(1)} ha, which are counted once.`] : [];
  const why: Json[] = Object.values(sum.errors_together?.steps ?? {});
  const errors = [...new Set(why.map((w) => String(w.says)))];
  return { ...reply, ...sum, notes: [...left, ...twice, ...errors, ...sum.flags.map((flag: string) => reply.notes[flag] ?? flag)] };
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
    notes: plain(s.notes),
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
