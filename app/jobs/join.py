"""One file of all batches: as Parquet, CSV, JSON lines, JSON or NetCDF, read and written batch by batch.

The same function makes the file of a job that is done and, of the batches there are, that of one which still runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from fieldflux.app.collection import SHARED
from fieldflux.app.problems import Refused
from fieldflux.app.reply import dumps
from isal import igzip

from .files import part, write, written_beside

ENDINGS = {"parquet": "parquet", "csv": "csv", "ndjson": "ndjson", "json": "json", "netcdf": "nc"}
Done = Sequence[tuple[int, int]]
"""Number and attempt of each batch that is done, in order."""


def series_file(folder: Path, done: Done, name: str, format: str) -> None:
    """Write a series job's file. Raises Refused (not-acceptable), StoreFull, StoreReadOnly."""
    if format == "parquet":
        _parquet(folder, done, name)
    elif format == "netcdf":
        _netcdf(folder, done, name)
    else:
        with written_beside(folder, name) as path, path.open("wb") as file:
            for piece in {"csv": _csv, "ndjson": _ndjson, "json": _json}[format](folder, done):
                file.write(piece)


def store_json(folder: Path, number: int, attempt: int, body: bytes) -> None:
    """Keep a batch's answer. Raises StoreFull, StoreReadOnly."""
    write(folder, part(number, attempt, "json.gz"), igzip.compress(body, 1))


def answer_of(folder: Path, number: int, attempt: int) -> dict[str, Any]:
    """A batch's answer, as POST /v1/series would have given it."""
    packed = (folder / part(number, attempt, "json.gz")).read_bytes()
    found: dict[str, Any] = orjson.loads(igzip.decompress(packed))  # type: ignore[no-untyped-call]
    return found


