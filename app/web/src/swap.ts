/**
 * Raster tiles that change without flicker: the next picture loads in a layer that is not seen yet, and takes the place of
 * the one shown once all its tiles are there. While one loads, only the newest wish is kept.
 */

import type { Map as Gl } from 'maplibre-gl';

const PATIENCE = 6000;

export class Swap {
  private count = 0;
  private shown: string | null = null;
  private loading: { id: string; url: string } | null = null;
  private wish: string | null = null;
  private url = '';
  onBusy: (busy: boolean) => void = () => {};

  constructor(
    private map: Gl,
    private below: string,
    private bounds: () => [number, number, number, number] | undefined,
  ) {
    map.on('sourcedata', (e) => {
      if (this.loading && e.sourceId === this.loading.id) this.check();
    });
    map.on('idle', () => this.check());
  }

  /** Show the tiles of that address. */
  show(url: string): void {
    if (url === this.url) return;
    this.url = url;
    if (this.loading) this.wish = url;
    else this.start(url);
  }

  private start(url: string): void {
    const id = `tiles-${++this.count}`;
    const bounds = this.bounds();
    this.map.addSource(id, {
      type: 'raster',
      tiles: [url],
      tileSize: 256,
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
          'raster-opacity': this.shown ? 0 : 1,
          'raster-opacity-transition': { duration: 0 },
          'raster-fade-duration': 0,
          'raster-resampling': 'nearest',
        },
      },
      this.below,
    );
    this.loading = { id, url };
    this.onBusy(true);
    window.setTimeout(() => this.loading?.id === id && this.finish(), PATIENCE);
  }

  private check(): void {
    if (this.loading && this.map.getSource(this.loading.id) && this.map.isSourceLoaded(this.loading.id)) this.finish();
  }

  private finish(): void {
    const next = this.loading!;
    this.loading = null;
    const before = this.shown;
    this.shown = next.id;
    this.map.setPaintProperty(next.id, 'raster-opacity', 1);
    if (before) {
      // The new layer is drawn in the next frame; only then may the old one go.
      this.map.once('render', () => {
        if (!this.map.getLayer(before)) return;
        this.map.removeLayer(before);
        this.map.removeSource(before);
      });
    }
    this.onBusy(false);
    const wish = this.wish;
    this.wish = null;
    if (wish && wish !== next.url) this.start(wish);
  }
}
