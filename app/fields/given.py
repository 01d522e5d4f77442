"""Fields as they are sent: GeoJSON, checked one by one, so that a bad one tells why and the others pass."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson
from fieldflux.app.ask import over
from fieldflux.app.problems import Refused
from fieldflux.app.settings import Limits

if TYPE_CHECKING:
    from fieldflux.tiles.zonal import Shape

LONGEST_ID = 200
DATE_PROPERTY = "determination_datetime"
"""fiboa's name for the day on which an outline was seen to be so."""


@dataclass(frozen=True, slots=True)
class Given:
    """A field that passed all checks.

    geometry: GeoJSON as it was given, JSON text. outline: a hash that is the same for the same ring begun elsewhere.
    valid_from: None where nobody said. None in external_id: it has no id of its own.
    """

    index: int
    external_id: str | None
    properties: Mapping[str, Any]
    geometry: str
    shape: Shape
    outline: str
    area_ha: float
    valid_from: date | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A field that was not taken, and the error that says why."""

    index: int
    external_id: str | None
    error: ValueError


@dataclass(frozen=True, slots=True)
class Rules:
    """How features are read. id_property: where their own id is, instead of `id`. valid_from: of all of them."""

    limits: Limits = field(default_factory=Limits)
    id_property: str = ""
    valid_from: date | None = None


def read_json(body: bytes) -> Any:
    """JSON from bytes. Raises Refused (invalid-json)."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused("invalid-json", f"The body is not JSON: {error.msg} at character {error.pos}.") from error


def features_of(content: Any, limits: Limits) -> list[Any]:
    """The features of a GeoJSON Feature or FeatureCollection. Raises Refused, and BadGeometry for another CRS."""
    kind = content.get("type") if isinstance(content, Mapping) else None
    if kind == "Feature":
        found = [content]
    elif kind == "FeatureCollection" and isinstance(content.get("features"), list):
        found = content["features"]
    elif kind in ("Polygon", "MultiPolygon"):
        found = [{"type": "Feature", "geometry": content, "properties": {}}]
    else:
        raise Refused(
            "invalid-request",
            f"A field is a GeoJSON Feature, many are a FeatureCollection with `features`; given: {_what(content)}.",
        )
    check_count(len(found), limits)
    crs = content.get("crs") if kind == "FeatureCollection" else None
    # Old exports name the system once, for all.
    return [{**f, "crs": crs} if crs is not None and isinstance(f, Mapping) else f for f in found]


def check_count(count: int, limits: Limits) -> None:
    """Raises Refused (over-limit, invalid-request)."""
    if count > limits.features:
        raise over("features", count, limits.features, "Send them in several requests.")
    if count == 0:
        raise Refused("invalid-request", "There are no features in it. Send at least one.")


def check_all(features: Sequence[Any], rules: Rules) -> list[Given | Rejected]:
    """Each feature, checked; the second of two with the same own id is rejected."""
    seen: dict[str, int] = {}
    found: list[Given | Rejected] = []
    for index, feature in enumerate(features):
        name = None
        try:
            name = own_id(feature, rules.id_property)
            if name is not None and name in seen:
                raise Refused("duplicate-id", f"The id '{name}' was given before, by feature {seen[name]}.")
            found.append(check(feature, index, name, rules))
            if name is not None:
                seen[name] = index
        except ValueError as error:
            found.append(Rejected(index, name, error))
    return found


def check(feature: Any, index: int, name: str | None, rules: Rules) -> Given:
    """One feature. Raises Refused, BadGeometry."""
    import shapely
    from fieldflux.tiles.zonal import EDGE_DEGREES, geodesic_area_ha, read_shape
    from fieldflux.tiles.zonal import Limits as Outline

    if not isinstance(feature, Mapping) or feature.get("type") != "Feature":
        raise Refused("invalid-request", "It is not a GeoJSON Feature: an object whose `type` is 'Feature'.")
    geometry: Any = feature.get("geometry")
    if isinstance(geometry, Mapping) and geometry.get("type") in ("Feature", "FeatureCollection"):
        raise Refused("invalid-geometry", f"The geometry of the Feature is itself a {geometry['type']}. Unwrap it.")
    shape = read_shape(feature, Outline(rules.limits.vertices, rules.limits.area_km2))
    properties = check_properties(feature.get("properties"))
    west, south, east, north = shape.geometry.bounds
    # Edges longer than this bend on the ground; but an outline around the Earth must not become millions of points.
    step = max(EDGE_DEGREES, shape.geometry.length / 20_000)
    area_ha = geodesic_area_ha(shapely.segmentize(shape.geometry, step))
    if area_ha > 100 * rules.limits.area_km2:
        raise over("area_km2", round(area_ha / 100, 1), rules.limits.area_km2, "Split it into several fields.")
    if area_ha <= 0 or not (west < east and south < north):
        raise Refused("invalid-geometry", "The polygon has no area that could be measured.")
    return Given(
        index,
        name,
        properties,
        orjson.dumps({"type": geometry["type"], "coordinates": geometry["coordinates"]}).decode(),
        shape,
        hashlib.sha256(shapely.to_wkb(shapely.normalize(shape.geometry))).hexdigest(),
        area_ha,
        rules.valid_from or _day_of(properties.get(DATE_PROPERTY)),
    )


def own_id(feature: Any, id_property: str = "") -> str | None:
    """A feature's own id: its `id`, or the property of that name. Raises Refused."""
    if not isinstance(feature, Mapping):
        return None
    if id_property:
        properties = feature.get("properties")
        value = properties.get(id_property) if isinstance(properties, Mapping) else None
        if value is None:
            raise Refused("invalid-request", f"It has no property '{id_property[:80]}', which was to be its id.")
    else:
        value = feature.get("id")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refused("invalid-request", "Its id is neither a text nor a number.")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return check_text(str(value), "The id")


def _what(content: object) -> str:
    if not isinstance(content, Mapping):
        return type(content).__name__
    return f"type {str(content['type'])[:40]!r}" if "type" in content else "an object without `type`"


def check_text(value: str, what: str) -> str:
    """Text that both databases can keep and look up. Raises Refused."""
    if not value or len(value) > LONGEST_ID or "\x00" in value:
        raise Refused(
            "invalid-request",
            f"{what} has {len(value)} characters; allowed are 1 to {LONGEST_ID}, and none of them NUL.",
        )
    return value


def check_properties(properties: Any) -> dict[str, Any]:
    """A feature's properties, kept as they are. Raises Refused."""
    if properties is None:
        return {}
    if not isinstance(properties, Mapping):
        raise Refused("invalid-request", "`properties` is neither an object nor null.")
    try:
        text = orjson.dumps(properties)
    except TypeError as error:
        if "64-bit" in str(error):
            raise Refused(
                "invalid-request", "A property is a whole number of more than 64 bits. Send it as a text."
            ) from error
        raise Refused("invalid-request", "`properties` is nested too deeply to be kept.") from error
    if re.search(rb"(?<!\\)(?:\\\\)*\\u0000", text):
        raise Refused("invalid-request", "A property holds the character NUL, which databases cannot keep. Drop it.")
    return dict(properties)


def _day_of(value: Any) -> date | None:
    if not isinstance(value, str):
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None
