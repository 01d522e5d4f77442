"""A vector tile of a tenant's fields: which lie in it, their outlines, and their values of a day or a year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.app.database import Database
from fieldflux.app.problems import Refused
from fieldflux.app.workspace import Place, Workspace

from . import weights

if TYPE_CHECKING:
    from fieldflux.tiles.mercator import TileAddress
    from fieldflux.tiles.store import Store
    from fieldflux.tiles.zonal import Shape

LAYER = "fields"
MOST = 10_000
"""Fields in a tile; of more, the largest."""


@dataclass(frozen=True, slots=True)
class Values:
    """What is shown of each field: a variable of a place, on a day or over a year."""

    place: Place
    store: Store
    variable: str
    moment: date | int


@dataclass(frozen=True, slots=True)
class FieldTile:
    """A tile as Mapbox Vector Tile; fields in it, and how many more lie there."""

    content: bytes
    fields: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    external_id: str | None
    area_ha: float
    geometry: str
    geometry_key: str


def draw(
    workspace: Workspace, database: Database, tenant: str, address: TileAddress, values: Values | None = None
) -> FieldTile:
    """The tile. Raises DatabaseFault, BadStore."""
    import shapely

    from . import mvt

    rows, more = _rows(database, tenant, address)
    if not rows:
        return FieldTile(b"", 0, 0)
    shapes = _shapes(rows)
    outlines = mvt.on_tile([shape.geometry for shape in shapes], address)
    seen = ~shapely.is_empty(outlines)
    shown = [i for i in range(len(rows)) if seen[i]]
    found = _values(workspace, database, [shapes[i] for i in shown], values) if values else {}
    said = [
        {
            "id": rows[i].id,
            "external_id": rows[i].external_id,
            "area_ha": round(rows[i].area_ha, 4),
            "value": found.get(rows[i].geometry_key),
        }
        for i in shown
    ]
    return FieldTile(mvt.layer(LAYER, outlines[seen], said), len(shown), more)


def latest(store: Store, years: Sequence[int], yearly: bool) -> date | int | None:
    """The last day, or year, of which the store holds anything."""
    for year in reversed(years):
        if store.computed(year).any():
            return year if yearly else date(year, 12, 31)
    return None


def moment_of(when: str, years: Sequence[int], yearly: bool) -> date | int:
    """A day (2021-07-15) or a year (2021). Raises Refused (invalid-dates)."""
    try:
        found: date | int = int(when) if len(when) == 4 and when.isdecimal() else date.fromisoformat(when)
    except ValueError:
        raise Refused("invalid-dates", f"`when` is a day, 2021-07-15, or a year, 2021; given: '{when[:40]}'.") from None
    year = found if isinstance(found, int) else found.year
    if year not in years:
        raise Refused("invalid-dates", f"`when` is {when[:40]}, but the cube covers {years[0]} to {years[-1]}.")
    return year if yearly else found


def _rows(database: Database, tenant: str, address: TileAddress) -> tuple[list[_Row], int]:
    """The fields whose boxes touch the tile, largest first, and how many more there are."""
    from sqlalchemy import func, select

    from .mvt import BUFFER, EXTENT
    from .tables import fields, versions

    west, south, east, north = address.lonlat_bounds()
    aside = BUFFER / EXTENT
    dx, dy = (east - west) * aside, (north - south) * aside
    near = (
        versions.c.tenant == tenant,
        versions.c.current == 1,
        versions.c.west <= east + dx,
        versions.c.east >= west - dx,
        versions.c.south <= north + dy,
        versions.c.north >= south - dy,
    )
    query = (
        select(fields.c.id, fields.c.external_id, versions.c.area_ha, versions.c.geometry, versions.c.geometry_key)
        .join(versions, versions.c.field == fields.c.id)
        .where(*near)
        .order_by(versions.c.area_ha.desc(), fields.c.id)
        .limit(MOST)
    )
    with database.read() as connection:
        rows = [_Row(*row) for row in connection.execute(query)]
        more = 0
        if len(rows) == MOST:
            more = (connection.scalar(select(func.count()).select_from(versions).where(*near)) or 0) - MOST
    return rows, more


def _shapes(rows: Sequence[_Row]) -> list[Shape]:
    """Outlines that were checked when they came: read at once, and one by one only where a ring had to be closed."""
    import orjson
    import shapely
    from fieldflux.tiles.zonal import Limits, Shape, read_shape

    read = shapely.from_geojson([row.geometry for row in rows], on_invalid="ignore")
    trusted = Limits(vertices=1 << 30, area_km2=1e9)
    return [
        read_shape(orjson.loads(row.geometry), trusted) if geometry is None else Shape(shapely.force_2d(geometry))
        for row, geometry in zip(rows, read, strict=True)
    ]


def _values(workspace: Workspace, database: Database, shapes: Sequence[Shape], values: Values) -> dict[str, float]:
    """Means over the covered cells with values, by the outlines' keys; the cells of all are read together."""
    from fieldflux.models.variables import variable

    covers = [c for c in weights.of_fields(workspace, database, values.place.cube, shapes) if c.cells]
    if not covers:
        return {}
    rows = np.concatenate([c.rows for c in covers])
    cols = np.concatenate([c.cols for c in covers])
    weight = np.concatenate([c.fraction for c in covers])
    which = np.repeat(np.arange(len(covers)), [c.cells for c in covers])
    cells = _cells(values, rows, cols)
    there = np.isfinite(cells)
    sums = np.bincount(which[there], (weight * cells)[there], len(covers))
    shares = np.bincount(which[there], weight[there], len(covers))
    digits = variable(values.variable).digits + 3
    return {c.key: round(float(s / w), digits) for c, s, w in zip(covers, sums, shares, strict=True) if w > 0}


def _cells(values: Values, rows: Any, cols: Any) -> Any:
    """[cell] values, NaN where there are none."""
    from fieldflux.tiles.grid import Window

    window = Window(int(rows.min()), int(rows.max()) + 1, int(cols.min()), int(cols.max()) + 1)
    store, name, moment = values.store, values.variable, values.moment
    if isinstance(moment, int):
        read = store.read_year(name, window, moment)
    else:
        read = store.read_days(name, window, moment, moment)[0]
    return read[rows - window.row0, cols - window.col0].astype(np.float64)
