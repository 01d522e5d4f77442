"""Which cells a field covers, and how much of each: worked out once, kept in the database, by outline and grid.

What is kept is the whole `Coverage`. The key holds the grid, the window and the cells with inputs: a cube that was
built again with another mask or place asks for other weights, one with a further year of weather does not.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from fieldflux.app.database import Database
from fieldflux.app.settings import Limits
from fieldflux.app.workspace import Workspace

if TYPE_CHECKING:
    from fieldflux.tiles.cube import Cube
    from fieldflux.tiles.zonal import BadGeometry, Coverage, Shape
    from sqlalchemy import Connection

_AT_ONCE = 500
_FLOATS = 5


def place_key(workspace: Workspace, cube: Cube) -> str:
    """The same for cubes on whose cells a field has the same weights."""

    def made() -> str:
        said = hashlib.sha256(repr((cube.grid, cube.window)).encode())
        said.update(np.packbits(_mask(workspace, cube)).tobytes())
        return said.hexdigest()[:40]

    return workspace.memory.get(("place", cube.hash), made, lambda _: 100)


def fresh(workspace: Workspace, cube: Cube, shapes: Sequence[Shape]) -> list[Coverage | BadGeometry]:
    """Their coverages, worked out now; the error of one that has none."""
    from fieldflux.tiles.zonal import coverages

    outline = _outline(workspace.settings.limits)
    return coverages(shapes, cube.grid, cube.window, _mask(workspace, cube), limits=outline)


def of_field(workspace: Workspace, database: Database, cube: Cube, shape: Shape) -> Coverage:
    """The coverage of one outline, where every later question finds it: memory, then the database, then the polygon.

    Raises BadGeometry, DatabaseFault.
    """
    from fieldflux.tiles.zonal import BadGeometry, coverage_key

    def kept() -> Coverage:
        place = place_key(workspace, cube)
        with database.read() as connection:
            found = read(connection, [shape.key], place).get(shape.key)
        if found is None:
            (made,) = fresh(workspace, cube, [shape])
            if isinstance(made, BadGeometry):
                raise made
            found = made
            with database.begin() as connection:
                write(connection, [found], place)
        return found

    key = coverage_key(shape.key, cube.grid, cube.window, cube.hash, _outline(workspace.settings.limits))
    return workspace.memory.get(key, kept, lambda c: c.nbytes)


def of_fields(workspace: Workspace, database: Database, cube: Cube, shapes: Sequence[Shape]) -> list[Coverage]:
    """As `of_field`, of many; those beside the cube are left out."""
    from fieldflux.tiles.zonal import BadGeometry, coverage_key

    outline = _outline(workspace.settings.limits)
    memory = workspace.memory
    found: dict[str, Coverage] = {}
    missing: dict[str, Shape] = {}
    for shape in shapes:
        held = memory.find(coverage_key(shape.key, cube.grid, cube.window, cube.hash, outline))
        if held is None:
            missing[shape.key] = shape
        else:
            found[shape.key] = held
    if missing:
        place = place_key(workspace, cube)
        with database.read() as connection:
            kept = dict(read(connection, missing, place))
        made = fresh(workspace, cube, [shape for key, shape in missing.items() if key not in kept])
        new = [m for m in made if not isinstance(m, BadGeometry)]
        if new:
            with database.begin() as connection:
                write(connection, new, place)
        for cover in (*kept.values(), *new):
            memory.put(coverage_key(cover.key, cube.grid, cube.window, cube.hash, outline), cover, cover.nbytes)
            found[cover.key] = cover
    return list(found.values())


def read(connection: Connection, keys: Iterable[str], place: str) -> Mapping[str, Coverage]:
    """Kept coverages by the outlines' keys; those that are not kept are left out."""
    from sqlalchemy import select

    from .tables import coverages

    wanted = sorted(set(keys))
    found: dict[str, Coverage] = {}
    for i in range(0, len(wanted), _AT_ONCE):
        query = select(coverages.c.geometry_key, coverages.c.content).where(
            coverages.c.place == place, coverages.c.geometry_key.in_(wanted[i : i + _AT_ONCE])
        )
        for key, content in connection.execute(query):
            found[key] = unpacked(content, key)
    return found


def kept_keys(connection: Connection, keys: Iterable[str], place: str) -> frozenset[str]:
    """Those of the outlines' keys whose weights are kept."""
    from sqlalchemy import select

    from .tables import coverages

    wanted = sorted(set(keys))
    found: set[str] = set()
    for i in range(0, len(wanted), _AT_ONCE):
        query = select(coverages.c.geometry_key).where(
            coverages.c.place == place, coverages.c.geometry_key.in_(wanted[i : i + _AT_ONCE])
        )
        found.update(connection.scalars(query))
    return frozenset(found)


def write(connection: Connection, covers: Iterable[Coverage], place: str) -> None:
    """Keep coverages; one that is kept already stays."""
    rows = [
        {
            "geometry_key": cover.key,
            "place": place,
            "cells": cover.cells,
            "effective_cells": cover.effective_cells,
            "covered_fraction": cover.covered_fraction,
            "flags": [flag for flag in cover.flags if flag != "ring_closed"],
            "content": packed(cover),
        }
        for cover in covers
    ]
    if rows:
        from .tables import coverages

        connection.execute(upsert(connection, coverages).on_conflict_do_nothing(), rows)


def upsert(connection: Connection, table: Any) -> Any:
    """An INSERT that can say what to do about a row that is there."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as of_postgres

        return of_postgres(table)
    from sqlalchemy.dialects.sqlite import insert as of_sqlite

    return of_sqlite(table)


def packed(cover: Coverage) -> bytes:
    """A coverage as bytes: its flags, five numbers, then rows, columns and fractions, compressed; none is rounded."""
    flags = orjson.dumps([flag for flag in cover.flags if flag != "ring_closed"])
    numbers = np.array(
        [cover.cell_area_m2, cover.area_m2, cover.inside_m2, cover.covered_m2, cover.geodesic_area_ha], "<f8"
    )
    parts = (
        len(flags).to_bytes(2, "little"),
        flags,
        numbers.tobytes(),
        cover.rows.astype("<i4").tobytes(),
        cover.cols.astype("<i4").tobytes(),
        cover.fraction.astype("<f8").tobytes(),
    )
    return zlib.compress(b"".join(parts), 6)


def unpacked(content: bytes, key: str) -> Coverage:
    """What `packed` was given."""
    from fieldflux.tiles.zonal import Coverage

    raw = zlib.decompress(content)
    head = 2 + int.from_bytes(raw[:2], "little")
    flags = orjson.loads(raw[2:head])
    numbers = np.frombuffer(raw, "<f8", _FLOATS, head)
    head += 8 * _FLOATS
    cells = (len(raw) - head) // 16
    rows = np.frombuffer(raw, "<i4", cells, head).astype(np.int64)
    cols = np.frombuffer(raw, "<i4", cells, head + 4 * cells).astype(np.int64)
    fraction = np.frombuffer(raw, "<f8", cells, head + 8 * cells).astype(np.float64)
    for array in (rows, cols, fraction):
        array.flags.writeable = False
    cell_area, area, inside, covered, geodesic = (float(n) for n in numbers)
    return Coverage(rows, cols, fraction, cell_area, area, inside, covered, geodesic, tuple(flags), key)


def _mask(workspace: Workspace, cube: Cube) -> Any:
    return workspace.memory.get(("mask", cube.hash), cube.mask, lambda a: int(a.nbytes))


def _outline(limits: Limits) -> Any:
    from fieldflux.tiles.zonal import Limits as Outline

    return Outline(limits.vertices, limits.area_km2)
