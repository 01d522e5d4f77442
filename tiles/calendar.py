"""The crop calendar of a piece of land: what grew when, as the cube's inputs have it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.models.crops import CROP_OF_CDL
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .cube import Cube
    from .zonal import Coverage

LEAST_SHARE = 0.01
"""Crops on less of the covered area are left out: at edges a polygon takes in slivers of its neighbours' cells."""


@dataclass(frozen=True, slots=True)
class Season:
    """One crop of one harvest year.

    fraction: of the covered area. sown, harvested: mean days over its cells, weighted by area; None where the inputs
    have none, as for perennial crops. A crop that is harvested earlier in the year than it is sown was sown in the
    year before.
    """

    year: int
    code: int
    name: str | None
    fraction: float
    sown: date | None
    harvested: date | None


def calendar(cube: Cube, cover: Coverage) -> tuple[Season, ...]:
    """The seasons on the covered cells, year by year, the largest first. Raises BadCube."""
    window = cover.window
    rows, cols = cover.rows - window.row0, cover.cols - window.col0
    available = cube.available()

    def read(name: str) -> NDArray[Any]:
        return cube.annual(name, window)[:, rows, cols]

    crops = read("crop")
    sown = read("sowing_doy") if "sowing_doy" in available else np.full(crops.shape, np.nan)
    reaped = read("harvest_doy") if "harvest_doy" in available else np.full(crops.shape, np.nan)
    whole = float(cover.fraction.sum())
    found: list[Season] = []
    for i, year in enumerate(cube.years):
        seasons = []
        for code in np.unique(crops[i][crops[i] > 0]):
            here = crops[i] == code
            share = float(cover.fraction[here].sum()) / whole
            if share < LEAST_SHARE:
                continue
            start = _mean(sown[i][here], cover.fraction[here])
            end = _mean(reaped[i][here], cover.fraction[here])
            known = CROP_OF_CDL.get(int(code))
            before = start is not None and end is not None and start > end
            seasons.append(
                Season(
                    year,
                    int(code),
                    known.name if known else None,
                    round(share, 4),
                    _day(year - before, start),
                    _day(year, end),
                )
            )
        found += sorted(seasons, key=lambda season: -season.fraction)
    return tuple(found)


def _mean(days: NDArray[Any], weights: NDArray[np.float64]) -> float | None:
    known = np.isfinite(days) & (days > 0)
    return float(np.average(days[known], weights=weights[known])) if known.any() else None


def _day(year: int, doy: float | None) -> date | None:
    return None if doy is None else date(year, 1, 1) + timedelta(days=round(doy) - 1)
