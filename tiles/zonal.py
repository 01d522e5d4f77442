"""Polygons on the grid: the exact fraction of every cell that one covers.

The grid is equal-area, so that a weighted mean needs no more than these fractions. They come from `edges`; those
of very large polygons, and of ones that reach beyond the inputs, from exactextract (Baston 2023,
https://github.com/isciences/exactextract), in 32-bit floats.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from .cutting import Fractions, cut
from .edges import covered_cells
from .grid import Grid, Window
from .lru import Lru
from .mercator import lonlat_bounds
from .rings import Rings, to_cells
from .shape import Area, BadGeometry, Limits, Shape, read_shape

__all__ = [
    "FLAGS",
    "Area",
    "BadGeometry",
    "Coverage",
    "Limits",
    "Shape",
    "cell_polygon",
    "coverage",
    "coverage_key",
    "coverages",
    "geodesic_area_ha",
    "read_shape",
]

EDGE_DEGREES = 0.0025
"""Longest edge that is projected as it is: a straight line of 250 m in degrees strays 1 mm from one on the plane."""
MOST_POINTS = 200_000
SPAN_PER_AREA = 20.0
"""A polygon's bounding box may be this many times larger than the largest area."""
EDGES_AT_ONCE = 500_000
"""Cells of the largest box that is filled from a polygon's edges: 12 MB."""
TOGETHER = 128
"""Cells on a side of the largest boxes that are cut together."""

