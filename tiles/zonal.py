"""Polygons on the grid: reading and checking them, and the exact fraction of every cell that one covers.

The grid is equal-area, so that a weighted mean needs no more than these fractions. They come from `edges`; those
of very large polygons, and of ones that reach beyond the inputs, from exactextract (Baston 2023,
https://github.com/isciences/exactextract), in 32-bit floats.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from .edges import fractions
from .grid import Grid, Window
from .lru import Lru
from .mercator import lonlat_bounds

Area: TypeAlias = Polygon | MultiPolygon

EDGE_DEGREES = 0.0025
"""Longest edge that is projected as it is: a straight line of 250 m in degrees strays 1 mm from one on the plane."""
MOST_POINTS = 200_000
SPAN_PER_AREA = 20.0
"""A polygon's bounding box may be this many times larger than the largest area."""
CELLS_AT_ONCE = 4_000_000
EDGES_AT_ONCE = 500_000
"""Cells of the largest box that is filled from a polygon's edges: 12 MB."""
TOGETHER = 128
"""Cells on a side of the largest boxes that are cut together."""
SLIVER = 1e-9
"""Fractions of a cell below this are rounding, not land: 0.6 square centimetres of a 250 m cell."""

FLAGS: MappingProxyType[str, str] = MappingProxyType(
    {
        "ring_closed": "A ring did not end where it began; it was closed.",
        "smaller_than_cell": "The polygon is smaller than one cell of the grid; the values are those of its cells.",
        "partly_outside": "Part of the polygon lies outside the inputs; the values are those of the part inside.",
        "partly_masked": "Part of the polygon has no soil, crop or weather inputs; the values are those of the rest.",
    }
)
"""What the flags of a `Coverage` mean."""