def shared_of(answers: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
    """What all features have in common, from the first batch that tells."""
    for answer in answers:
        found = {name: answer[name] for name in SHARED if name in answer}
        if found:
            return found
    return {}


def sum_in(folder: Path, done: Done) -> dict[str, Any]:
    """The sum over all features as `combined`, where it is among the batches, last; else nothing."""
    found = answer_of(folder, *done[-1]) if done else {}
    return {"combined": found["combined"]} if "combined" in found else {}


def _json(folder: Path, done: Done) -> Iterator[bytes]:
    counts = {"OK": 0, "PARTIAL": 0, "FAILED": 0}
    notes: dict[str, str] = {}
    for number, attempt in done:
        answer = answer_of(folder, number, attempt)
        counts = {status: n + answer["counts"][status] for status, n in counts.items()}
        notes |= answer["notes"]
    used = [status for status, n in counts.items() if n]
    head = {"status": used[0] if len(used) == 1 else "PARTIAL", "counts": counts}
    head |= shared_of(answer_of(folder, *each) for each in done)
    head |= sum_in(folder, done)
    yield dumps({**head, "notes": notes})[:-1] + b',"features":['
    between = b""
    for number, attempt in done:
        features = answer_of(folder, number, attempt)["features"]
        if features:
            yield between + dumps(features)[1:-1]
            between = b","
    yield b"]}"


def _known(folder: Path, done: Done) -> dict[str, Any]:
    """What to know of a table: model, cube, notes, without what each feature's rows say."""
    shared = shared_of(answer_of(folder, *each) for each in done)
    notes: dict[str, str] = {}
    bases: dict[str, Any] = {}
    for number, attempt in done:
        answer = answer_of(folder, number, attempt)
        notes |= answer["notes"]
        for feature in answer["features"]:
            bases = bases or feature.get("interval_basis", {})
    names = ("first", "last", "interval_level", "signs", "model", "weights_sha256", "cube", "cube_hash")
    more = ("statement", "synthetic", "licence", "snapshot")
    return {
        **{name: shared[name] for name in (*names, *more) if name in shared},
        "interval_basis": bases,
        "notes": notes,
        **{name: {k: whole.get(k) for k in _OF_SUM} for name, whole in sum_in(folder, done).items()},
    }


_OF_SUM = ("counted", "not_counted", "overlap_ha", "area_ha", "errors_together", "summary")
"""What to know of the sum beside its rows."""


def _schema(folder: Path, done: Done) -> Any:
    """The columns of all batches: one in which all features failed has few."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields: dict[str, Any] = {}
    for number, attempt in done:
        for field in pq.read_schema(folder / part(number, attempt, "parquet")):
            held = fields.get(field.name)
            if held is None or (held.metadata is None and field.metadata is not None):
                fields[field.name] = field
    ordered = [field for name, field in fields.items() if name != "problem"]
    return pa.schema([*ordered, *(field for name, field in fields.items() if name == "problem")])


def _tables(folder: Path, done: Done, schema: Any) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, attempt in done:
        table = pq.read_table(folder / part(number, attempt, "parquet"))
        there = set(table.column_names)
        columns = [
            table.column(field.name) if field.name in there else pa.nulls(table.num_rows, field.type)
            for field in schema
        ]
        yield pa.Table.from_arrays(columns, schema=schema)


def _parquet(folder: Path, done: Done, name: str) -> None:
    import pyarrow.parquet as pq

    known = dumps(_known(folder, done))
    schema = _schema(folder, done).with_metadata({"fieldflux": known})
    with written_beside(folder, name) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in _tables(folder, done, schema):
            writer.write_table(table)


def _csv(folder: Path, done: Done) -> Iterator[bytes]:
    import io

    import pyarrow.csv as pc

    known = _known(folder, done)
    notes = known.pop("notes")
    for key, value in known.items():
        told = value if isinstance(value, str) else dumps(value).decode()
        yield f"# {key} {told}\n".encode()
    for note in notes.values():
        yield f"# {note}\n".encode()
    schema = _schema(folder, done)
    yield (",".join(_header(field) for field in schema) + "\n").encode()
    for table in _tables(folder, done, schema):
        buffer = io.BytesIO()
        pc.write_csv(table, buffer, pc.WriteOptions(include_header=False, quoting_style="needed"))
        yield buffer.getvalue()


def _header(field: Any) -> str:
    unit = _unit(field)
    return field.name if unit in ("", "1") else f"{field.name} ({unit})"


def _unit(field: Any) -> str:
    unit: bytes = (field.metadata or {}).get(b"unit", b"")
    return unit.decode()


def _ndjson(folder: Path, done: Done) -> Iterator[bytes]:
    schema = _schema(folder, done)
    units = {field.name: _unit(field) for field in schema if _unit(field)}
    yield dumps({"about": {"units": units, **_known(folder, done)}}) + b"\n"
    for table in _tables(folder, done, schema):
        yield b"".join(dumps(row) + b"\n" for row in table.to_pylist())


def _netcdf(folder: Path, done: Done, name: str) -> None:
    """Stations of all batches, one behind the other. Failed features are in the attribute `fieldflux` of each batch."""
    import h5netcdf

    paths = [folder / part(*each, "nc") for each in done]
    paths = [path for path in paths if path.exists()]
    if not paths:
        raise Refused(
            "not-acceptable",
            "There is no NetCDF of this job: every feature failed, or its `format` was another. Parquet, CSV, NDJSON "
            "and JSON can be had of every job.",
        )
    counts = []
    for path in paths:
        with h5netcdf.File(path, "r") as file:
            counts.append(file.dimensions["station"].size)
    with written_beside(folder, name) as target, h5netcdf.File(target, "w") as whole:
        begin = 0
        for path, count in zip(paths, counts, strict=True):
            with h5netcdf.File(path, "r") as file:
                if not begin:
                    _same_shape(file, whole, sum(counts))
                    for key, value in file.attrs.items():
                        if key != "fieldflux":
                            whole.attrs[key] = value
                for key, variable in file.variables.items():
                    if "station" in variable.dimensions and key in whole.variables:
                        at = tuple(
                            slice(begin, begin + count) if d == "station" else slice(None) for d in variable.dimensions
                        )
                        whole.variables[key][at] = variable[...]
            begin += count
        whole.attrs["fieldflux"] = dumps(_known(folder, done)).decode()


def _same_shape(file: Any, whole: Any, stations: int) -> None:
    """The dimensions and variables of a batch's file, for so many stations; what is of no station is copied."""
    for key, dimension in file.dimensions.items():
        whole.dimensions[key] = stations if key == "station" else dimension.size
    for key, variable in file.variables.items():
        attributes = {k: v for k, v in variable.attrs.items() if k not in ("_FillValue", "DIMENSION_LIST")}
        fill = variable.attrs.get("_FillValue")
        made = whole.create_variable(key, variable.dimensions, variable.dtype, fillvalue=fill)
        for k, v in attributes.items():
            made.attrs[k] = v
        if "station" not in variable.dimensions:
            made[...] = variable[...]
