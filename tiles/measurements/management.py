"""Crop seasons of the towers: what was sown, when, and what left the field."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fieldflux.models.crops import MAIZE, SOYBEAN

from .places import CDL, MEAD_SEASONS, MEAD_SOYBEAN
from .tables import BadMeasurements, find, read_table

if TYPE_CHECKING:
    import pandas as pd

MANAGEMENT_EU = "flux/eu_cropland_tower_management.csv.gz"
MANAGEMENT_NE1 = "flux/us-ne1_management_yield_2001_2021.csv"


@dataclass(frozen=True, slots=True)
class Season:
    """A crop year in the vocabulary's annual variables; NaN where unknown. harvested: gC m-2, where it was weighed."""

    crop: float = np.nan
    sowing_doy: float = np.nan
    harvest_doy: float = np.nan
    irrigated: float = np.nan
    residue_removed: float = np.nan
    tillage: float = np.nan
    harvested: float = np.nan


def mead_seasons(data_dir: Path, table: pd.DataFrame) -> dict[str, dict[int, Season]]:
    """Seasons of the Mead fields by site and year.

    Crop and irrigation from the daily table; dates and grain of US-Ne1 from its management file, of the two others
    where the site file gives them, else US-Ne1's dates for maize and the usual ones for soybean. Grain is at market
    moisture. Tillage: none until the harvest of 2005; since then US-Ne1, and from 2010 US-Ne2, are ploughed lightly in
    autumn (Suyker & Verma 2012, Agric. For. Meteorol. 165:12).
    """
    ne1 = _ne1(data_dir)
    seasons: dict[str, dict[int, Season]] = {}
    years = table["date"].astype(str).str[:4].astype(int)
    for key, rows in table.groupby(table["site"].astype(str) + "|" + years.astype(str)):
        name, _, text = str(key).partition("|")
        y = int(text)
        crop = MAIZE if rows["crop"].iloc[0] == "maize" else SOYBEAN
        documented = ne1.get(y) if name == "US-Ne1" else MEAD_SEASONS.get((name, y))
        if documented is None and crop is MAIZE and y in ne1:
            documented = (*ne1[y][:2], np.nan)
        sowing, harvest, grain = documented or (*MEAD_SOYBEAN, np.nan)
        seasons.setdefault(name, {})[y] = Season(
            crop=float(crop.cdl[0]),
            sowing_doy=_doy(y, sowing),
            harvest_doy=_doy(y, harvest),
            irrigated=float(rows["irrigated"].iloc[0]),
            residue_removed=0.0,
            tillage=0.5 if (name == "US-Ne1" and y > 2005) or (name == "US-Ne2" and y > 2010) else 0.0,
            harvested=crop.carbon_m2(grain),
        )
    return seasons


def _ne1(data_dir: Path) -> dict[int, tuple[tuple[int, int], tuple[int, int], float]]:
    path = find(data_dir, MANAGEMENT_NE1)
    if path is None:
        return {}
    table = read_table(
        path, ("Year", "Planting Date", "Harvest Date", "Yield (Mg/ha)"), ("Planting Date", "Harvest Date")
    )
    columns = zip(table["Year"], table["Planting Date"], table["Harvest Date"], table["Yield (Mg/ha)"], strict=True)
    return {
        int(year): (_month_day(sown, int(year), path), _month_day(cut, int(year), path), float(grain))
        for year, sown, cut, grain in columns
    }


def _month_day(text: str, year: int, path: Path) -> tuple[int, int]:
    try:
        day = datetime.strptime(f"{text} {year}", "%B %d %Y")
    except ValueError:
        raise BadMeasurements(f"{path} must give days as 'May 10', but {year} has '{text}'.") from None
    return day.month, day.day


def _doy(year: int, day: tuple[int, int]) -> float:
    return float(date(year, *day).timetuple().tm_yday)


def eu_seasons(data_dir: Path) -> dict[str, dict[int, Season]]:
    """Seasons of the European towers by site and year of harvest, from their dated operations.

    A season runs from the (first) sowing of a main crop to its harvest; of two in a year the longer one stands. A
    winter crop keeps the day of the autumn before as sowing_doy. residue_removed: 0 where only grain or tubers were
    taken, 0.7 where straw too, 0.95 where the whole plant was. tillage since the last harvest: 1 ploughed, 0.5 other,
    0 none.
    """
    path = find(data_dir, MANAGEMENT_EU)
    if path is None:
        return {}
    needed = ("Plot_name", "OCS", "Crop_status", "date start", "Field_operation", "part of the plant harvested")
    table = read_table(path, (*needed, "Irrigation_quantity_mm", "Amount C exported (T/ha)"), (*needed, *_LOOSE))
    table["day"] = table["date start"].map(_eu_day)
    table = table[table["day"].notna()].sort_values("day", kind="stable")
    return {str(site): _site_seasons(rows) for site, rows in table.groupby("Plot_name")}


_LOOSE = ("Irrigation_quantity_mm", "Amount C exported (T/ha)")


def _site_seasons(rows: pd.DataFrame) -> dict[int, Season]:
    found: dict[int, tuple[int, Season]] = {}
    sown: tuple[date, str] | None = None
    disturbance = before_sowing = 0.0
    watered = False
    columns = ("day", "OCS", "Crop_status", "Field_operation", "part of the plant harvested", *_LOOSE)
    for day, ocs, status, operation, part, water, carbon in zip(*(rows[c] for c in columns), strict=True):
        what, crop = str(operation), str(ocs).removeprefix("OCS_")
        if "plowing" in what:
            disturbance = 1.0
        elif "tillage" in what or "stubble" in what or "decompaction" in what:
            disturbance = max(disturbance, 0.5)
        if "irrigation" in what or _number(water) > 0:
            watered = True
        if status != "STC_principal":
            continue
        if ("sowing" in what or "planting" in what) and (sown is None or sown[1] != crop or (day - sown[0]).days > 90):
            sown, before_sowing = (day, crop), disturbance
        if sown is not None and sown[1] == crop and day > sown[0] and ("harvesting" in what or "silage" in what):
            days, taken = (day - sown[0]).days, str(part)
            if day.year not in found or days > found[day.year][0]:
                found[day.year] = days, _season(sown[0], day, crop, before_sowing, watered, taken, _number(carbon))
            disturbance, watered = 0.0, False
    return {year: season for year, (_, season) in found.items()}


def _season(sown: date, cut: date, crop: str, tillage: float, watered: bool, taken: str, carbon_t_ha: float) -> Season:
    only_grain = taken.strip() in ("grain", "Grain", "tuber", "beans")
    whole = "whole" in taken or "all above" in taken
    removed = 0.0 if only_grain else 0.95 if whole else 0.7 if "straw" in taken else np.nan
    return Season(
        crop=float(CDL.get(crop, np.nan)),
        sowing_doy=float(sown.timetuple().tm_yday),
        harvest_doy=float(cut.timetuple().tm_yday),
        irrigated=float(watered),
        residue_removed=removed,
        tillage=tillage,
        harvested=carbon_t_ha * 100.0 if only_grain else np.nan,
    )


def _eu_day(text: object) -> date | None:
    try:
        return datetime.strptime(str(text), "%Y/%m/%d").date()
    except ValueError:
        return None


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return np.nan


__all__ = ["MANAGEMENT_EU", "MANAGEMENT_NE1", "Season", "eu_seasons", "mead_seasons"]
