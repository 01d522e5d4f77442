"""Polygons as they are given: GeoJSON or shapely in longitudes and latitudes, read, and refused with a sentence."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

Area: TypeAlias = Polygon | MultiPolygon


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
    parts: list[tuple[Any, list[Any]]] = []
    for polygon in polygons:
        if not isinstance(polygon, Sequence) or not polygon:
            raise BadGeometry("invalid-geometry", "A polygon of the MultiPolygon has no rings. Leave it out.")
        rings = [_ring(ring, closed) for ring in polygon]
        parts.append((rings[0], rings[1:]))
    flags = ("ring_closed",) if any(closed) else ()
    # shapely's classes take ten times as long to make the same
    # Holes may differ in their numbers of corners, and are no array then.
    made: list[Any] = [Polygon(shell, holes) if holes else shapely.polygons(shell) for shell, holes in parts]
    return _checked(made[0] if len(made) == 1 else MultiPolygon(made), flags, limits, ranged=True)


def _unwrap(source: Any) -> Mapping[str, Any]:
    """The Polygon or MultiPolygon object within a GeoJSON object."""
    while True:
        if not isinstance(source, Mapping):
            raise BadGeometry(
                "invalid-geometry",
                'A polygon is given as a GeoJSON object, {"type": "Polygon", "coordinates": …}; given: '
                f"{repr(source)[:60]}.",
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
            source = features[0]
        elif kind == "Feature":
            source = source.get("geometry")
            if source is None:
                raise BadGeometry(
                    "invalid-geometry", "The Feature has no geometry. Give it a Polygon or a MultiPolygon."
                )
        elif kind in ("Polygon", "MultiPolygon"):
            return source
        else:
            what = f"is of type {kind!r}" if "type" in source else "has no `type`"
            raise BadGeometry(
                "invalid-geometry",
                f"The geometry {what}; an area is asked for. Give a Polygon, a MultiPolygon, or a Feature of one (for "
                "a single place, a small Polygon around it).",
            )


def check_crs(crs: Any) -> None:
    """Raise BadGeometry unless a `crs` member of GeoJSON says longitude and latitude, or nothing."""
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else crs
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
            "invalid-geometry",
            "A ring is an array of positions, each [longitude, latitude] as numbers, as in [-93.65, 42.03]; given: "
            f"{_first_wrong(ring)}.",
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


def _first_wrong(ring: Any) -> str:
    """The first thing in a ring that is no position, to be shown."""
    if isinstance(ring, Sequence) and not isinstance(ring, str):
        if not ring:
            return "an empty array"
        ring = next((p for p in ring if not _is_position(p)), ring)
    return repr(ring)[:60]


def _is_position(given: Any) -> bool:
    return (
        isinstance(given, Sequence)
        and len(given) >= 2
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in given[:2])
    )


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
