"""Soil carbon of long-term experiments, plot by plot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .tables import Array, find, numbers, read_table

SERIES = "soc/lte_soc_timeseries.csv"


@dataclass(frozen=True, slots=True, eq=False)
class SoilSeries:
    """Soil organic carbon under one treatment. year: [n], rising. soc: [n], gC m-2, of an undocumented depth."""

    site: str
    treatment: str
    year: NDArray[np.int64]
    soc: Array

    def trend(self) -> float | None:
        """Least-squares change, gC m-2 yr-1; None with fewer than three years."""
        if len(np.unique(self.year)) < 3:
            return None
        return float(np.polyfit(self.year - self.year.mean(), self.soc, 1)[0])


def read_soil_series(data_dir: Path) -> list[SoilSeries]:
    """Every treatment of every experiment, by site and treatment; [] without the file."""
    path = find(data_dir, SERIES)
    if path is None:
        return []
    table = read_table(path, ("site", "Year", "treatment", "soc_g_m2"), ("site", "treatment"))
    numbers(table, "soc_g_m2", path)
    found = []
    for site, of_site in table.groupby("site"):
        for treatment, rows in of_site.groupby("treatment"):
            rows = rows.dropna(subset=["Year", "soc_g_m2"]).sort_values("Year")
            years = rows["Year"].to_numpy(np.int64)
            found.append(SoilSeries(str(site), str(treatment), years, rows["soc_g_m2"].to_numpy(np.float64)))
    return found
