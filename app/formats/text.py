"""CSV, and JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from fieldflux.app.answer import as_answer
from fieldflux.app.collection import Collection, Combined, Feature, of_sum

from .table import Column, Table, table_of

if TYPE_CHECKING:
    from fieldflux.tiles.combine import Together


def as_csv(asked: Collection, features: Sequence[Feature]) -> bytes:
    """A line that begins with # for each thing to know, then the table. Missing values are empty."""
    out = io.StringIO()
    for line in _known(asked, features):
        out.write(f"# {line}\n")
    table = table_of(asked, features)
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([_header(column) for column in table.columns])
    for row in zip(*(_written(column) for column in table.columns), strict=True):
        rows.writerow(row)
    return out.getvalue().encode()


def as_ndjson(asked: Collection, features: Sequence[Feature]) -> bytes:
    """A line of JSON for each row of the table; first one with `about`: units, model, hashes, and each feature's flags.

    Missing values are null.
    """
    table = table_of(asked, features)
    about = about_of(asked, features, table)
    lines = [orjson.dumps({"about": about}, option=orjson.OPT_SERIALIZE_NUMPY)]
    columns = [column.values.tolist() for column in table.columns]
    names = [column.name for column in table.columns]
    lines += [orjson.dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
    return b"\n".join(lines) + b"\n"


def about_of(asked: Collection, features: Sequence[Feature], table: Table) -> dict[str, Any]:
    """What to know of a table: units of its columns, model, cube, and for each feature its area, flags and status."""
    card, cube = asked.place.card, asked.place.cube
    told = []
    notes: dict[str, str] = {}
    for feature in features:
        one: dict[str, Any] = {"feature": feature.given.index, "id": feature.given.id, "status": feature.status}
        if feature.series is not None:
            body = as_answer(asked.place, feature.series)
            notes |= dict(zip(body["flags"], body["notes"], strict=True))
            one |= {n: body[n] for n in ("area_ha", "covered_ha", "cell_count", "coverage", "flags", "origin")}
            one |= {"interval_basis": body["interval_basis"], "model_flags": body["model_flags"]}
            one |= {"summary": body["summary"], "crops": body["crops"]}
            if feature.combined is not None:
                one |= of_sum(feature.combined)
        elif feature.problem is not None:
            one |= {"problem": feature.problem.kind.slug, "detail": feature.problem.detail}
        told.append(one)
    store = asked.source.store
    return {
        "units": {column.name: column.unit for column in table.columns if column.unit},
        "interval_level": asked.request.level if asked.request.interval else None,
        "first": asked.request.first.isoformat(),
        "last": asked.request.last.isoformat(),
        "model": card.id,
        "weights_sha256": card.weights_sha256,
        "cube": cube.id,
        "cube_hash": cube.hash,
        "statement": cube.statement,
        "synthetic": cube.synthetic,
        "licence": cube.licence,
        "snapshot": store.snapshot if store else None,
        "features": told,
        "notes": notes,
    }


def _known(asked: Collection, features: Sequence[Feature]) -> Iterator[str]:
    place = asked.place
    yield f"model {place.card.id} weights sha256 {place.card.weights_sha256}"
    yield f"cube {place.cube.id} {place.cube.hash}"
    notes: dict[str, None] = {}
    for feature in features:
        who = "" if asked.alone else "combined: " if feature.combined else f"feature {feature.given.index}: "
        if feature.series is None:
            assert feature.problem is not None
            yield f"{who}FAILED ({feature.problem.kind.slug}): {feature.problem.detail}"
            continue
        body = as_answer(place, feature.series)
        yield f"{who}origin {body['origin']}, snapshot {body['snapshot']}"
        yield f"{who}area {body['area_ha']} ha, {body['cell_count']} cells, coverage {body['coverage']}"
        for line in _of_intervals(body):
            yield f"{who}{line}"
        if feature.combined is not None:
            yield from (f"{who}{line}" for line in _of_sum(feature.combined))
        for name, told in body["model_flags"].items():
            yield f"{who}{name} on {100 * told['share']:.1f} % of the cell-days"
        notes |= dict.fromkeys(body["notes"])
    yield from notes
    yield place.cube.statement


def _of_sum(one: Combined) -> Iterator[str]:
    """What a sum is of, and why its intervals are so wide."""
    left_out = f", not of {', '.join(str(i) for i in one.not_counted)}" if one.not_counted else ""
    yield f"sum of {one.counted} features{left_out}; {one.overlap_ha:.4f} ha under several outlines counted once"
    for names, how in _alike(one.hows.steps).items():
        yield f"{names} low and high: {how}"


def _alike(hows: Mapping[str, Together]) -> dict[str, str]:
    """Names of variables -> the sentence that holds for all of them."""
    found: dict[str, list[str]] = {}
    for name, how in hows.items():
        found.setdefault(how.sentence(), []).append(name)
    return {", ".join(names): sentence for sentence, names in found.items()}


def _of_intervals(body: Mapping[str, Any]) -> Iterator[str]:
    """What low and high are, where there are any: a line for each variable."""
    for part in (body, body.get("years", {})):
        for name, bases in part.get("interval_basis", {}).items():
            said = ", ".join(
                f"{b['method']} by {b['groups']} held-out groups, {b['rule']}s" if "rule" in b else b["method"]
                for b in bases
            )
            yield f"{name} low and high: {100 * part['interval_level']:g} % interval ({said})"


def _header(column: Column) -> str:
    if not column.variable or column.unit in ("", "1"):
        return column.name
    return f"{column.name} ({column.unit})"


def _written(column: Column) -> list[str]:
    if column.is_number:
        return ["" if v != v else repr(v) for v in column.values.tolist()]
    return ["" if v is None else str(v) for v in column.values.tolist()]
