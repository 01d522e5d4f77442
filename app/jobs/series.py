"""A batch of a series job: answers as POST /v1/series gives them, kept as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.app.answer import asked_of
from fieldflux.app.collection import Collection, Feature, Given, as_collection, features_of, problem_body
from fieldflux.app.problems import Refused
from fieldflux.app.reply import dumps
from fieldflux.app.workspace import Workspace
from fieldflux.models.variables import VARIABLES

from .asked import SeriesJob, about_of

if TYPE_CHECKING:
    import pyarrow as pa

UNLIMITED = 1 << 60
"""Batches are cut to size when a job is planned; nobody waits for the answer."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch gives: its files by their endings, counts by status, and what failed."""

    files: Mapping[str, bytes]
    counts: Mapping[str, int]
    failures: Sequence[Mapping[str, Any]]


def answer(workspace: Workspace, job: SeriesJob, given: Sequence[Mapping[str, Any]]) -> Batch:
    """Answer a part of a job's features. Raises what reading and running raise for all of them."""
    asked = asked_collection(workspace, job, given)
    features = features_of(asked)
    files = {"json": dumps(as_collection(asked, features)), "parquet": as_parquet(asked, features)}
    if job.combine:
        from .sums import packed

        files["sum.gz"] = packed(asked, features, given)
    if job.format == "netcdf" and any(f.series is not None for f in features):
        from fieldflux.app.formats.netcdf import as_netcdf

        files["nc"] = as_netcdf(asked, features)
    counts = {s: sum(f.status == s for f in features) for s in ("OK", "PARTIAL", "FAILED")}
    failures = [
        {"index": f.given.index, "id": f.given.id, "external_id": f.given.external_id, "problem": problem_body(f)}
        for f in features
        if f.problem is not None
    ]
    return Batch(files, counts, failures)


def asked_collection(workspace: Workspace, job: SeriesJob, given: Sequence[Mapping[str, Any]]) -> Collection:
    """The question about a part of the features, as the plan gave them."""
    place, source, request = asked_of(workspace, about_of(job))
    source = replace(source, live_cell_years=UNLIMITED, cell_days=UNLIMITED)
    return Collection(place, source, request, tuple(_given(one, source.limits) for one in given), job.units)


def _given(one: Mapping[str, Any], limits: Any) -> Given:
    from fieldflux.tiles.zonal import BadGeometry, read_shape

    error: ValueError | None = None
    shape = None
    if "error" in one:
        error = Refused(one["error"]["code"], one["error"]["detail"], **one["error"]["members"])
    else:
        try:
            shape = read_shape(one["feature"], limits)
        except BadGeometry as found:
            error = found
    return Given(one["index"], one["id"], shape, error, one.get("external_id"))


def as_parquet(asked: Collection, features: Sequence[Feature]) -> bytes:
    """The rows of `as_table`."""
    import io

    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(as_table(asked, features), buffer, compression="zstd")
    return buffer.getvalue()


def as_table(asked: Collection, features: Sequence[Feature]) -> pa.Table:
    """The rows of `formats.table`, with what to know of each feature in columns beside them."""
    import pyarrow as pa
    from fieldflux.app.formats.table import table_of

    table = table_of(asked, features)
    by_index = {f.given.index: f for f in features}
    owners = next(column.values for column in table.columns if column.name == "feature").tolist()
    arrays: list[Any] = []
    fields: list[Any] = []
    for column in table.columns:
        kind = {"first": pa.date32(), "last": pa.date32(), "days": pa.int32(), "feature": pa.int32()}.get(
            column.name, pa.float64() if column.is_number else pa.string()
        )
        arrays.append(pa.array(column.values.tolist(), kind, from_pandas=column.is_number))
        fields.append(pa.field(column.name, kind, metadata=_said(column.variable, column.unit)))
        if column.name == "id":
            for name, of, unit in _ABOUT:
                told = {index: of(f) for index, f in by_index.items()}
                kind = pa.int32() if name == "cell_count" else pa.float64() if unit else pa.string()
                arrays.append(pa.array([told[i] for i in owners], kind))
                fields.append(pa.field(name, kind, metadata={"unit": unit} if unit else None))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _said(variable: str, unit: str) -> dict[str, str] | None:
    if not variable:
        return None
    v = VARIABLES[variable]
    return {"unit": unit, "long_name": v.long_name} | ({"sign": v.sign} if v.sign else {})


def _cover(of: Any) -> Any:
    return lambda f: None if f.series is None else of(f.series.coverage)


_ABOUT: tuple[tuple[str, Any, str], ...] = (
    ("external_id", lambda f: f.given.external_id, ""),
    ("feature_status", lambda f: f.status, ""),
    ("area_ha", _cover(lambda c: round(c.geodesic_area_ha, 4)), "ha"),
    ("covered_ha", _cover(lambda c: round(c.covered_m2 / 1e4, 4)), "ha"),
    ("coverage", _cover(lambda c: round(float(np.float64(c.covered_fraction)), 6)), "1"),
    ("cell_count", _cover(lambda c: c.cells), "1"),
    ("flags", lambda f: None if f.series is None else " ".join(f.series.flags), ""),
    ("origin", lambda f: None if f.series is None else f.series.origin, ""),
)
