"""Geometries at the door: GeoJSON in; out, a valid polygon in longitude and latitude, or a sentence on what is off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import shapely
from pyproj import Geod
from shapely.geometry import MultiPolygon, Polygon

from .problems import Refused
from .settings import Limits

Bounds = tuple[float, float, float, float]

_WGS84 = ("CRS84", "EPSG::4326", "EPSG:4326", "OGC:CRS84", "WGS84", "WGS 84")


def read_geometry(given: Mapping[str, Any], limits: Limits) -> Polygon | MultiPolygon:
    """The polygon of a GeoJSON Polygon, MultiPolygon, Feature, or collection of one feature.

    Raises Refused: wrong-crs, over-limit, swapped-coordinates, invalid-geometry.
    """
    _check_crs(given)
    geometry = _unwrap(given)
    kind = geometry.get("type")
    if kind not in ("Polygon", "MultiPolygon"):
        raise Refused(
            "invalid-geometry",
            f"The geometry is a {kind!r}; a Polygon or a MultiPolygon is needed. "
            + (
                "Draw a small polygon around the point."
                if kind in ("Point", "MultiPoint")
                else "Send the field's outline."
            ),
        )
    rings = _rings(geometry.get("coordinates"), kind)
    vertices = sum(len(ring) for part in rings for ring in part)
    if vertices > limits.vertices:
        raise _over("vertices", vertices, limits.vertices, "Simplify the geometry: cells are 250 m wide.")
    for part in rings:
        for ring in part:
            _check_ring(ring)
    try:
        parts = [Polygon(part[0], part[1:]) for part in rings]
    except (ValueError, TypeError, shapely.GEOSException) as error:
        raise Refused("invalid-geometry", f"The geometry is not a polygon: {error}.") from None
    polygon = parts[0] if kind == "Polygon" else MultiPolygon(parts)
    if not polygon.is_valid:
        raise Refused("invalid-geometry", _why_invalid(polygon))
    if polygon.is_empty or polygon.area == 0.0:
        raise Refused("invalid-geometry", "The geometry encloses no area: its positions lie on one line.")
    hectares = geodesic_ha(polygon)
    if hectares > limits.area_ha:
        raise _over("area_ha", round(hectares, 1), limits.area_ha, "Ask for parts of it, or for a county at a time.")
    return polygon


def check_inside(polygon: Polygon | MultiPolygon, bounds: Bounds, cube: str) -> None:
    """Raise Refused unless the polygon touches the cube's bounds (west, south, east, north)."""
    west, south, east, north = polygon.bounds
    if _overlap((west, south, east, north), bounds):
        return
    where = f"longitude {bounds[0]:.3f} to {bounds[2]:.3f}, latitude {bounds[1]:.3f} to {bounds[3]:.3f}"
    if _overlap((south, west, north, east), bounds):
        raise Refused(
            "swapped-coordinates",
            f"The geometry lies around longitude {west:.3f}, latitude {south:.3f}; swapped, it would lie in the cube "
            f"'{cube}' ({where}). GeoJSON positions are [longitude, latitude].",
        )
    raise Refused(
        "outside-cube",
        f"The geometry (longitude {west:.3f} to {east:.3f}, latitude {south:.3f} to {north:.3f}) lies outside the cube "
        f"'{cube}', which covers {where}. GET /v1/cubes lists the cubes.",
        bounds=list(bounds),
    )


def geodesic_ha(polygon: Polygon | MultiPolygon) -> float:
    """Area on the WGS 84 ellipsoid, ha; whatever way round the rings go."""
    area, _ = _geod().geometry_area_perimeter(shapely.orient_polygons(polygon))
    return abs(float(area)) / 10_000.0


@cache
def _geod() -> Geod:
    return Geod(ellps="WGS84")


def _over(limit: str, given: float, allowed: float, advice: str) -> Refused:
    names = {"vertices": "vertices", "area_ha": "ha"}
    return Refused(
        "over-limit",
        f"The geometry has {given:,} {names[limit]}; this server takes {allowed:,}. {advice}",
        limit=limit,
        given=given,
        allowed=allowed,
    )


