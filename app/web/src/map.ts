/** The map: its own plain background, borders, the region's outline, fields, the tiles of one variable, and a selection. */

import {
  AttributionControl,
  Map as Gl,
  NavigationControl,
  ScaleControl,
  setWorkerUrl,
  type GeoJSONSource,
  type LngLatBoundsLike,
  type ExpressionSpecification,
  type PointLike,
  type StyleSpecification,
  type VectorTileSource,
} from 'maplibre-gl';
import fontLicence from '@fontsource-variable/inter/LICENSE?url&no-inline';
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url';
import atlasUrl from 'us-atlas/counties-10m.json?url';
import { feature, mesh } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import type { Cube } from './api';
import type { Camera } from './state';
import { Film } from './film';
import { h, svg } from './dom';
import { calm, color, onTheme, scaled } from './theme';

const NOTHING: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] };
const NONE: Found = { field: null, mine: null };
const FONT = ['Inter Variable'];
const CREDITS =
  'Borders: U.S. Census Bureau. Map drawn by MapLibre. ' +
  `<a href="licenses.md">Software licences</a>, <a href="${fontLicence}">font licence</a>`;

/** The field below a point: of the region (`field`), or one's own (`mine`). */
export interface Found {
  field: string | null;
  mine: string | null;
}

/** x, y: on the screen. place: null where the pointer is not on the map. */
export interface Hover extends Found {
  x: number;
  y: number;
  place: { lon: number; lat: number } | null;
}

export interface MapEvents {
  /** A click or tap on a field, or on bare land. */
  pick(found: Found, lon: number, lat: number, keyboard: boolean): void;
  hover(hover: Hover): void;
  moved(): void;
  /** The whole region is asked for. */
  home(): void;
}

export class FieldMap {
  readonly gl: Gl;
  readonly tiles: Film;
  /** While a field is drawn, clicks belong to the drawing. */
  drawing = false;
  private tileBounds: [number, number, number, number] | undefined;
  private hovered = '';
  private held = new Map<string, GeoJSON.GeoJSON>();
  private other: Gl | null = null;
  private mineUrl = '';
  /** The outline of the region, where it has one. */
  region: GeoJSON.FeatureCollection | null = null;

  constructor(
    container: HTMLElement,
    view: Camera | { box: [number, number, number, number]; padding: Padding },
    private events: MapEvents,
  ) {
    setWorkerUrl(new URL(workerUrl, document.baseURI).href);
    this.gl = new Gl({
      container,
      style: style(),
      ...('box' in view
        ? { bounds: view.box, fitBoundsOptions: { padding: view.padding } }
        : { center: [view.lon, view.lat], zoom: view.zoom }),
      minZoom: 2.5,
      maxZoom: 17,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: 0,
      localIdeographFontFamily: false,
      locale: {
        'Map.Title': 'Map. Arrow keys move it, plus and minus zoom, Enter chooses the land under the cross.',
      },
    });
    this.gl.touchZoomRotate.disableRotation();
    this.gl.keyboard.disableRotation();
    this.gl.addControl(new NavigationControl({ showCompass: false }), 'bottom-right');
    container.querySelector('.maplibregl-ctrl-bottom-right .maplibregl-ctrl-group')?.append(this.home());
    this.gl.addControl(
      new AttributionControl({ compact: true, customAttribution: CREDITS }),
      'bottom-left',
    );
    this.gl.addControl(new ScaleControl({ maxWidth: 110 }), 'bottom-left');
    container.querySelector('.maplibregl-ctrl-attrib')?.classList.remove('maplibregl-compact-show');
    container.querySelector('.maplibregl-ctrl-attrib')?.removeAttribute('open');
    this.tiles = new Film(this.gl, 'graticule', this.bounds);
    this.listen();
    onTheme(() => this.paint());
  }

  ready(): Promise<void> {
    return loaded(this.gl);
  }

  readonly bounds = (): [number, number, number, number] | undefined => this.tileBounds;

  /** A second map of the same land, which gets the same outlines from now on; null to let it go. */
  async beside(other: Gl | null): Promise<void> {
    this.other = other;
    if (!other) return;
    await loaded(other);
    for (const [source, data] of this.held) (other.getSource(source) as GeoJSONSource | undefined)?.setData(data);
  }

