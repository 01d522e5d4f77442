"""County yields of the USDA, and whatever is laid out like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldflux.models.crops import CROPS, MAIZE, SOYBEAN
from numpy.typing import NDArray

from .tables import Array, BadMeasurements, find, numbers, read_table

YIELDS = "yield/us_county_yields.csv.gz"
# The trade's names where they differ from ours.
_NAMES = {"corn": MAIZE.name}
_PAIR = {"corn": MAIZE.name, "soy": SOYBEAN.name, "soybean": SOYBEAN.name}

History = tuple[NDArray[np.int64], Array]
"""Years, rising, and what was reported of each."""


@dataclass(frozen=True, slots=True, eq=False)
class Yields:
    """Yields of one crop in one county. year: [n], rising. t_ha: [n], t ha-1 at market moisture."""

    fips: int
    county: str
    crop: str
    year: NDArray[np.int64]
    t_ha: Array
    source: str


def read_yields(data_dir: Path, fips: int) -> list[Yields]:
    """Yields of a county (FIPS code, 17001 = Adams, Illinois), one per crop that models know; [] without the file.

    Several rows of a year are averaged. Raises BadMeasurements where the file, or a yield, makes no sense.
    """
    path = find(data_dir, YIELDS)
    if path is None:
        return []
    table = read_table(path, ("fips", "year", "crop", "yield_t_ha"), ("crop",))
    table = table[numbers(table, "fips", path) == fips]
    t_ha = numbers(table, "yield_t_ha", path)
    bad = (t_ha < 0) | (t_ha > 60)
    if bad.any():
        raise BadMeasurements(
            f"Column yield_t_ha of {path} has {t_ha[bad][0]:g} for county {fips}, outside 0 to 60 t ha-1. "
            f"Check its unit."
        )
    found = []
    for name, rows in table.groupby("crop"):
        crop = _NAMES.get(str(name), str(name))
        if crop not in CROPS:
            continue
        mean = rows.groupby("year")["yield_t_ha"].mean().sort_index()
        county = str(rows["county"].iloc[0]) if "county" in rows else str(fips)
        years = mean.index.to_numpy(np.int64)
        found.append(Yields(fips, county, crop, years, mean.to_numpy(np.float64), YIELDS))
    return found


def read_histories(data_dir: Path, counties: Sequence[str]) -> tuple[dict[str, str], dict[str, dict[str, History]]]:
    """All reported yields of maize and soybean in many counties, in one pass over the file; nothing without the file.

    counties: FIPS codes, five digits. Returns fips -> name, and fips -> crop -> (years, t ha-1 at market moisture); of
    several rows of a year the mean. Raises BadMeasurements.
    """
    path = find(data_dir, YIELDS)
    if path is None:
        return {}, {}
    table = read_table(path, ("fips", "year", "crop", "yield_t_ha"), ("crop",))
    table = table.assign(fips=numbers(table, "fips", path).astype(np.int64))
    table = table[table["fips"].isin([int(f) for f in counties]) & table["crop"].isin(list(_PAIR))]
    names: dict[str, str] = {}
    history: dict[str, dict[str, History]] = {}
    for key, rows in table.groupby(["fips", "crop"]):
        code, crop = key
        fips = f"{int(str(code)):05d}"
        mean = rows.groupby("year")["yield_t_ha"].mean().dropna().sort_index()
        years = np.asarray(mean.index.to_numpy(), np.int64)
        history.setdefault(fips, {})[_PAIR[str(crop)]] = (years, mean.to_numpy(np.float64))
        if "county" in rows:
            names.setdefault(fips, str(rows["county"].iloc[0]).title())
    return names, history
