"""Registering fields: creating, changing and deleting them, each in one transaction.

A tenant's writers take turns: each begins by locking the tenant's counter of changes, which is also what entity tags
are made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fieldflux.app.database import Database, utc_now
from fieldflux.app.ids import new_ids
from fieldflux.app.problems import Refused
from fieldflux.app.workspace import Workspace

from . import weights
from .given import Given, Rejected

if TYPE_CHECKING:
    from fieldflux.tiles.cube import Cube
    from fieldflux.tiles.zonal import Coverage
    from sqlalchemy import Connection

_AT_ONCE = 500

Status: TypeAlias = Literal["created", "updated", "unchanged", "rejected"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one feature. id, version: of its field; error: where it was rejected."""

    index: int
    status: Status
    external_id: str | None
    id: str = ""
    version: int = 0
    given: Given | None = None
    error: ValueError | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """A field as the database has it, with its current outline and the number of its last version."""

    id: str
    properties: Mapping[str, Any]
    outline: str
    valid_from: str
    version: int
    last: int


def register(
    workspace: Workspace, database: Database, tenant: str, checked: Sequence[Given | Rejected], atomic: bool = False
) -> list[Outcome]:
    """Create fields, or update those whose own id is known, in one transaction.

    A field with the same outline and properties is left as it is; properties are replaced as a whole; another outline
    becomes a further version, valid from its day on. The same outline keeps its first day unless an earlier one is
    given. atomic: nothing is done where any is rejected. Raises DatabaseFault.
    """
    checked, covers, place = _with_weights(workspace, database, checked)
    outcomes = [_rejected(r) for r in checked if isinstance(r, Rejected)]
    given = [g for g in checked if isinstance(g, Given)]
    if given and not (atomic and outcomes):
        with database.begin() as connection:
            _lock(connection, tenant)
            held = _held(connection, tenant, [g.external_id for g in given if g.external_id is not None])
            done = _write_all(connection, tenant, given, held)
            if place:
                weights.write(connection, covers, place)
            if any(outcome.status != "unchanged" for outcome in done):
                _changed(connection, tenant)
        outcomes += done
    return sorted(outcomes, key=lambda outcome: outcome.index)


def replace(workspace: Workspace, database: Database, tenant: str, field: str, new: Given) -> Outcome:
    """Give a field this outline, these properties and this id of its own; without one, it keeps what it has.

    Raises Refused (unknown-field, duplicate-id), BadGeometry, DatabaseFault.
    """
    (checked,), covers, place = _with_weights(workspace, database, [new])
    if isinstance(checked, Rejected):
        raise checked.error
    with database.begin() as connection:
        _lock(connection, tenant)
        held = _one(connection, tenant, field)
        renamed = _rename(connection, tenant, field, new.external_id)
        (outcome,) = _write_all(connection, tenant, [new], {}, held)
        if place:
            weights.write(connection, covers, place)
        if renamed or outcome.status != "unchanged":
            _changed(connection, tenant)
    if renamed and outcome.status == "unchanged":
        return Outcome(outcome.index, "updated", outcome.external_id, field, outcome.version, new)
    return outcome


def merge(
    workspace: Workspace,
    database: Database,
    tenant: str,
    field: str,
    properties: Mapping[str, Any],
    external_id: str | None = None,
    outline: Given | None = None,
) -> None:
    """Change properties by name, where null removes one (RFC 7396, one level deep), the id of its own, and the outline.

    outline: of its outline and day only. Raises Refused (unknown-field, duplicate-id), BadGeometry, DatabaseFault.
    """
    from sqlalchemy import update

    from .tables import fields

    checked, covers, place = _with_weights(workspace, database, [outline] if outline else [])
    for one in checked:
        if isinstance(one, Rejected):
            raise one.error
    with database.begin() as connection:
        _lock(connection, tenant)
        held = _one(connection, tenant, field)
        merged = {
            name: value for name, value in {**held.properties, **properties}.items() if not _removed(name, properties)
        }
        changed = _rename(connection, tenant, field, external_id)
        if outline is not None:
            (outcome,) = _write_all(connection, tenant, [dataclasses.replace(outline, properties=merged)], {}, held)
            changed |= outcome.status != "unchanged"
            if place:
                weights.write(connection, covers, place)
        elif merged != held.properties:
            mine = (fields.c.id == field, fields.c.tenant == tenant)
            connection.execute(update(fields).where(*mine).values(properties=merged, updated=utc_now()))
            changed = True
        if changed:
            _changed(connection, tenant)


def _removed(name: str, properties: Mapping[str, Any]) -> bool:
    return name in properties and properties[name] is None


