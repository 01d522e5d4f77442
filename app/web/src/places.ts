/** Places that a person may type: coordinates, cells of the grid, counties. */

import { cellAt, unproject, type GridInfo } from './albers';

export interface Point {
  lon: number;
  lat: number;
}

type Box = readonly [number, number, number, number];

const NUMBER = String.raw`([+-]?\d+(?:\.\d+)?)\s*°?\s*([NSEW])?`;
const PAIR = new RegExp(`^\\s*${NUMBER}\\s*[,;\\s]\\s*${NUMBER}\\s*$`, 'i');

const inside = ({ lon, lat }: Point, [west, south, east, north]: Box): boolean => lon >= west && lon <= east && lat >= south && lat <= north;

/**
 * A pair of coordinates. With letters (42.03 N, 93.62 W) they say which is which; without, latitude comes first, unless
 * only the other way round lies in the region. Null where the text is no such pair.
 */
export function readPoint(text: string, bounds: Box): Point | null {
  const found = PAIR.exec(text);
  if (!found) return null;
  const [, a, aSide, b, bSide] = found;
  const signed = (value: string, side: string | undefined): number => (/[SW]/i.test(side ?? '') ? -Math.abs(Number(value)) : Number(value));
  const [first, second] = [signed(a!, aSide), signed(b!, bSide)];
  const swapped = /[EW]/i.test(aSide ?? '') || /[NS]/i.test(bSide ?? '');
  const latFirst = { lat: first, lon: second };
  const lonFirst = { lat: second, lon: first };
  const unclear = !aSide && !bSide;
  const chosen = swapped || (unclear && !inside(latFirst, bounds) && (inside(lonFirst, bounds) || Math.abs(first) > 90)) ? lonFirst : latFirst;
  return Math.abs(chosen.lat) <= 85 && Math.abs(chosen.lon) <= 180 ? chosen : null;
}

/** The middle of a cell that is named by its row and column in the grid, as in "cell 4168 10090". */
export function readCell(text: string, grid: GridInfo): Point | null {
  const found = /^\s*(?:cell|row)\s+(\d+)\s*[,\s]\s*(?:col(?:umn)?\s+)?(\d+)\s*$/i.exec(text);
  if (!found) return null;
  const [row, col] = [Number(found[1]), Number(found[2])];
  const [lon, lat] = unproject(grid.x0 + (col + 0.5) * grid.size, grid.y0 - (row + 0.5) * grid.size);
  return Math.abs(lat) <= 85 ? { lon, lat } : null;
}

export const cellOf = ({ lon, lat }: Point, grid: GridInfo): GeoJSON.Polygon => cellAt(lon, lat, grid);