class BadGeometry(ValueError):
    """A polygon that cannot be answered.

    code: "invalid-geometry", "wrong-crs", "swapped-coordinates", "outside-cube" or "over-limit".
    members: what a program may want to know: the limit with what was given and allowed, the bounds of the inputs.
    """

    def __init__(self, code: str, sentence: str, **members: object) -> None:
        super().__init__(sentence)
        self.code = code
        self.members = members


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest polygon that is looked at."""

    vertices: int = 50_000
    area_km2: float = 25_000.0


@dataclass(frozen=True)
class Shape:
    """A checked polygon in longitudes and latitudes (WGS 84), with what was mended on the way."""

    geometry: Area
    flags: tuple[str, ...] = ()

    @property
    def vertices(self) -> int:
        return int(shapely.get_num_coordinates(self.geometry))

    @cached_property
    def key(self) -> str:
        """A hash of the coordinates."""
        return hashlib.sha256(shapely.to_wkb(self.geometry)).hexdigest()


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


# --- reading ---------------------------------------------------------------------------------------------------------


def read_shape(source: Mapping[str, Any] | BaseGeometry | Shape, limits: Limits | None = None) -> Shape:
    """A polygon from a GeoJSON Polygon, MultiPolygon, Feature or FeatureCollection of one, or from shapely.

    Raises BadGeometry, cheap reasons first: what it is, its vertices, its coordinates, then its validity.
    """
    if isinstance(source, Shape):
        return source
    limits = limits or Limits()
    if isinstance(source, BaseGeometry):
        return _checked(source, (), limits)
    geometry = _unwrap(source)
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if not isinstance(coordinates, Sequence) or isinstance(coordinates, str):
        raise BadGeometry("invalid-geometry", f"A GeoJSON {kind} needs an array of 'coordinates'; there is none.")
    if not coordinates:
        raise BadGeometry("invalid-geometry", f"The {kind} is empty: it has no coordinates. Give at least one ring.")
    polygons = [coordinates] if kind == "Polygon" else list(coordinates)
    count = sum(len(r) for p in polygons if isinstance(p, Sequence) for r in p if isinstance(r, Sequence))
    _check_vertices(count, limits)
    closed: list[bool] = []
    parts = []
    for polygon in polygons:
        if not isinstance(polygon, Sequence) or not polygon:
            raise BadGeometry("invalid-geometry", "A polygon of the MultiPolygon has no rings. Leave it out.")
        rings = [_ring(ring, closed) for ring in polygon]
        parts.append((rings[0], rings[1:]))
    flags = ("ring_closed",) if any(closed) else ()
    # shapely's classes take ten times as long to make the same
    made: list[Any] = [shapely.polygons(shell, holes or None) for shell, holes in parts]
    return _checked(made[0] if len(made) == 1 else MultiPolygon(made), flags, limits, ranged=True)


def _unwrap(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """The Polygon or MultiPolygon object within a GeoJSON object."""
    if not isinstance(source, Mapping):
        raise BadGeometry(
            "invalid-geometry", f"A polygon is given as a GeoJSON object, not as {type(source).__name__}."
        )
    check_crs(source.get("crs"))
    kind = source.get("type")
    if kind == "FeatureCollection":
        features = source.get("features")
        if not isinstance(features, Sequence) or len(features) != 1:
            n = len(features) if isinstance(features, Sequence) else 0
            raise BadGeometry(
                "invalid-geometry",
                f"The FeatureCollection has {n} features; `geometry` is one polygon. Give many as `features`.",
            )
        return _unwrap(features[0])
    if kind == "Feature":
        inner = source.get("geometry")
        if inner is None:
            raise BadGeometry("invalid-geometry", "The Feature has no geometry. Give it a Polygon or a MultiPolygon.")
        return _unwrap(inner)
    if kind not in ("Polygon", "MultiPolygon"):
        raise BadGeometry(
            "invalid-geometry",
            f"The geometry is of type {kind!r}; an area is asked for. Give a Polygon, a MultiPolygon, or a Feature of "
            f"one (for a single place, a small Polygon around it).",
        )
    return source


def check_crs(crs: Any) -> None:
    """Raise BadGeometry unless a `crs` member of GeoJSON says longitude and latitude, or nothing."""
    if crs is None:
        return
    name = crs.get("properties", {}).get("name") if isinstance(crs, Mapping) else crs
    if isinstance(name, str) and re.search(r"(CRS:?84|EPSG:+(\d+(\.\d+)*:)?4326)$", name.strip(), re.IGNORECASE):
        return
    raise BadGeometry(
        "wrong-crs",
        f"The 'crs' member says {name!r}; GeoJSON is in longitude and latitude of WGS 84 (RFC 7946). "
        f"Reproject the polygon to EPSG:4326, longitude first, and leave 'crs' out.",
    )


def _ring(ring: Any, closed: list[bool]) -> NDArray[np.float64]:
    """[n, 2] a ring's coordinates, closed."""
    try:
        given = np.array([position[:2] for position in ring])
    except (TypeError, ValueError):
        given = np.empty(0)
    if given.ndim != 2 or given.shape[1] != 2 or given.dtype.kind not in "iuf":
        raise BadGeometry(
            "invalid-geometry", "A ring is an array of positions, each [longitude, latitude] as numbers; one is not."
        )
    points = given.astype(np.float64)
    _check_range(points)
    if np.any(points[0] != points[-1]):
        points = np.vstack([points, points[:1]])
        closed.append(True)
    if len(points) < 4:
        raise BadGeometry(
            "invalid-geometry", f"A ring needs at least 3 different corners; one has {max(len(points) - 1, 1)}."
        )
    return points


def _check_vertices(count: int, limits: Limits) -> None:
    if count > limits.vertices:
        raise BadGeometry(
            "over-limit",
            f"The polygon has {count:,} vertices; at most {limits.vertices:,} are accepted. Simplify it: cells are "
            f"250 m wide, so details of a few metres change nothing.",
            limit="vertices",
            given=count,
            allowed=limits.vertices,
        )


