"""The sum over all features of a job: each batch keeps its part of it, the last one puts them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from fieldflux.app.collection import Collection, Feature, as_collection
from fieldflux.app.combine import Part, answered, parts_of, sum_of
from fieldflux.app.reply import dumps
from fieldflux.app.workspace import Workspace
from isal import igzip

from . import files
from .asked import SeriesJob
from .series import as_parquet, asked_collection

if TYPE_CHECKING:
    from fieldflux.tiles.series import SeriesRequest

_KEPT = ("values", "annual", "summary", "coverage", "crops", "from_store", "computed", "snapshot", "flags", "flagged")
_NUMBERS = ("value", "valid_fraction", "low", "high", "total", "total_low", "total_high", "members")
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def once_in(rows: Sequence[dict[str, Any]], shapes: Sequence[Any]) -> None:
    """Write into rows of a plan what earlier ones leave of their outlines: `once`, where that is not all of it."""
    from fieldflux.tiles.combine import counted_once
    from shapely.geometry import mapping

    good = [(row, shape) for row, shape in zip(rows, shapes, strict=True) if "error" not in row and shape is not None]
    once = counted_once([shape for _, shape in good])
    for (row, own), rest in zip(good, once, strict=True):
        if rest is not own:
            row["once"] = None if rest is None else mapping(rest.geometry)


def packed(asked: Collection, features: Sequence[Feature], given: Sequence[Mapping[str, Any]]) -> bytes:
    """A batch's part. given: the rows of its features."""
    from fieldflux.tiles.shape import Shape
    from shapely.geometry import shape

    rows = {row["index"]: row for row in given}
    once: list[Shape | None] = []
    for feature, own in answered(features):
        row = rows[feature.given.index]
        rest: Any = row.get("once", own)
        if isinstance(rest, Mapping):
            outline: Any = shape(dict(rest))
            rest = Shape(outline, own.flags)
        once.append(rest)
    told = [
        {
            "index": part.index,
            "place": part.place,
            "overlap_ha": part.overlap_ha,
            "series": part.series and {name: _plain(getattr(part.series, name)) for name in _KEPT},
        }
        for part in parts_of(asked, features, once)
    ]
    return bytes(igzip.compress(orjson.dumps(told, default=np.ndarray.tolist, option=_OPTIONS), 1))


def put_together(
    workspace: Workspace, job: SeriesJob, folder: Path, done: Sequence[tuple[int, int]], number: int
) -> bool:
    """Write the sum over all batches beside their files, as if it were one more of them; False where there is nothing
    to sum. Raises StoreFull, StoreReadOnly."""
    asked = asked_collection(workspace, job, ())
    parts = [part for each in done for part in _parts(_read(folder, *each, "sum.gz"), asked.request)]
    if not any(part.series is not None for part in parts):
        return False
    indexes = [f["index"] for each in done for f in _read(folder, *each, "json.gz")["features"]]
    feature = sum_of(asked, parts, indexes)
    body = dumps(as_collection(replace(asked, combine=True), [feature]))
    files.write(folder, files.part(number, files.ATTEMPT, "json.gz"), igzip.compress(body, 1))
    files.write(folder, files.part(number, files.ATTEMPT, "parquet"), as_parquet(asked, [feature]))
    return True


def _plain(value: Any) -> Any:
    """Dataclasses as their members, whatever they are in."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _parts(kept: Sequence[Any], request: SeriesRequest) -> list[Part]:
    """The parts of a batch as they were."""
    from fieldflux.tiles.series import CropShare, Series
    from fieldflux.tiles.steps import Steps
    from fieldflux.tiles.zonal import Coverage

    steps = Steps.of(request.step, request.first, request.last)
    parts = []
    for told in kept:
        found = told["series"]
        series = None
        if found is not None:
            whole = {"rows": np.int64, "cols": np.int64, "fraction": np.float64}
            land: dict[str, Any] = {
                name: np.array(v, whole[name]) if name in whole else v for name, v in found["coverage"].items()
            }
            series = Series(
                request,
                Coverage(**{**land, "flags": tuple(land["flags"])}),
                steps,
                {name: _values(v) for name, v in found["values"].items()},
                request.years,
                {name: _values(v) for name, v in found["annual"].items()},
                {name: _values(v) for name, v in found["summary"].items()},
                tuple(CropShare(**crop) for crop in found["crops"]),
                tuple(found["from_store"]),
                tuple(found["computed"]),
                found["snapshot"],
                tuple(found["flags"]),
                {int(year): of_year for year, of_year in found["flagged"].items()},
            )
        parts.append(Part(told["index"], tuple(told["place"]), told["overlap_ha"], series))
    return parts


def _values(told: Mapping[str, Any]) -> Any:
    from fieldflux.tiles.bounds import Basis
    from fieldflux.tiles.series import Values

    # Missing numbers are null in JSON, and NaN here.
    made: dict[str, Any] = {name: np.array(v, np.float64) if name in _NUMBERS and v else v for name, v in told.items()}
    made["valid_days"] = np.array(told["valid_days"], np.int64)
    made["basis"] = tuple(Basis(**basis) for basis in told["basis"])
    return Values(**{**made, "statistics": {}})


def _read(folder: Path, number: int, attempt: int, ending: str) -> Any:
    packed = (folder / files.part(number, attempt, ending)).read_bytes()
    return orjson.loads(igzip.decompress(packed))  # type: ignore[no-untyped-call]
