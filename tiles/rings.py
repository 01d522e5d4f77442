"""Outlines of polygons as rings of points, many of them one behind the other: what areas and fractions are worked
out from without a look at geometries one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from .grid import Grid

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rings:
    """Closed rings, polygon after polygon.

    points: [n, 2]. first: [r + 1] the first point of each ring, and behind the last. hole: [r] whether a ring runs
    around a hole. of, part: [r] which of the geometries it belongs to, and which of all their simple polygons.
    """

    points: Floats
    first: NDArray[np.int64]
    hole: NDArray[np.bool_]
    of: NDArray[np.int64]
    part: NDArray[np.int64]

    @classmethod
    def around(cls, geometries: Any) -> Rings:
        """Of one polygon or multipolygon, or of an array of them."""
        parts, of = shapely.get_parts(geometries, return_index=True)
        rings, part = shapely.get_rings(parts, return_index=True)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        first = np.searchsorted(ring, np.arange(len(rings) + 1))
        # The outer one comes first.
        hole = np.concatenate([[False], part[1:] == part[:-1]])[: len(part)]
        return cls(points, first, hole, of[part], part)

    def on(self, grid: Grid) -> Rings:
        """The same in columns (x) and rows (y, southward) of the grid, of rings in longitudes and latitudes."""
        return Rings(to_cells(self.points, grid), self.first, self.hole, self.of, self.part)

    def areas(self) -> Floats:
        """[r] area inside each, negative where it runs clockwise, with y upward."""
        x, y = (self.points - np.repeat(self.points[self.first[:-1]], np.diff(self.first), axis=0)).T
        # The product across two rings is with a first point, which is 0.
        each = np.append(x[:-1] * y[1:] - x[1:] * y[:-1], 0.0)
        return np.asarray(0.5 * np.add.reduceat(each, self.first[:-1]))

    def bounds(self) -> Floats:
        """[r, 4] least and greatest x and y: x0, y0, x1, y1."""
        ends = (np.minimum.reduceat(self.points, self.first[:-1]), np.maximum.reduceat(self.points, self.first[:-1]))
        return np.concatenate(ends, axis=1)

    def geodesic_ha(self, a: int, b: int) -> float:
        """Area of land of rings a to b on the WGS 84 ellipsoid, of rings in longitudes and latitudes."""
        area, land = _wgs84().polygon_area_perimeter, 0.0
        for ring in range(a, b):
            lon, lat = self.points[self.first[ring] : self.first[ring + 1]].T
            land += (-1.0 if self.hole[ring] else 1.0) * abs(area(lon, lat)[0])
        return land / 1e4


def to_cells(points: Floats, grid: Grid) -> Floats:
    """[n, 2] columns and rows of the grid, as real numbers, of longitudes and latitudes; inf where there are none."""
    x, y = grid.from_lonlat(points[:, 0], points[:, 1])
    return np.column_stack([(x - grid.x0) / grid.size, (grid.y0 - y) / grid.size])


@lru_cache(maxsize=1)
def _wgs84() -> Any:
    from pyproj import Geod

    return Geod(ellps="WGS84")