def _checked(geometry: BaseGeometry, flags: tuple[str, ...], limits: Limits, ranged: bool = False) -> Shape:
    if not isinstance(geometry, Polygon | MultiPolygon):
        raise BadGeometry(
            "invalid-geometry", f"An area is asked for, a Polygon or MultiPolygon, not {geometry.geom_type}."
        )
    if geometry.is_empty:
        raise BadGeometry("invalid-geometry", f"The {geometry.geom_type} is empty. Give at least one ring.")
    _check_vertices(int(shapely.get_num_coordinates(geometry)), limits)
    if not ranged:
        _check_range(shapely.get_coordinates(geometry))
    if not shapely.is_valid(geometry):
        raise BadGeometry("invalid-geometry", _why_invalid(shapely.is_valid_reason(geometry)))
    if geometry.area == 0:
        raise BadGeometry("invalid-geometry", "The polygon has no area: all its corners lie on a line.")
    return Shape(shapely.force_2d(geometry), flags)


def _check_range(coordinates: NDArray[np.float64]) -> None:
    if not np.all(np.isfinite(coordinates)):
        raise BadGeometry("invalid-geometry", "A coordinate of the polygon is not a finite number.")
    lon, lat = np.abs(coordinates).T
    if lon.max() <= 180 and lat.max() <= 90:
        return
    bad = np.flatnonzero((lon > 180) | (lat > 90))
    x, y = coordinates[bad[0]]
    sentence = (
        f"The corner [{x:.10g}, {y:.10g}] is no place on Earth: longitudes go from -180 to 180, latitudes from -90 to "
        f"90."
    )
    if lon.max() <= 90 and lat.max() <= 180:
        raise BadGeometry(
            "swapped-coordinates", f"{sentence} They look swapped: GeoJSON positions are [longitude, latitude]."
        )
    if max(lon.max(), lat.max()) > 1000:
        raise BadGeometry(
            "wrong-crs", f"{sentence} These look like metres of a map projection: reproject the polygon to EPSG:4326."
        )
    raise BadGeometry("invalid-geometry", f"{sentence} GeoJSON positions are [longitude, latitude] in degrees.")


def _why_invalid(reason: str) -> str:
    """A sentence for GEOS's reason, such as "Self-intersection[-93.5 42.1]"."""
    words, _, place = reason.partition("[")
    at = ""
    numbers = place.rstrip("]").split()
    if len(numbers) >= 2:
        at = f" at longitude {float(numbers[0]):.6f}, latitude {float(numbers[1]):.6f}"
    if "elf-intersection" in words:
        return (
            f"The polygon's outline crosses or touches itself{at}. Draw it again so that its edges meet only at its "
            f"corners, or split it in two."
        )
    meaning = {
        "Hole lies outside shell": "a hole lies outside the outline",
        "Holes are nested": "one hole lies in another",
        "Nested shells": "one part lies in another; draw it as a hole or leave it out",
        "Duplicate Rings": "a ring is there twice",
        "Interior is disconnected": "its holes cut it into pieces",
        "Too few points in geometry component": "a ring has too few different corners",
    }.get(words, words.lower())
    return f"The polygon is not valid{at}: {meaning}."


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
    on_plane = to_cells(dense, grid)
    areas = shapely.area(on_plane) * grid.cell_area_m2
    boxed: list[list[tuple[Area, Window]] | BadGeometry] = []
    for (_, shape), plane, area in zip(shapes, on_plane, areas.tolist(), strict=True):
        try:
            boxed.append(_boxes(shape, plane, area, grid, window, limits))
        except BadGeometry as error:
            boxed.append(error)
    cut = iter(_fractions([part for boxes in boxed if isinstance(boxes, list) for part in boxes]))
    found: list[Coverage | BadGeometry] = []
    for (key, shape), boxes, outline, area in zip(shapes, boxed, dense, areas.tolist(), strict=True):
        if isinstance(boxes, BadGeometry):
            found.append(boxes)
            continue
        cells = _union([next(cut) for _ in boxes], grid)
        try:
            found.append(_covered(key, shape, outline, area, cells, grid, window, mask))
        except BadGeometry as error:
            found.append(error)
    return found


