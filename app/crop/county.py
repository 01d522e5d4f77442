"""Seasons of the counties of the yield panel, as the crop networks learn from them and are judged by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import torch
from fieldflux.models.hybrids.crop.drive import Part, soil_of, statics_of
from fieldflux.models.hybrids.crop.learn import Yields
from fieldflux.models.hybrids.crop.served import Kind
from fieldflux.tiles.measurements import CountyRecord
from fieldflux.tiles.measurements.trend import lines_before
from fieldflux.tiles.measurements.yields import read_yields
from numpy.typing import NDArray

Array = NDArray[np.float64]
DAYS = 365
WHEAT_DATES = (275.0, 186.0)
"""Usual days of sowing and harvest of winter wheat in Illinois: 2 October, 5 July."""
_WEATHER = ("tmin", "tmax", "precip", "srad", "vpd", "co2")


@dataclass(frozen=True, slots=True, eq=False)
class CountyYear:
    """One season of a crop in a county. year: of the harvest. observed, expected: t ha-1, NaN unknown."""

    record: CountyRecord
    year: int
    sowing: float
    harvest: float
    observed: float
    expected: float


def county_years(panel: Sequence[CountyRecord], kind: Kind, data: Path) -> list[CountyYear]:
    """Every season of a crop with weather and a reported yield. Raises BadMeasurements."""
    found = []
    for record in panel:
        if kind.autumn:
            found += _wheat(record, kind, data)
            continue
        expected = record.expected[kind.name]
        for i, year in enumerate(record.years):
            if np.isfinite(record.yields[kind.name][i]):
                sow, reap = (float(by[kind.name][i]) for by in (record.sowing, record.harvest))
                found.append(
                    CountyYear(record, year, sow, reap, float(record.yields[kind.name][i]), float(expected[i]))
                )
    return found


def _wheat(record: CountyRecord, kind: Kind, data: Path) -> list[CountyYear]:
    reported = next((y for y in read_yields(data, int(record.fips)) if y.crop == kind.name), None)
    if reported is None:
        return []
    known = dict(zip(reported.year.tolist(), reported.t_ha.tolist(), strict=True))
    years = [y for y in record.years if y in known and y - 1 in record.years]
    expected = lines_before(years, (reported.year, reported.t_ha))
    return [
        CountyYear(record, y, *WHEAT_DATES, known[y], float(e)) for y, e in zip(years, expected.tolist(), strict=True)
    ]


def begins_on(kind: Kind, year: int) -> date:
    """The first day of the memory of the season that is harvested in `year`."""
    return date(year - 1 if kind.autumn else year, 1, 1) + timedelta(days=kind.begins - 1)


def harvest_day(kind: Kind, row: CountyYear) -> int:
    """Number of the day of harvest in the season's memory."""
    return int(row.harvest) + (_length(row.year - 1) if kind.autumn else 0) - kind.begins


def lessons_of(kind: Kind, rows: Sequence[CountyYear], weather: Sequence[int] | None = None, cut: int = 0) -> Yields:
    """Seasons as a batch: a row of weather each, a cell for each soil of its county.

    weather, cut: from day number `cut` of the season on, the weather of these years [len(rows)] of the same county, in
    place of the season's own: what a forecast is made with.
    """
    daily: dict[str, list[Array]] = {n: [] for n in _WEATHER}
    days_of_year, cells, statics, soils = [], [], [], []
    for k, row in enumerate(rows):
        own = _days(row.record, begins_on(kind, row.year))
        if weather is not None:
            other = _days(row.record, begins_on(kind, int(weather[k])))
            own = np.concatenate([own[:cut], other[cut:]])
        for n in _WEATHER:
            daily[n].append(row.record.weather[n][own])
        first = begins_on(kind, row.year)
        dates = np.datetime64(first) + np.arange(DAYS)
        days_of_year.append((dates - dates.astype("M8[Y]").astype("M8[D]")).astype(np.float64) + 1.0)
        points = {n: np.asarray(v, np.float64) for n, v in row.record.points.items()}
        count = len(points["latitude"])
        cells += [k] * count
        many = [np.full(count, v) for v in (row.sowing, float(row.year), row.expected)]
        statics.append(statics_of(kind, points, *many))
        soils.append(soil_of(kind, points))
    unit = torch.tensor(cells)
    sow = np.array([r.sowing for r in rows]) - kind.begins
    reap = np.array([harvest_day(kind, r) for r in rows])
    part = Part(
        kind,
        {n: np.stack(v) for n, v in daily.items()},
        np.array([float(r.record.points["latitude"].mean()) for r in rows]),
        np.zeros(len(rows)),
        np.stack(days_of_year),
        0,
        unit,
        torch.from_numpy(sow.astype(np.int64))[unit],
        torch.from_numpy(reap.astype(np.int64))[unit],
        torch.cat(statics),
        torch.cat(soils, dim=1),
        torch.tensor([r.expected for r in rows], dtype=torch.float32)[unit],
    )
    return Yields(part, unit, torch.tensor([r.observed for r in rows], dtype=torch.float32))


def _days(record: CountyRecord, first: date) -> NDArray[np.int64]:
    """[DAYS] places of the days from `first` on in the record's weather; its last day again beyond its end."""
    at = int((np.datetime64(first) - record.days[0]).astype(np.int64))
    return np.minimum(at + np.arange(DAYS), len(record.days) - 1)


def _length(year: int) -> int:
    return (date(year + 1, 1, 1) - date(year, 1, 1)).days
