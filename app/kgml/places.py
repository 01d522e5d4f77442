"""Measurements as lessons: flux towers with their own and with measured GPP, counties with reported yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from fieldflux.models.contract import Floats, Forcing
from fieldflux.models.crops import CROPS
from fieldflux.models.kgml.lessons import Lesson, lesson
from fieldflux.models.kgml.recipe import Variant
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.tiles.measurements import Tower, tower_forcing, with_monthly_rain
from fieldflux.tiles.measurements.panel import PANEL_CROPS, CountyRecord, bearing, county_forcing
from numpy.typing import NDArray

OTHER_CROP = 44  # "other crops" in the Cropland Data Layer


def ready(tower: Tower) -> Tower:
    """The tower as a model can run it: years of unknown crop as "other crop", daily rain drawn where there is none."""
    crop = np.where(np.isnan(tower.annual["crop"]), OTHER_CROP, tower.annual["crop"])
    if not np.isfinite(tower.forcing["precip"]).any():
        tower = with_monthly_rain(tower)
    return replace(tower, annual={**tower.annual, "crop": crop})


def own_gpp(process: Agroecosystem, forcing: Forcing) -> Floats:
    """[C, D] the GPP that the served model takes where none is given: the median of the process model's members."""
    return np.median(process.predict(forcing).daily["gpp"], axis=0)


def whole_forcing(tower: Tower, given_gpp: bool) -> Forcing:
    """Its forcing from the first 1 January to the last day."""
    begins = tower.start if (tower.start.month, tower.start.day) == (1, 1) else date(tower.start.year + 1, 1, 1)
    return tower_forcing(tower, given_gpp=given_gpp, days=(begins, tower.dates()[-1].item()))


def tower_lessons(tower: Tower, process: Agroecosystem, variant: Variant, years: Sequence[int]) -> tuple[Lesson, ...]:
    """A tower's lessons: "<site> given" with its measured GPP (Reco and NEE to learn), and where crops and dates are
    known "<site> own" with the process model's (Reco; NEE where Reco is not measured).

    years: those to learn from. Years in which an input is missing are left out, and all after them: a network's memory
    does not bridge them.
    """
    tower = ready(tower)
    found = []
    for given in (True, False):
        if given and "gpp" not in tower.observed:
            continue
        forcing = _complete(whole_forcing(tower, given))
        if forcing is None:
            continue
        before = (forcing.start - tower.start).days
        days = slice(before, before + forcing.days)
        modelled = own_gpp(process, forcing)
        measured = np.zeros(modelled.shape, dtype=np.float32)
        gpp = modelled
        if given and forcing.gpp_given is not None:
            there = np.isfinite(forcing.gpp_given)
            gpp, measured = np.where(there, forcing.gpp_given, modelled), there.astype(np.float32)
        runs = [y for y in years if _runs(forcing, gpp, y)]
        seen = {
            name: np.where(tower.good[name][days], tower.observed[name][days], np.nan)
            for name in ("reco", "nee")
            if name in tower.observed and (given or name == "reco" or "reco" not in tower.observed)
        }
        # a day without GPP is no lesson in NEE, nor is one whose GPP was invented in a lesson of measured GPP
        usable = np.isfinite(gpp[0]) & ((measured[0] > 0) | (not given))
        seen = {name: np.where(usable, values, np.nan) for name, values in seen.items()}
        name = f"{tower.site} {'given' if given else 'own'}"
        kept = lesson(name, tower.group, forcing, np.nan_to_num(gpp), measured, variant, runs, seen)
        if kept.train or not years:
            found.append(kept)
    return tuple(found)


def _complete(forcing: Forcing) -> Forcing | None:
    """The forcing up to the first year with a missing needed input; None where no whole year is left."""
    needed = ("tmean", "tmin", "tmax", "precip", "srad", "vpd")
    bad = np.zeros(forcing.days, dtype=bool)
    for name in needed:
        bad |= np.isnan(forcing.daily[name][0])
    if not bad.any():
        return forcing
    first = forcing.dates()[int(np.argmax(bad))].astype(object).year
    if first <= forcing.start.year:
        return None
    stop = (date(first, 1, 1) - forcing.start).days
    keep = slice(0, first - forcing.years[0])
    return replace(
        forcing,
        years=forcing.years[keep],
        daily={n: v[:, :stop] for n, v in forcing.daily.items()},
        annual={n: np.asarray(v)[:, keep] for n, v in forcing.annual.items()},
        gpp_given=None if forcing.gpp_given is None else forcing.gpp_given[:, :stop],
        gpp_unit=None if forcing.gpp_unit is None else np.asarray(forcing.gpp_unit)[:, keep],
    )


def _runs(forcing: Forcing, gpp: Floats, year: int) -> bool:
    """Whether most days of a year have a GPP to run with."""
    days = forcing.dates().astype("datetime64[Y]").astype(np.int64) + 1970 == year
    return bool(days.any() and np.isfinite(gpp[0, days]).mean() > 0.5)


def county_lessons(
    records: Sequence[CountyRecord],
    process: Agroecosystem,
    variant: Variant,
    years: Mapping[str, Sequence[int]],
) -> tuple[Lesson, ...]:
    """Lessons "<fips>" of counties: all points that bear a crop share the county's reported yield of it.

    years: fips -> years to learn from; a county not in it is left out. GPP is the satellite's where the county has it
    (then a second lesson, "<fips> own", has the process model's), else the process model's.
    """
    found = []
    for record in records:
        if record.fips not in years:
            continue
        for given in (True, False) if record.gpp is not None else (False,):
            forcing = county_forcing(record, given_gpp=given)
            gpp = own_gpp(process, forcing)
            measured = np.zeros(gpp.shape, dtype=np.float32)
            if given and forcing.gpp_given is not None and forcing.gpp_unit is not None:
                of_day = forcing.dates().astype("datetime64[Y]").astype(np.int64) + 1970 - forcing.years[0]
                there = forcing.gpp_given[forcing.gpp_unit[:, of_day], np.arange(forcing.days)]
                measured = np.isfinite(there).astype(np.float32)
            found.append(_county(record, forcing, gpp, measured, variant, years[record.fips], given))
    return tuple(found)


def _county(
    record: CountyRecord,
    forcing: Forcing,
    gpp: Floats,
    measured: Floats,
    variant: Variant,
    years: Sequence[int],
    given: bool,
) -> Lesson:
    harvest: dict[int, NDArray[np.float64]] = {}
    for i, year in enumerate(record.years):
        harvest[year] = np.full(forcing.cells, np.nan)
        for crop in PANEL_CROPS:
            stands = bearing(forcing, crop, year)
            harvest[year][stands] = CROPS[crop].carbon_m2(float(record.yields[crop][i]))
    name = record.fips + ("" if given or record.gpp is None else " own")
    learn = [y for y in years if y in harvest and np.isfinite(harvest[y]).any()]
    return lesson(name, record.fips, forcing, gpp, measured, variant, learn, None, harvest)