  /** One's own fields: the address of their vector tiles, and their colours by value (null: outlines only). */
  mine(url: string, colours: [number, string][] | null): void {
    const gl = this.gl;
    if (url !== this.mineUrl) {
      this.mineUrl = url;
      const source = gl.getSource('mine') as VectorTileSource | undefined;
      if (source) source.setTiles([url]);
      else {
        gl.addSource('mine', { type: 'vector', tiles: [url], minzoom: 5, maxzoom: 16, promoteId: 'id' });
        const layer = { source: 'mine', 'source-layer': 'fields' } as const;
        gl.addLayer({ id: 'mine-fill', type: 'fill', ...layer, paint: { 'fill-color': 'transparent' } }, 'field-hover');
        gl.addLayer({ id: 'mine-line', type: 'line', ...layer, paint: { 'line-color': color('map-mine'), 'line-width': 2.2 } }, 'field-hover');
        gl.addLayer({ id: 'mine-hover', type: 'line', ...layer, filter: ['==', ['get', 'id'], ''], paint: { 'line-color': color('map-mine'), 'line-width': 4 } }, 'field-hover');
      }
    }
    const filled: ExpressionSpecification | string = colours
      ? ['case', ['has', 'value'], ['interpolate', ['linear'], ['get', 'value'], ...colours.flat()], 'transparent'] as ExpressionSpecification
      : 'transparent';
    gl.setPaintProperty('mine-fill', 'fill-color', filled);
  }

  /** Draw state and county borders; the page works without them, so nothing waits for this. Gives the counties. */
  async borders(): Promise<GeoJSON.FeatureCollection<GeoJSON.Geometry, { name: string }>> {
    const reply = await fetch(atlasUrl);
    const atlas = (await reply.json()) as Topology<{
      counties: GeometryCollection<{ name: string }>;
      states: GeometryCollection<{ name: string }>;
      nation: GeometryCollection;
    }>;
    const { counties, states, nation } = atlas.objects;
    this.put('land', feature(atlas, nation));
    this.put('counties', { type: 'Feature', properties: {}, geometry: mesh(atlas, counties, (a, b) => a !== b) });
    this.put('states', { type: 'Feature', properties: {}, geometry: mesh(atlas, states) });
    const areas = feature(atlas, counties);
    this.put('county-names', names(areas));
    this.put('state-names', names(feature(atlas, states)));
    return areas;
  }

  cube(cube: Cube, outline: GeoJSON.FeatureCollection | null, fields: GeoJSON.FeatureCollection): void {
    const [west, south, east, north] = cube.bounds;
    this.tileBounds = [west, south, east, north];
    const box: GeoJSON.Polygon = {
      type: 'Polygon',
      coordinates: [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    };
    this.region = outline;
    this.put('outline', outline ?? { ...asFeature(box), properties: { rough: true } });
    this.put('fields', fields);
  }

  select(geometry: GeoJSON.Geometry | null): void {
    this.put('chosen', geometry ? asFeature(geometry) : NOTHING);
  }

  put(source: string, data: GeoJSON.GeoJSON): void {
    this.held.set(source, data);
    (this.other?.getSource(source) as GeoJSONSource | undefined)?.setData(data);
    (this.gl.getSource(source) as GeoJSONSource | undefined)?.setData(data);
  }

  /** Bring a box into view: always, or unless it is in view and large enough to be found, or just unless it is in view. */
  look(box: [number, number, number, number], padding: Padding, how: 'fit' | 'find' | 'keep'): void {
    const [west, south, east, north] = box;
    if (how !== 'fit') {
      const [a, b] = [this.gl.project([west, north]), this.gl.project([east, south])];
      const { clientWidth: w, clientHeight: hh } = this.gl.getContainer();
      const inside = a.x >= padding.left && a.y >= padding.top && b.x <= w - padding.right && b.y <= hh - padding.bottom;
      if (inside && Math.max(b.x - a.x, b.y - a.y) >= (how === 'find' ? 60 : 0)) return;
    }
    const bounds: LngLatBoundsLike = [west, south, east, north];
    this.gl.fitBounds(bounds, { padding, maxZoom: 13.5, duration: how === 'fit' || calm.matches ? 0 : 500 });
  }

  get camera(): Camera {
    const { lat, lng } = this.gl.getCenter();
    return { lat, lon: lng, zoom: this.gl.getZoom() };
  }

  private listen(): void {
    const gl = this.gl;
    gl.on('click', (e) => {
      if (this.drawing) return;
      this.events.pick(this.foundAt(e.point), e.lngLat.lng, e.lngLat.lat, false);
    });
    gl.on('mousemove', (e) => {
      const found = this.drawing ? NONE : this.foundAt(e.point);
      const id = found.mine ?? found.field ?? '';
      if (id !== this.hovered) {
        this.hovered = id;
        this.highlight(found);
        gl.getCanvas().style.cursor = this.drawing ? 'crosshair' : id ? 'pointer' : '';
      }
      const place = this.drawing ? null : { lon: e.lngLat.lng, lat: e.lngLat.lat };
      this.events.hover({ ...found, x: e.point.x, y: e.point.y, place });
    });
    gl.on('mouseout', () => {
      this.hovered = '';
      this.highlight(NONE);
      this.events.hover({ ...NONE, x: 0, y: 0, place: null });
    });
    gl.on('moveend', () => this.events.moved());
    gl.getCanvas().addEventListener('keydown', (e) => {
      if (e.key !== 'Enter' || this.drawing) return;
      e.preventDefault();
      const { lng, lat } = gl.getCenter();
      this.events.pick(this.foundAt(gl.project([lng, lat])), lng, lat, true);
    });
  }

  private home(): HTMLElement {
    const button = h('button', { type: 'button', class: 'home', title: 'Show the whole region', 'aria-label': 'Show the whole region' });
    button.append(svg('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4' })));
    button.addEventListener('click', () => this.events.home());
    return button;
  }

  private highlight(found: Found): void {
    this.gl.setFilter('field-hover', ['==', ['get', 'id'], found.field ?? '']);
    if (this.gl.getLayer('mine-hover')) this.gl.setFilter('mine-hover', ['==', ['get', 'id'], found.mine ?? '']);
  }

  private foundAt(point: PointLike): Found {
    const layers = ['mine-fill', 'field-fill'].filter((id) => this.gl.getLayer(id));
    const found = layers.length ? this.gl.queryRenderedFeatures(point, { layers })[0] : undefined;
    const id = found?.properties.id === undefined ? null : String(found.properties.id);
    return found?.source === 'mine' ? { field: null, mine: id } : { field: id, mine: null };
  }

  private paint(): void {
    for (const gl of [this.gl, this.other])
      for (const layer of gl ? style().layers : [])
        for (const [name, value] of Object.entries(layer.paint ?? {}))
          if (name.endsWith('-color') && gl!.getLayer(layer.id)) gl!.setPaintProperty(layer.id, name as never, value as never);
    for (const id of ['mine-line', 'mine-hover'])
      if (this.gl.getLayer(id)) this.gl.setPaintProperty(id, 'line-color', color('map-mine'));
  }
}

