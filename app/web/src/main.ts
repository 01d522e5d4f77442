/** The page: reads the address and the API, and joins map, panels and state. */

import './style.css';
import * as api from './api';
import { cellAt } from './albers';
import { el, fill, h, say, throttle } from './dom';
import { Draw } from './draw';
import { capital, dayOf, dayNumber, isDay, sentence } from './format';
import { showLegend } from './legend';
import { Live, showStatus } from './live';
import { FieldMap, box, type Padding } from './map';
import { Result, type Land } from './result';
import { Search } from './search';
import { readHash, State, writeHash, type Change, type View } from './state';
import { asSheet } from './theme';
import { When } from './when';

const NOTHING: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] };
/** A day in high summer, when there is something to see. */
const SUMMER = '07-10';

async function start(): Promise<void> {
  const link = readHash(location.hash);
  // On a first start the server may still be building its demo: wait for it, and say so.
  const [cubes, models, variables] = await patiently();
  const cubeOf = (id: string): api.Cube => cubes.listed.find((c) => c.id === id) ?? cubes.listed[0]!;
  const modelOf = (id: string): api.Model => models.listed.find((m) => m.id === id) ?? models.listed[0]!;
  const variableOf = (name: string): api.Variable | undefined => variables.find((v) => v.name === name);

  const firstCube = cubeOf(link.cube ?? cubes.standard ?? '');
  const firstModel = modelOf(link.model ?? models.standard ?? '');
  const state = new State(firstView(link, firstCube, firstModel, variables));
  let fields = NOTHING;

  let byKeyboard = false;
  const search = new Search((id) => {
    byKeyboard = true;
    state.set({ field: id, shape: null });
  });
  const when = new When(state);
  const map = new FieldMap(el('map'), link.camera ?? { box: firstCube.bounds, padding: padding(false) }, {
    pick(field, lon, lat, keyboard) {
      byKeyboard = keyboard;
      if (field) state.set({ field, shape: null });
      else state.set({ field: null, shape: { kind: 'cell', polygon: cellAt(lon, lat, cubeOf(state.now.cube).grid) } });
    },
    hover({ id, x, y }) {
      const tip = el('tip');
      const found = id ? fields.features.find((f) => f.properties?.id === id) : undefined;
      tip.hidden = !found;
      if (!found) return;
      tip.textContent = [nameOf(found), cropsOf(found)?.get(yearShown())].filter(Boolean).join(' · ');
      tip.style.transform = `translate(${x + 14}px, ${y + 14}px)`;
    },
    moved: throttle(300, () => remember()),
  });
  const result = new Result(state, () => {
    state.set({ field: null, shape: null });
    el('map').querySelector('canvas')?.focus({ preventScroll: true });
  });
  const live = new Live(state, () => cubeOf(state.now.cube), !link.when, inYear, () => showTiles(), (error) => trouble(error));
  const draw = new Draw(
    map,
    (polygon) => state.set({ field: null, shape: { kind: 'drawn', polygon } }),
    () => el('draw').focus(),
  );

  const yearShown = (): string => (state.now.by === 'day' ? state.now.day.slice(0, 4) : String(state.now.year));
  const remember = (): void => history.replaceState(null, '', writeHash(state.now, map.camera));
  const trouble = (error: unknown): void => {
    const note = el('trouble');
    if (error === null) {
      note.hidden = true;
      return;
    }
    note.textContent = error instanceof api.Problem ? sentence(error.detail || error.title) : String(error);
    note.hidden = false;
  };

  function padding(open: boolean): Padding {
    const stage = el('stage').getBoundingClientRect();
    if (asSheet.matches) {
      const sheet = el('sheet').getBoundingClientRect();
      return { top: 70, left: 24, right: 24, bottom: Math.min(stage.bottom - sheet.top, stage.height * 0.7) + 24 };
    }
    const left = el('left').getBoundingClientRect().right + 30;
    const right = open ? stage.right - el('result').getBoundingClientRect().left + 30 : 60;
    return { top: 60, left, right, bottom: stage.bottom - el('when').getBoundingClientRect().top + 30 };
  }

  function land(): Land | null {
    const { field, shape } = state.now;
    if (field) {
      const found = fields.features.find((f) => f.properties?.id === field);
      if (found) return { title: nameOf(found), geometry: found.geometry };
    }
    if (shape) return { title: shape.kind === 'cell' ? 'One 250 m cell' : 'Drawn field', geometry: shape.polygon };
    return null;
  }

  function showLand(focus: boolean, how: 'fit' | 'find' | 'keep'): void {
    const chosen = land();
    map.select(chosen?.geometry ?? null);
    search.name(state.now.field);
    if (!chosen) {
      result.close();
      return;
    }
    void result.show(chosen, { cube: cubeOf(state.now.cube), model: modelOf(state.now.model), variables }, focus);
    requestAnimationFrame(() => map.look(box(chosen.geometry), padding(true), how));
  }

  const whenShown = (): string => (state.now.by === 'day' ? state.now.day : String(state.now.year));

  function showTiles(): void {
    const { variable, cube, model } = state.now;
    map.tiles.show(api.tileUrl(variable, whenShown(), cube, model, live.snapshot));
  }

  let legendAsked = '';
  async function showColours(): Promise<void> {
    const { variable, by, cube, model } = state.now;
    const asked = `${variable} ${by} ${cube} ${model}`;
    if (asked === legendAsked) return;
    legendAsked = asked;
    try {
      const found = await api.tiles(variable, whenShown(), cube, model);
      if (asked === legendAsked) showLegend(found.legend, variableOf(variable));
    } catch (error) {
      trouble(error);
    }
  }

  function offer(): void {
    const model = modelOf(state.now.model);
    const shown = variables.filter((v) => model.outputs.includes(v.name) && v.period !== 'static');
    const group = (label: string, some: api.Variable[]): HTMLElement | null =>
      some.length ? h('optgroup', { label }, ...some.map((v) => h('option', { value: v.name }, capital(v.long_name)))) : null;
    const carbon = shown.filter((v) => v.period === 'day' && v.unit.startsWith('gC'));
    const groups = [
      group('Carbon, every day', carbon),
      group('Carbon, every year', shown.filter((v) => v.period === 'year')),
      group('Crop, water and energy', shown.filter((v) => v.period === 'day' && !carbon.includes(v))),
    ];
    const select = el<HTMLSelectElement>('variable');
    select.replaceChildren(...groups.filter((g): g is HTMLElement => g !== null));
    select.value = state.now.variable;
  }

  async function enter(cube: api.Cube): Promise<void> {
    const chip = el('synthetic');
    chip.hidden = !cube.synthetic;
    chip.textContent = 'SYNTHETIC demo data, not real land';
    const origin = el('origin');
    origin.textContent = cube.title;
    origin.hidden = false;
    origin.title = cube.statement;
    const [outline, found] = await Promise.all([
      cube.outline ? api.geojson(cube.outline) : null,
      cube.fields ? api.geojson(cube.fields) : NOTHING,
    ]);
    if (state.now.cube !== cube.id) return;
    fields = found;
    map.cube(cube, outline, fields);
    listFields();
  }

  let listedFor = '';
  function listFields(): void {
    const key = `${state.now.cube} ${yearShown()} ${fields.features.length}`;
    if (key === listedFor) return;
    listedFor = key;
    search.set(
      fields.features.map((f) => ({ id: String(f.properties?.id), label: nameOf(f), note: cropsOf(f)?.get(yearShown()) ?? '' })),
    );
    search.name(state.now.field);
  }

  const pickers = [
    ['cube', (value: string) => {
      const cube = cubeOf(value);
      state.set({ cube: cube.id, field: null, shape: null, ...inYears(state.now, cube) });
    }],
    ['model', (value: string) => {
      const model = modelOf(value);
      const kept = model.outputs.includes(state.now.variable) ? {} : { variable: model.outputs[0]! };
      state.set({ model: model.id, ...kept });
    }],
    ['variable', (value: string) => {
      const yearly = variableOf(value)?.period === 'year';
      state.set({ variable: value, ...(yearly ? { by: 'year' as const, year: Number(yearShown()) } : {}) });
    }],
  ] as const;
  for (const [id, run] of pickers) el<HTMLSelectElement>(id).addEventListener('change', (e) => run((e.target as HTMLSelectElement).value));

  fill(el<HTMLSelectElement>('cube'), cubes.listed.map((c) => ({ value: c.id, text: c.title })), state.now.cube);
  fill(el<HTMLSelectElement>('model'), models.listed.map((m) => ({ value: m.id, text: m.title })), state.now.model);
  el('cube-row').hidden = cubes.listed.length < 2;
  el('model-row').hidden = models.listed.length < 2;
  offer();
  el('draw').addEventListener('click', () => (draw.active ? draw.cancel() : draw.start()));
  grip();
  document.querySelector('.skip')!.addEventListener('click', (e) => {
    // The address after # is the permalink: it must not become the link's target.
    e.preventDefault();
    el('find').focus();
  });
  // On a phone the map's own controls stand below the notes, however tall these are.
  new ResizeObserver(([notes]) => document.body.style.setProperty('--notes', `${notes!.contentRect.height}px`)).observe(el('notes'));

  const days = (): void => when.set(cubeOf(state.now.cube).years, variableOf(state.now.variable)?.period === 'day');

  state.listen((now, before) => {
    trouble(null);
    if (now.by !== before.by) {
      // The same time of year in the year shown, and the other way round.
      if (now.by === 'year') state.set({ year: Number(before.day.slice(0, 4)) });
      else state.set({ day: inYear(now.day, now.year) });
    }
    if (now.model !== before.model) offer();
    if (now.cube !== before.cube) {
      const cube = cubeOf(now.cube);
      days();
      void enter(cube).catch(trouble);
      map.look(cube.bounds, padding(false), 'fit');
    }
    if (now.variable !== before.variable) days();
    listFields();
    showTiles();
    void showColours();
    if (now.field !== before.field || now.shape !== before.shape || (now.model !== before.model && land()))
      showLand(byKeyboard || now.shape?.kind === 'drawn', byKeyboard ? 'find' : 'keep');
    byKeyboard = false;
    remember();
  });
  map.tiles.onBusy = (busy) => {
    when.busy = busy;
    if (!busy) live.soon();
  };

  days();
  await map.ready();
  map.gl.once('idle', () => void map.borders().catch(trouble));
  await live.poll();
  await enter(cubeOf(state.now.cube));
  void showColours();
  if (land()) showLand(false, link.camera ? 'keep' : 'fit');
  remember();
  document.body.dataset.ready = 'yes';
  window.addEventListener('hashchange', () => location.reload());
}

