/** The page: reads the address and the API, and joins map, panels and state. */

import './style.css';
import { lacking, showAbout, sureness } from './about';
import * as api from './api';
import { cellAt } from './albers';
import { Compare, mainPicture, rightPicture, timeInWords, yearApart } from './compare';
import { download } from './download';
import { el, fill, h, say, throttle } from './dom';
import { Draw } from './draw';
import { capital, number, unit } from './format';
import { geotiff } from './geotiff';
import { showLegend } from './legend';
import { Live, showStatus } from './live';
import { Look } from './look';
import { FieldMap, box, type Hover, type Padding } from './map';
import { ALL, MyFields } from './mine';
import { mapPicture } from './picture';
import { readCell, readPoint } from './places';
import { Readout } from './readout';
import { Result, type Land } from './result';
import { Search, type Entry } from './search';
import { inYear, readHash, readWhen, State, whenOf, writeHash, type Change, type View } from './state';
import { Swipe } from './swipe';
import { asSheet, canHover } from './theme';
import { tabs, tools } from './tools';
import { When } from './when';

const NOTHING: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] };
/** A day in high summer, when there is something to see. */
const SUMMER = '07-10';

async function start(): Promise<void> {
  const link = readHash(location.hash);
  // On a first start the server may still be building its demo: wait for it, and say so.
  const [cubes, models, variables] = await patiently();
  const cubeOf = (id: string): api.Cube => cubes.listed.find((c) => c.id === id) ?? cubes.listed[0]!;
  // A link may name a model without its version, or one that this server lacks.
  const modelOf = (id: string): api.Model =>
    models.listed.find((m) => m.id === id) ??
    models.listed.find((m) => m.id.startsWith(`${id}/`)) ??
    models.listed.find((m) => m.id === models.standard) ??
    models.listed[0]!;
  const variableOf = (name: string): api.Variable | undefined => variables.find((v) => v.name === name);
  const yearly = (name: string): boolean => ['year', 'static'].includes(variableOf(name)?.period ?? '');
  /** Of the whole record: one value for the place, whatever the time. */
  const lasting = (name: string): boolean => variableOf(name)?.period === 'static';

  const firstCube = cubeOf(link.cube ?? cubes.standard ?? '');
  const firstModel = modelOf(link.model ?? models.standard ?? '');
  const state = new State(firstView(link, firstCube, firstModel, yearly, lasting));
  let fields = NOTHING;
  let counties: GeoJSON.FeatureCollection<GeoJSON.Geometry, { name: string }> | null = null;

  let byKeyboard = false;
  const search = new Search((id) => {
    byKeyboard = true;
    found(id);
  }, typed);
  const when = new When(state);
  const compare = new Compare(state, yearly);
  const look = new Look(state);
  const openTab = tabs(['compare', 'look', 'mine']);
  const map = new FieldMap(el('map'), link.camera ?? { box: firstCube.bounds, padding: padding(false) }, {
    pick(at, lon, lat, keyboard) {
      byKeyboard = keyboard;
      if (at.mine) state.set({ mine: at.mine, field: null, shape: null });
      else if (at.field) state.set({ field: at.field, mine: null, shape: null });
      else chooseCell(lon, lat);
    },
    hover({ field, mine: own, x, y, place }) {
      const tip = el('tip');
      const region = field ? fields.features.find((f) => f.properties?.id === field) : undefined;
      const kept = own ? mine.fields.find((f) => f.id === own) : undefined;
      const name = kept ? `${kept.name} · mine` : region ? [nameOf(region), cropsOf(region)?.get(yearShown())].filter(Boolean).join(' · ') : '';
      el('tip-name').textContent = name;
      if (!place) el('tip-value').replaceChildren();
      pointed = place;
      read();
      tip.hidden = !name && !el('tip-value').hasChildNodes();
      tip.style.transform = `translate(${x + 14}px, ${y + 14}px)`;
    },
    moved: throttle(300, () => remember()),
    home: () => map.look(cubeOf(state.now.cube).bounds, padding(result.open), 'fit'),
  });
  const swipe = new Swipe(map, (split) => state.set({ split }));
  const mine = new MyFields(
    (id) => state.set({ mine: id, field: null, shape: null }),
    (added) => {
      showMine();
      listFields();
      if (added[0]) openTab('mine', true);
      if (added.length) state.set({ mine: added[0]!, field: null, shape: null });
      else if (state.now.mine && !land()) state.set({ mine: null });
      else if (state.now.mine) showLand(false, 'keep');
    },
    () => state.now.mine,
  );
  const result = new Result(state, {
    closed() {
      state.set({ field: null, mine: null, shape: null });
      el('map').querySelector('canvas')?.focus({ preventScroll: true });
    },
    keep: (kept) => mine.keep(kept.geometry, kept.title === 'Drawn field' ? `Field ${mine.fields.length + 1}` : kept.title),
    about: () => void about(),
    card: (model) => cardOf(model),
  });
  const live = new Live(state, () => cubeOf(state.now.cube), !link.when, yearly, () => showTiles(), (error) => trouble(error));
  const draw = new Draw(
    map,
    (polygon) => state.set({ field: null, mine: null, shape: { kind: 'drawn', polygon } }),
    () => el('draw').focus(),
  );

  const yearShown = (): string => state.now.day.slice(0, 4);
  const remember = (): void => history.replaceState(null, '', writeHash(state.now, map.camera, yearly(state.now.variable)));
  const trouble = (error: unknown): void => {
    const note = el('trouble');
    if (error === null) {
      note.hidden = true;
      return;
    }
    note.textContent = api.words(error);
    note.hidden = false;
  };
  const cards = new Map<string, Promise<api.Card>>();
  const cardOf = (model: string): Promise<api.Card> => {
    const held = cards.get(model) ?? api.card(model);
    cards.set(model, held);
    return held;
  };

  function chooseCell(lon: number, lat: number): void {
    state.set({ field: null, mine: null, shape: { kind: 'cell', polygon: cellAt(lon, lat, cubeOf(state.now.cube).grid) } });
  }

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
    const { field, mine: own, shape } = state.now;
    const kept = own ? mine.fields.find((f) => f.id === own) : undefined;
    if (kept) return { title: kept.name, geometry: kept.geometry, keep: false };
    if (own === ALL && mine.fields.length > 1) return { ...mine.together(), keep: false };
    if (field) {
      const region = fields.features.find((f) => f.properties?.id === field);
      if (region) return { title: nameOf(region), geometry: region.geometry, keep: true };
    }
    if (shape) return { title: shape.kind === 'cell' ? 'One 250 m cell' : 'Drawn field', geometry: shape.polygon, keep: true };
    return null;
  }

  function showLand(focus: boolean, how: 'fit' | 'find' | 'keep'): void {
    const chosen = land();
    map.select(chosen?.geometry ?? null);
    search.name(state.now.mine ?? state.now.field);
    mine.mark();
    if (!chosen) {
      result.close();
      return;
    }
    void result.show(chosen, { cube: cubeOf(state.now.cube), model: modelOf(state.now.model), variables }, focus);
    requestAnimationFrame(() => map.look(box(chosen.geometry), padding(true), how));
  }

  /** Where the pointer is on the map. */
  let pointed: Hover['place'] = null;
  const readout = new Readout((reading) => {
    const node = el('tip-value');
    if (!reading) node.replaceChildren();
    else if (reading.value === null) node.replaceChildren(reading.missing ? 'not computed yet' : 'no value here');
    else node.replaceChildren(h('b', {}, number(reading.value)), ' ', unit(reading.unit));
    el('tip').hidden = !node.hasChildNodes() && !el('tip-name').textContent;
  });
  function read(): void {
    const [west, south, east, north] = cubeOf(state.now.cube).bounds;
    const inside = pointed && pointed.lon > west && pointed.lon < east && pointed.lat > south && pointed.lat < north && canHover.matches;
    const beyond = state.now.compare === 'swipe' && pointed && map.gl.project([pointed.lon, pointed.lat]).x > swipe.edge;
    readout.at(inside ? pointed : null, beyond ? right() : main(), map.gl.getZoom(), live.snapshot);
    if (!inside) el('tip-value').replaceChildren();
  }

  const main = (): api.Picture => mainPicture(state.now, yearly(state.now.variable));
  const right = (): api.Picture => rightPicture(state.now, yearly(state.now.otherVariable || state.now.variable));

  function showTiles(): void {
    const now = state.now;
    const url = (picture: api.Picture): string => api.tileUrl(picture, live.snapshot);
    const ahead = when.ahead().map((time) => url(mainPicture(now, yearly(now.variable), time)));
    map.tiles.show(url(main()), ahead);
    read();
    if (now.compare === 'swipe') swipe.show(url(right()), sideName(main()), sideName(right()), now.split);
    else swipe.hide();
  }

  const sideName = (picture: api.Picture): string => {
    const time = timeInWords(picture.when);
    const v = variableOf(picture.variable);
    return state.now.otherVariable && v ? `${capital(v.long_name)}, ${time}` : time;
  };

  let legendAsked = '';
  let legend: api.Legend | null = null;
  async function showColours(): Promise<void> {
    const [left, beside] = [main(), state.now.compare === 'swipe' && state.now.otherVariable ? right() : null];
    const asked = JSON.stringify([left, beside]);
    if (asked === legendAsked) return;
    legendAsked = asked;
    try {
      const told = await Promise.all([left, ...(beside ? [beside] : [])].map((picture) => api.tiles(picture)));
      if (asked !== legendAsked) return;
      trouble(null);
      legend = told[0]!.legend;
      look.legend(legend);
      const compared = left.minus ? `${timeInWords(left.when)} less ${timeInWords(left.minus)}` : left.anomaly ? `${timeInWords(left.when)} less the mean of all years` : '';
      showLegend(el('legend'), legend, compared || (beside ? `Left: ${variableOf(left.variable)?.long_name}` : ''));
      el('legend-right').hidden = !beside;
      showLegend(el('legend-right'), beside ? told[1]!.legend : null, beside ? `Right: ${variableOf(beside.variable)?.long_name}` : '');
      await showSureness();
      showMine();
    } catch (error) {
      // The legend of something that cannot be shown would be a wrong one.
      if (asked === legendAsked) trouble(error);
    }
  }

  async function showSureness(): Promise<void> {
    const { variable, by, compare: kind, model } = state.now;
    const node = el('sure');
    const step = !lasting(variable) && (yearly(variable) || by === 'year') ? 'year' : 'day';
    const told = kind || by === 'month' || by === 'span' ? null : sureness(await cardOf(model), variable, step);
    if (model !== state.now.model || variable !== state.now.variable) return;
    node.hidden = !told;
    if (!told) return;
    const more = h('button', { type: 'button', class: 'link' }, 'how it was tested');
    more.addEventListener('click', () => void about());
    node.replaceChildren(`${told.text} `, unit(told.unit), ' on land it was not trained on: ', more);
  }

  function showMine(): void {
    if (!mine.fields.length) {
      map.mine(api.mineUrl('', '', '', '', mine.edition), null);
      return;
    }
    const { variable, by, cube, model, compare: kind } = state.now;
    const plain = !kind && (by === 'day' || by === 'year') && legend !== null && legend.variable === variable;
    const time = whenOf(state.now, yearly(variable));
    const url = plain ? api.mineUrl(variable, time, cube, model, `${mine.edition}${live.snapshot}`) : api.mineUrl('', '', '', '', mine.edition);
    map.mine(url, plain ? legend!.stops.map((s) => [s.value, s.color]) : null);
  }

  function offer(): void {
    const model = modelOf(state.now.model);
    const shown = variables.filter((v) => model.outputs.includes(v.name));
    const group = (label: string, some: api.Variable[]): HTMLElement | null =>
      some.length ? h('optgroup', { label }, ...some.map((v) => h('option', { value: v.name }, capital(v.long_name)))) : null;
    const carbon = shown.filter((v) => v.period === 'day' && v.unit.startsWith('gC'));
    const groups = [
      group('Carbon, every day', carbon),
      group('Carbon, every year', shown.filter((v) => v.period === 'year')),
      group('Carbon of the soil', shown.filter((v) => v.period === 'static' && v.unit.startsWith('gC'))),
      group('What it results from', shown.filter((v) => v.period === 'static' && !v.unit.startsWith('gC'))),
      group('Crop, water and energy', shown.filter((v) => v.period === 'day' && !carbon.includes(v))),
    ];
    const select = el<HTMLSelectElement>('variable');
    select.replaceChildren(...groups.filter((g): g is HTMLElement => g !== null));
    select.value = state.now.variable;
  }

  /** Models that cannot run on the region's inputs are greyed, and say why. */
  async function offerModels(): Promise<void> {
    const cube = cubeOf(state.now.cube);
    const select = el<HTMLSelectElement>('model');
    fill(select, models.listed.map((m) => ({ value: m.id, text: m.title })), state.now.model);
    const reasons = await Promise.all(models.listed.map(async (m) => lacking(await cardOf(m.id), cube, variables)));
    if (cube.id !== state.now.cube) return;
    models.listed.forEach((_, i) => {
      const option = select.options[i]!;
      option.disabled = reasons[i] !== '';
      option.title = reasons[i]!;
    });
    const why = reasons.filter(Boolean);
    el('model-why').hidden = !why.length;
    el('model-why').textContent = why.join(' ');
  }

  async function about(): Promise<void> {
    try {
      showAbout(await cardOf(state.now.model), cubeOf(state.now.cube), variables);
    } catch (error) {
      trouble(error);
    }
  }

  async function enter(cube: api.Cube): Promise<void> {
    const chip = el('synthetic');
    chip.hidden = !cube.synthetic;
    chip.textContent = 'SYNTHETIC demo data, not real land';
    const origin = el('origin');
    origin.textContent = cube.title;
    origin.hidden = false;
    origin.title = cube.statement;
    const [outline, region] = await Promise.all([
      cube.outline ? api.geojson(cube.outline) : null,
      cube.fields ? api.geojson(cube.fields) : NOTHING,
    ]);
    if (state.now.cube !== cube.id) return;
    fields = region;
    map.cube(cube, outline, fields);
    void offerModels().catch(trouble);
    listFields();
  }

  let listedFor = '';
  function listFields(): void {
    const key = `${state.now.cube} ${yearShown()} ${fields.features.length} ${mine.edition} ${mine.fields.length} ${counties !== null}`;
    if (key === listedFor) return;
    listedFor = key;
    const [west, south, east, north] = cubeOf(state.now.cube).bounds;
    const near = (counties?.features ?? []).flatMap((county, i): Entry[] => {
      const [a, b, c, d] = box(county.geometry);
      return a < east && c > west && b < north && d > south ? [{ id: `county:${i}`, label: `${county.properties.name} County`, note: 'place' }] : [];
    });
    search.set([
      mine.fields.map((f) => ({ id: f.id, label: f.name, note: 'mine' })),
      fields.features.map((f) => ({ id: String(f.properties?.id), label: nameOf(f), note: cropsOf(f)?.get(yearShown()) ?? '' })),
      near,
      cubes.listed.map((c) => ({ id: `cube:${c.id}`, label: c.title, note: 'region' })),
    ]);
    search.name(state.now.mine ?? state.now.field);
  }

  /** Coordinates and cells that a text stands for. */
  function typed(text: string): Entry[] {
    const { bounds, grid } = cubeOf(state.now.cube);
    const point = readCell(text, grid) ?? readPoint(text, bounds);
    if (!point) return [];
    const words = `${Math.abs(point.lat).toFixed(4)}° ${point.lat < 0 ? 'S' : 'N'}, ${Math.abs(point.lon).toFixed(4)}° ${point.lon < 0 ? 'W' : 'E'}`;
    return [{ id: `point:${point.lon},${point.lat}`, label: words, note: 'the cell there' }];
  }

  /** What was chosen from the list. */
  function found(id: string): void {
    const [kind, rest = ''] = id.split(/:(.*)/s);
    if (kind === 'point') {
      const [lon, lat] = rest.split(',').map(Number);
      chooseCell(lon!, lat!);
    } else if (kind === 'county' && counties) map.look(box(counties.features[Number(rest)]!.geometry), padding(false), 'fit');
    else if (kind === 'cube') {
      if (rest === state.now.cube) map.look(cubeOf(rest).bounds, padding(false), 'fit');
      else enterCube(rest);
    } else if (mine.fields.some((f) => f.id === id)) state.set({ mine: id, field: null, shape: null });
    else state.set({ field: id, mine: null, shape: null });
  }

  function enterCube(id: string): void {
    const cube = cubeOf(id);
    state.set({ cube: cube.id, field: null, mine: null, shape: null, ...inYears(state.now, cube) });
  }

  const pickers = [
    ['cube', enterCube],
    ['model', (value: string) => {
      const model = modelOf(value);
      const first = model.outputs[0]!;
      const kept = model.outputs.includes(state.now.variable) ? {} : { variable: first, ...plainLook, ...fitting(first) };
      state.set({ model: model.id, ...kept });
    }],
    // The colours of one variable say nothing about another.
    ['variable', (value: string) => state.set({ variable: value, ...plainLook, ...fitting(value) })],
  ] as const;
  const plainLook = { palette: '', range: '' };
  function fitting(variable: string): Change {
    const { by } = state.now;
    // Of what lasts there are no two times to compare.
    if (lasting(variable)) return { by: 'year', compare: '' };
    return yearly(variable) && by !== 'year' && by !== 'span' ? { by: 'year' } : {};
  }
  for (const [id, run] of pickers) el<HTMLSelectElement>(id).addEventListener('change', (e) => run((e.target as HTMLSelectElement).value));

  fill(el<HTMLSelectElement>('cube'), cubes.listed.map((c) => ({ value: c.id, text: c.title })), state.now.cube);
  fill(el<HTMLSelectElement>('model'), models.listed.map((m) => ({ value: m.id, text: m.title })), state.now.model);
  fill(el<HTMLSelectElement>('month'), MONTHS.map((text, i) => ({ value: String(i + 1).padStart(2, '0'), text })), '07');
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
  tools({
    async mapPicture() {
      const v = variableOf(state.now.variable);
      const cube = cubeOf(state.now.cube);
      const words = state.now.compare === 'swipe' ? `${sideName(main())} | ${sideName(right())}` : legendWords();
      const picture = await mapPicture(map.gl, swipe.seen, {
        title: `${capital(v?.long_name ?? state.now.variable)}, ${words}`,
        lines: [
          `${modelOf(state.now.model).title} (${state.now.model}). ${cube.title}.${cube.synthetic ? ' SYNTHETIC demo data.' : ` ${cube.statement}`}`,
          'Borders: U.S. Census Bureau. Made with Fieldflux and MapLibre.',
        ],
        legend,
      });
      download(`${state.now.variable}-${main().when}.png`, picture);
    },
    async values() {
      const seen = map.gl.getBounds();
      const [west, south, east, north] = cubeOf(state.now.cube).bounds;
      const view: [number, number, number, number] = [
        Math.max(seen.getWest(), west), Math.max(seen.getSouth(), south), Math.min(seen.getEast(), east), Math.min(seen.getNorth(), north),
      ];
      if (view[0] >= view[2] || view[1] >= view[3]) throw new Error('The map shows no part of the region: move it there first');
      const picture = main();
      const synthetic = cubeOf(picture.cube).synthetic ? ' SYNTHETIC' : '';
      const words = `${picture.variable} ${legendWords()}, ${legend?.unit ?? ''}; ${picture.model}, ${picture.cube}${synthetic}`;
      download(`${picture.variable}-${picture.when}.tif`, await geotiff(view, (z, x, y) => api.valuesUrl(picture, z, x, y), words));
    },
    about: () => void about(),
  });
  const legendWords = (): string => {
    const { when: time, minus, anomaly } = main();
    return minus ? `${timeInWords(time)} less ${timeInWords(minus)}` : anomaly ? `${timeInWords(time)} less the mean of all years` : timeInWords(time);
  };
  // On a phone the map's own controls stand below the notes, however tall these are.
  new ResizeObserver(([notes]) => document.body.style.setProperty('--notes', `${notes!.contentRect.height}px`)).observe(el('notes'));

  const times = (): void => {
    const { years } = cubeOf(state.now.cube);
    when.set(years, yearly(state.now.variable));
    const still = lasting(state.now.variable);
    el('when').classList.toggle('still', still);
    el('lasting').hidden = !still;
    el('compare-open').hidden = still;
    if (still) openTab('compare', false);
    el('lasting').textContent = `Soil at rest under the climate of ${years[0]} to ${years.at(-1)}: one value for all times.`;
    const outputs = modelOf(state.now.model).outputs;
    const fits = variables.filter((v) => outputs.includes(v.name) && v.name !== state.now.variable && (v.period === 'day' || state.now.by === 'year' || state.now.by === 'span'));
    compare.set(years, fits);
  };

  state.listen((now, before) => {
    trouble(null);
    if (now.compare && !before.compare && !link.compare) state.set({ other: yearApart(now.day, cubeOf(now.cube).years) });
    if (now.cube !== before.cube) {
      map.gl.fitBounds(cubeOf(now.cube).bounds, { padding: padding(false), duration: 0 });
      void enter(cubeOf(now.cube)).catch(trouble);
    }
    if (now.model !== before.model) offer();
    if (now.variable !== before.variable) el<HTMLSelectElement>('variable').value = now.variable;
    if (now.cube !== before.cube || now.variable !== before.variable || now.model !== before.model || now.by !== before.by) times();
    if (now.opacity !== before.opacity) {
      map.tiles.setOpacity(now.opacity);
      swipe.setOpacity(now.opacity);
    }
    showTiles();
    void showColours();
    if (now.day.slice(0, 4) !== before.day.slice(0, 4)) listFields();
    if (now.day !== before.day || now.by !== before.by || now.variable !== before.variable) showMine();
    if (now.field !== before.field || now.mine !== before.mine || now.shape !== before.shape) {
      showLand(byKeyboard, now.shape?.kind === 'drawn' ? 'keep' : 'find');
      byKeyboard = false;
    } else if ((now.model !== before.model || now.cube !== before.cube) && land()) showLand(false, 'keep');
    remember();
  });

  const busy = new Set<string>();
  const waits = (who: string) => (is: boolean): void => {
    if (is) busy.add(who);
    else busy.delete(who);
    when.busy = busy.size > 0;
    el('slider').setAttribute('aria-busy', String(when.busy));
  };
  map.tiles.onBusy = waits('map');
  swipe.onBusy = waits('swipe');

  times();
  // The panel can be used from here on; the map fills meanwhile.
  document.body.dataset.known = 'yes';
  const polled = live.poll();
  await map.ready();
  map.tiles.setOpacity(state.now.opacity);
  swipe.setOpacity(state.now.opacity);
  // First what the map is about, then what lies around it.
  let bordered = false;
  map.tiles.onShown = () => {
    if (bordered) return;
    bordered = true;
    void map.borders().then((areas) => {
      counties = areas;
      listFields();
    }).catch(trouble);
  };
  void showColours();
  await polled;
  await Promise.all([enter(cubeOf(state.now.cube)), mine.load().catch(trouble)]);
  listFields();
  void api.palettes().then((all) => look.set(all)).catch(trouble);
  if (mine.fields.length) showMine();
  if (state.now.compare) openTab('compare', true);
  if (land()) showLand(false, link.camera ? 'keep' : 'fit');
  else if (state.now.mine) trouble(`There is no field ${state.now.mine} of yours here: it was deleted, or belongs to someone else.`);
  remember();
  document.body.dataset.ready = 'yes';
  window.addEventListener('hashchange', () => location.reload());
}

