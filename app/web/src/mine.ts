/** One's own fields: a list to choose, rename and delete from, and files that become fields. */

import * as api from './api';
import { el, h, say } from './dom';
import { number, sentence } from './format';

/** Stands for all fields in the place of one's id. */
export const ALL = 'all';

const TYPES: Record<string, string> = {
  geojson: 'application/geo+json',
  json: 'application/geo+json',
  zip: 'application/zip',
  parquet: 'application/vnd.apache.parquet',
};

export class MyFields {
  fields: api.Mine[] = [];
  /** Changes with the fields, so that their tiles are asked for again. */
  edition = Date.now().toString(36);
  private list = h('ul', { class: 'mine', 'aria-label': 'My fields' });
  private note = el('upload-note');
  private more = false;

  constructor(
    private choose: (id: string) => void,
    /** Called when the fields are others than before; `added`: ids of new ones. */
    private changed: (added: string[]) => void,
    private chosen: () => string | null,
  ) {
    el('mine-panel').replaceChildren(this.list);
    const file = el<HTMLInputElement>('file');
    el('upload').addEventListener('click', () => file.click());
    file.addEventListener('change', () => {
      const files = [...(file.files ?? [])];
      file.value = '';
      if (files.length) void this.take(files);
    });
    const stage = document.body;
    stage.addEventListener('dragover', (e) => {
      if (!e.dataTransfer?.types.includes('Files')) return;
      e.preventDefault();
      stage.classList.add('dropping');
    });
    stage.addEventListener('dragleave', (e) => !e.relatedTarget && stage.classList.remove('dropping'));
    stage.addEventListener('drop', (e) => {
      e.preventDefault();
      stage.classList.remove('dropping');
      const files = [...(e.dataTransfer?.files ?? [])];
      if (files.length) void this.take(files);
    });
  }

  async load(): Promise<void> {
    const { fields, more } = await api.myFields();
    this.fields = fields;
    this.more = more;
    this.render();
  }

  /** Keep an outline as a field of one's own. */
  async keep(geometry: GeoJSON.Geometry, name: string): Promise<void> {
    await this.send(JSON.stringify({ type: 'Feature', geometry, properties: { name } }), TYPES.geojson!);
  }

  /** Mark the chosen one. */
  mark(): void {
    for (const item of this.list.querySelectorAll<HTMLElement>('li[data-id]'))
      item.classList.toggle('on', item.dataset.id === this.chosen());
  }

  private async take(files: File[]): Promise<void> {
    for (const file of files) {
      this.tell(`${file.name} is being read…`);
      const ending = file.name.toLowerCase().split('.').at(-1) ?? '';
      try {
        if (ending === 'kml') await this.send(JSON.stringify(await fromKml(file)), TYPES.geojson!);
        else if (ending in TYPES) await this.send(file, TYPES[ending]!);
        else throw new Error(`${file.name} is no file of fields that can be read: GeoJSON, KML, GeoParquet, or a zip with a shapefile can.`);
      } catch (error) {
        this.tell(api.words(error), true);
        return;
      }
    }
  }

  private async send(body: Blob | string, type: string): Promise<void> {
    const told = await api.register(body, type);
    await this.load();
    this.edition = Date.now().toString(36);
    const counts = [
      told.created && `${told.created} ${told.created === 1 ? 'field is' : 'fields are'} new`,
      told.updated && `${told.updated} changed`,
      told.unchanged && `${told.unchanged} known already`,
      told.rejected && `${told.rejected} refused`,
    ].filter(Boolean);
    const faults = told.faults.slice(0, 3).map(sentence).join(' ');
    this.tell(`${counts.join(', ')}. ${faults}`.trim(), told.rejected > 0);
    this.changed(told.ids);
  }

  private tell(text: string, bad = false): void {
    this.note.textContent = text;
    this.note.hidden = !text;
    this.note.classList.toggle('bad', bad);
  }

  private render(): void {
    const button = el('mine-open');
    button.textContent = this.fields.length ? `My fields (${this.fields.length}${this.more ? '+' : ''})` : 'My fields';
    if (!this.fields.length) {
      this.list.replaceChildren(h('li', { class: 'none' }, 'None yet. Draw a field and keep it, or upload a file: GeoJSON, KML, GeoParquet, or a zip with a shapefile.'));
      return;
    }
    this.list.replaceChildren(...this.fields.map((field) => this.row(field)));
    if (this.fields.length > 1) this.list.prepend(this.all());
    if (this.more) this.list.append(h('li', { class: 'none' }, `The first ${this.fields.length} are listed; the map shows all.`));
    this.mark();
  }

