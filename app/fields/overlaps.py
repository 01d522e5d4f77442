"""Which fields of a tenant lie over each other, and by how much: pairs by their boxes first, then by their outlines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sqlalchemy import Connection

SMALLEST_HA = 0.01
"""Overlaps below 100 m2 are how neighbours were drawn, not land that is counted twice."""
DEGREE_HA = 1_260_000.0
"""No square degree of the Earth is larger."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Overlap:
    """Land that a field shares with another one. fraction: of the first one's area."""

    field: str
    external_id: str | None
    area_ha: float
    fraction: float


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of one field: what it overlaps, largest first, and the fields with the same outline."""

    overlaps: tuple[Overlap, ...] = ()
    duplicates: tuple[str, ...] = ()


NONE = Neighbours()


def neighbours(connection: Connection, tenant: str, ids: Sequence[str]) -> Mapping[str, Neighbours]:
    """Overlaps and duplicates of these fields, by their current outlines, with all fields of the tenant."""
    import shapely

    wanted = set(ids)
    boxes = _boxes(connection, tenant, ids)
    if not boxes:
        return {}
    names = [row[0] for row in boxes]
    corners = np.array([row[1:] for row in boxes], np.float64)
    squares = shapely.box(corners[:, 0], corners[:, 1], corners[:, 2], corners[:, 3])
    asked = np.flatnonzero([name in wanted for name in names])
    # A tree over the boxes: no field is compared with all others.
    first, second = shapely.STRtree(squares).query(squares[asked], predicate="intersects")
    pairs = [(names[asked[a]], names[b]) for a, b in zip(first, second, strict=True) if asked[a] != b]
    shapes = _shapes(connection, sorted({name for pair in pairs for name in pair}))
    shared = _shared(shapes, {(min(pair), max(pair)) for pair in pairs})
    overlaps: dict[str, list[Overlap]] = defaultdict(list)
    duplicates: dict[str, list[str]] = defaultdict(list)
    for one, other in pairs:
        a, b = shapes[one], shapes[other]
        area = shared.get((min(one, other), max(one, other)), 0.0)
        if a.outline == b.outline:
            duplicates[one].append(other)
        elif area >= SMALLEST_HA:
            overlaps[one].append(Overlap(other, b.external_id, round(area, 4), round(min(area / a.area_ha, 1.0), 6)))
    return {
        name: Neighbours(
            tuple(sorted(overlaps[name], key=lambda o: (-o.area_ha, o.field))), tuple(sorted(duplicates[name]))
        )
        for name in {*overlaps, *duplicates}
    }


@dataclass(frozen=True, slots=True)
class _Shape:
    external_id: str | None
    outline: str
    area_ha: float
    geometry: Any


def _boxes(connection: Connection, tenant: str, ids: Sequence[str]) -> list[Any]:
    """id, west, south, east, north of all fields in the box around these."""
    from sqlalchemy import func, select

    from .tables import versions

    current = (versions.c.tenant == tenant, versions.c.current == 1)
    edges: list[Any] = []
    for i in range(0, len(ids), _AT_ONCE):
        of_these = versions.c.field.in_(list(ids[i : i + _AT_ONCE]))
        query = select(
            func.min(versions.c.west), func.min(versions.c.south), func.max(versions.c.east), func.max(versions.c.north)
        ).where(*current, of_these)
        edges += [row for row in connection.execute(query) if row[0] is not None]
    if not edges:
        return []
    west, south = (min(row[i] for row in edges) for i in (0, 1))
    east, north = (max(row[i] for row in edges) for i in (2, 3))
    columns = (versions.c.field, versions.c.west, versions.c.south, versions.c.east, versions.c.north)
    return list(
        connection.execute(
            select(*columns).where(
                *current,
                versions.c.west <= east,
                versions.c.east >= west,
                versions.c.south <= north,
                versions.c.north >= south,
            )
        )
    )


def _shapes(connection: Connection, ids: Sequence[str]) -> dict[str, _Shape]:
    import orjson
    from fieldflux.tiles.zonal import read_shape
    from sqlalchemy import select

    from .tables import fields, versions

    found: dict[str, _Shape] = {}
    for i in range(0, len(ids), _AT_ONCE):
        query = (
            select(fields.c.id, fields.c.external_id, versions.c.outline_key, versions.c.area_ha, versions.c.geometry)
            .join(versions, versions.c.field == fields.c.id)
            .where(versions.c.current == 1, fields.c.id.in_(ids[i : i + _AT_ONCE]))
        )
        for name, external_id, outline, area_ha, geometry in connection.execute(query):
            found[name] = _Shape(external_id, outline, area_ha, read_shape(orjson.loads(geometry), _trusted()).geometry)
    return found


def _shared(shapes: Mapping[str, _Shape], pairs: Set[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Hectares that each pair shares, on the ellipsoid; those that share next to nothing are left out."""
    import shapely
    from fieldflux.tiles.zonal import geodesic_area_ha

    listed = sorted(pair for pair in pairs if shapes[pair[0]].outline != shapes[pair[1]].outline)
    if not listed:
        return {}
    common = shapely.intersection(
        np.array([shapes[one].geometry for one, _ in listed], object),
        np.array([shapes[other].geometry for _, other in listed], object),
    )
    # Most pairs touch at an edge only. A square degree has at most this many hectares.
    large = np.flatnonzero(shapely.area(common) * DEGREE_HA > SMALLEST_HA / 2)
    return {
        listed[i]: sum(geodesic_area_ha(part) for part in shapely.get_parts(common[i]) if part.geom_type == "Polygon")
        for i in large
    }


def _trusted() -> Any:
    """Limits for outlines that were checked when they came; the server's may have been lowered since."""
    from fieldflux.tiles.zonal import Limits

    return Limits(vertices=1 << 30, area_km2=1e9)
