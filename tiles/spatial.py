"""Statistics over the cells of a polygon: how a day, or a step's sum or mean of each cell, is spread over the land.

Cells are weighted by the area covered of each. A quantile is the value of a cell: the least that is not exceeded on at
least that share of the area; nothing is interpolated between cells. The standard deviation is that of the area, not an
estimate for more land than there is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from .packing import FILL, Counts
from .steps import Steps

Floats: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["mean", "total", "std", "min", "max", "quantile", "valid_fraction"]

PLAIN: tuple[Kind, ...] = ("mean", "total", "std", "min", "max", "valid_fraction")
MOST_CELLS = 100_000
"""Most cells whose values are looked at one by one: a large county."""


class UnknownStatistic(ValueError):
    """A statistic that there is not. code, members: as a problem over HTTP."""

    code = "unknown-statistic"

    def __init__(self, given: object) -> None:
        self.members: dict[str, object] = {"allowed": [*PLAIN, "q05 to q95", {"quantile": 0.25}]}
        super().__init__(
            f"There is no statistic {str(given)[:80]!r}. There are: {', '.join(PLAIN)}, quantiles as 'q05' or 'q95', "
            f'and any other quantile as {{"quantile": 0.025}}, between 0 and 1.'
        )


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic by its name in answers; p: of a quantile, its share, 0 to 1."""

    name: str
    kind: Kind
    p: float = 0.0

    @property
    def of_cells(self) -> bool:
        """Whether it needs the value of every cell, and not only their sum."""
        return self.kind in ("std", "min", "max", "quantile")


def statistic(given: str | Mapping[str, Any]) -> Statistic:
    """A statistic as it is asked for: "std", "q95", {"quantile": 0.95}. Raises UnknownStatistic."""
    if isinstance(given, str):
        for kind in PLAIN:
            if given == kind:
                return Statistic(given, kind)
        digits = re.fullmatch(r"q(\d{2})", given)
        if digits is None or given == "q00":
            raise UnknownStatistic(given)
        return Statistic(given, "quantile", int(digits[1]) / 100)
    p = given.get("quantile") if set(given) == {"quantile"} else None
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 < p < 1:
        raise UnknownStatistic(dict(given))
    whole, _, rest = f"{100 * p:.10f}".rstrip("0").partition(".")
    return Statistic(f"q{int(whole):02d}" + (f".{rest}" if rest else ""), "quantile", float(p))


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a polygon in one year: counts [D, C] (FILL where missing), weights [C] covered fractions."""

    counts: Counts
    weights: Floats


def daily_statistics(years: Sequence[Cells], wanted: Sequence[Statistic], step: float) -> dict[str, Floats]:
    """Name -> [D] over all days of the years; values are counts times `step`. NaN on days without any value."""
    return _named(
        wanted, [_over_rows(year.counts, year.weights, np.array([s.p for s in wanted])) for year in years], step
    )


def step_statistics(
    years: Sequence[Cells], how: Literal["sum", "mean", "last"], steps: Steps, wanted: Sequence[Statistic], step: float
) -> dict[str, Floats]:
    """Name -> [T] of each cell's value over the steps. A cell that misses a day of a step is left out of that step."""
    sums = np.zeros((steps.first.size, years[0].weights.size))
    ends = steps.first + steps.lengths
    day = 0
    for year in years:
        days = np.arange(day, day + len(year.counts))
        into = np.searchsorted(steps.first, days, side="right") - 1
        counted = days == ends[into] - 1 if how == "last" else np.ones(days.size, bool)
        _add_days(year.counts, into, counted, sums)
        day += days.size
    if how == "mean":
        sums /= steps.lengths[:, None]
    return _named(wanted, [_over_rows(sums, years[0].weights, np.array([s.p for s in wanted]))], step)


def value_statistics(values: Floats, weights: Sequence[Floats], wanted: Sequence[Statistic]) -> dict[str, Floats]:
    """Name -> [T] of values [T, C], NaN where missing, such as a yearly variable's; weights: [C]."""
    return _named(wanted, [_over_rows(values, weights[0], np.array([s.p for s in wanted]))], 1.0)


def _named(wanted: Sequence[Statistic], parts: Sequence[Floats], step: float) -> dict[str, Floats]:
    table = np.concatenate(parts, axis=1) * step
    column = {"std": 0, "min": 1, "max": 2}
    return {s.name: table[column.get(s.kind, 3 + k)] for k, s in enumerate(wanted)}


def _over_rows(values: NDArray[Any], weights: Floats, shares: Floats) -> Floats:
    """[3 + Q, T] standard deviation, least, largest, quantiles of values [T, C]."""
    out = np.full((3 + shares.size, len(values)), np.nan)
    # A sum may be any number, also that which means "missing" among counts.
    fill = float(FILL) if values.dtype == np.int16 else np.nan
    _rows(values, weights, shares, fill, bool((shares > 0).any()), out)
    return out


# Compiled, and without the interpreter's lock.


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _rows(values: Any, weights: Any, shares: Any, fill: float, sort: bool, out: Any) -> None:
    cells = values.shape[1]
    found, area = np.empty(cells), np.empty(cells)
    for t in range(values.shape[0]):
        n = 0
        total = mean = 0.0
        low, high = np.inf, -np.inf
        for c in range(cells):
            v = np.float64(values[t, c])
            if v != fill and v == v:
                found[n], area[n] = v, weights[c]
                n += 1
                total += weights[c]
                mean += weights[c] * v
                low, high = min(low, v), max(high, v)
        if n == 0:
            continue
        mean /= total
        squares = 0.0
        for k in range(n):
            squares += area[k] * (found[k] - mean) ** 2
        out[0, t] = np.sqrt(squares / total)
        out[1, t] = low
        out[2, t] = high
        if not sort:
            continue
        order = np.argsort(found[:n])
        for q in range(shares.size):
            if shares[q] <= 0.0:
                continue
            # Covered fractions add up with rounding: half of the area is reached at 0.4999999999 of it.
            aim = shares[q] * total - 1e-9 * total
            reached = 0.0
            for k in order:
                reached += area[k]
                if reached >= aim:
                    out[3 + q, t] = found[k]
                    break


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_days(counts: Any, into: Any, counted: Any, sums: Any) -> None:
    for d in range(counts.shape[0]):
        if not counted[d]:
            continue
        t = into[d]
        for c in range(counts.shape[1]):
            if counts[d, c] == FILL:
                sums[t, c] = np.nan
            else:
                sums[t, c] += counts[d, c]
