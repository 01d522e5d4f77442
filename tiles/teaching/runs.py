"""Runs of a teaching set as arrays, and the forcings that a model reads of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from fieldflux.models.contract import Forcing
from fieldflux.tiles.atmosphere import co2_of
from fieldflux.tiles.cubefile import days_of
from numpy.typing import NDArray

from .recipe import BadTeaching
from .weather import DRIVERS, LEAP_DAY, Source, is_leap

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """n runs over Y years. source: [n] index of the weather's source. rows: [n, Y] row of the weather table drawn for
    each year. annual: name -> [n, Y]. static: name -> [n]."""

    source: NDArray[np.int64]
    rows: NDArray[np.int64]
    annual: Mapping[str, NDArray[np.float64]]
    static: Mapping[str, NDArray[np.float64]]

    def of(self, runs: NDArray[np.int64] | NDArray[np.bool_]) -> Runs:
        """Some of the runs."""
        return Runs(
            self.source[runs],
            self.rows[runs],
            {name: values[runs] for name, values in self.annual.items()},
            {name: values[runs] for name, values in self.static.items()},
        )


def joined(parts: Sequence[Runs]) -> Runs:
    """Runs one after the other."""
    return Runs(
        np.concatenate([p.source for p in parts]),
        np.concatenate([p.rows for p in parts]),
        {name: np.concatenate([p.annual[name] for p in parts]) for name in parts[0].annual},
        {name: np.concatenate([p.static[name] for p in parts]) for name in parts[0].static},
    )


def weather_table(sources: Sequence[Source]) -> tuple[Rows, NDArray[np.int64], NDArray[np.bool_]]:
    """Every source's years in one table: [driver, row, 366], the source of each row, and whether its year is a leap
    year."""
    rows = np.concatenate([s.values for s in sources], axis=1)
    source = np.repeat(np.arange(len(sources)), [len(s.years) for s in sources])
    leap = np.array([is_leap(year) for s in sources for year in s.years])
    return np.ascontiguousarray(rows), source, leap


def draw_rows(
    rng: np.random.Generator,
    source: NDArray[np.int64],
    years: Sequence[int],
    of_row: NDArray[np.int64],
    leap: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """[n, Y] a row of each run's own source for each calendar year, at random.

    A leap year draws from the leap years of the source; where it has none, 28 February comes twice. Other years draw
    from all, and a leap year drawn for one leaves out its 29 February.
    """
    drawn = np.empty((len(source), len(years)), np.int64)
    for k in np.unique(source):
        here = source == k
        own = np.flatnonzero(of_row == k)
        with_leap_day = own[leap[own]] if leap[own].any() else own
        for y, year in enumerate(years):
            drawn[here, y] = rng.choice(with_leap_day if is_leap(year) else own, int(here.sum()))
    return drawn


def year_of_weather(table: Rows, rows: NDArray[np.int64], year: int, co2: Rows) -> dict[str, Rows]:
    """Daily drivers [len(rows), D] of a calendar year, with the CO2 [D] of that year."""
    taken = table[:, rows]
    if not is_leap(year):
        taken = np.delete(taken, LEAP_DAY, axis=2)
    daily = dict(zip(DRIVERS, taken, strict=True))
    daily["co2"] = np.broadcast_to(co2, taken.shape[1:])
    return daily


def co2_of_years(years: Sequence[int]) -> dict[int, Rows]:
    """CO2 of the air, ppm, [D] of each year. Raises BadTeaching where it is not known."""
    found: dict[int, Rows] = {}
    for year in years:
        air = co2_of(days_of([year]))
        if air is None:
            raise BadTeaching(f"The CO2 of the year {year} is not known; choose years from 1979 to 2024.")
        found[year] = air.astype(np.float32)
    return found


def whole_record(runs: Runs, table: Rows, years: Sequence[int]) -> Forcing:
    """The forcing of all the years at once, one weather row for each run.

    After the last year its own season is taken to come again, so that a winter crop is sown in the last autumn too.
    """
    co2 = co2_of_years(years)
    parts = [year_of_weather(table, runs.rows[:, y], year, co2[year]) for y, year in enumerate(years)]
    return Forcing(
        start=date(years[0], 1, 1),
        years=(*years, years[-1] + 1),
        daily={name: np.concatenate([p[name] for p in parts], axis=1) for name in parts[0]},
        weather=np.arange(len(runs.source)),
        annual={name: np.concatenate([v, v[:, -1:]], axis=1) for name, v in runs.annual.items()},
        static=dict(runs.static),
    )
