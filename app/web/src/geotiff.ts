/** The values of the map's view as a GeoTIFF: tiles of values put side by side, in EPSG:3857, NaN where there are none. */

const TILE = 256;
const MOST = 64;
const FINEST = 12;
/** Half the side of the Web Mercator square, metres. */
const EDGE = 20037508.342789244;

type Box = [number, number, number, number];

interface TileRange {
  z: number;
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

/** The tiles over a box (west, south, east, north) at the finest zoom that takes no more than 64 of them. */
export function tilesOver([west, south, east, north]: Box): TileRange {
  const x = (lon: number, z: number): number => Math.floor(((lon + 180) / 360) * 2 ** z);
  const y = (lat: number, z: number): number =>
    Math.floor((0.5 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI)) * 2 ** z);
  for (let z = FINEST; ; z--) {
    const range = { z, x0: x(west, z), y0: y(north, z), x1: x(east, z), y1: y(south, z) };
    if (z === 3 || (range.x1 - range.x0 + 1) * (range.y1 - range.y0 + 1) <= MOST) return range;
  }
}

/** `address`: where a tile's values are, as NumPy's own format. */
export async function geotiff(box: Box, address: (z: number, x: number, y: number) => string, about: string): Promise<Blob> {
  const { z, x0, y0, x1, y1 } = tilesOver(box);
  const [columns, rows] = [x1 - x0 + 1, y1 - y0 + 1];
  const width = columns * TILE;
  const values = new Float32Array(width * rows * TILE).fill(NaN);
  const wanted = Array.from({ length: columns * rows }, (_, i) => [i % columns, Math.floor(i / columns)] as const);
  await Promise.all(
    wanted.map(async ([i, j]) => {
      const reply = await fetch(address(z, x0 + i, y0 + j));
      if (!reply.ok) throw new Error(`A tile of values was refused (${reply.status}).`);
      const tile = fromNpy(await reply.arrayBuffer());
      for (let row = 0; row < TILE; row++) values.set(tile.subarray(row * TILE, (row + 1) * TILE), (j * TILE + row) * width + i * TILE);
    }),
  );
  const pixel = (2 * EDGE) / (2 ** z * TILE);
  return write(values, width, rows * TILE, [-EDGE + x0 * TILE * pixel, EDGE - y0 * TILE * pixel], pixel, about);
}

/** A float32 array from NumPy's format (version 1: magic, version, length of the header, header, values). */
export function fromNpy(buffer: ArrayBuffer): Float32Array {
  const view = new DataView(buffer);
  const header = 10 + view.getUint16(8, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 10, header - 10));
  if (!text.includes("'<f4'") || text.includes("'fortran_order': True")) throw new Error('A tile of values has another form than expected.');
  return new Float32Array(buffer.slice(header));
}

const [ASCII, SHORT, LONG, DOUBLE] = [2, 3, 4, 12];
const SIZE: Record<number, number> = { [ASCII]: 1, [SHORT]: 2, [LONG]: 4, [DOUBLE]: 8 };

/** One band of float32, uncompressed; tags as in TIFF 6.0 and OGC GeoTIFF 1.1. */
function write(values: Float32Array, width: number, height: number, [left, top]: [number, number], pixel: number, about: string): Blob {
  const text = (t: string): number[] => [...new TextEncoder().encode(`${t}\0`)];
  // A projected system, pixels as areas, EPSG:3857.
  const keys = [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 3857];
  const tags: [number, number, number[]][] = [
    [256, LONG, [width]], [257, LONG, [height]], [258, SHORT, [32]], [259, SHORT, [1]], [262, SHORT, [1]], [270, ASCII, text(about)],
    [273, LONG, [0]], [277, SHORT, [1]], [278, LONG, [height]], [279, LONG, [values.byteLength]], [339, SHORT, [3]],
    [33550, DOUBLE, [pixel, pixel, 0]], [33922, DOUBLE, [0, 0, 0, left, top, 0]], [34735, SHORT, keys], [42113, ASCII, text('nan')],
  ];
  const directory = 2 + 12 * tags.length + 4;
  const even = (n: number): number => n + (n % 2);
  const beside = tags.map(([, kind, list]) => (SIZE[kind]! * list.length > 4 ? even(SIZE[kind]! * list.length) : 0));
  const start = 8 + directory + beside.reduce((a, b) => a + b, 0);
  const head = new DataView(new ArrayBuffer(start));
  head.setUint16(0, 0x4949);
  head.setUint16(2, 42, true);
  head.setUint32(4, 8, true);
  head.setUint16(8, tags.length, true);
  let free = 8 + directory;
  tags.forEach(([tag, kind, list], i) => {
    const at = 10 + 12 * i;
    head.setUint16(at, tag, true);
    head.setUint16(at + 2, kind, true);
    head.setUint32(at + 4, list.length, true);
    let to = at + 8;
    if (beside[i]) {
      head.setUint32(to, free, true);
      to = free;
      free += beside[i]!;
    }
    for (const value of tag === 273 ? [start] : list) {
      if (kind === ASCII) head.setUint8(to, value);
      else if (kind === SHORT) head.setUint16(to, value, true);
      else if (kind === LONG) head.setUint32(to, value, true);
      else head.setFloat64(to, value, true);
      to += SIZE[kind]!;
    }
  });
  return new Blob([head.buffer as ArrayBuffer, values.buffer as ArrayBuffer], { type: 'image/tiff' });
}
