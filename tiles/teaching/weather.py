"""Weather of real places as whole years from which the runs of a teaching set draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Floats
from fieldflux.tiles.cubefile import days_of
from fieldflux.tiles.measurements import Tower, read_towers
from fieldflux.tiles.measurements.experimentweather import is_at, read_places, read_stations
from fieldflux.tiles.measurements.panelweather import CountyWeather, read_county_weather
from fieldflux.tiles.measurements.weather import with_monthly_rain
from numpy.typing import NDArray

from .recipe import BadTeaching

DRIVERS = ("tmean", "tmin", "tmax", "precip", "srad", "vpd")
LEAP_DAY = 59  # slot of 29 February in a year of 366
FEWEST_YEARS = 3  # with fewer, a run would see the same year again and again
NORTHERNMOST = 60.0  # the teacher's domain

# the same place, or close enough that holding one out would be no spatial test
_PLACE = {
    "Mead_NE": "Mead",
    "Ithaca_NE": "Mead",
    "DixonSprings_IL": "southern Illinois",
    "17003": "southern Illinois",
    "17001": "Adams",
    "17019": "Champaign",
}
_MIDWEST_TOWERS = ("Mead",)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Weather of one place.

    group: sources of one group lie together, so that only whole groups can be held out. elsewhere: outside the Corn
    Belt. estimated: its radiation was not measured. years: calendar years that have every driver on every day.
    values: [driver of DRIVERS, year, 366] float32; slot 59 is 29 February, in other years a copy of 28 February.
    """

    name: str
    group: str
    latitude: float
    elsewhere: bool
    estimated: bool
    years: tuple[int, ...]
    values: NDArray[np.float32]
    note: str = ""

    @property
    def summer_rain(self) -> float:
        """Mean rain of June to August, mm d-1."""
        return float(self.values[DRIVERS.index("precip"), :, 152:244].mean())

    @property
    def summer_heat(self) -> float:
        """Mean heat sum of May to September above 8 degC, K d."""
        tmean = self.values[DRIVERS.index("tmean"), :, 121:274]
        return float(np.clip(tmean - 8.0, 0.0, 24.0).sum(axis=1).mean())


def read_sources(data_dir: Path) -> list[Source]:
    """All daily weather of a folder of measurements that has whole years of every driver, by name.

    Left out: places with fewer than three such years or north of 60 degrees, and experiments without coordinates.
    Where a file is not there, its places are not; raises BadTeaching where none is, BadMeasurements where one cannot be
    understood.
    """
    found: list[Source] = []
    for read in (_counties, _experiments, _towers):
        found += read(data_dir)
    kept = [s for s in found if len(s.years) >= FEWEST_YEARS and abs(s.latitude) <= NORTHERNMOST]
    if not kept:
        raise BadTeaching(
            f"{data_dir} holds no daily weather with at least {FEWEST_YEARS} whole years of {', '.join(DRIVERS)}. "
            f"Give the folder of measurements."
        )
    return sorted(kept, key=lambda s: s.name)


def source_of(
    name: str,
    group: str,
    latitude: float,
    days: NDArray[np.datetime64],
    daily: Mapping[str, Floats],
    *,
    elsewhere: bool = False,
    estimated: bool = False,
    note: str = "",
) -> Source:
    """The source of one place's daily series, [D] each over consecutive days: its whole years only."""
    stack = np.stack([np.asarray(daily[n], np.float64) for n in DRIVERS])
    year_of = days.astype("datetime64[Y]").astype(np.int64) + 1970
    years, rows = [], []
    for year in np.unique(year_of):
        part = stack[:, year_of == year]
        leap = is_leap(int(year))
        if part.shape[1] == 365 + leap and np.isfinite(part).all():
            years.append(int(year))
            copied = part if leap else np.insert(part, LEAP_DAY, part[:, LEAP_DAY - 1], axis=1)
            rows.append(copied.astype(np.float32))
    values = np.stack(rows, axis=1) if rows else np.zeros((len(DRIVERS), 0, 366), np.float32)
    return Source(name, group, latitude, elsewhere, estimated, tuple(years), values, note)


def is_leap(year: int) -> bool:
    """Whether the year has a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _counties(data_dir: Path) -> list[Source]:
    return [
        source_of(
            f"county-{county.fips}",
            _county_group(county),
            county.latitude,
            days_of(county.years),
            county.daily,
            note=" ".join(county.notes),
        )
        for county in read_county_weather(data_dir)
    ]


def _county_group(county: CountyWeather) -> str:
    if not county.fips.startswith("19"):
        return _PLACE.get(county.fips, county.fips)
    # Three bands: neighbouring counties share their weather, so that one county held out would be no test.
    return ("western", "central", "eastern")[int(np.digitize(county.longitude, [-94.5, -92.5]))] + " Iowa"


def _experiments(data_dir: Path) -> list[Source]:
    places = read_places(data_dir)
    note = "srad estimated from the daily range of temperature, vpd with the dew point at tmin."
    found = []
    for name, station in read_stations(data_dir).items():
        latitude = next((lat for experiment, (lat, _) in places.items() if is_at(name, experiment)), None)
        first, last = station.years()
        if latitude is None or last < first:
            continue
        days, daily = station.daily(range(first, last + 1), latitude)
        group = _PLACE.get(name, name)
        found.append(source_of(f"experiment-{name}", group, latitude, days, daily, estimated=True, note=note))
    return found


def _towers(data_dir: Path) -> list[Source]:
    found = []
    for read in read_towers(data_dir):
        tower: Tower = with_monthly_rain(read)
        invented = read.monthly_precip is not None and not np.isfinite(read.forcing["precip"]).all()
        found.append(
            source_of(
                f"tower-{tower.site}",
                tower.group,
                tower.latitude,
                tower.dates(),
                tower.forcing,
                elsewhere=tower.group not in _MIDWEST_TOWERS,
                note="Daily rain drawn from monthly means." if invented else "",
            )
        )
    return found
