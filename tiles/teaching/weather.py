"""Weather of real places as whole years from which the runs of a teaching set draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Floats
from fieldflux.tiles.measurements import Tower, read_towers
from fieldflux.tiles.measurements.tables import find as find_file
from fieldflux.tiles.measurements.tables import numbers, read_table
from fieldflux.tiles.measurements.weather import with_monthly_rain
from fieldflux.tiles.readers.outlines import find, read_outlines
from fieldflux.tiles.readers.weather import Column, Weather, complete, read_csv
from numpy.typing import NDArray

from .recipe import BadTeaching

DRIVERS = ("tmean", "tmin", "tmax", "precip", "srad", "vpd")
LEAP_DAY = 59  # slot of 29 February in a year of 366
FEWEST_YEARS = 3  # with fewer, a run would see the same year again and again
NORTHERNMOST = 60.0  # the teacher's domain

IOWA = "weather/iowa35_hrrr_daily_2017_2022.csv.gz"
CHAMPAIGN = "weather/champaign_il_warm_daily.csv.gz"
AMES = "weather/ames_ia_daily_1980_2019.csv.gz"
ILLINOIS = "kgml_da/il_17001_17003_inputs_daily_2000_2020.csv.gz"
EXPERIMENTS = "weather/midwest_lte_sites_daily_tmax_tmin_precip.csv.gz"
EXPERIMENT_SITES = "soc/lte_sites.csv"
OUTLINES = "boundaries/us-atlas_counties-10m.json"

# the same place, or close enough that holding one out would be no spatial test
_PLACE = {
    "Mead_NE": "Mead",
    "Ithaca_NE": "Mead",
    "DixonSprings_IL": "southern Illinois",
    "17003": "southern Illinois",
    "17001": "Adams",
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
    Where a file is not there, its places are not; raises BadTeaching where none is, BadSource and BadMeasurements where
    one cannot be understood.
    """
    found: list[Source] = []
    for read in (_iowa, _champaign, _ames, _illinois, _experiments, _towers):
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


def _iowa(data_dir: Path) -> list[Source]:
    path = find_file(data_dir, IOWA)
    if path is None:
        return []
    units = {"tmean": "tmean_c", "tmin": "tmin_c", "tmax": "tmax_c", "precip": "precip_mm", "srad": "srad_mj_m2"}
    unit = {"precip": "mm d-1", "srad": "MJ m-2 d-1"}
    columns = {n: Column(c, unit.get(n, "degC")) for n, c in units.items()} | {"vpd": Column("vpd_kpa", "kPa")}
    weather = complete(read_csv([path], columns, range(2017, 2023), station="fips", lon="lon", lat="lat"), ["srad"])
    # Three bands: neighbouring counties share their weather, so that one county held out would be no test.
    band = np.digitize(weather.lon, [-94.5, -92.5])
    note = "Rain about 1.5 times too high in 2017 and low from 2020; radiation of spring 2021 halved in the file."
    return _places(
        weather, [f"iowa-{n}" for n in weather.names], [("western", "central", "eastern")[b] + " Iowa" for b in band],
        note=note,
    )  # fmt: skip


def _champaign(data_dir: Path) -> list[Source]:
    path = find_file(data_dir, CHAMPAIGN)
    if path is None:
        return []
    columns = {
        "tmin": Column("tmin_c", "degC"),
        "tmax": Column("tmax_c", "degC"),
        "relative_humidity": Column("rh_pct", "%"),
        "srad": Column("srad_mj_m2", "MJ m-2 d-1"),
        "precip": Column("precip_mm", "mm d-1"),
    }
    weather = complete(read_csv([path], columns, range(1989, 2019), lon=-88.24, lat=40.05), fill_gaps=3)
    return _places(weather, ["champaign"], ["Champaign"])


def _ames(data_dir: Path) -> list[Source]:
    path = find_file(data_dir, AMES)
    if path is None:
        return []
    columns = {
        "tmin": Column("mint_c", "degC"),
        "tmax": Column("maxt_c", "degC"),
        "srad": Column("radn_MJm2", "MJ m-2 d-1"),
        "precip": Column("rain_mm", "mm d-1"),
    }
    weather = complete(read_csv([path], columns, range(1980, 2021), lon=-93.77, lat=42.02), ["vpd"])
    return _places(weather, ["ames"], ["central Iowa"], note="vpd estimated with the dew point at tmin.")


def _illinois(data_dir: Path) -> list[Source]:
    path, outlines = find_file(data_dir, ILLINOIS), data_dir / OUTLINES
    if path is None or not outlines.is_file():
        return []
    columns = {
        "tmean": Column("Tair", "degC"),
        "relative_humidity": Column("RH", "%"),
        "precip": Column("Precipitation", "mm d-1"),
        "srad": Column("Radiation", "MJ m-2 d-1"),
    }
    read = read_csv(
        [path], columns, range(2000, 2021), year="Year", day_of_year="Day", station="fips", lon=-90.0, lat=39.0
    )
    counties = read_outlines(outlines, "counties")
    middles = [find(counties, name, outlines).geometry.centroid for name in read.names]
    placed = replace(read, lon=np.array([m.x for m in middles]), lat=np.array([m.y for m in middles]))
    names = [f"illinois-{n}" for n in read.names]
    note = "tmin and tmax estimated from radiation."
    return _places(complete(placed, ["range"]), names, [_PLACE.get(n, n) for n in read.names], note=note)


def _experiments(data_dir: Path) -> list[Source]:
    path, sites = find_file(data_dir, EXPERIMENTS), find_file(data_dir, EXPERIMENT_SITES)
    if path is None or sites is None:
        return []
    columns = {
        "tmin": Column("tmin_c", "degC"),
        "tmax": Column("tmax_c", "degC"),
        "precip": Column("precip_mm", "mm d-1"),
    }
    read = read_csv([path], columns, range(1962, 2022), station="site", lon=0.0, lat=0.0)
    table = read_table(sites, ("site", "lat", "lon"), ("site",))
    where: dict[str, tuple[float, float]] = {}
    for name, lat, lon in zip(table["site"], numbers(table, "lat", sites), numbers(table, "lon", sites), strict=True):
        where.setdefault(str(name), (float(lat), float(lon)))
    # "Ithaca_NE" is "IthacaNE" there, "Mead_NE" is "Mead2"
    at = [next((v for k, v in where.items() if k.startswith(n.partition("_")[0])), None) for n in read.names]
    known = [k for k, place in enumerate(at) if place is not None]
    weather = Weather(
        read.days,
        np.array([at[k][1] for k in known]),  # type: ignore[index]
        np.array([at[k][0] for k in known]),  # type: ignore[index]
        tuple(read.names[k] for k in known),
        {n: v[known] for n, v in read.daily.items()},
    )
    names = [f"experiment-{n}" for n in weather.names]
    note = "srad estimated from the daily range of temperature, vpd with the dew point at tmin."
    groups = [_PLACE.get(n, n) for n in weather.names]
    return _places(complete(weather, ["srad", "vpd"], fill_gaps=3), names, groups, estimated=True, note=note)


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


def _places(
    weather: Weather,
    names: Sequence[str],
    groups: Sequence[str],
    *,
    estimated: bool = False,
    note: str = "",
) -> list[Source]:
    return [
        source_of(
            names[k],
            groups[k],
            float(weather.lat[k]),
            weather.days,
            {n: weather.daily[n][k] for n in DRIVERS},
            estimated=estimated,
            note=note,
        )
        for k in range(len(names))
    ]
