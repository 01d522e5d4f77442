"""How sure a change of soil carbon is: errors over scenarios, years and fields, and what a ruleset takes off for them.

Variances are of tonnes squared; a factor on the unit goes into them squared. Equations are those of VM0042 v2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from fieldflux.models.correlation import over_places
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Correlation:
    """Correlations of the model's errors, which data rarely tell: the ones taken are part of the statement.

    fields: share of the error that all fields have in common. years: between an error and that of the next year.
    scenarios: between the errors of two scenarios of a field. near: share of what is not common that fields have in
    common with fields near them, falling with exp(-distance / range_km).
    """

    fields: float = 1.0
    years: float = 1.0
    scenarios: float = 0.0
    near: float = 0.0
    range_km: float = 25.0

    def at(self, km: Floats) -> Floats:
        """Between two fields so far apart."""
        return np.asarray(self.fields + (1.0 - self.fields) * self.near * np.exp(-km / self.range_km))


@dataclass(frozen=True, slots=True)
class Deduction:
    """What Eq 74 takes from a gain: t of the quantile, its share of the gain (`unc`), and what is left of it.

    unc is None for a gain of nothing. left: gain - t x standard error, not below 0 for a gain; a loss grows by it.
    """

    t: float
    unc: float | None
    left: float


def over_years(errors: Floats, rho: float) -> float:
    """Standard error of a sum over years: sqrt(sum_t sum_u s_t s_u rho^|t-u|).

    errors: [Y] standard errors of each year. rho: 1: years do not average out; 0: they are independent.
    """
    apart = np.abs(np.subtract.outer(np.arange(len(errors)), np.arange(len(errors))))
    return sqrt(max(0.0, float(errors @ np.power(float(rho), apart) @ errors)))


def of_difference(error: float, rho: float) -> float:
    """Standard error of a difference of two scenarios with the same error: sqrt(2 s^2 (1 - rho)) (Eq 60-61)."""
    return error * sqrt(2.0 * (1.0 - rho))


def over_fields(errors: Floats, places: Floats, correlation: Correlation) -> float:
    """Standard error of a sum over fields, with a common part, a part common to near fields, and the rest alone.

    errors: [F] standard errors of the fields' totals. places: [F, 2] longitude and latitude, degrees.
    """
    return float(over_places(errors, places, correlation.at))


def effective_number(errors: Floats, total: float) -> float:
    """How many independent fields of the mean error would be as sure: (sum s)^2 / Var."""
    return float(errors.sum() ** 2 / total**2) if total > 0 else float(len(errors))


def of_members(members: Floats) -> float:
    """Standard error by an ensemble: its standard deviation times sqrt(1 + 1/L) (Eq 65-69). members: [L], L > 1."""
    count = len(members)
    return float(np.std(members, ddof=1)) * sqrt(1.0 + 1.0 / count) if count > 1 else 0.0


def quantile(probability: float, df: int | None) -> float:
    """One-sided quantile of Student's t; of the normal distribution without degrees of freedom.

    >>> round(quantile(2 / 3, None), 4)
    0.4307
    """
    from scipy import stats

    return float(stats.norm.ppf(probability) if df is None else stats.t.ppf(probability, df))


def deducted(gain: float, error: float, probability: float, df: int | None) -> Deduction:
    """Eq 74, for one source of emissions. gain: positive where the project is better; error: its standard error."""
    t = quantile(probability, df)
    left = gain - t * error
    unc = None if gain == 0.0 else t * error / abs(gain)
    return Deduction(t, unc if unc is None or gain < 0 else min(1.0, unc), max(0.0, left) if gain >= 0 else left)


def median_duration(years: Sequence[float]) -> float:
    """Years up to which the errors of experiments that long may be applied: their median.

    >>> median_duration([2, 2, 3, 5, 9, 48])
    4.0
    """
    return float(np.median(np.asarray(years, float)))
