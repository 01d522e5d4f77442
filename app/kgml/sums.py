"""Sums of errors that add up over places and years, and the scores that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Sums:
    """Of n pairs: observed values and their squares, errors (modelled minus observed) and their squares."""

    n: int = 0
    observed: float = 0.0
    observed2: float = 0.0
    error: float = 0.0
    error2: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, name) + getattr(other, name) for name in Sums.__slots__))

    @property
    def spread(self) -> float:
        """Sum of squares of the observed around their mean."""
        return max(self.observed2 - self.observed**2 / self.n, 0.0) if self.n else 0.0

    @property
    def r2(self) -> float:
        """1 minus squared errors over squared deviations from the mean; NaN where there is nothing to explain."""
        return 1.0 - self.error2 / self.spread if self.spread > 0 else float("nan")

    @property
    def rmse(self) -> float:
        return float(np.sqrt(self.error2 / self.n)) if self.n else float("nan")

    @property
    def bias(self) -> float:
        return self.error / self.n if self.n else float("nan")


def sums_of(observed: Values, modelled: Values) -> Sums:
    """Of arrays of one shape; pairs with a missing value are left out."""
    there = np.isfinite(observed) & np.isfinite(modelled)
    seen, error = observed[there].astype(np.float64), (modelled[there] - observed[there]).astype(np.float64)
    return Sums(
        int(there.sum()), float(seen.sum()), float((seen**2).sum()), float(error.sum()), float((error**2).sum())
    )


def total(parts: Iterable[Sums]) -> Sums:
    """All of them together."""
    return sum(parts, Sums())
