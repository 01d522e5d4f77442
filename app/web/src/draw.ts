/** Draw an outline on the map: click or tap its corners; the first corner, a double click or Enter closes it. */

import type { FieldMap } from './map';
import { asFeature } from './map';
import { el } from './dom';

type Point = [number, number];

/** Two clicks closer than this (CSS pixels) are one corner: a double click adds no second one. */
const SAME = 4;
/** A click this near to the first corner closes the outline; a finger needs room. */
const CLOSE = 14;

export class Draw {
  private points: Point[] = [];
  private mouse: Point | null = null;
  private bar = el('drawbar');
  private hint = el('drawbar-hint');
  private doneButton = el<HTMLButtonElement>('draw-done');
  private undoButton = el<HTMLButtonElement>('draw-undo');

  constructor(
    private map: FieldMap,
    private done: (polygon: GeoJSON.Polygon) => void,
    private cancelled: () => void,
  ) {
    const gl = map.gl;
    gl.on('click', (e) => this.active && this.click([e.lngLat.lng, e.lngLat.lat]));
    gl.on('dblclick', (e) => {
      if (!this.active) return;
      e.preventDefault();
      this.finish();
    });
    gl.on('mousemove', (e) => {
      if (!this.active) return;
      this.mouse = [e.lngLat.lng, e.lngLat.lat];
      this.render();
    });
    document.addEventListener('keydown', (e) => this.active && this.key(e));
    this.doneButton.addEventListener('click', () => this.finish());
    this.undoButton.addEventListener('click', () => this.undo());
    el('draw-cancel').addEventListener('click', () => this.cancel());
  }

  get active(): boolean {
    return this.map.drawing;
  }

  start(): void {
    this.points = [];
    this.mouse = null;
    this.map.drawing = true;
    this.map.gl.doubleClickZoom.disable();
    this.map.gl.getCanvas().style.cursor = 'crosshair';
    document.body.classList.add('drawing');
    this.bar.hidden = false;
    this.render();
    this.map.gl.getCanvas().focus({ preventScroll: true });
  }

  cancel(): void {
    if (!this.active) return;
    this.stop();
    this.cancelled();
  }

  private stop(): void {
    this.map.drawing = false;
    this.points = [];
    this.mouse = null;
    this.bar.hidden = true;
    document.body.classList.remove('drawing');
    this.map.gl.getCanvas().style.cursor = '';
    this.map.put('draw', { type: 'FeatureCollection', features: [] });
    // The double click that closed the outline must not zoom as well.
    window.setTimeout(() => !this.active && this.map.gl.doubleClickZoom.enable(), 400);
  }

  private finish(): void {
    if (this.points.length < 3) {
      this.hint.textContent = `An outline needs at least 3 corners; this one has ${this.points.length}.`;
      return;
    }
    const ring = [...this.points, this.points[0]!];
    // GeoJSON wants outer rings counterclockwise (RFC 7946, 3.1.6).
    if (signedArea(ring) < 0) ring.reverse();
    this.stop();
    this.done({ type: 'Polygon', coordinates: [ring] });
  }

  private undo(): void {
    this.points.pop();
    this.render();
  }

  private click(point: Point): void {
    const first = this.points[0];
    const last = this.points.at(-1);
    if (last && this.apart(point, last) < SAME) return;
    if (first && this.points.length >= 3 && this.apart(point, first) < CLOSE) {
      this.finish();
      return;
    }
    this.points.push(point);
    this.render();
  }

  private apart(a: Point, b: Point): number {
    const [p, q] = [this.map.gl.project(a), this.map.gl.project(b)];
    return Math.hypot(p.x - q.x, p.y - q.y);
  }

  private key(e: KeyboardEvent): void {
    const onMap = document.activeElement === this.map.gl.getCanvas();
    if (e.key === 'Escape') this.cancel();
    else if (e.key === 'Enter' && onMap) this.finish();
    else if (e.key === 'Backspace' && onMap) this.undo();
    else if (e.key === ' ' && onMap) {
      const { lng, lat } = this.map.gl.getCenter();
      this.click([lng, lat]);
    } else return;
    e.preventDefault();
    e.stopPropagation();
  }

  private render(): void {
    const points = this.points;
    const open = this.mouse ? [...points, this.mouse] : points;
    const features: GeoJSON.Feature[] = points.map((p, i) => ({
      type: 'Feature',
      properties: { first: i === 0 && points.length >= 3 },
      geometry: { type: 'Point', coordinates: p },
    }));
    if (open.length >= 2) features.unshift(asFeature({ type: 'LineString', coordinates: open }));
    if (open.length >= 3)
      features.unshift(asFeature({ type: 'Polygon', coordinates: [[...open, open[0]!]] }));
    this.map.put('draw', { type: 'FeatureCollection', features });
    this.doneButton.disabled = points.length < 3;
    this.undoButton.disabled = points.length === 0;
    this.hint.textContent =
      points.length === 0
        ? 'Click the corners of the field. With the keyboard: arrow keys move the map, Space sets a corner.'
        : points.length < 3
          ? `${points.length} ${points.length === 1 ? 'corner' : 'corners'}. Go on with the next one; Esc cancels.`
          : `${points.length} corners. Click the first one, double-click or press Enter to finish.`;
  }
}

function signedArea(ring: Point[]): number {
  let sum = 0;
  for (let i = 1; i < ring.length; i++) {
    const [a, b] = [ring[i - 1]!, ring[i]!];
    sum += a[0] * b[1] - b[0] * a[1];
  }
  return sum / 2;
}
