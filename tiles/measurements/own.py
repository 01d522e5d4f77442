"""Towers of a user's own: three tables in the vocabulary's names and units (see the package)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fieldflux.models.variables import VARIABLES

from .assemble import Parts, build, calendar, place_of
from .management import Season
from .tables import Array, BadMeasurements, dates, find, numbers, read_table
from .tower import FORCING, OBSERVED, SOIL, YEARLY, Tower

if TYPE_CHECKING:
    import pandas as pd

SITES, DAILY, YEARS = "flux/own_sites.csv", "flux/own_daily.csv", "flux/own_years.csv"


def own(data_dir: Path) -> list[Tower]:
    """The towers of own_sites, own_daily and own_years; [] where there are none."""
    at = {name: find(data_dir, name) for name in (SITES, DAILY)}
    lacking = [name for name, path in at.items() if path is None]
    if len(lacking) == 2:
        return []
    if lacking:
        raise BadMeasurements(f"Towers of your own need both {SITES} and {DAILY}; {data_dir} has no {lacking[0]}.")
    sites_at, daily_at = at[SITES] or Path(), at[DAILY] or Path()
    sites = read_table(sites_at, ("site", "latitude", "longitude"), ("site",))
    table = read_table(daily_at, ("site", "date"), ("site", "date"))
    _known_columns(table)
    years_at = find(data_dir, YEARS)
    managed = None if years_at is None else read_table(years_at, ("site", "year", "crop"), ("site",))
    towers = []
    for row in range(len(sites)):
        site = str(sites["site"].iloc[row])
        part = table[table["site"].astype(str) == site]
        if part.empty:
            continue
        seasons = {}
        if managed is not None and years_at is not None:
            seasons = _seasons(managed[managed["site"].astype(str) == site], years_at)
        towers.append(_tower(site, sites.iloc[[row]], part, seasons, sites_at, daily_at))
    return towers


def _tower(
    site: str, row: pd.DataFrame, part: pd.DataFrame, seasons: dict[int, Season], sites_at: Path, daily_at: Path
) -> Tower:
    given = {
        name: float(numbers(row, name, sites_at)[0])
        for name in ("latitude", "longitude", "elevation", "utc_offset", *SOIL)
        if name in row
    }
    days, on = calendar(dates(part, "date", daily_at))
    columns = {n: on(_valid(numbers(part, n, daily_at), n, daily_at)) for n in (*FORCING, *OBSERVED) if n in part}
    place = place_of(site)
    text = {name: str(row[name].iloc[0]) for name in ("title", "group") if name in row and row[name].notna().all()}
    elevation = given.get("elevation", place.elevation)
    parts = Parts(
        site,
        given["latitude"],
        given["longitude"],
        given.get("utc_offset", float(round(given["longitude"] / 15.0))),
        days,
        {name: columns[name] for name in FORCING if name in columns},
        {name: columns[name] for name in OBSERVED if name in columns},
        (DAILY,),
        quality={name: on(numbers(part, f"{name}_qc", daily_at)) for name in OBSERVED if f"{name}_qc" in part},
        seasons=seasons,
        soil={name: given[name] for name in SOIL if np.isfinite(given.get(name, np.nan))},
        place=replace(
            place, elevation=elevation, title=text.get("title", place.title), group=text.get("group", place.group)
        ),
    )
    return build(parts)


def _known_columns(table: pd.DataFrame) -> None:
    quality = {f"{name}_qc" for name in OBSERVED}
    unknown = [c for c in table.columns if c not in {"site", "date", *FORCING, *OBSERVED, *quality}]
    if unknown:
        raise BadMeasurements(
            f"{DAILY} has columns that are no daily variable here: {', '.join(unknown)}. "
            f"It may have: {', '.join((*FORCING, *OBSERVED))}, and <observed>_qc."
        )


def _seasons(rows: pd.DataFrame, path: Path) -> dict[int, Season]:
    values = {name: numbers(rows, name, path) for name in ("year", *YEARLY, "yield") if name in rows}
    found = {}
    for i, year in enumerate(values["year"]):
        at = {name: float(column[i]) for name, column in values.items() if name in YEARLY}
        found[int(year)] = Season(**at, harvested=float(values["yield"][i]) if "yield" in values else np.nan)
    return found


def _valid(values: Array, name: str, path: Path) -> Array:
    known = VARIABLES[name]
    # Partitioned GPP and Reco are noisy around zero: a tower's small negatives are data, not faults.
    low = -known.high if name in ("gpp", "reco") else known.low
    bad = (values < low) | (values > known.high)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise BadMeasurements(
            f"Column {name} of {path} has {values[row]:g}, outside {low:g} to {known.high:g} {known.unit}. "
            f"Check its unit, and leave a missing value empty."
        )
    return values