def _check_crs(given: Mapping[str, Any]) -> None:
    for part in (given, given.get("geometry")):
        crs = part.get("crs") if isinstance(part, Mapping) else None
        if crs is None:
            continue
        properties = crs.get("properties") if isinstance(crs, Mapping) else None
        name = str(properties.get("name", crs) if isinstance(properties, Mapping) else crs)
        if not name.upper().endswith(_WGS84):
            raise Refused(
                "wrong-crs",
                f"The geometry's crs is '{name[:80]}'; only WGS 84 longitude and latitude is taken (RFC 7946). "
                "Transform the geometry to it, and leave the crs member out.",
            )


def _unwrap(given: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = given
    if found.get("type") == "FeatureCollection":
        features = found.get("features")
        if not isinstance(features, list) or len(features) != 1:
            count = len(features) if isinstance(features, list) else 0
            raise Refused("invalid-geometry", f"The collection has {count} features; send one at a time.")
        found = features[0]
    if isinstance(found, Mapping) and found.get("type") == "Feature":
        found = found.get("geometry")
    if not isinstance(found, Mapping):
        raise Refused("invalid-geometry", "The feature has no geometry.")
    return found


def _rings(coordinates: Any, kind: str) -> list[list[list[Any]]]:
    parts = [coordinates] if kind == "Polygon" else coordinates
    shaped = (
        isinstance(parts, list)
        and len(parts) > 0
        and all(isinstance(part, list) and part and all(isinstance(ring, list) for ring in part) for part in parts)
    )
    if not shaped:
        raise Refused(
            "invalid-geometry",
            f"The coordinates of a {kind} are "
            + ("a list of rings" if kind == "Polygon" else "a list of polygons, each a list of rings")
            + ", each a list of [longitude, latitude]; something else was given.",
        )
    return list(parts)


def _check_ring(ring: Sequence[Any]) -> None:
    for position in ring:
        if not (
            isinstance(position, list)
            and len(position) >= 2
            and all(isinstance(v, int | float) and not isinstance(v, bool) for v in position[:2])
        ):
            raise Refused("invalid-geometry", f"A position is [longitude, latitude]; given: {str(position)[:60]}.")
        x, y = position[0], position[1]
        if not (math.isfinite(x) and math.isfinite(y)):
            raise Refused("invalid-geometry", f"A position is not a finite number: {position}.")
        if abs(y) > 90.0 and abs(x) <= 90.0 and abs(y) <= 180.0:
            raise Refused(
                "swapped-coordinates",
                f"The position [{x}, {y}] has latitude {y}, which is beyond 90 degrees: longitude and latitude look "
                "swapped. GeoJSON positions are [longitude, latitude].",
            )
        if abs(x) > 180.0 or abs(y) > 90.0:
            raise Refused(
                "wrong-crs",
                f"The position [{x}, {y}] is no longitude (-180 to 180) and latitude (-90 to 90) in degrees. "
                "Transform the geometry to WGS 84.",
            )
    if len(ring) < 4:
        raise Refused(
            "invalid-geometry", f"A ring needs four positions or more, the last one like the first; {len(ring)} given."
        )
    if ring[0][:2] != ring[-1][:2]:
        raise Refused("invalid-geometry", f"A ring is not closed: it starts at {ring[0]} and ends at {ring[-1]}.")


def _why_invalid(polygon: Polygon | MultiPolygon) -> str:
    reason = shapely.is_valid_reason(polygon)
    what, _, where = reason.partition("[")
    place = f" at [{where.rstrip(']').replace(' ', ', ')}]" if where else ""
    if "self-intersection" in what.lower():
        return f"The polygon crosses itself{place}. Draw its outline without crossings."
    return f"The polygon is not valid: {what.strip().lower()}{place}."


def _overlap(a: Bounds, b: Bounds) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