const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];

function nameOf(field: GeoJSON.Feature): string {
  const p = field.properties ?? {};
  return String(p.name ?? `Field ${p.id}`);
}

function cropsOf(field: GeoJSON.Feature): Map<string, string> | null {
  const crops: unknown = field.properties?.crops;
  if (!crops || typeof crops !== 'object') return null;
  return new Map(Object.entries(crops as Record<string, unknown>).map(([year, crop]) => [year, String(crop)]));
}

/** The same time of year, in a year that the cube has. */
function inYears(view: Pick<View, 'day' | 'until' | 'other'>, cube: api.Cube): Pick<View, 'day' | 'until' | 'other'> {
  const near = (day: string): string => inYear(day, Math.max(cube.years[0]!, Math.min(cube.years.at(-1)!, Number(day.slice(0, 4)))));
  return { day: near(view.day), until: near(view.until), other: near(view.other) };
}

function firstView(link: ReturnType<typeof readHash>, cube: api.Cube, model: api.Model, yearly: (name: string) => boolean, lasting: (name: string) => boolean): View {
  const last = cube.years.at(-1)!;
  const known = link.variable && model.outputs.includes(link.variable) ? link.variable : undefined;
  const variable = known ?? ['nee', ...model.outputs].find((name) => model.outputs.includes(name))!;
  const asked = readWhen(link.when ?? '') ?? { by: 'day' as const, day: `${last}-${SUMMER}`, until: `${last}-09-30` };
  const by = lasting(variable) || (yearly(variable) && asked.by !== 'span') ? 'year' : asked.by;
  const other = readWhen(link.other ?? '')?.day ?? yearApart(asked.day, cube.years);
  const right = link.otherVariable && model.outputs.includes(link.otherVariable) ? link.otherVariable : '';
  return {
    cube: cube.id,
    model: model.id,
    variable,
    by,
    ...inYears({ ...asked, other }, cube),
    compare: lasting(variable) ? '' : (link.compare ?? ''),
    otherVariable: right,
    split: link.split ?? 0.5,
    palette: link.palette ?? '',
    range: link.range ?? '',
    opacity: link.opacity ?? 1,
    field: link.field ?? null,
    mine: link.mine ?? null,
    shape: link.drawn
      ? { kind: 'drawn', polygon: link.drawn }
      : link.cell
        ? { kind: 'cell', polygon: cellAt(...link.cell, cube.grid) }
        : null,
    chart: link.chart ?? 'balance',
    span: link.span ?? 'all',
    sums: link.sums ?? false,
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
  note.textContent = api.words(error);
  note.hidden = false;
  say(note.textContent);
  console.error(error);
});