function loaded(gl: Gl): Promise<void> {
  return new Promise((done) => {
    if (gl.isStyleLoaded()) done();
    else gl.once('style.load', () => done());
  });
}

export interface Padding {
  top: number;
  right: number;
  bottom: number;
  left: number;
}

export function asFeature(geometry: GeoJSON.Geometry): GeoJSON.Feature {
  return { type: 'Feature', properties: {}, geometry };
}

export function box(geometry: GeoJSON.Geometry): [number, number, number, number] {
  const out: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  const visit = (part: unknown): void => {
    if (!Array.isArray(part)) return;
    if (typeof part[0] === 'number') {
      const [x, y] = part as [number, number];
      out[0] = Math.min(out[0], x);
      out[1] = Math.min(out[1], y);
      out[2] = Math.max(out[2], x);
      out[3] = Math.max(out[3], y);
    } else part.forEach(visit);
  };
  if ('coordinates' in geometry) visit(geometry.coordinates);
  return out;
}

/** A point for the name of each area: the middle of its largest part. */
function names(areas: GeoJSON.FeatureCollection<GeoJSON.Geometry, { name: string }>): GeoJSON.FeatureCollection {
  return {
    type: 'FeatureCollection',
    features: areas.features.map((area) => {
      const parts: GeoJSON.Geometry[] =
        area.geometry.type === 'MultiPolygon'
          ? area.geometry.coordinates.map((coordinates) => ({ type: 'Polygon', coordinates }))
          : [area.geometry];
      const boxes = parts.map(box).sort((a, b) => (b[2] - b[0]) * (b[3] - b[1]) - (a[2] - a[0]) * (a[3] - a[1]));
      const [west, south, east, north] = boxes[0]!;
      return {
        type: 'Feature',
        properties: { name: area.properties.name },
        geometry: { type: 'Point', coordinates: [(west + east) / 2, (south + north) / 2] },
      };
    }),
  };
}

function graticule(): GeoJSON.FeatureCollection {
  const lines: GeoJSON.Feature[] = [];
  const line = (coordinates: number[][], major: boolean): void => {
    lines.push({ type: 'Feature', properties: { major }, geometry: { type: 'LineString', coordinates } });
  };
  for (let lon = -180; lon <= 180; lon++) line([[lon, -85], [lon, 85]], lon % 5 === 0);
  for (let lat = -85; lat <= 85; lat++) line([[-180, lat], [180, lat]], lat % 5 === 0);
  return { type: 'FeatureCollection', features: lines };
}

