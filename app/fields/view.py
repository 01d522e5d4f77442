"""Fields as they are sent: GeoJSON Features with what was worked out about them beside `properties`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson
from fieldflux.app.problems import KINDS, Problem, problem_of

from .find import Field, Version
from .overlaps import NONE, Neighbours

if TYPE_CHECKING:
    from .register import Outcome

NOTES: MappingProxyType[str, str] = MappingProxyType(
    {
        "overlaps": "Other fields of yours cover a part of this one; totals of both count that land twice.",
        "duplicate": "Another field of yours has the same outline.",
        "sliver": "The field covers less than one cell's share of land: its values are those of the cells it lies in.",
        "outside_cube": "No cell of the default cube with inputs lies under the field: it has no series there.",
    }
)
"""What the flags of a field mean; those of its outline and cells are explained by `tiles.zonal.FLAGS`."""


def as_feature(field: Field, has_cube: bool = True) -> dict[str, Any]:
    """has_cube: whether there is a cube whose cells could have been counted."""
    flags = _flags(field, has_cube)
    return {
        "type": "Feature",
        "id": field.id,
        "geometry": orjson.Fragment(field.geometry),
        "bbox": field.bounds,
        "properties": field.properties,
        "external_id": field.external_id,
        "version": field.version,
        "valid_from": field.valid_from,
        "created": field.created,
        "updated": field.updated,
        "area_ha": round(field.area_ha, 4),
        "coverage": _cells(field),
        "flags": flags,
        "notes": _notes(flags),
        **_beside(field.neighbours),
    }


def as_version(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "valid_from": version.valid_from,
        "valid_to": version.valid_to,
        "current": version.current,
        "superseded": version.superseded,
        "created": version.created,
        "area_ha": round(version.area_ha, 4),
        "flags": version.flags,
        "geometry": orjson.Fragment(version.geometry),
    }


def as_report(outcomes: Sequence[Outcome], fields: Mapping[str, Field], has_cube: bool) -> dict[str, Any]:
    """What became of each feature. A field that was deleted since has only its id."""
    counts = dict.fromkeys(("created", "updated", "unchanged", "rejected"), 0)
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        counts[outcome.status] += 1
        row: dict[str, Any] = {"index": outcome.index, "status": outcome.status, "external_id": outcome.external_id}
        if outcome.error is not None:
            row["problem"] = as_problem(outcome.error)
        else:
            row |= {"id": outcome.id, "version": outcome.version}
        if outcome.id in fields:
            field = fields[outcome.id]
            flags = _flags(field, has_cube)
            row |= {
                "area_ha": round(field.area_ha, 4),
                "coverage": _cells(field),
                "flags": flags,
                **_beside(field.neighbours),
            }
        rows.append(row)
    used = {flag for row in rows for flag in row.get("flags", ())}
    return {**counts, "features": rows, "notes": _notes(sorted(used))}


def as_problem(error: ValueError) -> dict[str, object]:
    """What is wrong with a feature, as a problem without an address."""
    problem = problem_of(error) or Problem(KINDS["invalid-geometry"], "The feature cannot be read.")
    body = problem.body("")
    body.pop("instance")
    return body


def _cells(field: Field) -> dict[str, Any] | None:
    if field.cells is None:
        return None
    return {
        "cube": field.cells.cube,
        "cells": field.cells.cells,
        "effective_cells": round(field.cells.effective_cells, 6),
        "covered_fraction": round(field.cells.covered_fraction, 6),
    }


def _flags(field: Field, has_cube: bool) -> list[str]:
    flags = list(field.flags)
    if field.cells is not None:
        flags += [flag for flag in field.cells.flags if flag != "smaller_than_cell"]
        if field.cells.effective_cells < 1 - 1e-3:
            flags.append("sliver")
    elif has_cube:
        flags.append("outside_cube")
    if field.neighbours.overlaps:
        flags.append("overlaps")
    if field.neighbours.duplicates:
        flags.append("duplicate")
    return list(dict.fromkeys(flags))


def _notes(flags: Sequence[str]) -> list[str]:
    from fieldflux.tiles.zonal import FLAGS

    return [NOTES.get(flag) or FLAGS[flag] for flag in flags]


def _beside(beside: Neighbours) -> dict[str, Any]:
    if beside is NONE:
        return {"overlaps": [], "duplicates": []}
    return {
        "overlaps": [
            {"id": o.field, "external_id": o.external_id, "area_ha": o.area_ha, "fraction": o.fraction}
            for o in beside.overlaps
        ],
        "duplicates": list(beside.duplicates),
    }
