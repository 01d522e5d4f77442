"""Web Mercator tiles (EPSG:3857, the WebMercatorQuad matrix): where each of a tile's pixels lies on the grid.

Projecting every pixel would cost more than all else in a tile. Corners of a coarse mesh, anchored to the pixels of the
whole world at that zoom, are projected, and pixels between them interpolated: neighbouring tiles share mesh corners, so
they cannot disagree along their edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grid import Grid, Window

Floats = NDArray[np.float64]

MAX_ZOOM = 22
SIZES = (256, 512)
EQUATOR_M = 40075016.685578486
"""Length of the equator in Web Mercator, m: its world is a square of that side."""
FAR = -1e9
"""Row and column of mesh corners that lie nowhere near the window."""


class BadTile(ValueError):
    """A tile address outside the tile matrix."""


@dataclass(frozen=True, slots=True)
class TileAddress:
    """Zoom, column from the west and row from the north of a tile, and its side in pixels."""

    z: int
    x: int
    y: int
    size: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.z <= MAX_ZOOM:
            raise BadTile(f"There are map tiles of zoom 0 to {MAX_ZOOM}; zoom {self.z} is not one of them.")
        last = (1 << self.z) - 1
        if not (0 <= self.x <= last and 0 <= self.y <= last):
            raise BadTile(
                f"There is no tile {self.z}/{self.x}/{self.y}: at zoom {self.z}, x and y go from 0 to {last}."
            )
        if self.size not in SIZES:
            raise BadTile(f"A tile's side is {' or '.join(map(str, SIZES))} pixels, not {self.size}.")

    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, degrees."""
        side = float(1 << self.z)
        lon, lat = lonlat(np.array([self.x, self.x + 1]) / side, np.array([self.y + 1, self.y]) / side)
        return float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1])

    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in EPSG:3857, m."""
        side, half = EQUATOR_M / (1 << self.z), EQUATOR_M / 2
        return self.x * side - half, half - (self.y + 1) * side, (self.x + 1) * side - half, half - self.y * side


def lonlat(u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Longitudes and latitudes, degrees, of points of the Mercator square: u eastward, v southward, each 0 to 1."""
    return u * 360.0 - 180.0, np.degrees(np.arctan(np.sinh(np.pi * (1.0 - 2.0 * v))))


def tile_at(lon: float, lat: float, z: int, size: int = 256) -> TileAddress:
    """The tile of zoom `z` that holds a point."""
    n = 1 << z
    v = 0.5 - np.arcsinh(np.tan(np.radians(lat))) / (2 * np.pi)
    return TileAddress(z, min(max(int((lon + 180.0) / 360.0 * n), 0), n - 1), min(max(int(v * n), 0), n - 1), size)


def pixel_m(z: int, size: int, lat: float) -> float:
    """Side on the ground, m, of a pixel at a latitude."""
    return float(EQUATOR_M / (size << z) * np.cos(np.radians(lat)))


def lonlat_bounds(grid: Grid, window: Window) -> tuple[float, float, float, float]:
    """West, south, east, north, degrees, around a window; its edges curve, so points along them are looked at."""
    xmin, ymin, xmax, ymax = window.bounds(grid)
    t = np.linspace(0.0, 1.0, 65)
    x = np.concatenate([xmin + t * (xmax - xmin)] * 2 + [np.full(65, xmin), np.full(65, xmax)])
    y = np.concatenate([np.full(65, ymin), np.full(65, ymax)] + [ymin + t * (ymax - ymin)] * 2)
    lon, lat = grid.to_lonlat(x, y)
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


@dataclass(frozen=True, slots=True)
class Mesh:
    """Rows and columns of the grid, as real numbers, at mesh corners of a tile, `step` pixels apart: [n, n] each."""

    rows: Floats
    cols: Floats
    step: int

    def within(self, window: Window, level: int) -> Mesh:
        """The same corners in cells of a pyramid level, counted from the window's north-west corner."""
        scale = 0.5**level
        return Mesh((self.rows - window.row0) * scale, (self.cols - window.col0) * scale, self.step)

    @property
    def size(self) -> tuple[int, int]:
        """Pixels down and across."""
        return (self.rows.shape[0] - 1) * self.step, (self.rows.shape[1] - 1) * self.step


def mesh(grid: Grid, address: TileAddress, near: tuple[float, float, float, float]) -> Mesh | None:
    """The mesh of a tile; None where the tile lies outside `near` (west, south, east, north: see `lonlat_bounds`).

    Corners far from `near` are given as `FAR`: the grid's projection may be wild there.
    The interpolation is off by less than 0.03 pixel at zoom 0, 0.01 from zoom 4 on, 0.004 cells from zoom 8 on.
    """
    west, south, east, north = address.lonlat_bounds()
    if east < near[0] or west > near[2] or north < near[1] or south > near[3]:
        return None
    # a 512 pixel tile is four tiles of the next zoom, and has their mesh
    level = address.z + (address.size > 256)
    step = 16 if level > 5 else 8 if level > 2 else 4
    n = address.size // step
    world = address.size << address.z
    u = (address.x * address.size + np.arange(n + 1) * step) / world
    v = (address.y * address.size + np.arange(n + 1) * step) / world
    lon, lat = lonlat(u, v)
    slack_lon, slack_lat = 2 * (lon[1] - lon[0]), 2 * float(np.max(lat[:-1] - lat[1:]))
    inside_lon = (lon >= near[0] - slack_lon) & (lon <= near[2] + slack_lon)
    inside_lat = (lat >= near[1] - slack_lat) & (lat <= near[3] + slack_lat)
    rows, cols = np.full((n + 1, n + 1), FAR), np.full((n + 1, n + 1), FAR)
    i, j = np.flatnonzero(inside_lat), np.flatnonzero(inside_lon)
    x, y = grid.from_lonlat(np.tile(lon[j], len(i)), np.repeat(lat[i], len(j)))
    found = np.isfinite(x) & np.isfinite(y)
    row = np.where(found, (grid.y0 - y) / grid.size, FAR)
    col = np.where(found, (x - grid.x0) / grid.size, FAR)
    rows[np.ix_(i, j)] = row.reshape(len(i), len(j))
    cols[np.ix_(i, j)] = col.reshape(len(i), len(j))
    return Mesh(rows, cols, step)