def _boxes(
    shape: Shape, on_plane: Area, area_m2: float, grid: Grid, window: Window, limits: Limits
) -> list[tuple[Area, Window]]:
    """The parts of a polygon that lie in the window, and the cells around each."""
    if math.isfinite(area_m2):
        _check_extent("area", area_m2 / 1e6, limits.area_km2)
    if not np.all(np.isfinite(on_plane.bounds)):
        raise _outside(shape, lonlat_bounds(grid, window))
    boxes = [(part, box) for part in _parts(on_plane) if (box := _box(part, window)) is not None]
    if not boxes:
        raise _outside(shape, lonlat_bounds(grid, window))
    # a thin polygon may span far more than it covers, and the work is that of its span
    span_km2 = sum(box.size for _, box in boxes) * grid.cell_area_m2 / 1e6
    _check_extent("span", span_km2, SPAN_PER_AREA * limits.area_km2)
    return boxes


def _covered(
    key: str,
    shape: Shape,
    dense: Area,
    area_m2: float,
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
        geodesic_area_ha(dense),
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


def to_cells(geometry: Any, grid: Grid) -> Any:
    """A geometry, or an array of them, in longitudes and latitudes, in columns (x) and rows (y, southward) of the grid
    as real numbers.
    """

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = grid.from_lonlat(points[:, 0], points[:, 1])
        return np.column_stack([(x - grid.x0) / grid.size, (grid.y0 - y) / grid.size])

    return shapely.transform(geometry, project)


def geodesic_area_ha(geometry: Area) -> float:
    """Area, ha, of a geometry in longitudes and latitudes on the WGS 84 ellipsoid."""
    area, _ = _wgs84().geometry_area_perimeter(shapely.orient_polygons(geometry))
    return abs(float(area)) / 1e4


@lru_cache(maxsize=1)
def _wgs84() -> Any:
    from pyproj import Geod

    return Geod(ellps="WGS84")


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


def _parts(on_plane: Area) -> list[Area]:
    """The polygon; or the parts of a MultiPolygon that lie far apart, so that the land between them costs nothing."""
    if isinstance(on_plane, Polygon):
        return [on_plane]
    bounds = shapely.bounds(shapely.get_parts(on_plane))
    apart = float(np.sum((bounds[:, 2] - bounds[:, 0] + 1) * (bounds[:, 3] - bounds[:, 1] + 1)))
    x0, y0, x1, y1 = on_plane.bounds
    return list(on_plane.geoms) if (x1 - x0) * (y1 - y0) > 4 * apart + 1000 else [on_plane]


def _box(on_plane: Area, window: Window) -> Window | None:
    """The cells around a geometry in columns and rows, within the window; None where there are none."""
    col0, row0, col1, row1 = on_plane.bounds
    if row1 <= window.row0 or row0 >= window.row1 or col1 <= window.col0 or col0 >= window.col1:
        return None
    return Window(
        max(math.floor(row0), window.row0),
        min(math.floor(row1) + 1, window.row1),
        max(math.floor(col0), window.col0),
        min(math.floor(col1) + 1, window.col1),
    )


Fractions: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _union(parts: list[Fractions], grid: Grid) -> Fractions:
    """Rows, columns and fractions of parts that do not overlap, row by row; parts may share cells."""
    if len(parts) == 1:
        return parts[0]
    cell = np.concatenate([rows * grid.cols + cols for rows, cols, _ in parts])
    cell, which = np.unique(cell, return_inverse=True)
    fraction = np.bincount(which, np.concatenate([part[2] for part in parts]), cell.size)
    return cell // grid.cols, cell % grid.cols, np.minimum(fraction, 1.0)


def _fractions(parts: Sequence[tuple[Area, Window]]) -> list[Fractions]:
    """Rows, columns and covered fractions of the cells of each box; polygons in columns and rows.

    Most are cut by their edges (see `edges`), others by exactextract; those of them that are small, in one pass over a
    raster that is as large as the largest of their boxes: each is moved to its own corner of it, where numbers are
    small and exact, so that company changes no fraction.
    """
    found: list[Fractions] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))] * len(parts)
    rest = []
    for k, (polygon, box) in enumerate(parts):
        if box.size <= EDGES_AT_ONCE and _within(polygon, box):
            found[k] = _by_edges(polygon, box)
        else:
            rest.append(k)
    small = [k for k in rest if max(parts[k][1].shape) <= TOGETHER]
    for group in ([small] if small else []) + [[k] for k in rest if max(parts[k][1].shape) > TOGETHER]:
        for k, cut in zip(group, _cut([parts[k] for k in group]), strict=True):
            found[k] = cut
    return found


