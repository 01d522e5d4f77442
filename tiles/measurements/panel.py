"""The yield panel: counties with daily weather, soils and reported yields, and the forcing that a model runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Forcing
from fieldflux.models.crops import CROPS, MAIZE, SOYBEAN
from fieldflux.tiles.cubefile import days_of
from fieldflux.tiles.sources.parts import CALENDAR_SOURCE, ILLINOIS, IOWA
from numpy.typing import NDArray

from .gpp import SLOPE
from .panelsoil import county_soil, points_of, read_pedons, read_surveys
from .panelweather import CountyWeather, read_county_weather
from .tables import Array, find, numbers, read_table
from .trend import lines_before
from .yields import YIELDS, read_histories

PANEL_CROPS = (MAIZE.name, SOYBEAN.name)
PHASES = 2
# Not in the file of yields, so not named there.
_UNREPORTED = {"17003": "Alexander"}
_STATES = {"17": ("Illinois", ILLINOIS), "19": ("Iowa", IOWA)}
_NAMES = {"corn": MAIZE.name, "soy": SOYBEAN.name, "soybean": SOYBEAN.name}  # of the satellite's files
_MANAGEMENT = {"tillage": 0.5, "irrigated": 0.0, "residue_removed": 0.0}


@dataclass(frozen=True, slots=True, eq=False)
class CountyRecord:
    """A county. fips: five digits. years: whole calendar years of the weather, one after the other.

    weather: name -> [day], vocabulary units, on the real calendar. points: soil and latitude, name -> [point].
    yields: crop -> [year], t ha-1 at market moisture, NaN where none is reported. history: crop -> (years, t ha-1),
    all that were ever reported. gpp: crop -> [day] satellite GPP, gC m-2 d-1, NaN where it has no day; None without.
    sowing, harvest: crop -> [year] day of year.
    """

    fips: str
    name: str
    state: str
    longitude: float
    years: tuple[int, ...]
    weather: Mapping[str, Array]
    points: Mapping[str, Array]
    yields: Mapping[str, Array]
    history: Mapping[str, tuple[NDArray[np.int64], Array]]
    gpp: Mapping[str, Array] | None
    sowing: Mapping[str, Array]
    harvest: Mapping[str, Array]
    sources: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def days(self) -> NDArray[np.datetime64]:
        """[day] datetime64[D]."""
        return np.asarray(days_of(list(self.years)))

    @property
    def expected(self) -> Mapping[str, Array]:
        """crop -> [year] t ha-1 at market moisture, on the line through the county's earlier reports (`line_before`).

        NaN where it has too few of them. It is what the floor "county trend" says, before that falls back on others.
        """
        return {crop: lines_before(self.years, self.history.get(crop)) for crop in PANEL_CROPS}


def read_panel(data_dir: Path) -> tuple[CountyRecord, ...]:
    """Every county with daily weather in the folder, by FIPS; () without any. Maize and soybean only.

    A county without a reported yield is here all the same, its yields NaN. Raises BadMeasurements.
    """
    surveys, pedons = read_surveys(data_dir), read_pedons(data_dir)
    weather = read_county_weather(data_dir)
    names, history = read_histories(data_dir, [one.fips for one in weather])
    records = []
    for one in weather:
        stock = None if pedons is None else pedons.near(one.latitude, one.longitude)
        soil = county_soil(data_dir, one.fips) or points_of(one.fips, surveys, stock)
        if soil is not None:
            gpp = _gpp(data_dir, one)
            name = names.get(one.fips) or _UNREPORTED.get(one.fips, one.fips)
            records.append(_record(one, soil, name, history.get(one.fips, {}), gpp))
    return tuple(records)


def county_forcing(record: CountyRecord, years: Sequence[int] | None = None, given_gpp: bool = False) -> Forcing:
    """Forcing of a county's cells: its points, each twice, in the two phases of a maize-soybean rotation.

    So every crop stands on half of the cells in every year (`bearing`). years: consecutive years of the record, all by
    default; the first ones are those that a model spins up on. given_gpp: with the satellite's GPP, if there is one;
    without, models make their own. Raises ValueError where the record does not have the years.

    yield_expected is that of the crop that stands, gC m-2, NaN where the county has too few earlier reports. In a
    county that a model never saw it comes of that county's own reports, of years before the one in question alone: the
    USDA has published them when a forecast is made, and the floor "county trend" knows as much. A model that reads it
    is thus scored in unseen counties on what the weather adds to their own past, not as if nothing were known there.
    """
    chosen = record.years if years is None else tuple(years)
    if not chosen or chosen != tuple(range(chosen[0], chosen[-1] + 1)) or not set(chosen) <= set(record.years):
        raise ValueError(
            f"{record.name} County ({record.fips}) has weather of {record.years[0]}-{record.years[-1]}; consecutive "
            f"years within them can be run, not {', '.join(map(str, chosen)) or 'none'}."
        )
    kept = np.isin(record.days.astype("datetime64[Y]").astype(np.int64) + 1970, chosen)
    columns = [record.years.index(year) for year in chosen]
    crops = rotation(chosen, len(record.points["latitude"]))
    maize = crops == 0
    codes = np.where(maize, MAIZE.cdl[0], SOYBEAN.cdl[0]).astype(np.float64)

    def of_crop(by_crop: Mapping[str, Array]) -> Array:
        both = [by_crop[name][columns] for name in PANEL_CROPS]
        return np.where(maize, both[0], both[1])

    expected = {name: CROPS[name].carbon_m2(1.0) * values for name, values in record.expected.items()}
    annual = {"crop": codes, "sowing_doy": of_crop(record.sowing), "harvest_doy": of_crop(record.harvest)}
    annual["yield_expected"] = of_crop(expected)
    annual |= {name: np.full(codes.shape, value) for name, value in _MANAGEMENT.items()}
    given = record.gpp if given_gpp else None
    return Forcing(
        start=date(chosen[0], 1, 1),
        years=chosen,
        daily={name: values[None, kept] for name, values in record.weather.items()},
        weather=np.zeros(len(codes), np.int64),
        annual=annual,
        static={name: np.repeat(values, PHASES) for name, values in record.points.items()},
        gpp_given=None if given is None else np.stack([given[name][kept] for name in PANEL_CROPS]),
        gpp_unit=None if given is None else np.asarray(crops, np.int64),
    )


def rotation(years: Sequence[int], points: int) -> NDArray[np.int64]:
    """[cell, year] place in PANEL_CROPS: cells are points x phases; phase 0 bears maize in even years."""
    phase = np.tile(np.arange(PHASES), points)
    return np.asarray((phase[:, None] + np.array(years)[None]) % PHASES, np.int64)


def bearing(forcing: Forcing, crop: str, year: int) -> NDArray[np.bool_]:
    """[cell] where the crop stands in that year. Raises ValueError where the forcing does not touch the year."""
    if year not in forcing.years:
        raise ValueError(f"The forcing has the years {forcing.years[0]}-{forcing.years[-1]}, not {year}.")
    return np.isin(forcing.annual["crop"][:, forcing.years.index(year)], CROPS[crop].cdl)


def stack(forcings: Sequence[Forcing]) -> Forcing:
    """Forcings of the same days as one, cells in the same order: many counties in one batch.

    Where some have given GPP and others do not, the others' cells make their own. Inputs that not all of them have
    are left out. Raises ValueError where the days differ.
    """
    first = forcings[0]
    if any((f.start, f.years, f.days) != (first.start, first.years, first.days) for f in forcings):
        raise ValueError("Forcings can be stacked where they have the same days; give them one at a time.")
    rows = np.cumsum([0] + [len(next(iter(f.daily.values()))) for f in forcings])
    given = [f.gpp_given for f in forcings if f.gpp_given is not None]
    return Forcing(
        start=first.start,
        years=first.years,
        daily=_joined([f.daily for f in forcings]),
        weather=np.concatenate([np.asarray(f.weather) + row for f, row in zip(forcings, rows[:-1], strict=True)]),
        annual=_joined([f.annual for f in forcings]),
        static=_joined([f.static for f in forcings]),
        gpp_given=np.concatenate(given) if given else None,
        gpp_unit=_units(forcings) if given else None,
    )


def _joined(parts: Sequence[Mapping[str, NDArray[np.floating]]]) -> dict[str, NDArray[np.floating]]:
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in shared}


def _units(forcings: Sequence[Forcing]) -> NDArray[np.int64]:
    units, row = [], 0
    for f in forcings:
        if f.gpp_given is None or f.gpp_unit is None:
            units.append(np.full((f.cells, len(f.years)), -1, np.int64))
        else:
            here = np.asarray(f.gpp_unit, np.int64)
            units.append(np.where(here >= 0, here + row, -1))
            row += len(f.gpp_given)
    return np.concatenate(units)


def _record(
    weather: CountyWeather,
    soil: tuple[Mapping[str, Array], str],
    name: str,
    history: Mapping[str, tuple[NDArray[np.int64], Array]],
    gpp: Mapping[str, Array] | None,
) -> CountyRecord:
    state, calendar = _STATES[weather.fips[:2]]
    values, said = soil
    size = len(next(iter(values.values())))
    years = np.array(weather.years)
    yields = {}
    for crop in PANEL_CROPS:
        known = dict(zip(*(part.tolist() for part in history[crop]), strict=True)) if crop in history else {}
        yields[crop] = np.array([known.get(int(year), np.nan) for year in years])
    notes = [
        *weather.notes,
        said,
        "Maize and soybean take turns, half of the cells each; tillage is reduced (0.5), irrigation and residue "
        "removal none.",
        f"Sowing and harvest are the same every year: {CALENDAR_SOURCE}.",
    ]
    if gpp is not None:
        notes.append("Satellite GPP (SLOPE) is a county mean per crop; 31 December of leap years has none.")
    return CountyRecord(
        fips=weather.fips,
        name=name,
        state=state,
        longitude=weather.longitude,
        years=weather.years,
        weather=weather.daily,
        points={"latitude": np.full(size, weather.latitude), **values},
        yields=yields,
        history=history,
        gpp=gpp,
        sowing={crop: np.full(years.size, calendar[crop].sowing) for crop in PANEL_CROPS},
        harvest={crop: np.full(years.size, calendar[crop].harvest) for crop in PANEL_CROPS},
        sources=(weather.source, YIELDS, *((SLOPE,) if gpp is not None else ())),
        notes=tuple(notes),
    )


def _gpp(data_dir: Path, weather: CountyWeather) -> dict[str, Array] | None:
    """crop -> [day] of the weather's years; None unless the satellite's file has both crops of the county."""
    path = find(data_dir, SLOPE)
    if path is None:
        return None
    table = read_table(path, ("fips", "crop", "year", "doy", "GPP_gC_m2_d"), ("crop",))
    table = table[numbers(table, "fips", path) == int(weather.fips)]
    days = days_of(list(weather.years))
    found = {}
    for crop, rows in table.groupby("crop"):
        first = rows["year"].astype(np.int64).astype(str).to_numpy(str).astype("datetime64[Y]").astype("datetime64[D]")
        slot = (first + (rows["doy"].to_numpy(np.int64) - 1) - days[0]).astype(np.int64)
        keep = (slot >= 0) & (slot < days.size)
        series = np.full(days.size, np.nan)
        series[slot[keep]] = rows["GPP_gC_m2_d"].to_numpy(np.float64)[keep]
        if str(crop) in _NAMES and keep.any():
            found[_NAMES[str(crop)]] = series
    return found if set(found) == set(PANEL_CROPS) else None
