"""Long-term experiments on soil carbon as runs: weather, management and soil of a plot beside its measured stocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Forcing
from fieldflux.tiles.atmosphere import co2_of

from .experimentweather import Station, read_places, read_stations, station_of
from .management import Season
from .schedule import NotASeason, nitrogen, read_layers, read_schedule, seasons
from .soilcarbon import SoilSeries, read_soil_series
from .tables import Array

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
    weather, places = read_stations(data_dir), read_places(data_dir)
    found: list[Experiment] = []
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in series:
        try:
            found.append(_experiment(data_dir, one, weather, places))
        except NotASeason as reason:
            reasons.setdefault((one.site, str(reason)), []).append(one.treatment)
    return found, _sentences(reasons)


def _experiment(
    data_dir: Path, series: SoilSeries, weather: Mapping[str, Station], places: Mapping[str, tuple[float, float]]
) -> Experiment:
    """Raises NotASeason with the reason why there is no run."""
    if len(np.unique(series.year)) < 2:
        raise NotASeason("it was measured once, which gives no trend")
    station = station_of(series.site, weather)
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
    daily, missing = _forcing(station, years, latitude)
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


def _forcing(station: Station, years: tuple[int, ...], latitude: float) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Drivers of whole years, [day], with CO2 where it is known; raises NotASeason where a day is missing."""
    days, daily = station.daily(years, latitude)
    if any(not np.isfinite(values).all() for values in daily.values()):
        raise NotASeason("its weather has missing days")
    co2 = co2_of(days)
    if co2 is None:
        return daily, (f"CO2 of {years[0]} to {years[-1]} is not in the record of 1979 to 2024: not given",)
    return {**daily, "co2": co2}, ()


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