FLAGS: MappingProxyType[str, str] = MappingProxyType(
    {
        "ring_closed": "A ring did not end where it began; it was closed.",
        "smaller_than_cell": "The polygon is smaller than one cell of the grid; the values are those of its cells.",
        "partly_outside": "Part of the polygon lies outside the inputs; the values are those of the part inside.",
        "partly_masked": "Part of the polygon has no soil, crop or weather inputs; the values are those of the rest.",
    }
)
"""What the flags of a `Coverage` mean."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The cells that a polygon covers and that have inputs.

    rows, cols, fraction: [C] absolute cells, and how much of each is covered, 0 to 1, row by row.
    area_m2: of the whole polygon on the plane of the grid; inside_m2: of its part in the window;
    covered_m2: of its part over cells with inputs, `fraction.sum()` cells.
    geodesic_area_ha: of the whole polygon on the WGS 84 ellipsoid.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    fraction: NDArray[np.float64]
    cell_area_m2: float
    area_m2: float
    inside_m2: float
    covered_m2: float
    geodesic_area_ha: float
    flags: tuple[str, ...] = ()
    key: str = ""

    @property
    def cells(self) -> int:
        return int(self.rows.size)

    @property
    def effective_cells(self) -> float:
        """Covered area in cells."""
        return self.covered_m2 / self.cell_area_m2

    @property
    def inside_fraction(self) -> float:
        """Share of the polygon that lies in the window."""
        return self.inside_m2 / self.area_m2

    @property
    def covered_fraction(self) -> float:
        """Share of the polygon that lies over cells with inputs."""
        return self.covered_m2 / self.area_m2

    @property
    def window(self) -> Window:
        """The smallest window that holds all its cells."""
        return Window(int(self.rows.min()), int(self.rows.max()) + 1, int(self.cols.min()), int(self.cols.max()) + 1)

    @property
    def nbytes(self) -> int:
        return int(self.rows.nbytes + self.cols.nbytes + self.fraction.nbytes) + 200


# --- coverage --------------------------------------------------------------------------------------------------------


def coverage(
    geometry: Mapping[str, Any] | BaseGeometry | Shape,
    grid: Grid,
    window: Window,
    mask: NDArray[np.bool_] | None = None,
    *,
    limits: Limits | None = None,
    memory: Lru | None = None,
    place: str = "",
) -> Coverage:
    """The cells of `window` that a polygon in longitudes and latitudes covers, with exact fractions.

    mask: [rows, cols] of the window, the cells that have inputs; without one, all.
    memory: keeps coverages; place: what tells apart windows and masks in it, such as the cube's hash.

    Raises BadGeometry, with code "outside" where no cell with inputs is covered.
    """
    limits = limits or Limits()
    shape = read_shape(geometry, limits)
    found = coverages([shape], grid, window, mask, limits=limits, memory=memory, place=place)[0]
    if isinstance(found, BadGeometry):
        raise found
    return found


def coverages(
    shapes: Sequence[Shape],
    grid: Grid,
    window: Window,
    mask: NDArray[np.bool_] | None = None,
    *,
    limits: Limits | None = None,
    memory: Lru | None = None,
    place: str = "",
) -> list[Coverage | BadGeometry]:
    """As `coverage`, of many polygons together, which is several times faster; one that cannot be is its error."""
    limits = limits or Limits()
    if mask is not None and mask.shape != window.shape:
        raise ValueError(f"The mask has {mask.shape} cells, its window {window.shape}.")
    keys = [shape.key for shape in shapes]
    found: dict[str, Coverage | BadGeometry] = {}
    new: dict[str, Shape] = {}
    for key, shape in zip(keys, shapes, strict=True):
        if key in found or key in new:
            continue
        kept = None if memory is None else memory.find(coverage_key(key, grid, window, place, limits))
        if kept is None:
            new[key] = shape
        else:
            found[key] = kept
    for key, made in zip(new, _coverages(list(new.items()), grid, window, mask, limits), strict=True):
        found[key] = made
        if memory is not None and isinstance(made, Coverage):
            memory.put(coverage_key(key, grid, window, place, limits), made, made.nbytes)
    return [_of_shape(found[key], shape) for key, shape in zip(keys, shapes, strict=True)]


def coverage_key(key: str, grid: Grid, window: Window, place: str, limits: Limits) -> Hashable:
    """Under what a memory keeps the coverage of the shape of that key: for callers who kept it elsewhere."""
    return ("coverage", key, grid, window, place, limits)


def _of_shape(found: Coverage | BadGeometry, shape: Shape) -> Coverage | BadGeometry:
    # what was mended belongs to the question, not to the geometry
    if isinstance(found, BadGeometry) or not shape.flags:
        return found
    return replace(found, flags=(*shape.flags, *found.flags))


def _coverages(
    shapes: Sequence[tuple[str, Shape]], grid: Grid, window: Window, mask: NDArray[np.bool_] | None, limits: Limits
) -> list[Coverage | BadGeometry]:
    if not shapes:
        return []
    given = np.array([shape.geometry for _, shape in shapes], object)
    # an outline that zigzags over half the Earth must not become millions of points before it is refused
    dense = shapely.segmentize(given, np.maximum(EDGE_DEGREES, shapely.length(given) / MOST_POINTS))
    around = Rings.around(dense)
    plane = around.on(grid)
    # Where there is no projection, these are no numbers.
    areas, bounds = plane.measured()
    # Land lies right of an outline, left of a hole, or the other way round.
    inward = np.where(plane.hole, -1.0, 1.0) * np.sign(areas)
    land = np.where(plane.hole, -1.0, 1.0) * np.abs(areas) * grid.cell_area_m2
    first = np.searchsorted(around.of, np.arange(len(shapes) + 1)).tolist()
    of_shape = [(*shape, float(land[a:b].sum()), a, b) for shape, (a, b) in zip(shapes, pairwise(first), strict=True)]
    pieces: list[list[_Piece] | BadGeometry] = []
    for _, shape, area, a, b in of_shape:
        try:
            pieces.append(_pieces(shape, area, plane.part[a:b], bounds[a:b], a, grid, window, limits))
        except BadGeometry as error:
            pieces.append(error)
    cut = iter(_fractions([p for some in pieces if isinstance(some, list) for p in some], plane, inward, dense, grid))
    found: list[Coverage | BadGeometry] = []
    for (key, shape, area, a, b), some in zip(of_shape, pieces, strict=True):
        if isinstance(some, BadGeometry):
            found.append(some)
            continue
        cells = _union([next(cut) for _ in some], grid)
        try:
            found.append(_covered(key, shape, area, around.geodesic_ha(a, b), cells, grid, window, mask))
        except BadGeometry as error:
            found.append(error)
    return found


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rings first to last of all those looked at, the cells around them, and whether they lie within these."""

    first: int
    last: int
    box: Window
    within: bool


