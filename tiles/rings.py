"""Outlines of polygons as rings of points, many of them one behind the other: what areas and fractions are worked
out from without a look at geometries one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numba
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
        if np.size(geometries) == 1 and (simple := _simple(np.ravel(geometries)[0])) is not None:
            return simple
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

    def measured(self) -> tuple[Floats, Floats]:
        """Of each ring, [r] the area inside, negative where it runs clockwise, with y upward; and [r, 4] its least x
        and y, and its greatest: x0, y0, x1, y1."""
        found: tuple[Floats, Floats] = _measured(self.points, self.first)
        return found

    def geodesic_ha(self, a: int, b: int) -> float:
        """Area of land of rings a to b on the WGS 84 ellipsoid, of rings in longitudes and latitudes."""
        area, land = _wgs84().polygon_area_perimeter, 0.0
        for ring in range(a, b):
            lon, lat = self.points[self.first[ring] : self.first[ring + 1]].T
            land += (-1.0 if self.hole[ring] else 1.0) * abs(area(lon, lat)[0])
        return land / 1e4


def _simple(geometry: Any) -> Rings | None:
    """A polygon without holes, as most fields are: what is known of its rings need not be found out."""
    if geometry.geom_type != "Polygon" or shapely.get_num_interior_rings(geometry):
        return None
    points, none = shapely.get_coordinates(geometry), np.zeros(1, np.int64)
    return Rings(points, np.array([0, len(points)]), np.zeros(1, bool), none, none)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _measured(points: Any, first: Any) -> Any:
    n = first.size - 1
    areas, bounds = np.zeros(n), np.empty((n, 4))
    for ring in range(n):
        a, b = first[ring], first[ring + 1]
        # From the first corner: what is far from zero would lose digits.
        x0, y0, doubled = points[a, 0], points[a, 1], 0.0
        bounds[ring] = np.array([x0, y0, x0, y0])
        for k in range(a, b):
            x, y = points[k, 0], points[k, 1]
            # A corner that is no number stays one: it is refused.
            bounds[ring, 0] = x if not x >= bounds[ring, 0] else bounds[ring, 0]
            bounds[ring, 1] = y if not y >= bounds[ring, 1] else bounds[ring, 1]
            bounds[ring, 2] = x if not x <= bounds[ring, 2] else bounds[ring, 2]
            bounds[ring, 3] = y if not y <= bounds[ring, 3] else bounds[ring, 3]
            if k + 1 < b:
                doubled += (x - x0) * (points[k + 1, 1] - y0) - (points[k + 1, 0] - x0) * (y - y0)
        areas[ring] = 0.5 * doubled
    return areas, bounds


def to_cells(points: Floats, grid: Grid) -> Floats:
    """[n, 2] columns and rows of the grid, as real numbers, of longitudes and latitudes; inf where there are none."""
    x, y = grid.from_lonlat(points[:, 0], points[:, 1])
    return np.column_stack([(x - grid.x0) / grid.size, (grid.y0 - y) / grid.size])


@lru_cache(maxsize=1)
def _wgs84() -> Any:
    from pyproj import Geod

    return Geod(ellps="WGS84")
