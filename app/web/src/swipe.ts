/** Two maps of the same land with a divider between: a second map above the first, cut off left of the divider. */

import { Map as Gl } from 'maplibre-gl';
import { el } from './dom';
import { Film } from './film';
import { style, type FieldMap } from './map';

export class Swipe {
  private gl: Gl | null = null;
  private film: Film | null = null;
  private node = el('swipe');
  private divider = el('divider');
  private opacity = 1;
  private split = 0.5;
  onBusy: (busy: boolean) => void = () => {};

  constructor(private map: FieldMap, private moved: (split: number) => void) {
    this.divider.addEventListener('pointerdown', (e) => {
      this.divider.setPointerCapture(e.pointerId);
      e.preventDefault();
      this.divider.focus({ preventScroll: true });
    });
    this.divider.addEventListener('pointermove', (e) => {
      if (!this.divider.hasPointerCapture(e.pointerId)) return;
      const box = this.node.getBoundingClientRect();
      this.place((e.clientX - box.left) / box.width);
    });
    this.divider.addEventListener('pointerup', () => this.moved(this.split));
    this.divider.addEventListener('keydown', (e) => {
      const steps: Record<string, number> = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1 };
      const to = e.key === 'Home' ? 0 : e.key === 'End' ? 1 : e.key in steps ? this.split + steps[e.key]! : null;
      if (to === null) return;
      e.preventDefault();
      this.place(to);
      this.moved(this.split);
    });
  }

  /** Show these tiles on the right of the divider. `left`, `right`: what each side shows, in words. */
  show(url: string, left: string, right: string, split: number): void {
    this.node.hidden = false;
    document.body.classList.add('swiping');
    el('side-left').textContent = left;
    el('side-right').textContent = right;
    this.place(split);
    if (!this.gl) this.start();
    this.film!.setOpacity(this.opacity);
    this.film!.show(url);
  }

  hide(): void {
    if (!this.gl) return;
    this.node.hidden = true;
    document.body.classList.remove('swiping');
    this.map.gl.off('move', this.follow);
    void this.map.beside(null);
    this.gl.remove();
    this.gl = this.film = null;
  }

  setOpacity(opacity: number): void {
    this.opacity = opacity;
    this.film?.setOpacity(opacity);
  }

  /** Where the right side begins, in pixels of the page. */
  get edge(): number {
    return this.split * this.node.clientWidth;
  }

  /** The canvas of the second map as it is seen, and where it begins, for pictures of both. */
  get seen(): { gl: Gl; split: number } | null {
    return this.gl ? { gl: this.gl, split: this.split } : null;
  }

  private start(): void {
    const gl = new Gl({
      container: el('swipe-map'),
      style: style(),
      interactive: false,
      attributionControl: false,
      fadeDuration: 0,
      localIdeographFontFamily: false,
      center: this.map.gl.getCenter(),
      zoom: this.map.gl.getZoom(),
      minZoom: 2.5,
      maxZoom: 17,
    });
    gl.getCanvas().setAttribute('tabindex', '-1');
    this.gl = gl;
    this.film = new Film(gl, 'graticule', this.map.bounds);
    this.film.onBusy = (busy) => this.onBusy(busy);
    void this.map.beside(gl);
    this.map.gl.on('move', this.follow);
  }

  private follow = (): void => {
    const from = this.map.gl;
    this.gl?.jumpTo({ center: from.getCenter(), zoom: from.getZoom() });
  };

  private place(split: number): void {
    this.split = Math.max(0, Math.min(1, split));
    this.node.style.setProperty('--split', `${100 * this.split}%`);
    this.divider.setAttribute('aria-valuenow', String(Math.round(100 * this.split)));
  }
}