  /** Outlines of all, and what they are called together. */
  together(): { title: string; geometry: GeoJSON.Geometry; parts: GeoJSON.Geometry[] } {
    const parts = this.fields.map((field) => field.geometry);
    const coordinates = parts.flatMap((g) => (g.type === 'Polygon' ? [g.coordinates] : g.type === 'MultiPolygon' ? g.coordinates : []));
    return { title: `${parts.length} fields together`, geometry: { type: 'MultiPolygon', coordinates }, parts };
  }

  private all(): HTMLElement {
    const area = this.fields.reduce((sum, field) => sum + field.area_ha, 0);
    const open = h('button', { type: 'button', class: 'name' }, h('span', {}, 'All together'), h('small', {}, `${number(area)} ha`));
    open.addEventListener('click', () => this.choose(ALL));
    return h('li', { 'data-id': ALL }, open);
  }

  private row(field: api.Mine): HTMLElement {
    const open = h('button', { type: 'button', class: 'name' }, h('span', {}, field.name), h('small', {}, `${number(field.area_ha)} ha`));
    const rename = h('button', { type: 'button', class: 'icon tiny', 'aria-label': `Rename ${field.name}`, title: 'Rename' }, '✎');
    const remove = h('button', { type: 'button', class: 'icon tiny', 'aria-label': `Delete ${field.name}`, title: 'Delete' }, '×');
    const item = h('li', { 'data-id': field.id }, open, rename, remove);
    open.addEventListener('click', () => this.choose(field.id));
    rename.addEventListener('click', () => this.renaming(item, field));
    remove.addEventListener('click', () => this.removing(item, field));
    return item;
  }

  private renaming(item: HTMLElement, field: api.Mine): void {
    const input = h('input', { type: 'text', value: field.name, 'aria-label': `New name of ${field.name}`, maxlength: 200, required: true });
    const save = h('button', { type: 'submit', class: 'primary small' }, 'Save');
    const form = h('form', { class: 'edit' }, input, save);
    item.replaceChildren(form);
    input.select();
    form.addEventListener('submit', (e) => {
      e.preventDefault();
      const name = input.value.trim();
      if (name) void this.doing(async () => void (await api.rename(field.id, name)), `${field.name} is now ${name}.`);
    });
    input.addEventListener('keydown', (e) => {
      if (e.key !== 'Escape') return;
      e.stopPropagation();
      this.render();
    });
  }

  private removing(item: HTMLElement, field: api.Mine): void {
    const yes = h('button', { type: 'button', class: 'danger small' }, 'Delete');
    const no = h('button', { type: 'button', class: 'quiet small' }, 'Keep');
    item.replaceChildren(h('span', { class: 'sure' }, `Delete ${field.name}?`), no, yes);
    no.focus();
    no.addEventListener('click', () => this.render());
    yes.addEventListener('click', () => void this.doing(() => api.remove(field.id), `${field.name} is deleted.`));
  }

  private async doing(work: () => Promise<void>, done: string): Promise<void> {
    try {
      await work();
      await this.load();
      this.edition = Date.now().toString(36);
      this.tell('');
      say(done);
      this.changed([]);
      el('mine-open').focus();
    } catch (error) {
      this.tell(api.words(error), true);
      this.render();
    }
  }
}

/** The polygons of a KML file as GeoJSON; its names become names of fields. */
async function fromKml(file: File): Promise<GeoJSON.FeatureCollection> {
  const { kml } = await import('@tmcw/togeojson');
  const text = new DOMParser().parseFromString(await file.text(), 'text/xml');
  if (text.querySelector('parsererror')) throw new Error(`${file.name} is not KML: it is no well-formed XML. A KMZ has to be unzipped first.`);
  const features = (kml(text).features as GeoJSON.Feature[]).flatMap((f) => polygons(f.geometry).map((geometry) => ({ ...f, geometry })));
  if (!features.length) throw new Error(`${file.name} holds no polygon.`);
  return {
    type: 'FeatureCollection',
    features: features.map((f) => ({ type: 'Feature', geometry: f.geometry, properties: f.properties?.name ? { name: f.properties.name } : {} })),
  };
}

/** The polygons in a geometry, without heights. */
function polygons(geometry: GeoJSON.Geometry | null): GeoJSON.Geometry[] {
  if (!geometry) return [];
  if (geometry.type === 'GeometryCollection') return geometry.geometries.flatMap(polygons);
  const flat = (rings: number[][][]): number[][][] => rings.map((ring) => ring.map(([x, y]) => [x!, y!]));
  if (geometry.type === 'Polygon') return [{ type: 'Polygon', coordinates: flat(geometry.coordinates) }];
  if (geometry.type === 'MultiPolygon') return [{ type: 'MultiPolygon', coordinates: geometry.coordinates.map(flat) }];
  return [];
}
