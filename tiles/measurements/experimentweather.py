"""Daily weather of the long-term experiments: stations with extremes of temperature and rain, and where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldflux.tiles.atmosphere import (
    extraterrestrial,
    radiation_from_range,
    saturation_pressure,
    vpd_from_pressure,
)
from numpy.typing import NDArray

from .tables import Array, dates, find, numbers, read_table

WEATHER = "weather/midwest_lte_sites_daily_tmax_tmin_precip.csv.gz"
SITES = "soc/lte_sites.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """A weather station: first day and [day] degC, degC, mm d-1, NaN on missing days."""

    start: np.datetime64
    tmax: Array
    tmin: Array
    precip: Array

    def years(self) -> tuple[int, int]:
        """First and last whole calendar year."""
        end = self.start + len(self.tmax)
        first = self.start.astype("datetime64[Y]")
        first = first if first.astype("datetime64[D]") == self.start else first + 1
        return int(first.astype(int)) + 1970, int(end.astype("datetime64[Y]").astype(int)) + 1969

    def daily(self, years: Sequence[int], latitude: float) -> tuple[NDArray[np.datetime64], dict[str, Array]]:
        """Days of consecutive years within `years()`, and on each the drivers in the vocabulary's units, [day].

        tmean is the mean of the extremes, srad estimated from their range (Hargreaves and Samani 1982), vpd from tmin
        as the dew point. NaN on missing days.
        """
        begin = int((np.datetime64(f"{years[0]}-01-01") - self.start).astype(int))
        days = np.arange(np.datetime64(f"{years[0]}-01-01"), np.datetime64(f"{years[-1] + 1}-01-01"))
        part = slice(begin, begin + len(days))
        # A few days have the extremes exchanged: the larger one is the day's highest.
        tmax, tmin = np.maximum(self.tmax[part], self.tmin[part]), np.minimum(self.tmax[part], self.tmin[part])
        return days, {
            "tmean": (tmax + tmin) / 2,
            "tmin": tmin,
            "tmax": tmax,
            "precip": self.precip[part],
            "srad": radiation_from_range(tmin, tmax, extraterrestrial(latitude, days)),
            "vpd": vpd_from_pressure(tmin, tmax, saturation_pressure(tmin)),
        }


def read_stations(data_dir: Path) -> dict[str, Station]:
    """The stations by name, "<place>_<state>"; {} without the file. Raises BadMeasurements."""
    path = find(data_dir, WEATHER)
    if path is None:
        return {}
    table = read_table(path, ("site", "date", "tmax_c", "tmin_c", "precip_mm"), ("site", "date"))
    found = {}
    for site, rows in table.groupby("site"):
        rows = rows.reset_index(drop=True)
        day = dates(rows, "date", path)
        start = day.min()
        slot = (day - start).astype(int)
        columns = []
        for name in ("tmax_c", "tmin_c", "precip_mm"):
            values = np.full(int(slot.max()) + 1, np.nan)
            values[slot] = rows[name].to_numpy(np.float64)
            columns.append(values)
        found[str(site)] = Station(start, *columns)
    return found


def read_places(data_dir: Path) -> dict[str, tuple[float, float]]:
    """Latitude and longitude of each experiment, degrees; {} without the file. Raises BadMeasurements."""
    path = find(data_dir, SITES)
    if path is None:
        return {}
    table = read_table(path, ("site", "lat", "lon"), ("site",))
    columns = (table["site"], numbers(table, "lat", path), numbers(table, "lon", path))
    return {str(site): (float(lat), float(lon)) for site, lat, lon in zip(*columns, strict=True)}


def station_of(experiment: str, stations: Mapping[str, Station]) -> Station | None:
    """The weather of an experiment, see `is_at`; None without any."""
    return next((station for name, station in stations.items() if is_at(name, experiment)), None)


def is_at(station: str, experiment: str) -> bool:
    """Whether a station is an experiment's: "Ithaca_NE" is that of "Ithaca2" and "IthacaNE", "SouthCharleston_OH" of
    "SCharleston"."""
    place = station.rsplit("_", 1)[0].lower().replace("south", "s")
    return experiment.lower().rstrip("0123456789").startswith(place)
