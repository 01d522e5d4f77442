"""Daily weather from CSV, NetCDF or Zarr, with the columns and units that the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles import atmosphere
from fieldflux.tiles.cubefile import days_of
from numpy.typing import NDArray

from .errors import BadSource, existing
from .units import HUMIDITY, convert

Floats = NDArray[np.float64]

NEEDED = ("tmean", "tmin", "tmax", "precip", "srad", "vpd")
ESTIMATES = ("range", "srad", "vpd")


@dataclass(frozen=True, slots=True)
class Column:
    """Where a quantity stands in a file, and in which unit."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Weather:
    """Daily weather of W places over whole years.

    daily: name -> [W, D], vocabulary units (and relative_humidity, vapour_pressure, dewpoint); NaN = missing.
    flags: input -> ([W, D] codes, their meaning). notes: what was derived, estimated or filled, in sentences.
    """

    days: NDArray[np.datetime64]
    lon: Floats
    lat: Floats
    names: tuple[str, ...]
    daily: Mapping[str, Floats]
    flags: Mapping[str, tuple[NDArray[np.uint8], str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_csv(
    paths: Sequence[Path | str],
    columns: Mapping[str, Column],
    years: Sequence[int],
    *,
    date: str | None = "date",
    year: str | None = None,
    day_of_year: str | None = None,
    station: str | None = None,
    lon: str | float | None = None,
    lat: str | float | None = None,
    missing: Sequence[float] = (),
) -> Weather:
    """Weather of one or several stations from CSV files in long form, one row a station and day.

    date: column of dates, or year and day_of_year: columns of both. station: column of station names; without it all
    rows are one station. lon, lat: columns, or numbers for the one station. missing: codes of missing values.
    Days of `years` that no row gives are NaN. Raises BadSource.
    """
    import pandas as pd

    tables = []
    for path in paths:
        file = existing(path, "weather file")
        try:
            tables.append(pd.read_csv(file, dtype={station: str} if station else None))
        except (ValueError, OSError, EOFError) as error:
            raise BadSource(f"{file} cannot be read as CSV: {error}.") from error
    if not tables:
        raise BadSource("No weather file is named. Give at least one.")
    table = pd.concat(tables, ignore_index=True)
    where = ", ".join(str(p) for p in paths)
    of_time = (year, day_of_year) if year and day_of_year else (date,)
    places = tuple(c for c in (station, lon, lat) if isinstance(c, str))
    wanted = [str(c) for c in (*of_time, *places, *(c.name for c in columns.values()))]
    lacking = [c for c in wanted if c not in table.columns]
    if lacking:
        raise BadSource(
            f"{where} has no column {', '.join(repr(c) for c in lacking)}; its columns are: "
            f"{', '.join(str(c) for c in table.columns)}."
        )
    days = days_of(years)
    try:
        if year and day_of_year:
            first = table[year].astype(int).astype(str).to_numpy(str).astype("datetime64[Y]").astype("datetime64[D]")
            when = first + (table[day_of_year].to_numpy(int) - 1)
        else:
            when = pd.to_datetime(table[date], format="ISO8601").to_numpy("datetime64[D]")
    except (ValueError, TypeError) as error:
        raise BadSource(f"The dates of {where} cannot be read: {error}. Write them as 2020-12-31.") from error
    labels = table[station].to_numpy(str) if station else np.full(len(table), "station")
    names, row = np.unique(labels, return_inverse=True)
    slot = (when - days[0]).astype(int)
    inside = (slot >= 0) & (slot < days.size)
    if not inside.any():
        raise BadSource(f"{where} has no day of {years[0]}-{years[-1]}; it covers {when.min()} to {when.max()}.")
    _once(row[inside] * days.size + slot[inside], where, days, names)
    daily = {}
    for name, column in columns.items():
        try:
            values = table[column.name].to_numpy(np.float64)
        except (ValueError, TypeError) as error:
            raise BadSource(f"The column '{column.name}' of {where} is not numeric: {error}.") from error
        values = np.where(np.isin(values, missing), np.nan, values)
        grid = np.full((names.size, days.size), np.nan)
        grid[row[inside], slot[inside]] = convert(name, values[inside], column.unit)
        daily[name] = grid

    def coordinate(given: str | float | None, what: str) -> Floats:
        if isinstance(given, str):
            values = table[given].to_numpy(np.float64)
            return np.array([np.nanmean(values[row == k]) for k in range(names.size)])
        if given is None:
            raise BadSource(f"Say where the stations of {where} lie: a column or a number for {what}.")
        return np.full(names.size, float(given))

    return Weather(days, coordinate(lon, "lon"), coordinate(lat, "lat"), tuple(str(n) for n in names), daily)


def read_gridded(
    paths: Sequence[Path | str],
    columns: Mapping[str, Column],
    years: Sequence[int],
    *,
    time: str = "time",
    lon: str = "lon",
    lat: str = "lat",
    bounds: tuple[float, float, float, float] | None = None,
) -> Weather:
    """Weather of the points of NetCDF files or Zarr folders, opened by xarray.

    lon, lat: coordinates, either along axes of their own (a regular grid) or both along one axis (stations).
    bounds: west, south, east, north; points outside are left out. Raises BadSource.
    """
    import xarray as xr

    if not paths:
        raise BadSource("No weather file is named. Give at least one.")
    parts = []
    for path in paths:
        file = existing(path, "weather file")
        try:
            opened = xr.open_zarr(file, consolidated=False) if file.is_dir() else xr.open_dataset(file)
        except Exception as error:  # each engine of xarray raises its own
            raise BadSource(f"{file} cannot be opened as NetCDF or Zarr: {error}.") from error
        parts.append(opened)
    where = ", ".join(str(p) for p in paths)
    data = parts[0] if len(parts) == 1 else xr.concat(parts, dim=time, data_vars="minimal", coords="minimal")
    lacking = [n for n in (time, lon, lat, *(c.name for c in columns.values())) if n not in data.variables]
    if lacking:
        raise BadSource(
            f"{where} has no variable {', '.join(repr(n) for n in lacking)}; it has: "
            f"{', '.join(str(n) for n in data.variables)}."
        )
    lons, lats = np.asarray(data[lon], float), np.asarray(data[lat], float)
    lons = np.where(lons > 180, lons - 360, lons)
    axes = (*data[lat].dims, *data[lon].dims) if data[lon].dims != data[lat].dims else data[lon].dims
    x, y = (
        (lons.ravel(), lats.ravel())
        if data[lon].dims == data[lat].dims
        else tuple(a.ravel() for a in np.meshgrid(lons, lats))
    )
    keep = np.ones(x.size, bool)
    if bounds is not None:
        west, south, east, north = bounds
        keep = (x >= west) & (x <= east) & (y >= south) & (y <= north)
        if not keep.any():
            raise BadSource(f"{where} has no point within {bounds}; its points lie within {_extent(x, y)}.")
    when = np.asarray(data[time]).astype("datetime64[D]")
    days = days_of(years)
    slot = (when - days[0]).astype(int)
    inside = (slot >= 0) & (slot < days.size)
    if not inside.any():
        raise BadSource(f"{where} has no day of {years[0]}-{years[-1]}; it covers {when.min()} to {when.max()}.")
    _once(slot[inside], where, days, np.array(["the file"]))
    daily = {}
    for name, column in columns.items():
        array = data[column.name]
        if set(array.dims) != {time, *axes}:
            raise BadSource(f"'{column.name}' of {where} has the dimensions {array.dims}, not {(time, *axes)}.")
        values = np.asarray(array.transpose(time, *axes), np.float64).reshape(when.size, -1)[:, keep]
        grid = np.full((int(keep.sum()), days.size), np.nan)
        grid[:, slot[inside]] = convert(name, values[inside], column.unit).T
        daily[name] = grid
    names = tuple(f"{b:.4f} {a:.4f}" for a, b in zip(x[keep], y[keep], strict=True))
    return Weather(days, x[keep], y[keep], names, daily)


def complete(weather: Weather, estimate: Sequence[str] = (), fill_gaps: int = 0) -> Weather:
    """Weather with everything that models need, derived from what there is.

    The mean of tmin and tmax is tmean; vpd comes from vapour pressure, dew point or relative humidity (FAO-56).
    estimate: what may be estimated where it was not measured, else it is an error: "range" (tmin and tmax from tmean
    and radiation), "srad" (from tmin and tmax), "vpd" (the dew point at tmin). fill_gaps: gaps of up to so many days
    are bridged by straight lines, rain excepted. Each of these leaves a note. CO2 is added from the global mean.
    Raises BadSource where something that is needed is missing and may not be estimated.
    """
    unknown = [e for e in estimate if e not in ESTIMATES]
    if unknown:
        raise BadSource(f"'{unknown[0]}' cannot be estimated; what can be: {', '.join(ESTIMATES)}.")
    daily, notes, flags = dict(weather.daily), list(weather.notes), dict(weather.flags)
    for name in [n for n in daily if n != "precip"]:
        daily[name], filled = _bridge(daily[name], fill_gaps)
        if filled:
            notes.append(f"{filled} days of {name} in gaps of up to {fill_gaps} days were filled by straight lines.")
    above = atmosphere.extraterrestrial(weather.lat, weather.days)

    if "tmean" not in daily and {"tmin", "tmax"} <= daily.keys():
        daily["tmean"] = (daily["tmin"] + daily["tmax"]) / 2
        notes.append("tmean is the mean of tmin and tmax.")
    if not {"tmin", "tmax"} <= daily.keys() and "range" in estimate and {"tmean", "srad"} <= daily.keys():
        half = atmosphere.range_from_radiation(daily["srad"], above) / 2
        daily["tmin"], daily["tmax"] = daily["tmean"] - half, daily["tmean"] + half
        notes.append(
            "tmin and tmax are estimated: tmean less and plus half of a daily range from radiation (Hargreaves and "
            "Samani 1982). Against a station at Champaign, Illinois, 1989-2018: tmax +0.5 K on average and 3.2 K RMSE, "
            "tmin -0.6 K and 3.3 K."
        )
    if "srad" in estimate and {"tmin", "tmax"} <= daily.keys():
        guess = atmosphere.radiation_from_range(daily["tmin"], daily["tmax"], above)
        holes = np.isnan(daily.get("srad", np.full_like(guess, np.nan))) & np.isfinite(guess)
        daily["srad"] = np.where(holes, guess, daily.get("srad", guess))
        if holes.any():
            before = flags.get("srad", (np.zeros(guess.shape, np.uint8), "0 as in the file; 2 estimated"))
            flags["srad"] = (np.where(holes, 2, before[0]).astype(np.uint8), before[1])
            notes.append(
                f"{int(holes.sum())} days of srad are estimated from the daily range of temperature (Hargreaves and "
                f"Samani 1982)."
            )
    if "vpd" not in daily and {"tmin", "tmax"} <= daily.keys():
        daily |= _deficit(daily, estimate, notes)
    missing = [n for n in NEEDED if n not in daily]
    if missing:
        raise BadSource(
            f"The weather lacks {', '.join(f'{n} ({VARIABLES[n].long_name})' for n in missing)}. Name their columns, "
            f"or allow an estimate where there is one: {', '.join(ESTIMATES)}."
        )
    for name in NEEDED:
        empty = int(np.isnan(daily[name]).sum())
        if empty == daily[name].size:
            raise BadSource(f"The weather has no value of {name} at all. Check its column and the years.")
        if empty:
            notes.append(f"{empty} of {daily[name].size} days of {name} are missing.")
    if "co2" not in daily:
        co2 = atmosphere.co2_of(weather.days)
        if co2 is None:
            notes.append("No CO2: the table of global means covers 1979-2024.")
        else:
            daily["co2"] = co2
    kept = {n: v for n, v in daily.items() if n not in HUMIDITY}
    return replace(weather, daily=kept, flags=flags, notes=tuple(notes))


def nearest(lon: Floats, lat: Floats, at_lon: Floats, at_lat: Floats) -> NDArray[np.int64]:
    """Row of the place nearest to each point, over the sphere."""
    from scipy.spatial import cKDTree

    def ball(a: Any, b: Any) -> Floats:
        u, v = np.radians(a), np.radians(b)
        return np.stack([np.cos(v) * np.cos(u), np.cos(v) * np.sin(u), np.sin(v)], axis=-1)

    return np.asarray(cKDTree(ball(lon, lat)).query(ball(at_lon, at_lat))[1], np.int64)


def _deficit(daily: Mapping[str, Floats], estimate: Sequence[str], notes: list[str]) -> dict[str, Floats]:
    low, high = daily["tmin"], daily["tmax"]
    if "vapour_pressure" in daily:
        notes.append("vpd is derived from vapour pressure and the daily extremes of temperature (FAO-56 eq. 12).")
        return {"vpd": atmosphere.vpd_from_pressure(low, high, daily["vapour_pressure"])}
    if "dewpoint" in daily:
        notes.append("vpd is derived from the dew point and the daily extremes of temperature (FAO-56 eq. 12, 14).")
        pressure = atmosphere.saturation_pressure(daily["dewpoint"])
        return {"vpd": atmosphere.vpd_from_pressure(low, high, pressure)}
    if "relative_humidity" in daily:
        notes.append("vpd is derived from relative humidity and the daily extremes of temperature (FAO-56 eq. 12, 19).")
        return {"vpd": atmosphere.vpd_from_humidity(low, high, daily["relative_humidity"])}
    if "vpd" in estimate:
        notes.append("vpd is estimated with the dew point at tmin (FAO-56 eq. 48): too low in dry weather.")
        return {"vpd": atmosphere.vpd_from_pressure(low, high, atmosphere.saturation_pressure(low))}
    return {}


def _bridge(values: Floats, longest: int) -> tuple[Floats, int]:
    filled, count = values, 0
    for row, series in enumerate(values if longest > 0 else ()):
        known = np.flatnonzero(np.isfinite(series))
        if known.size < 2:
            continue
        steps = np.diff(known)
        holes = [np.arange(known[k] + 1, known[k + 1]) for k in np.flatnonzero((steps > 1) & (steps - 1 <= longest))]
        if not holes:
            continue
        filled = filled.copy() if filled is values else filled
        at = np.concatenate(holes)
        filled[row, at] = np.interp(at, known, series[known])
        count += at.size
    return filled, count


def _once(slots: NDArray[Any], where: str, days: NDArray[np.datetime64], names: NDArray[Any]) -> None:
    found, count = np.unique(slots, return_counts=True)
    if (count > 1).any():
        first = int(found[np.argmax(count > 1)])
        raise BadSource(
            f"{where} gives {days[first % days.size]} of {names[first // days.size]} {int(count.max())} times. Each "
            f"place and day may stand once; if there are several places, name the column that tells them apart."
        )


def _extent(x: Floats, y: Floats) -> str:
    return f"longitude {x.min():.3f} to {x.max():.3f}, latitude {y.min():.3f} to {y.max():.3f}"