function nameOf(field: GeoJSON.Feature): string {
  const p = field.properties ?? {};
  return String(p.name ?? `Field ${p.id}`);
}

function cropsOf(field: GeoJSON.Feature): Map<string, string> | null {
  const crops: unknown = field.properties?.crops;
  if (!crops || typeof crops !== 'object') return null;
  return new Map(Object.entries(crops as Record<string, unknown>).map(([year, crop]) => [year, String(crop)]));
}

function inYear(day: string, year: number): string {
  const moved = `${year}${day.slice(4)}`;
  return dayOf(dayNumber(moved)) === moved ? moved : `${year}-02-28`;
}

/** The same time of year, in a year that the cube has. */
function inYears(view: Pick<View, 'day' | 'year'>, cube: api.Cube): Change {
  const near = (year: number): number => Math.max(cube.years[0]!, Math.min(cube.years.at(-1)!, year));
  return { day: inYear(view.day, near(Number(view.day.slice(0, 4)))), year: near(view.year) };
}

function firstView(link: ReturnType<typeof readHash>, cube: api.Cube, model: api.Model, variables: api.Variable[]): View {
  const last = cube.years.at(-1)!;
  const known = link.variable && model.outputs.includes(link.variable) ? link.variable : undefined;
  const variable = known ?? ['nee', ...model.outputs].find((name) => model.outputs.includes(name))!;
  const yearly = variables.find((v) => v.name === variable)?.period === 'year' || /^\d{4}$/.test(link.when ?? '');
  const day = link.when && isDay(link.when) ? link.when : `${link.when && yearly ? link.when : last}-${SUMMER}`;
  const year = Number(day.slice(0, 4));
  return {
    cube: cube.id,
    model: model.id,
    variable,
    by: yearly ? 'year' : 'day',
    ...(inYears({ day, year }, cube) as Pick<View, 'day' | 'year'>),
    field: link.field ?? null,
    shape: link.drawn
      ? { kind: 'drawn', polygon: link.drawn }
      : link.cell
        ? { kind: 'cell', polygon: cellAt(...link.cell, cube.grid) }
        : null,
    chart: link.chart ?? 'balance',
    span: 'all',
  };
}

