"""Finding fields: one, a page of them, the versions of their outlines. Every query is one tenant's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from fieldflux.app.database import Database
from fieldflux.app.problems import Refused

from .overlaps import NONE, Neighbours, neighbours
from .register import unknown

if TYPE_CHECKING:
    from fieldflux.tiles.zonal import Shape
    from sqlalchemy import Connection


_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Cells:
    """What a field covers of a cube: cells touched, their covered area in cells, the share of the field over them."""

    cube: str
    cells: int
    effective_cells: float
    covered_fraction: float
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A registered field with one of its outlines.

    geometry: GeoJSON, JSON text. valid_from, valid_to: first and last day of this outline; None: until further notice.
    bounds: west, south, east, north. cells: None where its weights are not kept.
    """

    id: str
    external_id: str | None
    properties: Mapping[str, Any]
    created: str
    updated: str
    version: int
    valid_from: date
    geometry: str
    geometry_key: str
    flags: tuple[str, ...]
    area_ha: float
    bounds: tuple[float, float, float, float]
    cells: Cells | None = None
    neighbours: Neighbours = NONE

    @property
    def shape(self) -> Shape:
        """The outline, as it was checked when it came."""
        from fieldflux.tiles.zonal import Limits, read_shape

        return read_shape(orjson.loads(self.geometry), Limits(vertices=1 << 30, area_km2=1e9))


@dataclass(frozen=True, slots=True)
class Version:
    """An outline of a field, and when it held. valid_to: last day; None for the one that holds now.

    superseded: another one was given for the same first day, so that it never held.
    """

    version: int
    valid_from: date
    valid_to: date | None
    current: bool
    superseded: bool
    created: str
    geometry: str
    flags: tuple[str, ...]
    area_ha: float


@dataclass(frozen=True, slots=True)
class Filter:
    """Which fields. bbox: west, south, east, north, which their boxes touch. properties: name -> text or JSON value."""

    bbox: tuple[float, float, float, float] | None = None
    external_ids: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()


def field(
    database: Database, tenant: str, name: str, version: int | None = None, place: tuple[str, str] | None = None
) -> Field:
    """One field, with its current outline or the version's, its overlaps and duplicates now.

    place: id of a cube and its key for weights. Raises Refused (unknown-field), DatabaseFault.
    """
    with database.read() as connection:
        found = one(connection, tenant, name, version, place)
        beside = neighbours(connection, tenant, [name]).get(name, NONE)
    return _with(found, beside)


def one(
    connection: Connection, tenant: str, name: str, version: int | None = None, place: tuple[str, str] | None = None
) -> Field:
    """As `field`, without overlaps and duplicates. Raises Refused (unknown-field)."""
    from .tables import fields, versions

    of_version = versions.c.current == 1 if version is None else versions.c.version == version
    rows = connection.execute(_query(tenant, place).where(fields.c.id == name, of_version)).all()
    if rows:
        return _field(rows[0], place)
    if version is not None:
        one(connection, tenant, name)
        raise Refused(
            "unknown-field",
            f"The field '{name[:80]}' has no version {version}. GET /v1/fields/{name[:80]}/versions lists them.",
        )
    raise unknown(name)


def page(
    database: Database,
    tenant: str,
    wanted: Filter,
    limit: int,
    after: str = "",
    place: tuple[str, str] | None = None,
    overlapping: bool = False,
) -> list[Field]:
    """Up to `limit` fields, in the order of their ids, which is that of their making, from the one behind `after`."""
    from .tables import fields, versions

    query = _query(tenant, place).where(versions.c.current == 1)
    if after:
        query = query.where(fields.c.id > after)
    if wanted.bbox is not None:
        west, south, east, north = wanted.bbox
        query = query.where(
            versions.c.west <= east, versions.c.east >= west, versions.c.south <= north, versions.c.north >= south
        )
    if wanted.external_ids:
        query = query.where(fields.c.external_id.in_(wanted.external_ids))
    for name, value in wanted.properties:
        query = query.where(_property(name, value))
    with database.read() as connection:
        found = [_field(row, place) for row in connection.execute(query.order_by(fields.c.id).limit(limit))]
        if overlapping:
            beside = neighbours(connection, tenant, [f.id for f in found])
            found = [_with(f, beside.get(f.id, NONE)) for f in found]
    return found


