"""Daily weather of the counties of the yield panel, each from its file, with that file's faults minded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fieldflux.tiles.readers.errors import BadSource
from fieldflux.tiles.readers.weather import Column, Weather, complete, read_csv

from .tables import Array, BadMeasurements, find

IOWA = "weather/iowa35_hrrr_daily_2017_2022.csv.gz"
ILLINOIS = "kgml_da/il_17001_17003_inputs_daily_2000_2020.csv.gz"
WARM = "weather/champaign_il_warm_daily.csv.gz"
BONDVILLE = "weather/champaign_il_daily_1995_2022.csv.gz"
OLD = "weather/champaign_il_daily_1889_2009.csv.gz"
AMES = "weather/ames_ia_daily_1980_2019.csv.gz"

# Middles of the counties of Illinois and places of the stations: latitude, longitude.
_PLACES = {"17001": (39.99, -91.19), "17003": (37.19, -89.34), "17019": (40.05, -88.37), "19169": (42.02, -93.77)}

_RAIN = (
    "Rain of the source is about 1.5 times too high in 2017 and too low from 2020; it is given here as it is.",
    "Radiation of April and May 2021 was double in the source and is halved.",
)


@dataclass(frozen=True, slots=True, eq=False)
class CountyWeather:
    """Weather of one county over consecutive days of whole years. daily: name -> [day], vocabulary units."""

    fips: str
    latitude: float
    longitude: float
    years: tuple[int, ...]
    daily: Mapping[str, Array]
    source: str
    notes: tuple[str, ...]


def read_county_weather(data_dir: Path) -> list[CountyWeather]:
    """Weather of every county that has a daily file in the folder; [] without any. Raises BadMeasurements."""
    found: list[CountyWeather] = []
    try:
        for read in (_iowa, _illinois, _champaign, _ames):
            found += read(data_dir)
    except BadSource as error:
        raise BadMeasurements(str(error)) from error
    return sorted(found, key=lambda one: one.fips)


def _iowa(data_dir: Path) -> list[CountyWeather]:
    path = find(data_dir, IOWA)
    if path is None:
        return []
    columns = {
        "tmean": Column("tmean_c", "degC"),
        "tmin": Column("tmin_c", "degC"),
        "tmax": Column("tmax_c", "degC"),
        "precip": Column("precip_mm", "mm d-1"),
        "srad": Column("srad_mj_m2", "MJ m-2 d-1"),
        "vpd": Column("vpd_kpa", "kPa"),
    }
    years = range(2017, 2023)
    weather = complete(read_csv([path], columns, years, station="fips", lon="lon", lat="lat"), ["srad"])
    return _each(replace(weather, notes=(*weather.notes, *_RAIN)), years, IOWA)


def _illinois(data_dir: Path) -> list[CountyWeather]:
    path = find(data_dir, ILLINOIS)
    if path is None:
        return []
    columns = {
        "tmean": Column("Tair", "degC"),
        "relative_humidity": Column("RH", "%"),
        "precip": Column("Precipitation", "mm d-1"),
        "srad": Column("Radiation", "MJ m-2 d-1"),
    }
    years = range(2000, 2021)
    raw = read_csv([path], columns, years, year="Year", day_of_year="Day", station="fips", lon=0.0, lat=0.0)
    places = np.array([_PLACES.get(name, (np.nan, np.nan)) for name in raw.names])
    return _each(complete(replace(raw, lat=places[:, 0], lon=places[:, 1]), ["range"]), years, ILLINOIS)


def _champaign(data_dir: Path) -> list[CountyWeather]:
    """The Water Survey's station to 2018, with measured radiation; Bondville in its holes and after it."""
    warm, bondville, old = (find(data_dir, name) for name in (WARM, BONDVILLE, OLD))
    if warm is None or bondville is None:
        return []
    latitude, longitude = _PLACES["17019"]
    years = range(1990, 2023)
    common = {
        "tmin": Column("tmin_c", "degC"),
        "tmax": Column("tmax_c", "degC"),
        "tmean": Column("tmean_c", "degC"),
        "precip": Column("precip_mm", "mm d-1"),
    }
    first = common | {"relative_humidity": Column("rh_pct", "%"), "srad": Column("srad_mj_m2", "MJ m-2 d-1")}
    second = common | {"relative_humidity": Column("rh_frac", "1"), "srad": Column("srad_mj_m2_est", "MJ m-2 d-1")}
    one = read_csv([warm], first, years, lon=longitude, lat=latitude)
    two = read_csv([bondville], second, years, lon=longitude, lat=latitude)
    low, mean, high = (one.daily[name] for name in ("tmin", "tmean", "tmax"))
    # A mean outside its extremes: one of the three is wrong, and nothing says which.
    torn = (mean < low) | (mean > high)
    heat = torn | np.isnan(low + mean + high)
    daily = {}
    for name in first:
        hole = heat if name in ("tmin", "tmean", "tmax") else np.isnan(one.daily[name])
        daily[name] = np.where(hole, two.daily[name], one.daily[name])
    notes = [
        "To 2018 the Water Survey's station at Champaign; holes, and 2019 on, from Bondville, where radiation is "
        "estimated (4 % below the station's over their common days).",
        f"{int(torn.sum())} days whose mean temperature lies outside its extremes have Bondville's temperatures.",
    ]
    if old is not None:
        rain = read_csv([old], {"precip": common["precip"]}, years, lon=longitude, lat=latitude).daily["precip"]
        daily["precip"] = np.where(np.isfinite(daily["precip"]), daily["precip"], rain)
    dry = np.isnan(daily["precip"])
    if dry.any():
        daily["precip"] = np.where(dry, 0.0, daily["precip"])
        notes.append(f"{int(dry.sum())} days of rain that no file gives are taken as dry.")
    weather = complete(replace(one, names=("17019",), daily=daily, notes=tuple(notes)), fill_gaps=5)
    return _each(weather, years, f"{WARM}, {BONDVILLE}")


def _ames(data_dir: Path) -> list[CountyWeather]:
    path = find(data_dir, AMES)
    if path is None:
        return []
    columns = {
        "tmax": Column("maxt_c", "degC"),
        "tmin": Column("mint_c", "degC"),
        "precip": Column("rain_mm", "mm d-1"),
        "srad": Column("radn_MJm2", "MJ m-2 d-1"),
    }
    latitude, longitude = _PLACES["19169"]
    # The file goes on through 2020, whose radiation is 40 % above that of any year before it.
    years = range(1980, 2020)
    weather = read_csv([path], columns, years, lon=longitude, lat=latitude)
    return _each(complete(replace(weather, names=("19169",)), ["vpd"]), years, AMES)


def _each(weather: Weather, years: range, source: str) -> list[CountyWeather]:
    return [
        CountyWeather(
            name,
            float(weather.lat[k]),
            float(weather.lon[k]),
            tuple(years),
            {variable: np.ascontiguousarray(values[k]) for variable, values in _rows(weather).items()},
            source,
            weather.notes,
        )
        for k, name in enumerate(weather.names)
    ]


def _rows(weather: Weather) -> dict[str, Array]:
    """Every variable as [place, day]; what is the same everywhere (CO2) repeated."""
    return {
        name: np.broadcast_to(np.asarray(values, np.float64), (len(weather.names), weather.days.size))
        for name, values in weather.daily.items()
    }