def delete(database: Database, tenant: str, field: str) -> None:
    """Delete a field with its versions and the weights that no other field uses.

    Raises Refused (unknown-field), DatabaseFault.
    """
    from sqlalchemy import delete as removal
    from sqlalchemy import exists, select

    from .tables import coverages, fields, versions

    with database.begin() as connection:
        _lock(connection, tenant)
        _one(connection, tenant, field)
        keys = connection.scalars(select(versions.c.geometry_key).where(versions.c.field == field)).all()
        connection.execute(removal(fields).where(fields.c.id == field, fields.c.tenant == tenant))
        used = exists().where(versions.c.geometry_key == coverages.c.geometry_key)
        connection.execute(removal(coverages).where(coverages.c.geometry_key.in_(set(keys)), ~used))
        _changed(connection, tenant)


def default_cube(workspace: Workspace) -> Cube | None:
    """The cube whose cells fields are told of, or None where there is none that can be read."""
    try:
        return workspace.cube()
    except ValueError:
        return None


def _with_weights(
    workspace: Workspace, database: Database, checked: Sequence[Given | Rejected]
) -> tuple[list[Given | Rejected], list[Coverage], str]:
    """The fields, some now rejected as too large, and their weights on the default cube where they are not yet kept.

    Outside of any transaction: a large file takes seconds.
    """
    from fieldflux.tiles.zonal import BadGeometry

    cube = default_cube(workspace)
    if cube is None:
        return list(checked), [], ""
    place = weights.place_key(workspace, cube)
    with database.read() as connection:
        kept = weights.kept_keys(connection, [g.shape.key for g in checked if isinstance(g, Given)], place)
    new = {g.shape.key: g.shape for g in checked if isinstance(g, Given) and g.shape.key not in kept}
    made = dict(zip(new, weights.fresh(workspace, cube, list(new.values())), strict=True))
    # A field beside the cube is a field all the same: another cube may hold it.
    bad = {key: m for key, m in made.items() if isinstance(m, BadGeometry) and m.code != "outside-cube"}
    after = [
        Rejected(one.index, one.external_id, bad[one.shape.key])
        if isinstance(one, Given) and one.shape.key in bad
        else one
        for one in checked
    ]
    return after, [m for m in made.values() if not isinstance(m, BadGeometry)], place


def _rejected(one: Rejected) -> Outcome:
    return Outcome(one.index, "rejected", one.external_id, error=one.error)


def _lock(connection: Connection, tenant: str) -> None:
    from .tables import changes

    insert = weights.upsert(connection, changes).values(tenant=tenant, number=0)
    connection.execute(insert.on_conflict_do_update(index_elements=["tenant"], set_={"number": changes.c.number}))


def _changed(connection: Connection, tenant: str) -> None:
    from sqlalchemy import update

    from .tables import changes

    connection.execute(update(changes).where(changes.c.tenant == tenant).values(number=changes.c.number + 1))


def _held(connection: Connection, tenant: str, names: Sequence[str]) -> dict[str, _Held]:
    """Fields by their own ids."""
    from .tables import fields

    found: dict[str, _Held] = {}
    for i in range(0, len(names), _AT_ONCE):
        wanted = fields.c.external_id.in_(names[i : i + _AT_ONCE])
        found |= {name: held for name, held in _select(connection, tenant, wanted) if name is not None}
    return found


def _one(connection: Connection, tenant: str, field: str) -> _Held:
    from .tables import fields

    for _, held in _select(connection, tenant, fields.c.id == field):
        return held
    raise unknown(field)


def unknown(field: str) -> Refused:
    return Refused(
        "unknown-field", f"There is no field '{field[:80]}'. Ids look like 'fld_…'; GET /v1/fields lists them."
    )


def _select(connection: Connection, tenant: str, wanted: Any) -> Iterable[tuple[str | None, _Held]]:
    from sqlalchemy import func, select

    from .tables import fields, versions

    every = versions.alias()
    last = select(func.max(every.c.version)).where(every.c.field == fields.c.id).scalar_subquery()
    query = (
        select(
            fields.c.external_id,
            fields.c.id,
            fields.c.properties,
            versions.c.outline_key,
            versions.c.valid_from,
            versions.c.version,
            last,
        )
        .join(versions, versions.c.field == fields.c.id)
        .where(fields.c.tenant == tenant, versions.c.current == 1, wanted)
    )
    return [(row[0], _Held(*row[1:])) for row in connection.execute(query)]