def by_ids(
    database: Database,
    tenant: str,
    ids: Sequence[str],
    place: tuple[str, str] | None = None,
    overlapping: bool = False,
) -> dict[str, Field]:
    """Fields by their ids; those that are gone are left out. overlapping: with overlaps and duplicates."""
    from .tables import fields, versions

    found: dict[str, Field] = {}
    with database.read() as connection:
        for i in range(0, len(ids), _AT_ONCE):
            query = _query(tenant, place).where(versions.c.current == 1, fields.c.id.in_(ids[i : i + _AT_ONCE]))
            found |= {row.id: _field(row, place) for row in connection.execute(query)}
        beside = neighbours(connection, tenant, list(found)) if overlapping else {}
    return {name: _with(f, beside[name]) if name in beside else f for name, f in found.items()}


def versions_of(database: Database, tenant: str, name: str) -> list[Version]:
    """All outlines of a field, by the day from which they hold. Raises Refused (unknown-field), DatabaseFault."""
    from sqlalchemy import select

    from .tables import versions

    columns = (
        versions.c.version,
        versions.c.valid_from,
        versions.c.current,
        versions.c.created,
        versions.c.geometry,
        versions.c.flags,
        versions.c.area_ha,
    )
    query = (
        select(*columns)
        .where(versions.c.tenant == tenant, versions.c.field == name)
        .order_by(versions.c.valid_from, versions.c.version)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    if not rows:
        raise unknown(name)
    found = []
    for i, row in enumerate(rows):
        first = date.fromisoformat(row.valid_from)
        following = date.fromisoformat(rows[i + 1].valid_from) if i + 1 < len(rows) else None
        superseded = following == first
        until = None if following is None or superseded else following - timedelta(days=1)
        found.append(
            Version(
                row.version,
                first,
                until,
                bool(row.current),
                superseded,
                row.created,
                row.geometry,
                tuple(row.flags),
                row.area_ha,
            )
        )
    return found


def change_number(database: Database, tenant: str) -> int:
    """How often the tenant's fields were changed: a tag of their state."""
    from sqlalchemy import select

    from .tables import changes

    with database.read() as connection:
        return connection.scalar(select(changes.c.number).where(changes.c.tenant == tenant)) or 0


def bounds(database: Database, tenant: str) -> list[float] | None:
    """West, south, east, north of all fields of a tenant; None where there are none."""
    from sqlalchemy import func, select

    from .tables import versions

    edges = (
        func.min(versions.c.west),
        func.min(versions.c.south),
        func.max(versions.c.east),
        func.max(versions.c.north),
    )
    with database.read() as connection:
        row = connection.execute(select(*edges).where(versions.c.tenant == tenant, versions.c.current == 1)).one()
    return None if row[0] is None else [float(edge) for edge in row]


def _query(tenant: str, place: tuple[str, str] | None) -> Any:
    from sqlalchemy import and_, select

    from .tables import coverages, fields, versions

    cover = coverages.c
    return (
        select(
            fields.c.id,
            fields.c.external_id,
            fields.c.properties,
            fields.c.created,
            fields.c.updated,
            versions.c.version,
            versions.c.valid_from,
            versions.c.geometry,
            versions.c.geometry_key,
            versions.c.flags,
            versions.c.area_ha,
            versions.c.west,
            versions.c.south,
            versions.c.east,
            versions.c.north,
            cover.cells,
            cover.effective_cells,
            cover.covered_fraction,
            cover.flags.label("cell_flags"),
        )
        .join(versions, versions.c.field == fields.c.id)
        .join(
            coverages,
            and_(cover.geometry_key == versions.c.geometry_key, cover.place == (place[1] if place else "")),
            isouter=True,
        )
        .where(fields.c.tenant == tenant)
    )


def _field(row: Any, place: tuple[str, str] | None) -> Field:
    cells = None
    if place is not None and row.cells is not None:
        cells = Cells(place[0], row.cells, row.effective_cells, row.covered_fraction, tuple(row.cell_flags))
    return Field(
        row.id,
        row.external_id,
        row.properties,
        row.created,
        row.updated,
        row.version,
        date.fromisoformat(row.valid_from),
        row.geometry,
        row.geometry_key,
        tuple(row.flags),
        row.area_ha,
        (row.west, row.south, row.east, row.north),
        cells,
    )


def _with(found: Field, beside: Neighbours) -> Field:
    from dataclasses import replace

    return replace(found, neighbours=beside)


def _property(name: str, value: str) -> Any:
    """The property is this text, or this number, truth value or null as JSON writes it."""
    from sqlalchemy import Text, cast, literal

    from .tables import fields

    held = cast(fields.c.properties.op("->")(literal(name)), Text)
    meant = [orjson.dumps(value).decode()]
    try:
        plain = orjson.loads(value)
        if plain is None or isinstance(plain, bool | int | float):
            meant.append(orjson.dumps(plain).decode())
    except ValueError:
        pass
    return held.in_(meant)
