"""Long-term experiments on soil carbon as runs: weather, management and soil of a plot beside its measured stocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Forcing
from fieldflux.tiles.atmosphere import (
    co2_of,
    extraterrestrial,
    radiation_from_range,
    saturation_pressure,
    vpd_from_pressure,
)

from .management import Season
from .schedule import NotASeason, nitrogen, read_layers, read_schedule, seasons
from .soilcarbon import SoilSeries, read_soil_series
from .tables import Array, dates, find, read_table

WEATHER = "weather/midwest_lte_sites_daily_tmax_tmin_precip.csv.gz"
SITES = "soc/lte_sites.csv"
MANAGEMENT = "soc/lte_management"
DEPTH_MM = 300.0

DECLARED = (
    "Weather of the experiments: measured are the extremes of temperature and rain. tmean is the mean of the extremes; "
    "srad is estimated from their range (Hargreaves and Samani 1982); vpd takes the lowest temperature as the dew "
    "point (FAO-56 eq. 48).",
    "Management of the experiments: DayCent schedules, some of them typical years in turn instead of records. An "
    "irrigated year has no amounts. Fertiliser is not an input of the models.",
    "Soil of the experiments: DayCent layers, 0-30 cm, one soil for all plots of a site; soc_content is the first "
    "measured stock, whose depth is not documented, taken as that of 0-30 cm.",
)


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """One plot of a long-term experiment.

    daily: variable -> [day] from 1 January of the first year in `years` to 31 December of the last. seasons: year ->
    crop season. static: variable -> value. measured: stocks, gC m-2. nitrogen: mean fertiliser, gN m-2 yr-1. missing:
    what is not known, in sentences.
    """

    site: str
    treatment: str
    years: tuple[int, ...]
    daily: Mapping[str, Array]
    seasons: Mapping[int, Season]
    static: Mapping[str, float]
    measured: SoilSeries
    nitrogen: float
    missing: tuple[str, ...] = ()


def forcing_of(plots: Sequence[Experiment]) -> Forcing:
    """The inputs of one run of all the plots, a cell each. Raises ValueError unless they share site and years."""
    first = plots[0]
    if any((p.site, p.years) != (first.site, first.years) for p in plots):
        raise ValueError("Plots that are run together must share their site and years; group them first.")
    names = ("crop", "sowing_doy", "harvest_doy", "irrigated", "residue_removed", "tillage")
    return Forcing(
        start=date(first.years[0], 1, 1),
        years=first.years,
        daily={name: values[None].astype(np.float32) for name, values in first.daily.items()},
        weather=np.zeros(len(plots), np.int64),
        annual={n: np.array([[getattr(p.seasons[y], n) for y in p.years] for p in plots], np.float32) for n in names},
        static={n: np.array([p.static[n] for p in plots], np.float32) for n in first.static},
    )


def read_experiments(data_dir: Path) -> tuple[list[Experiment], list[str]]:
    """Every plot that can be run, and a sentence for each group of plots that cannot; ([], [..]) without the files.

    Raises BadMeasurements where a file is there and cannot be understood.
    """
    series = read_soil_series(data_dir)
    if not series:
        return [], ["Soil carbon: no soc/lte_soc_timeseries.csv in this folder."]
    weather, places = _weather(data_dir), _places(data_dir)
    found: list[Experiment] = []
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in series:
        try:
            found.append(_experiment(data_dir, one, weather, places))
        except NotASeason as reason:
            reasons.setdefault((one.site, str(reason)), []).append(one.treatment)
    return found, _sentences(reasons)


def _experiment(
    data_dir: Path, series: SoilSeries, weather: Mapping[str, _Station], places: Mapping[str, tuple[float, float]]
) -> Experiment:
    """Raises NotASeason with the reason why there is no run."""
    if len(np.unique(series.year)) < 2:
        raise NotASeason("it was measured once, which gives no trend")
    station = _station(series.site, weather)
    if station is None or series.site not in places:
        raise NotASeason("this folder holds no daily weather of the place")
    schedule = _schedule(data_dir, series)
    layers = data_dir / MANAGEMENT / series.site / "soils.in"
    if schedule is None or not layers.is_file():
        raise NotASeason("this folder holds no schedule of its management or no soil of it")
    years = tuple(range(int(series.year[0]), int(series.year[-1]) + 1))
    covered = station.years()
    if years[0] < covered[0] or years[-1] > covered[1]:
        raise NotASeason(f"its weather covers {covered[0]} to {covered[1]}, its measurements {years[0]} to {years[-1]}")
    soil = read_layers(layers)
    latitude, _ = places[series.site]
    daily, missing = station.forcing(years, latitude)
    content = float(series.soc[0]) / (soil["bulk_density"] * DEPTH_MM)
    operations = read_schedule(schedule)
    return Experiment(
        series.site,
        series.treatment,
        years,
        daily,
        seasons(operations, years),
        {**soil, "latitude": latitude, "soc_content": content},
        series,
        nitrogen(operations, years),
        missing,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Station:
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

    def forcing(self, years: tuple[int, ...], latitude: float) -> tuple[dict[str, Array], tuple[str, ...]]:
        begin = int((np.datetime64(f"{years[0]}-01-01") - self.start).astype(int))
        days = np.arange(np.datetime64(f"{years[0]}-01-01"), np.datetime64(f"{years[-1] + 1}-01-01"))
        part = slice(begin, begin + len(days))
        # A few days have the extremes exchanged: the larger one is the day's highest.
        tmax, tmin = np.maximum(self.tmax[part], self.tmin[part]), np.minimum(self.tmax[part], self.tmin[part])
        daily = {
            "tmean": (tmax + tmin) / 2,
            "tmin": tmin,
            "tmax": tmax,
            "precip": self.precip[part],
            "srad": radiation_from_range(tmin, tmax, extraterrestrial(latitude, days)),
            "vpd": vpd_from_pressure(tmin, tmax, saturation_pressure(tmin)),
        }
        if any(not np.isfinite(values).all() for values in daily.values()):
            raise NotASeason("its weather has missing days")
        co2 = co2_of(days)
        if co2 is None:
            return daily, (f"CO2 of {years[0]} to {years[-1]} is not in the record of 1979 to 2024: not given",)
        return {**daily, "co2": co2}, ()


def _weather(data_dir: Path) -> dict[str, _Station]:
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
        found[str(site)] = _Station(start, *columns)
    return found


def _station(experiment: str, stations: Mapping[str, _Station]) -> _Station | None:
    """The weather of an experiment: "Ithaca_NE" is that of "Ithaca2" and "IthacaNE", "SouthCharleston_OH" of
    "SCharleston"."""
    for name, station in stations.items():
        place = name.rsplit("_", 1)[0].lower().replace("south", "s")
        if experiment.lower().rstrip("0123456789").startswith(place):
            return station
    return None


def _places(data_dir: Path) -> dict[str, tuple[float, float]]:
    path = find(data_dir, SITES)
    if path is None:
        return {}
    table = read_table(path, ("site", "lat", "lon"), ("site",))
    return {str(s): (float(a), float(o)) for s, a, o in zip(table["site"], table["lat"], table["lon"], strict=True)}


def _schedule(data_dir: Path, series: SoilSeries) -> Path | None:
    folder = data_dir / MANAGEMENT / series.site
    if not folder.is_dir():
        return None
    return next((p for p in sorted(folder.glob("*.sch")) if p.stem.lower() == series.treatment.lower()), None)


def _sentences(reasons: Mapping[tuple[str, str], list[str]]) -> list[str]:
    """One sentence per reason; sites that share it for all their plots together."""
    by_reason: dict[str, list[str]] = {}
    for (site, reason), plots in reasons.items():
        by_reason.setdefault(reason, []).append(f"{site} ({len(plots)} plot{'s' if len(plots) > 1 else ''})")
    return [f"Soil carbon of {', '.join(sites)}: {reason}." for reason, sites in by_reason.items()]


__all__ = ["DECLARED", "Experiment", "forcing_of", "read_experiments"]
