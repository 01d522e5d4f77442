"""Satellite GPP by county and crop: SLOPE (Jiang et al. 2021, Earth Syst. Sci. Data 13:281), and files like it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldflux.models.crops import MAIZE, SOYBEAN
from numpy.typing import NDArray

from .tables import Array, find, numbers, read_table

SLOPE = "vegetation/slope_gpp_il_17001_17003_daily_2000_2020.csv.gz"
_CROPS = {"corn": MAIZE.name, "soy": SOYBEAN.name, "soybean": SOYBEAN.name}


@dataclass(frozen=True, slots=True, eq=False)
class CountyGpp:
    """GPP of one crop in one county. year: [n]. total: [n], gC m-2 yr-1, sums of the product's 365-day years."""

    fips: int
    crop: str
    year: NDArray[np.int64]
    total: Array
    source: str


def read_county_gpp(data_dir: Path, fips: int) -> list[CountyGpp]:
    """Yearly sums of a county's GPP by crop; [] without the file. Years with a missing day are left out."""
    path = find(data_dir, SLOPE)
    if path is None:
        return []
    table = read_table(path, ("fips", "crop", "year", "doy", "GPP_gC_m2_d"), ("crop",))
    table = table[numbers(table, "fips", path) == fips]
    found = []
    for name, rows in table.groupby("crop"):
        if str(name) not in _CROPS:
            continue
        years = rows.groupby("year")["GPP_gC_m2_d"].agg(["sum", "count"])
        whole = years[years["count"] >= 365].sort_index()
        found.append(
            CountyGpp(fips, _CROPS[str(name)], whole.index.to_numpy(np.int64), whole["sum"].to_numpy(np.float64), SLOPE)
        )
    return found
