/**
 * The grid's projection, EPSG:5070 (CONUS Albers equal area on GRS80), so that the 250 m cell below a point can be drawn.
 * Formulas: Snyder 1987, Map projections: a working manual, eqs. 14-12 to 14-21 and 3-16.
 */

export interface GridInfo {
  crs: string;
  x0: number;
  y0: number;
  size: number;
}

export const NATIONAL_GRID: GridInfo = { crs: 'EPSG:5070', x0: -2356095, y0: 3172605, size: 250 };

const A = 6378137;
const F = 1 / 298.257222101;
const E2 = F * (2 - F);
const E1 = Math.sqrt(E2);
const RAD = Math.PI / 180;

function q(sin: number): number {
  const e = E1 * sin;
  return (1 - E2) * (sin / (1 - e * e) - Math.log((1 - e) / (1 + e)) / (2 * E1));
}

function m2(phi: number): number {
  const sin = Math.sin(phi);
  return Math.cos(phi) ** 2 / (1 - E2 * sin * sin);
}

const q1 = q(Math.sin(29.5 * RAD));
const N = (m2(29.5 * RAD) - m2(45.5 * RAD)) / (q(Math.sin(45.5 * RAD)) - q1);
const C = m2(29.5 * RAD) + N * q1;
const RHO0 = (A * Math.sqrt(C - N * q(Math.sin(23 * RAD)))) / N;
const LON0 = -96;

export function project(lon: number, lat: number): [number, number] {
  const rho = (A * Math.sqrt(C - N * q(Math.sin(lat * RAD)))) / N;
  const theta = N * (lon - LON0) * RAD;
  return [rho * Math.sin(theta), RHO0 - rho * Math.cos(theta)];
}

export function unproject(x: number, y: number): [number, number] {
  const rho = Math.hypot(x, RHO0 - y);
  const theta = Math.atan2(x, RHO0 - y);
  const wanted = (C - (rho * rho * N * N) / (A * A)) / N;
  let phi = Math.asin(wanted / 2);
  for (let i = 0; i < 8; i++) {
    const sin = Math.sin(phi);
    const e = 1 - E2 * sin * sin;
    phi += ((e * e) / (2 * Math.cos(phi))) * ((wanted - q(sin)) / (1 - E2));
  }
  return [LON0 + theta / N / RAD, phi / RAD];
}

/** A hair, in metres, by which a drawn cell is smaller, so that rounding never makes it touch its neighbours. */
const INSIDE = 0.02;

/** The cell that holds a point, as a polygon in lon/lat. */
export function cellAt(lon: number, lat: number, grid: GridInfo): GeoJSON.Polygon {
  const [x, y] = project(lon, lat);
  const left = grid.x0 + Math.floor((x - grid.x0) / grid.size) * grid.size;
  const top = grid.y0 - Math.floor((grid.y0 - y) / grid.size) * grid.size;
  const [west, east] = [left + INSIDE, left + grid.size - INSIDE];
  const [south, north] = [top - grid.size + INSIDE, top - INSIDE];
  const ring = [
    unproject(west, south),
    unproject(east, south),
    unproject(east, north),
    unproject(west, north),
    unproject(west, south),
  ];
  return { type: 'Polygon', coordinates: [ring] };
}
