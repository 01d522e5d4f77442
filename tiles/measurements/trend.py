"""The yield that a county's reports of earlier years let expect: a floor of county yields, and an input of models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .tables import Array

FEWEST = 10
WINDOW = 30


def line_before(year: int, years: NDArray[np.int64], values: Array) -> float:
    """The straight line through the last WINDOW reported years before `year`, at it; NaN with fewer than FEWEST."""
    earlier = np.flatnonzero(years < year)[-WINDOW:]
    if len(earlier) < FEWEST:
        return float("nan")
    return float(np.polyfit(years[earlier] - year, values[earlier], 1)[1])


def lines_before(wanted: Sequence[int], history: tuple[NDArray[np.int64], Array] | None) -> Array:
    """[year of `wanted`] `line_before` of each, in the unit of the history: (years, rising; values). NaN without one.

    The reports of a year, and of those after it, never enter its own forecast.
    """
    if history is None:
        return np.full(len(wanted), np.nan)
    return np.array([line_before(int(year), *history) for year in wanted], np.float64)
