/**
 * Raster tiles that change without flicker: the next picture loads in a layer that is not seen yet, and takes the place of
 * the one shown once all its tiles are there. Its neighbours in time are loaded ahead, so that stepping and playing wait
 * for nothing. While one loads, only the newest wish is kept.
 */

import type { Map as Gl } from 'maplibre-gl';

/** After so long a picture is shown with the tiles that it has. */
const PATIENCE = 6000;
/** Side of a tile on the screen: its pixels are 512, one of the screen's each, or two by two of a dense one. */
const tileSize = (): number => (devicePixelRatio > 1.5 ? 256 : 512);
/** Pictures held beside the one that is shown. */
const AHEAD = 3;

/** Times of what a person waits for, for who measures them. */
function mark(name: string): void {
  performance.clearMarks(name);
  performance.mark(name);
}

interface Reel {
  id: string;
  ready: boolean;
}

export class Film {
  private count = 0;
  private reels = new Map<string, Reel>();
  private shown = '';
  private wanted = '';
  private next: string[] = [];
  private opacity = 1;
  private early: [string, string[]] | null = null;
  onBusy: (busy: boolean) => void = () => {};
  /** Called when the picture that was asked for last is seen. */
  onShown: () => void = () => {};

  constructor(
    private map: Gl,
    private below: string,
    private bounds: () => [number, number, number, number] | undefined,
  ) {
    map.on('sourcedata', () => this.check());
    map.on('idle', () => this.check());
    // Tiles of pictures that nobody sees would load for every place on the way.
    map.on('movestart', () => {
      for (const url of [...this.reels.keys()]) if (url !== this.shown && url !== this.wanted) this.drop(url);
    });
    map.on('moveend', () => this.pump());
  }

  /** Show the tiles of that address; `ahead` are those that may be asked for next. */
  show(url: string, ahead: string[] = []): void {
    if (!this.map.getLayer(this.below)) {
      // The map has no style yet: it takes no layers, and only the newest wish counts.
      if (!this.early) this.map.once('style.load', () => this.show(...this.early!));
      this.early = [url, ahead];
      return;
    }
    this.next = [...new Set(ahead)].filter((u) => u !== url).slice(0, AHEAD);
    if (url === this.wanted) {
      this.pump();
      return;
    }
    const before = this.wanted;
    this.wanted = url;
    mark('tiles wanted');
    if (before && before !== this.shown && !this.reels.get(before)?.ready && !this.next.includes(before)) this.drop(before);
    if (this.reels.get(url)?.ready) {
      this.reveal(url);
      return;
    }
    this.onBusy(true);
    if (!this.reels.has(url)) this.load(url);
    window.setTimeout(() => this.wanted === url && this.shown !== url && this.reveal(url), PATIENCE);
    this.check();
  }

  setOpacity(opacity: number): void {
    this.opacity = opacity;
    const reel = this.reels.get(this.shown);
    if (reel) this.map.setPaintProperty(reel.id, 'raster-opacity', opacity);
  }

  private load(url: string): void {
    const id = `tiles-${++this.count}`;
    const bounds = this.bounds();
    this.map.addSource(id, {
      type: 'raster',
      tiles: [url],
      tileSize: tileSize(),
      minzoom: 3,
      maxzoom: 14,
      ...(bounds ? { bounds } : {}),
    });
    this.map.addLayer(
      {
        id,
        type: 'raster',
        source: id,
        paint: {
          'raster-opacity': this.shown ? 0 : this.opacity,
          'raster-opacity-transition': { duration: 0 },
          'raster-fade-duration': 0,
          'raster-resampling': 'nearest',
        },
      },
      this.below,
    );
    this.reels.set(url, { id, ready: false });
  }

  private check(): void {
    for (const [url, reel] of this.reels)
      if (!reel.ready && this.map.getSource(reel.id) && this.map.isSourceLoaded(reel.id)) {
        reel.ready = true;
        if (url === this.wanted) this.reveal(url);
        else this.pump();
      }
  }

  private reveal(url: string): void {
    const reel = this.reels.get(url);
    if (!reel) return;
    const before = this.shown;
    this.shown = url;
    this.map.setPaintProperty(reel.id, 'raster-opacity', this.opacity);
    const old = this.reels.get(before);
    if (old && before !== url) {
      // The new layer is drawn in the next frame; only then may the old one go.
      this.map.once('render', () => {
        if (before === this.shown) return;
        if (this.next.includes(before)) this.map.setPaintProperty(old.id, 'raster-opacity', 0);
        else this.drop(before);
      });
    }
    this.onBusy(false);
    mark('tiles shown');
    this.onShown();
    this.pump();
  }

  /** Load what may come next, one after the other, and let go of what will not. */
  private pump(): void {
    if (this.shown !== this.wanted) return;
    for (const url of [...this.reels.keys()])
      if (url !== this.shown && !this.next.includes(url) && this.reels.get(url)!.ready && this.reels.size > AHEAD + 1) this.drop(url);
    if ([...this.reels.values()].some((reel) => !reel.ready)) return;
    const url = this.next.find((u) => !this.reels.has(u));
    if (url) this.load(url);
  }

  private drop(url: string): void {
    const reel = this.reels.get(url);
    if (!reel) return;
    this.reels.delete(url);
    if (this.map.getLayer(reel.id)) this.map.removeLayer(reel.id);
    if (this.map.getSource(reel.id)) this.map.removeSource(reel.id);
  }
}
