"""A field's series, from question to answer: one path for the HTTP server and the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.models.variables import VARIABLES, of_record
from numpy.typing import NDArray

from .ask import About, Ask
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
    """A checked question about one polygon, and where its answer comes from."""

    place: Place
    source: Source
    request: SeriesRequest
    shape: Shape
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for the same answer."""
        return key_of(self.place, self.source, self.request, self.units, [self.shape])


def key_of(
    place: Place, source: Source, request: SeriesRequest, units: Mapping[str, str], shapes: Sequence[Shape]
) -> str:
    """A hash of all that an answer depends on: what was asked, inputs, weights, the store's snapshot, the program."""
    store = source.store
    said = (
        [(shape.key, shape.flags) for shape in shapes],
        (request.first, request.last, request.variables, request.step, request.interval, request.level),
        (request.statistics, sorted(units.items())),
        (place.cube.hash, place.card.id, place.card.weights_sha256, store.snapshot if store else ""),
        _program(),
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()


@lru_cache(maxsize=1)
def _program() -> str:
    # Looked up in files, which takes longer than reading a field's year.
    return version("fieldflux")


def question(workspace: Workspace, ask: Ask) -> Question:
    """Check all that can be checked without reading: names, dates, sizes, the polygon.

    Raises Refused, UnknownVariable, UnknownStatistic, UnknownUnit, UncalibratedLevel, UnknownModel, MissingInputs,
    BadGeometry, Unanswerable, BadCube, BadStore, BadCheckpoint.
    """
    from fieldflux.tiles.zonal import read_shape

    place, source, request = asked_of(workspace, ask)
    shape = read_shape(ask.geometry, source.limits)  # type: ignore[arg-type]
    return Question(place, source, replace(request, geometry=shape), shape, ask.units)


def asked_of(workspace: Workspace, ask: About) -> tuple[Place, Source, SeriesRequest]:
    """What is asked, checked, without a polygon. Raises as `question`, but for BadGeometry."""
    from fieldflux.tiles.series import SeriesRequest, Source, check_request
    from fieldflux.tiles.spatial import statistic
    from fieldflux.tiles.units import check_units
    from fieldflux.tiles.zonal import Limits

    limits = workspace.settings.limits
    place = workspace.place(ask.cube, ask.model)
    wanted = tuple(dict.fromkeys(statistic(given) for given in ask.statistics))
    if of_record(place.card.outputs):
        # What is said of the whole record is so of every day in it, at every step.
        begin, end = place.cube.record
        ask.period(tuple(range(begin.year, end.year + 1)), place.cube.id, limits)
        first, last = date(end.year, 1, 1), end
        request = SeriesRequest(
            None, first, last, ask.variables, "year", ask.intervals, ask.level, wanted, (begin, end)
        )
    else:
        first, last = ask.period(place.cube.years, place.cube.id, limits)
        request = SeriesRequest(None, first, last, ask.variables, ask.step, ask.intervals, ask.level, wanted)
    source = Source(
        place.cube,
        place.card,
        workspace.store(place),
        lambda: workspace.model(place.card.id),
        workspace.memory,
        Limits(limits.vertices, limits.area_km2),
        limits.live_cell_years,
        limits.cell_days,
    )
    check_request(request, source)
    check_units(ask.units, ask.variables)
    return place, source, request


def answer(workspace: Workspace, ask: Ask) -> dict[str, Any]:
    """The answer to a question, as it is sent. Raises what `question` does, and what reading and running raise."""
    return answered(question(workspace, ask))


def answered(asked: Question) -> dict[str, Any]:
    """Read or compute it."""
    return as_answer(asked.place, found_of(asked))


def found_of(asked: Question) -> Series:
    """The series itself, in the units asked for."""
    from fieldflux.tiles.series import series
    from fieldflux.tiles.units import in_units

    return in_units(series(asked.request, asked.source), asked.units)


def is_small(asked: Question) -> bool:
    """Whether the store holds the answer, and it takes no more than a few milliseconds to read."""
    from fieldflux.tiles.reading import lacking_chunks
    from fieldflux.tiles.series import cover_of

    store, request = asked.source.store, asked.request
    west, south, east, north = asked.shape.geometry.bounds
    if store is None or store.waits or (east - west) * (north - south) * 111.0 * 85.0 > SMALL_KM2:
        return False
    cover = cover_of(request, asked.source)
    days = (request.last - request.first).days + 1
    if cover.cells * days * len(request.variables) > SMALL_VALUES:
        return False
    return not any(lacking_chunks(asked.source, cover, year) for year in request.years)


def chunks_of(asked: Question, store: Store) -> list[tuple[int, int, int]]:
    """Year, row and column of the store's chunks that a question is about, computed or not."""
    from fieldflux.tiles.series import cover_of

    cover, n, w = cover_of(asked.request, asked.source), store.grid.chunk, store.window
    across = store.layout.chunks[1]
    places = np.unique((cover.rows - w.row0) // n * across + (cover.cols - w.col0) // n).tolist()
    return [(year, *divmod(place, across)) for year in asked.request.years for place in places]


def as_answer(place: Place, found: Series) -> dict[str, Any]:
    """The answer as plain values and arrays: columns over `time`, with units, origin and what to know about it."""
    from fieldflux.tiles.series import FLAGS, model_flag

    cover, request = found.coverage, found.request
    yearly, days = request.step == "year", request.step == "day"
    columns = {**found.values, **(found.annual if yearly else {})}
    # As they were asked for.
    columns = {name: columns[name] for name in dict.fromkeys(request.variables) if name in columns}
    with_totals = not days or any(s.kind == "total" for s in request.statistics)
    body: dict[str, Any] = {
        "time": found.labels(),
        "step": request.step,
        "first": request.first,
        "last": request.last,
        **_columns(columns, with_totals, request.level),
    }
    if request.record is not None:
        # One value for all of this time, under its mean climate; `time` is where it is kept.
        body["record"] = list(request.record)
    if not days:
        valid = valid_days(found)
        body |= {"days": found.days, "whole": found.whole, "valid_days": valid, "status": step_status(found, valid)}
    if found.annual and not yearly:
        body["years"] = {"time": [str(year) for year in found.years], **_columns(found.annual, True, request.level)}
    shares = model_flags(found)
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
        "flags": [*found.flags, *(name for name in shares if name not in found.flags)],
        "notes": [*(FLAGS[flag] for flag in found.flags), *(model_flag(n) for n in shares if n not in found.flags)],
        "model_flags": shares,
        **made_from(place),
        "snapshot": found.snapshot or None,
        "origin": found.origin,
        "computed_years": found.computed,
    }


def made_from(place: Place) -> dict[str, Any]:
    """What every answer says of the model and the inputs that it was made from."""
    card, cube = place.card, place.cube
    return {
        "model": card.id,
        "model_title": card.title,
        "weights_sha256": card.weights_sha256,
        "cube": cube.id,
        "cube_hash": cube.hash,
        "statement": cube.statement,
        "synthetic": cube.synthetic,
        "licence": cube.licence,
    }


def valid_days(found: Series) -> NDArray[np.int64]:
    """[T] days of each step on which every daily variable has a value; all of them where none is asked for."""
    each = [v.valid_days for v in found.values.values()]
    return np.min(each, axis=0) if each else found.days


def step_status(found: Series, valid: NDArray[np.int64]) -> list[str]:
    """[T] OK: the whole step, every day with values; PARTIAL: cut, or days are missing; FAILED: no day has values."""
    whole = found.whole & (valid == found.days)
    return ["FAILED" if n == 0 else "OK" if ok else "PARTIAL" for n, ok in zip(valid.tolist(), whole, strict=True)]


def model_flags(found: Series) -> dict[str, Any]:
    """What the model flagged: name -> share of the covered cell-days, that of each year, and what it means."""
    from fieldflux.tiles.reading import ends_in
    from fieldflux.tiles.series import model_flag

    ends = {year: ends_in(found.request, year) for year in found.years}
    days = {year: (last - first).days + 1 for year, (first, last) in ends.items()}
    kept = {year: of_year for year, of_year in found.flagged.items() if of_year is not None}
    told: dict[str, Any] = {}
    for name in sorted({name for of_year in kept.values() for name in of_year}):
        by_year = {str(year): round(of_year.get(name, 0.0), 6) for year, of_year in kept.items()}
        share = sum(of_year.get(name, 0.0) * days[y] for y, of_year in kept.items()) / sum(days[y] for y in kept)
        told[name] = {"share": round(share, 6), "years": by_year, "note": model_flag(name)}
    return told


def _columns(columns: Mapping[str, Values], with_totals: bool, level: float) -> dict[str, Any]:
    from fieldflux.tiles.bounds import as_plain

    intervals = {n: {"low": v.low, "high": v.high} for n, v in columns.items() if v.low is not None}
    body: dict[str, Any] = {
        "units": {name: v.unit for name, v in columns.items()},
        "values": {name: v.value for name, v in columns.items()},
        "intervals": intervals,
        "interval_level": level if intervals else None,
        "interval_basis": {n: as_plain(v.basis) for n, v in columns.items() if v.basis},
        "valid_fraction": {name: np.round(v.valid_fraction, 6) for name, v in columns.items()},
    }
    if any(v.statistics for v in columns.values()):
        body["statistics"] = {name: dict(v.statistics) for name, v in columns.items()}
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

    def grams(tonnes: NDArray[np.float64] | None) -> float | None:
        # As `_grams` has it: numpy takes ten times as long for one number.
        found = one(tonnes)
        return found if found is None or not isfinite(found) else round(found * 1e6) / 1e6

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
            "total": grams(v.total),
            "total_unit": v.total_unit,
            "total_low": grams(v.total_low),
            "total_high": grams(v.total_high),
        }
    return said


def _crop(share: CropShare) -> dict[str, Any]:
    said: dict[str, Any] = {"year": share.year, "code": share.code, "name": share.name, "fraction": share.fraction}
    if share.yield_carbon is not None:
        said |= {
            "yield": {"gC m-2 yr-1": share.yield_carbon, "t ha-1": share.t_ha, "bu ac-1": share.bu_ac},
        }
    return said
