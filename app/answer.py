"""A field's series, from question to answer: one path for the HTTP server and the command line."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.models.variables import VARIABLES
from numpy.typing import NDArray

from .ask import Ask
from .workspace import Place, Workspace

if TYPE_CHECKING:
    from fieldflux.tiles.series import CropShare, Series, SeriesRequest, Source, Values
    from fieldflux.tiles.store import Store
    from fieldflux.tiles.zonal import Shape

SMALL_KM2 = 60.0
SMALL_VALUES = 1_000_000
"""Questions up to both are answered on the event loop, where handing them to a thread would cost more than the work."""


@dataclass(frozen=True, slots=True)
class Question:
    """A checked question, and where its answer comes from."""

    place: Place
    source: Source
    request: SeriesRequest
    shape: Shape

    @property
    def key(self) -> str:
        """The same for the same answer."""
        request, store = self.request, self.source.store
        said = (
            self.shape.key,
            self.shape.flags,
            (request.first, request.last, request.variables, request.step, request.interval, request.level),
            (self.place.cube.hash, self.place.card.weights_sha256, store.snapshot if store else ""),
        )
        return hashlib.sha256(repr(said).encode()).hexdigest()


def question(workspace: Workspace, ask: Ask) -> Question:
    """Check all that can be checked without reading: names, dates, sizes, the polygon.

    Raises Refused, UnknownVariable, UncalibratedLevel, UnknownModel, MissingInputs, BadGeometry, Unanswerable, BadCube,
    BadStore, BadCheckpoint.
    """
    from fieldflux.tiles.series import SeriesRequest, Source, check_request
    from fieldflux.tiles.zonal import Limits, read_shape

    limits = workspace.settings.limits
    place = workspace.place(ask.cube, ask.model)
    first, last = ask.period(place.cube.years, place.cube.id, limits)
    outline = Limits(limits.vertices, limits.area_km2)
    shape = read_shape(ask.geometry, outline)
    request = SeriesRequest(shape, first, last, ask.variables, ask.step, ask.intervals, ask.level)
    source = Source(
        place.cube,
        place.card,
        workspace.store(place),
        lambda: workspace.model(place.card.id),
        workspace.memory,
        outline,
        limits.live_cell_years,
        limits.cell_days,
    )
    check_request(request, source)
    return Question(place, source, request, shape)


def answer(workspace: Workspace, ask: Ask) -> dict[str, Any]:
    """The answer to a question, as it is sent. Raises what `question` does, and what reading and running raise."""
    return answered(question(workspace, ask))


def answered(asked: Question) -> dict[str, Any]:
    """Read or compute it."""
    from fieldflux.tiles.series import series

    return as_answer(asked.place, series(asked.request, asked.source))


def is_small(asked: Question) -> bool:
    """Whether the store holds the answer, and it takes no more than a few milliseconds to read."""
    from fieldflux.tiles.series import cover_of

    store, request = asked.source.store, asked.request
    west, south, east, north = asked.shape.geometry.bounds
    if store is None or (east - west) * (north - south) * 111.0 * 85.0 > SMALL_KM2:
        return False
    cover = cover_of(request, asked.source)
    days = (request.last - request.first).days + 1
    if cover.cells * days * len(request.variables) > SMALL_VALUES:
        return False
    return all(store.computed(year)[row, col] for year, row, col in chunks_of(asked, store))


def chunks_of(asked: Question, store: Store) -> list[tuple[int, int, int]]:
    """Year, row and column of the store's chunks that a question is about, computed or not."""
    from fieldflux.tiles.series import cover_of

    cover, n, w = cover_of(asked.request, asked.source), store.grid.chunk, store.window
    places = np.unique(np.stack([(cover.rows - w.row0) // n, (cover.cols - w.col0) // n], axis=1), axis=0)
    years = range(asked.request.first.year, asked.request.last.year + 1)
    return [(year, int(row), int(col)) for year in years for row, col in places]


def as_answer(place: Place, found: Series) -> dict[str, Any]:
    """The answer as plain values and arrays: columns over `time`, with units, origin and what to know about it."""
    from fieldflux.tiles.series import FLAGS

    cover, request, card, cube = found.coverage, found.request, place.card, place.cube
    yearly = request.step == "year"
    columns = {**found.values, **(found.annual if yearly else {})}
    # As they were asked for.
    columns = {name: columns[name] for name in dict.fromkeys(request.variables) if name in columns}
    body: dict[str, Any] = {
        "time": found.labels(),
        "step": request.step,
        "first": request.first,
        "last": request.last,
        **_columns(columns, request.step != "day", request.level),
    }
    if request.step != "day":
        body["days"] = found.days
    if found.annual and not yearly:
        body["years"] = {"time": [str(year) for year in found.years], **_columns(found.annual, True, request.level)}
    return {
        **body,
        "summary": {name: _summary(values) for name, values in found.summary.items()},
        "crops": [_crop(share) for share in found.crops],
        "signs": {name: VARIABLES[name].sign for name in found.summary if VARIABLES[name].sign},
        "area_ha": round(cover.geodesic_area_ha, 4),
        "cell_count": cover.cells,
        "effective_cells": round(cover.effective_cells, 6),
        "covered_ha": round(cover.covered_m2 / 1e4, 4),
        "coverage": round(cover.covered_fraction, 6),
        "weighting": "exact area",
        "flags": found.flags,
        "notes": [FLAGS[flag] for flag in found.flags],
        "model": card.id,
        "model_title": card.title,
        "weights_sha256": card.weights_sha256,
        "cube": cube.id,
        "cube_hash": cube.hash,
        "statement": cube.statement,
        "synthetic": cube.synthetic,
        "licence": cube.licence,
        "snapshot": found.snapshot or None,
        "origin": found.origin,
        "computed_years": found.computed,
    }


def as_csv(body: Mapping[str, Any]) -> bytes:
    """An answer as CSV: a line that begins with # for each thing to know, then columns over time."""
    out = io.StringIO()
    for line in (
        f"model {body['model']} weights sha256 {body['weights_sha256']}",
        f"cube {body['cube']} {body['cube_hash']}",
        f"origin {body['origin']}, snapshot {body['snapshot']}",
        f"area {body['area_ha']} ha, {body['cell_count']} cells, coverage {body['coverage']}",
        *_of_intervals(body),
        *body["notes"],
        body["statement"],
    ):
        out.write(f"# {line}\n")
    table = csv.writer(out, lineterminator="\n")
    _rows(table, body)
    if "years" in body:
        out.write("\n")
        _rows(table, body["years"])
    return out.getvalue().encode()


def _of_intervals(body: Mapping[str, Any]) -> Iterator[str]:
    """What low and high are, where there are any: a line for each variable."""
    for part in (body, body.get("years", {})):
        for name, bases in part.get("interval_basis", {}).items():
            said = ", ".join(
                f"{b['method']} by {b['groups']} held-out groups, {b['rule']}s" if "rule" in b else b["method"]
                for b in bases
            )
            yield f"{name} low and high: {100 * part['interval_level']:g} % interval ({said})"


def _rows(table: Any, body: Mapping[str, Any]) -> None:
    names, values = ["time"], [body["time"]]
    for name, column in body["values"].items():
        names.append(f"{name} ({body['units'][name]})")
        values.append(column)
        for end, bound in body["intervals"].get(name, {}).items():
            names.append(f"{name} {end}")
            values.append(bound)
    table.writerow(names)
    for row in zip(*values, strict=True):
        table.writerow([row[0], *("" if v != v else repr(float(v)) for v in row[1:])])


def _columns(columns: Mapping[str, Values], with_totals: bool, level: float) -> dict[str, Any]:
    from fieldflux.tiles.bounds import as_plain

    intervals = {n: {"low": v.low, "high": v.high} for n, v in columns.items() if v.low is not None}
    body: dict[str, Any] = {
        "units": {name: v.unit for name, v in columns.items()},
        "values": {name: v.value for name, v in columns.items()},
        "intervals": intervals,
        "interval_level": level if intervals else None,
        "interval_basis": {n: as_plain(v.basis) for n, v in columns.items() if v.basis},
    }
    # Of days, they are the same figures times the area: long, and nobody trades in days.
    if with_totals:
        body["totals"] = {
            n: {
                "unit": v.total_unit,
                "value": _grams(v.total),
                "low": _grams(v.total_low),
                "high": _grams(v.total_high),
            }
            for n, v in columns.items()
            if v.total is not None
        }
    return body


def _grams(tonnes: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if tonnes is None else np.round(tonnes, 6)


def _summary(v: Values) -> dict[str, Any]:
    from fieldflux.tiles.bounds import as_plain

    def one(values: NDArray[np.float64] | None) -> float | None:
        return None if values is None else float(values[0])

    said: dict[str, Any] = {
        "unit": v.unit,
        "value": one(v.value),
        "low": one(v.low),
        "high": one(v.high),
        "valid_fraction": round(float(v.valid_fraction[0]), 6),
    }
    if v.basis:
        said["interval_basis"] = as_plain(v.basis)
    if v.total is not None:
        said |= {
            "total": one(_grams(v.total)),
            "total_unit": v.total_unit,
            "total_low": one(_grams(v.total_low)),
            "total_high": one(_grams(v.total_high)),
        }
    return said


def _crop(share: CropShare) -> dict[str, Any]:
    said: dict[str, Any] = {"year": share.year, "code": share.code, "name": share.name, "fraction": share.fraction}
    if share.yield_carbon is not None:
        said |= {
            "yield": {"gC m-2 yr-1": share.yield_carbon, "t ha-1": share.t_ha, "bu ac-1": share.bu_ac},
        }
    return said
