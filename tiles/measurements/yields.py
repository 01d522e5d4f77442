"""County yields of the USDA, and whatever is laid out like them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldflux.models.crops import CROPS, MAIZE
from numpy.typing import NDArray

from .tables import Array, BadMeasurements, find, numbers, read_table

YIELDS = "yield/us_county_yields.csv.gz"
# The trade's names where they differ from ours.
_NAMES = {"corn": MAIZE.name}


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