def _pieces(
    shape: Shape,
    area_m2: float,
    part: NDArray[np.int64],
    bounds: NDArray[np.float64],
    first: int,
    grid: Grid,
    window: Window,
    limits: Limits,
) -> list[_Piece]:
    """The polygon, in its parts where these lie far apart; those in the window. part, bounds: of its rings."""
    if math.isfinite(area_m2):
        _check_extent("area", area_m2 / 1e6, limits.area_km2)
    if not np.isfinite(bounds).all():
        raise _outside(shape, lonlat_bounds(grid, window))
    found = []
    for a, b in _apart(part, bounds):
        (x0, y0), (x1, y1) = bounds[a:b, :2].min(axis=0).tolist(), bounds[a:b, 2:].max(axis=0).tolist()
        box = _box(x0, y0, x1, y1, window)
        if box is not None:
            within = x0 >= box.col0 and x1 <= box.col1 and y0 >= box.row0 and y1 <= box.row1
            found.append(_Piece(first + a, first + b, box, within))
    if not found:
        raise _outside(shape, lonlat_bounds(grid, window))
    # a thin polygon may span far more than it covers, and the work is that of its span
    span_km2 = sum(piece.box.size for piece in found) * grid.cell_area_m2 / 1e6
    _check_extent("span", span_km2, SPAN_PER_AREA * limits.area_km2)
    return found


def _apart(part: NDArray[np.int64], bounds: NDArray[np.float64]) -> list[tuple[int, int]]:
    """First and last ring of the whole; or of each simple polygon, where these lie far apart, so that the land between
    them costs nothing."""
    if part[0] == part[-1]:
        return [(0, part.size)]
    # An outline comes before its holes, which lie within it.
    start = np.flatnonzero(np.append(True, part[1:] != part[:-1]))
    outer = bounds[start]
    apart = float(np.sum((outer[:, 2] - outer[:, 0] + 1) * (outer[:, 3] - outer[:, 1] + 1)))
    (x0, y0), (x1, y1) = outer[:, :2].min(axis=0), outer[:, 2:].max(axis=0)
    if (x1 - x0) * (y1 - y0) <= 4 * apart + 1000:
        return [(0, part.size)]
    return list(pairwise([*start.tolist(), part.size]))


def _covered(
    key: str,
    shape: Shape,
    area_m2: float,
    area_ha: float,
    cells: Fractions,
    grid: Grid,
    window: Window,
    mask: NDArray[np.bool_] | None,
) -> Coverage:
    rows, cols, fraction = _binary(*cells)
    inside_m2 = float(fraction.sum()) * grid.cell_area_m2
    flags: list[str] = []
    if mask is not None:
        kept = mask[rows - window.row0, cols - window.col0]
        rows, cols, fraction = rows[kept], cols[kept], fraction[kept]
    covered_m2 = float(fraction.sum()) * grid.cell_area_m2
    if not rows.size:
        if inside_m2 == 0:
            raise _outside(shape, lonlat_bounds(grid, window))
        raise BadGeometry(
            "outside-cube",
            "None of the cells under the polygon has soil, crop and weather inputs (water or built-up land, perhaps). "
            "Move it onto farm land.",
        )
    # an outline of one cell (`cell_polygon`) is drawn in a little
    if area_m2 < grid.cell_area_m2 * (1 - 1e-3):
        flags.append("smaller_than_cell")
    # a polygon on the very edge of the window is inside up to rounding
    if inside_m2 < area_m2 * (1 - 1e-7):
        flags.append("partly_outside")
    if covered_m2 < inside_m2 * (1 - 1e-7):
        flags.append("partly_masked")
    for array in (rows, cols, fraction):
        array.flags.writeable = False
    return Coverage(
        rows,
        cols,
        fraction,
        grid.cell_area_m2,
        area_m2,
        inside_m2,
        covered_m2,
        area_ha,
        tuple(flags),
        key,
    )


def _binary(rows: NDArray[np.int64], cols: NDArray[np.int64], fraction: NDArray[np.float64]) -> Fractions:
    """Fractions as multiples of a power of two, so that sums of them times 16-bit counts are exact in 64-bit floats.

    2**-24, the precision they are cut with, or finer where a polygon has so few cells that sums are exact all the same.
    """
    step = 2.0 ** -min(max(53 - 15 - math.ceil(math.log2(rows.size + 1)), 24), 36)
    fraction = np.rint(fraction / step) * step
    some = fraction > 0
    return rows[some], cols[some], fraction[some]


def geodesic_area_ha(geometry: Area) -> float:
    """Area, ha, of a geometry in longitudes and latitudes on the WGS 84 ellipsoid."""
    rings = Rings.around(geometry)
    return rings.geodesic_ha(0, rings.hole.size)


def cell_polygon(grid: Grid, lon: float, lat: float) -> Polygon:
    """The outline, in longitudes and latitudes, of the cell at a point; for a click on the map.

    It is drawn in by a ten-thousandth, so that its edges, bent by the projection, cover no sliver of the neighbours.
    """
    x, y = grid.from_lonlat(lon, lat)
    row, col = grid.cell_at(x, y)
    xc, yc = grid.centres(row, col)
    half = grid.size * (0.5 - 0.5e-4)
    corners = np.array([(-half, half), (half, half), (half, -half), (-half, -half)])
    lons, lats = grid.to_lonlat(float(xc) + corners[:, 0], float(yc) + corners[:, 1])
    return Polygon(np.column_stack([lons, lats]))


