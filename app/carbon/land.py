"""The land of a statement: polygons as they are kept in it, each with a hash, none counted twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fieldflux.app.ask import over
from fieldflux.app.database import Database
from fieldflux.app.problems import Refused, problem_of

from .asked import StatementAsk
from .signing import EXACT, canonical

if TYPE_CHECKING:
    from fieldflux.tiles.zonal import Limits, Shape

DIGITS = 7
"""Of degrees, 1 cm: what a statement is computed from is what it holds."""
OVERLAP = 0.01
"""Share of the smaller of two fields that may lie in the other."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A field of a statement. id: as it was given; version: of a registered field's outline."""

    index: int
    id: str | int | None
    external_id: str | None
    version: int | None
    geometry: Mapping[str, Any]
    sha256: str
    shape: Shape

    @property
    def feature(self) -> dict[str, Any]:
        return {"type": "Feature", "id": self.id, "properties": {}, "geometry": self.geometry}

    @property
    def place(self) -> tuple[float, float]:
        """Longitude and latitude of its middle."""
        middle = self.shape.geometry.centroid
        return float(middle.x), float(middle.y)


def parcels(ask: StatementAsk, limits: Limits, most: int, database: Database | None, tenant: str) -> list[Parcel]:
    """The land that is asked about. most: fields in a statement.

    Raises Refused (over-limit, rejected-fields, fields-overlap), BadGeometry of a single polygon, DatabaseFault.
    """
    given = _given(ask, database, tenant)
    if len(given) > most:
        raise over("statement_features", len(given), most, "Make several statements.")
    if not given:
        raise Refused("invalid-request", "There is no field in it. Send at least one.")
    found: list[Parcel] = []
    rejected: list[dict[str, Any]] = []
    for index, (id, external_id, version, geometry) in enumerate(given):
        try:
            found.append(_parcel(index, id, external_id, version, geometry, limits))
        except ValueError as error:
            problem = problem_of(error)
            if problem is None or ask.geometry is not None:
                raise
            rejected.append({"index": index, "id": id, "problem": problem.body(f"#/features/{index}")})
    if rejected:
        raise refused(rejected)
    _check_overlaps(found)
    return found


def refused(rejected: Sequence[Mapping[str, Any]]) -> Refused:
    """A statement is of all its fields or of none."""
    first = rejected[0]["problem"]["detail"]
    return Refused(
        "rejected-fields",
        f"A statement is of all its fields: {len(rejected)} cannot be in it. The first: {first}",
        features=list(rejected),
    )


def _given(
    ask: StatementAsk, database: Database | None, tenant: str
) -> list[tuple[str | int | None, str | None, int | None, Any]]:
    if ask.geometry is not None:
        return [(None, None, None, ask.geometry)]
    if ask.fields is not None:
        return _registered(ask.fields, database, tenant)
    features = ask.features
    if isinstance(features, Mapping):
        listed = features.get("features")
        if features.get("type") != "FeatureCollection" or not isinstance(listed, list | tuple):
            raise Refused("invalid-geometry", "`features` is a GeoJSON FeatureCollection, or an array of Features.")
        features = tuple(listed)
    return [(_id(feature), None, None, feature) for feature in features or ()]


def _id(feature: Any) -> str | int | None:
    name = feature.get("id") if isinstance(feature, Mapping) else None
    if isinstance(name, int) and abs(name) > EXACT:
        raise Refused("invalid-request", f"The id {str(name)[:40]} is a number beyond 2^53: give it as text.")
    return name if isinstance(name, str | int) and not isinstance(name, bool) else None


def _registered(
    names: Sequence[str], database: Database | None, tenant: str
) -> list[tuple[str | int | None, str | None, int | None, Any]]:
    if database is None:
        raise Refused("not-found", "There is no registry of fields here: give `features` instead.")
    import orjson
    from fieldflux.app.fields.find import by_ids
    from fieldflux.app.fields.register import unknown

    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise Refused("fields-overlap", f"The field '{twice[0][:60]}' is named twice: its carbon would count twice.")
    held = by_ids(database, tenant, names)
    missing = [name for name in names if name not in held]
    if missing:
        raise unknown(missing[0])
    return [(name, held[name].external_id, held[name].version, orjson.loads(held[name].geometry)) for name in names]


def _parcel(
    index: int, id: str | int | None, external_id: str | None, version: int | None, geometry: Any, limits: Limits
) -> Parcel:
    import shapely
    from fieldflux.tiles.zonal import read_shape
    from shapely.geometry import mapping

    first = read_shape(geometry, limits)
    kept = _rounded(mapping(shapely.normalize(first.geometry)))
    sha256 = hashlib.sha256(canonical(kept)).hexdigest()
    return Parcel(index, id, external_id, version, kept, sha256, read_shape(kept, limits))


def _rounded(geometry: Mapping[str, Any]) -> dict[str, Any]:
    def rounded(part: Any) -> Any:
        if isinstance(part, list | tuple):
            return [rounded(inner) for inner in part]
        return round(float(part), DIGITS)

    return {"type": geometry["type"], "coordinates": rounded(geometry["coordinates"])}


def _check_overlaps(found: Sequence[Parcel]) -> None:
    from shapely import STRtree

    shapes = [parcel.shape.geometry for parcel in found]
    tree = STRtree(shapes)
    for one, other in zip(*tree.query(shapes, predicate="intersects"), strict=True):
        if one < other:
            common = shapes[one].intersection(shapes[other]).area
            smaller = min(shapes[one].area, shapes[other].area)
            if common > OVERLAP * smaller:
                raise Refused(
                    "fields-overlap",
                    f"The fields {_named(found[one])} and {_named(found[other])} overlap by "
                    f"{100 * common / smaller:.3g} % of the smaller one: its carbon would count twice. Correct the "
                    f"outlines, or leave one out.",
                    indexes=[int(one), int(other)],
                )


def _named(parcel: Parcel) -> str:
    return f"{parcel.index + 1}" + (f" ('{str(parcel.id)[:40]}')" if parcel.id is not None else "")