def _within(polygon: Area, box: Window) -> bool:
    """Whether all of a polygon in columns and rows lies over the cells of a box."""
    west, north, east, south = polygon.bounds
    return bool(west >= box.col0 and east <= box.col1 and north >= box.row0 and south <= box.row1)


def _by_edges(polygon: Area, box: Window) -> Fractions:
    # Outlines one way, holes the other.
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(polygon)))
    points, of = shapely.get_coordinates(rings, return_index=True)
    points -= (box.col0, box.row0)
    ends = np.append(np.flatnonzero(np.diff(of)) + 1, len(points))
    fraction = fractions(points, ends, *box.shape)
    rows, cols = np.nonzero(fraction > SLIVER)
    return rows + box.row0, cols + box.col0, fraction[rows, cols]


def _cut(parts: Sequence[tuple[Area, Window]]) -> list[Fractions]:
    from exactextract.operation import Operation
    from exactextract.processor import FeatureSequentialProcessor
    from exactextract.raster import NumPyRasterSource

    boxes = [box for _, box in parts]
    height, width = max(box.shape[0] for box in boxes), max(box.shape[1] for box in boxes)
    # exactextract counts rows northward from its lowest y
    polygons = np.array([polygon for polygon, _ in parts], object)
    points, of = shapely.get_coordinates(polygons, return_index=True)
    points[:, 0] -= np.array([box.col0 for box in boxes])[of]
    points[:, 1] = np.array([box.row1 for box in boxes])[of] - points[:, 1]
    local = shapely.to_wkb(shapely.set_coordinates(polygons.copy(), points))
    raster = NumPyRasterSource(np.broadcast_to(np.zeros(1, np.uint8), (height, width)), 0, 0, width, height)
    # The processor keeps bare pointers to these: they must outlive it
    source, writer = _exactextract_ends()
    features, result = source(local), writer()
    operations = [Operation("cell_id", "cell", raster), Operation("coverage", "fraction", raster)]
    processor = FeatureSequentialProcessor(features, result, operations)
    processor.set_max_cells_in_memory(CELLS_AT_ONCE)
    processor.process()
    found = []
    for box, cut in zip(boxes, result.features, strict=True):
        cell = np.asarray(cut.get("cell"), np.int64)
        fraction = np.minimum(np.asarray(cut.get("fraction"), np.float64), 1.0)
        rows, cols = cell // width + box.row1 - height, cell % width + box.col0
        # What the raster holds beyond this box lies outside the window
        real = (fraction > SLIVER) & (rows >= box.row0) & (cols < box.col1)
        rows, cols, fraction = rows[real], cols[real], fraction[real]
        order = np.argsort((rows - box.row0) * box.shape[1] + cols - box.col0, kind="stable")
        found.append((rows[order], cols[order], fraction[order]))
    return found


@lru_cache(maxsize=1)
def _exactextract_ends() -> tuple[Any, Any]:
    """Where exactextract reads polygons from and writes its results to: WKB in, arrays out, no GeoJSON between."""
    from exactextract.feature import FeatureSource, JSONFeature
    from exactextract.writer import Writer

    class Wkb(JSONFeature):  # type: ignore[misc]
        def __init__(self, wkb: bytes) -> None:
            super().__init__()
            self.wkb = wkb

        def geometry(self) -> bytes:
            return self.wkb

        def set_geometry_format(self) -> str:
            return "wkb"

    class All(FeatureSource):  # type: ignore[misc]
        def __init__(self, wkbs: Sequence[bytes]) -> None:
            super().__init__()
            self.features = [Wkb(wkb) for wkb in wkbs]

        def count(self) -> int:
            return len(self.features)

        def __iter__(self) -> Any:
            yield from self.features

        def srs_wkt(self) -> None:
            return None

    class Keep(Writer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.features: list[Any] = []

        def add_operation(self, operation: Any) -> None:
            pass

        def write(self, feature: Any) -> None:
            kept = JSONFeature()
            feature.copy_to(kept)
            self.features.append(kept)

    return All, Keep