async function patiently(): Promise<[api.Catalogue<api.Cube>, api.Catalogue<api.Model>, api.Variable[]]> {
  for (;;) {
    const [cubes, models, variables] = await Promise.all([api.cubes(), api.models(), api.variables()]);
    if (!models.listed.length) throw new Error('This server has no model: see its log.');
    if (cubes.listed.length) return [cubes, models, variables];
    const s = await api.status();
    showStatus(s);
    if (s.state === 'failed') throw new Error(s.message);
    await new Promise((done) => window.setTimeout(done, 1500));
  }
}

/** On a phone the panel is a sheet from below, that can be made small to see the map. */
function grip(): void {
  const button = el('grip');
  const set = (open: boolean): void => {
    document.body.classList.toggle('sheet-small', !open);
    button.setAttribute('aria-expanded', String(open));
    button.querySelector('.sr')!.textContent = open ? 'Show less of the panel' : 'Show all of the panel';
  };
  button.addEventListener('click', () => set(document.body.classList.contains('sheet-small')));
}

start().catch((error: unknown) => {
  const note = el('trouble');
  note.textContent = error instanceof api.Problem ? sentence(error.detail || error.title) : String((error as Error).message ?? error);
  note.hidden = false;
  say(note.textContent);
  console.error(error);
});
