/** The value below the pointer: read from a tile of values, once the pointer rests. */

import { valuesUrl, type Picture } from './api';
import { fromNpy } from './geotiff';

const SIDE = 256;
/** Tiles of values held: a quarter of a megabyte each. */
const HELD = 12;
const REST = 120;
const FINEST = 12;

/** value: null where the model gives none. missing: not computed yet. */
export interface Reading {
  value: number | null;
  unit: string;
  missing: boolean;
}

interface Tile {
  values: Float32Array;
  unit: string;
  missing: boolean;
}

interface Place {
  lon: number;
  lat: number;
}

export class Readout {
  private held = new Map<string, Promise<Tile | null>>();
  private timer = 0;
  private asked = 0;

  constructor(private told: (reading: Reading | null) => void) {}

  /** Read at a place, soon; null stops. `edition` changes with the store, so that old tiles are not taken for new. */
  at(place: Place | null, picture: Picture, zoom: number, edition: string): void {
    window.clearTimeout(this.timer);
    const mine = ++this.asked;
    if (!place) return;
    const z = Math.max(4, Math.min(FINEST, Math.round(zoom)));
    const x = ((place.lon + 180) / 360) * 2 ** z;
    const y = (0.5 - Math.asinh(Math.tan((place.lat * Math.PI) / 180)) / (2 * Math.PI)) * 2 ** z;
    const url = valuesUrl(picture, z, Math.floor(x), Math.floor(y));
    const key = `${url} ${edition}`;
    this.timer = window.setTimeout(
      () =>
        void this.tile(url, key).then((tile) => {
          if (mine !== this.asked) return;
          if (!tile) return this.told(null);
          const value = tile.values[Math.floor((y % 1) * SIDE) * SIDE + Math.floor((x % 1) * SIDE)]!;
          this.told({ value: Number.isFinite(value) ? value : null, unit: tile.unit, missing: tile.missing });
        }),
      this.held.has(key) ? 0 : REST,
    );
  }

  private tile(url: string, key: string): Promise<Tile | null> {
    const found =
      this.held.get(key) ??
      fetch(url)
        .then(async (reply) =>
          reply.ok
            ? {
                values: fromNpy(await reply.arrayBuffer()),
                unit: reply.headers.get('x-fieldflux-unit') ?? '',
                missing: reply.headers.has('x-fieldflux-missing'),
              }
            : null,
        )
        // The map itself says what is wrong with the server.
        .catch(() => null);
    this.held.delete(key);
    this.held.set(key, found);
    if (this.held.size > HELD) this.held.delete(this.held.keys().next().value!);
    return found;
  }
}