def _rename(connection: Connection, tenant: str, field: str, external_id: str | None) -> bool:
    """Whether the id of its own was changed. None leaves it. Raises Refused (duplicate-id)."""
    from sqlalchemy import select, update

    from .tables import fields

    if external_id is None:
        return False
    mine = (fields.c.tenant == tenant, fields.c.external_id == external_id)
    holder = connection.scalar(select(fields.c.id).where(*mine))
    if holder == field:
        return False
    if holder is not None:
        raise Refused("duplicate-id", f"The field {holder} has the id '{external_id}' already.", field=holder)
    connection.execute(update(fields).where(fields.c.id == field).values(external_id=external_id, updated=utc_now()))
    return True


def _write_all(
    connection: Connection, tenant: str, given: Sequence[Given], held: Mapping[str, _Held], only: _Held | None = None
) -> list[Outcome]:
    """Insert what is new, update what differs. only: the field that the one given is meant for."""
    from sqlalchemy import bindparam, insert, update

    from .tables import fields, versions

    now, today = utc_now(), datetime.now(UTC).date()
    ids = iter(new_ids("fld", len(given)))
    outcomes: list[Outcome] = []
    new, changed, outlines, earlier, moved = [], [], [], [], []
    for one in given:
        old = only or held.get(one.external_id or "")
        if old is None:
            field = next(ids)
            new.append(
                {
                    "id": field,
                    "tenant": tenant,
                    "external_id": one.external_id,
                    "properties": one.properties,
                    "created": now,
                    "updated": now,
                }
            )
            outlines.append(_row(one, tenant, field, 1, now, today))
            outcomes.append(Outcome(one.index, "created", one.external_id, field, 1, one))
            continue
        version, again = _known(connection, one, old)
        if not again:
            outlines.append(_row(one, tenant, old.id, version, now, today))
            moved.append(old.id)
        elif one.valid_from is not None and one.outline == old.outline and one.valid_from.isoformat() < old.valid_from:
            earlier.append((old.id, version, one.valid_from.isoformat()))
            moved.append(old.id)
        elif one.properties == old.properties:
            outcomes.append(Outcome(one.index, "unchanged", one.external_id, old.id, version, one))
            continue
        changed.append({"field_id": old.id, "new_properties": one.properties, "now": now})
        outcomes.append(Outcome(one.index, "updated", one.external_id, old.id, version, one))
    if new:
        connection.execute(insert(fields), new)
    if changed:
        values = {
            "properties": bindparam("new_properties", type_=fields.c.properties.type),
            "updated": bindparam("now"),
        }
        connection.execute(update(fields).where(fields.c.id == bindparam("field_id")).values(**values), changed)
    if outlines:
        connection.execute(insert(versions), outlines)
    for field, version, day in earlier:
        same = (versions.c.field == field, versions.c.version == version)
        connection.execute(update(versions).where(*same).values(valid_from=day))
    for field in moved:
        _set_current(connection, field)
    return outcomes


def _known(connection: Connection, one: Given, old: _Held) -> tuple[int, bool]:
    """The version of an outline, and whether the field has it already: as its current one, or from the same day on."""
    from sqlalchemy import select

    from .tables import versions

    if one.outline == old.outline:
        return old.version, True
    if one.valid_from is not None:
        same = (versions.c.outline_key == one.outline, versions.c.valid_from == one.valid_from.isoformat())
        found = connection.scalar(select(versions.c.version).where(versions.c.field == old.id, *same).limit(1))
        if found is not None:
            return found, True
    return old.last + 1, False


def _row(one: Given, tenant: str, field: str, version: int, now: str, today: date) -> dict[str, Any]:
    west, south, east, north = one.shape.geometry.bounds
    return {
        "field": field,
        "version": version,
        "tenant": tenant,
        "current": 1 if version == 1 else 0,
        "valid_from": (one.valid_from or today).isoformat(),
        "created": now,
        "geometry": one.geometry,
        "geometry_key": one.shape.key,
        "outline_key": one.outline,
        "flags": list(one.shape.flags),
        "area_ha": one.area_ha,
        "west": west,
        "south": south,
        "east": east,
        "north": north,
    }


def _set_current(connection: Connection, field: str) -> None:
    """The version that is valid from the latest day is the current one; of the same day, the one given last."""
    from sqlalchemy import case, select, update

    from .tables import versions

    latest = connection.scalar(
        select(versions.c.version)
        .where(versions.c.field == field)
        .order_by(versions.c.valid_from.desc(), versions.c.version.desc())
        .limit(1)
    )
    connection.execute(
        update(versions)
        .where(versions.c.field == field)
        .values(current=case((versions.c.version == latest, 1), else_=0))
    )