def _outside(shape: Shape, near: tuple[float, float, float, float]) -> BadGeometry:
    """The error of a polygon that does not meet the inputs, `near`: west, south, east, north."""
    west, south, east, north = near
    a = shape.geometry.bounds
    sentence = (
        f"The polygon (longitude {a[0]:.4f} to {a[2]:.4f}, latitude {a[1]:.4f} to {a[3]:.4f}) lies outside the inputs, "
        f"which cover longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}."
    )
    if a[0] < north and a[2] > south and a[1] < east and a[3] > west:
        return BadGeometry(
            "swapped-coordinates",
            f"{sentence} With longitude and latitude swapped it would be inside: GeoJSON positions are "
            f"[longitude, latitude].",
            bounds=list(near),
        )
    return BadGeometry(
        "outside-cube", f"{sentence} Choose a place inside, or build a cube that covers this one.", bounds=list(near)
    )


def _check_extent(what: str, given_km2: float, allowed_km2: float) -> None:
    if given_km2 <= allowed_km2:
        return
    verb = "covers" if what == "area" else "spans"
    raise BadGeometry(
        "over-limit",
        f"The polygon {verb} {given_km2:,.0f} km2; at most {allowed_km2:,.0f} km2 are answered at once. "
        f"Split it, or run the region.",
        limit=f"{what}_km2",
        given=round(given_km2, 1),
        allowed=allowed_km2,
    )


def _box(x0: float, y0: float, x1: float, y1: float, window: Window) -> Window | None:
    """The cells around columns x0 to x1 and rows y0 to y1, within the window; None where there are none."""
    if y1 <= window.row0 or y0 >= window.row1 or x1 <= window.col0 or x0 >= window.col1:
        return None
    return Window(
        max(math.floor(y0), window.row0),
        min(math.floor(y1) + 1, window.row1),
        max(math.floor(x0), window.col0),
        min(math.floor(x1) + 1, window.col1),
    )


def _union(parts: list[Fractions], grid: Grid) -> Fractions:
    """Rows, columns and fractions of parts that do not overlap, row by row; parts may share cells."""
    if len(parts) == 1:
        return parts[0]
    cell = np.concatenate([rows * grid.cols + cols for rows, cols, _ in parts])
    cell, which = np.unique(cell, return_inverse=True)
    fraction = np.bincount(which, np.concatenate([part[2] for part in parts]), cell.size)
    return cell // grid.cols, cell % grid.cols, np.minimum(fraction, 1.0)


def _fractions(
    pieces: Sequence[_Piece], plane: Rings, inward: NDArray[np.float64], dense: NDArray[Any], grid: Grid
) -> list[Fractions]:
    """Rows, columns and covered fractions of the cells of each piece: of most by their edges (see `edges`), of the
    others by exactextract; of those that are small, in one pass."""
    found: list[Fractions] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))] * len(pieces)
    rest = []
    for k, piece in enumerate(pieces):
        if piece.within and piece.box.size <= EDGES_AT_ONCE:
            a, b = piece.first, piece.last
            found[k] = covered_cells(plane.points, plane.first[a : b + 1], inward[a:b], piece.box)
        else:
            rest.append(k)
    small = [k for k in rest if max(pieces[k].box.shape) <= TOGETHER]
    for group in ([small] if small else []) + [[k] for k in rest if max(pieces[k].box.shape) > TOGETHER]:
        parts = [(_on_plane(pieces[k], plane, dense, grid), pieces[k].box) for k in group]
        for k, of in zip(group, cut(parts), strict=True):
            found[k] = of
    return found


def _on_plane(piece: _Piece, plane: Rings, dense: NDArray[Any], grid: Grid) -> Area:
    """The polygons of a piece in columns and rows."""
    whole = dense[plane.of[piece.first]]
    first = int(np.searchsorted(plane.of, plane.of[piece.first]))
    parts = shapely.get_parts(whole)[np.unique(plane.part[piece.first : piece.last] - plane.part[first])]
    geometry = parts[0] if len(parts) == 1 else MultiPolygon(list(parts))
    return shapely.transform(geometry, lambda points: to_cells(points, grid))