export function style(): StyleSpecification {
  const empty = (): { type: 'geojson'; data: GeoJSON.FeatureCollection } => ({ type: 'geojson', data: NOTHING });
  const line = color('map-line');
  return {
    version: 8,
    sources: {
      graticule: { type: 'geojson', data: graticule() },
      land: empty(),
      counties: empty(),
      states: empty(),
      'county-names': empty(),
      'state-names': empty(),
      outline: empty(),
      fields: empty(),
      chosen: empty(),
      draw: empty(),
    },
    layers: [
      { id: 'ground', type: 'background', paint: { 'background-color': color('map-water') } },
      { id: 'land', type: 'fill', source: 'land', paint: { 'fill-color': color('map-land') } },
      {
        id: 'graticule', type: 'line', source: 'graticule',
        filter: ['any', ['get', 'major'], ['>=', ['zoom'], 6]],
        paint: { 'line-color': color('map-grid'), 'line-width': 1 },
      },
      {
        // Lines have to be seen over the darkest and the lightest colours of the tiles.
        id: 'county-halo', type: 'line', source: 'counties', minzoom: 8,
        paint: { 'line-color': color('map-halo'), 'line-width': 3.2, 'line-opacity': 0.55 },
      },
      {
        id: 'counties', type: 'line', source: 'counties', minzoom: 5,
        paint: { 'line-color': line, 'line-width': ['interpolate', ['linear'], ['zoom'], 5, 0.4, 10, 1.2] },
      },
      {
        id: 'states', type: 'line', source: 'states',
        paint: { 'line-color': line, 'line-width': ['interpolate', ['linear'], ['zoom'], 3, 0.8, 10, 2.4] },
      },
      {
        id: 'field-fill', type: 'fill', source: 'fields', minzoom: 9,
        paint: { 'fill-color': color('map-field'), 'fill-opacity': 0 },
      },
      {
        id: 'field-line', type: 'line', source: 'fields', minzoom: 9,
        paint: {
          'line-color': color('map-field'),
          'line-width': ['interpolate', ['linear'], ['zoom'], 9, 0.3, 12, 0.9, 15, 1.6],
          'line-opacity': ['interpolate', ['linear'], ['zoom'], 9, 0.25, 11.5, 0.6],
        },
      },
      {
        id: 'outline', type: 'line', source: 'outline',
        paint: {
          'line-color': color('map-outline'),
          'line-width': 1.6,
          // A box around the region only helps to find it from afar.
          'line-opacity': ['step', ['zoom'], 1, 8, ['case', ['has', 'rough'], 0, 1]],
        },
      },
      {
        id: 'field-hover', type: 'line', source: 'fields', filter: ['==', ['get', 'id'], ''],
        paint: { 'line-color': color('map-field'), 'line-width': 2.2 },
      },
      {
        id: 'chosen-halo', type: 'line', source: 'chosen',
        layout: { 'line-join': 'round' },
        paint: { 'line-color': color('map-halo'), 'line-width': 6, 'line-opacity': 0.9 },
      },
      {
        id: 'chosen', type: 'line', source: 'chosen',
        layout: { 'line-join': 'round' },
        paint: { 'line-color': color('map-chosen'), 'line-width': 2.8 },
      },
      {
        id: 'draw-fill', type: 'fill', source: 'draw', filter: ['==', ['geometry-type'], 'Polygon'],
        paint: { 'fill-color': color('map-chosen'), 'fill-opacity': 0.15 },
      },
      {
        id: 'draw-line', type: 'line', source: 'draw', filter: ['==', ['geometry-type'], 'LineString'],
        paint: { 'line-color': color('map-chosen'), 'line-width': 2.4, 'line-dasharray': [2, 1.4] },
      },
      {
        id: 'draw-point', type: 'circle', source: 'draw', filter: ['==', ['geometry-type'], 'Point'],
        paint: {
          'circle-radius': ['case', ['get', 'first'], 7, 5],
          'circle-color': color('map-halo'),
          'circle-stroke-color': color('map-chosen'),
          'circle-stroke-width': 2.4,
        },
      },
      {
        id: 'county-names', type: 'symbol', source: 'county-names', minzoom: 7, maxzoom: 13,
        layout: { 'text-field': ['get', 'name'], 'text-font': FONT, 'text-size': scaled(11), 'text-letter-spacing': 0.06 },
        paint: { 'text-color': color('map-name'), 'text-halo-color': color('map-halo'), 'text-halo-width': 1.4 },
      },
      {
        id: 'state-names', type: 'symbol', source: 'state-names', minzoom: 3.4, maxzoom: 7,
        layout: {
          'text-field': ['upcase', ['get', 'name']], 'text-font': FONT, 'text-size': scaled(11), 'text-letter-spacing': 0.12,
        },
        paint: { 'text-color': color('map-name'), 'text-halo-color': color('map-halo'), 'text-halo-width': 1.4 },
      },
    ],
  };
}
