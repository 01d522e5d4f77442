"""Intervals that hold at sites which the model has never seen: conformal, with whole sites as the units.

Days of one site err together, so a hundred thousand held-out days of twenty sites are twenty pieces of evidence, not a
hundred thousand. Each group of residuals (a site, a county) therefore weighs the same, whatever its days, and the new
field counts as one group more, whose errors may be anything:

    q = smallest score s with  sum over groups k of (share of k's scores <= s) / (K + 1)  >=  level

For groups that are exchangeable with the new one, a new pair is then covered with at least that probability, averaged
over fields; it is no promise for each field. This is CDF pooling (Dunn, Wasserman & Ramdas 2023, "Distribution-free
prediction sets for two-layer hierarchical models", JASA 118) with the finite-sample weight 1/(K + 1) of hierarchical
conformal prediction (Lee, Barber & Willett 2023, arXiv:2306.06342).

The score of a pair is |observed - ensemble mean| / sqrt(spread^2 + floor^2). The floor keeps the interval open where
members agree and are wrong together, as in fallow. It is fitted too, so each group is scored with the floor of the
others: its own errors then cannot flatter it. Only scores decide on coverage; spread and floor on where width goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .card import IntervalRule, Score

Numbers = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of an interval that can be asked for, where a card says nothing else."""
STEP_DAYS = {"day": 1.0, "month": 30.4375, "year": 365.25}
"""Mean length of a step, in days."""
LEAST_FLOOR = 0.1
"""Smallest constant part of the floor, as a share of the mean excess of errors over spread: a width for predicted 0."""


@dataclass(frozen=True)
class Residuals:
    """Held-out pairs of one variable at one step, each predicted by a model that did not see its group.

    group: [n] the site (or county) of each pair, as text. observed: [n]. members: [M, n] predictions of the M >= 2
    members, aggregated to the step one by one; all in the unit of the variable over the step.
    Raises ValueError where shapes differ or a value is missing.
    """

    group: NDArray[np.str_]
    observed: Numbers
    members: Numbers

    def __post_init__(self) -> None:
        n = self.observed.shape
        if len(n) != 1 or self.group.shape != n or self.members.ndim != 2 or self.members.shape[1:] != n:
            raise ValueError(
                f"Residuals are group [n], observed [n] and members [M, n]; given {self.group.shape}, {n} and "
                f"{self.members.shape}."
            )
        if len(self.members) < 2:
            raise ValueError("The spread of an ensemble needs at least 2 members; given 1.")
        if not (np.isfinite(self.observed).all() and np.isfinite(self.members).all()):
            raise ValueError("Residuals hold a missing or infinite value: leave such pairs out before.")

    def only(self, keep: NDArray[np.bool_]) -> Residuals:
        """The pairs where keep [n] is True."""
        return Residuals(self.group[keep], self.observed[keep], self.members[:, keep])


@dataclass(frozen=True)
class Covered:
    """Coverage at one level, over groups that did not set the interval.

    share: mean over groups of the share of their pairs inside, each group with the same weight. of_group: that share,
    group by group. pairs: share of all pairs inside, where large groups weigh more. groups, n: how many there are.
    promised: whether the rules had groups enough for the level (see `IntervalRule.reaches`).
    mean_width: mean over groups of the mean width, high less low, in the variable's unit over the step.
    """

    level: float
    share: float
    of_group: Mapping[str, float]
    pairs: float
    groups: int
    n: int
    promised: bool
    mean_width: float


def fit_rule(residuals: Residuals, levels: Sequence[float] = LEVELS, data: str = "") -> IntervalRule:
    """The rule that held-out residuals give; `data` says in words what they are.

    With too few groups for a level (9 for 90 %), its factor is the largest score; `IntervalRule.reaches` tells.
    Raises ValueError for fewer than 2 groups, a level outside 0..1, and scores without a bound.
    """
    names, group = np.unique(residuals.group, return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"Intervals across groups need the residuals of at least 2 groups; given {len(names)}. Hold out more sites."
        )
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"A level lies between 0 and 1, as in 0.9 for 90 %; given: {level}.")
    mean, spread, error = _parts(residuals)
    weight = 1.0 / np.bincount(group)[group]
    constant, slope = _floors(group, weight, np.abs(mean), spread, error)
    score = _score(error, spread, constant[group] + slope[group] * np.abs(mean))
    order = np.argsort(score)
    score, reached = score[order], np.cumsum(weight[order]) / (len(names) + 1)
    quantiles = {}
    for level in levels:
        # The cumulated weights are sums of fractions: 0.8999999999 has reached 0.9.
        at = int(np.searchsorted(reached, level - 1e-9))
        quantiles[float(level)] = float(score[min(at, len(score) - 1)])
    if not np.isfinite(list(quantiles.values())).all():
        raise ValueError("Some members agree exactly and are wrong where all others are right: no factor covers that.")
    return IntervalRule(
        floor_constant=float(constant[-1]),
        floor_slope=float(slope[-1]),
        quantiles=quantiles,
        groups=len(names),
        n=len(error),
        data=data,
    )


def half_width(rule: IntervalRule, mean: Numbers, spread: Numbers, level: float) -> Floats:
    """Half the width of the interval around `mean`, both [...], in the unit of the variable over the rule's step.

    spread: standard deviation over members (divisor M - 1) of the aggregate. Raises ValueError for other levels than
    those of the rule.
    """
    if level not in rule.quantiles:
        raise ValueError(f"The interval is calibrated at {listed(rule.quantiles)}; given: {level}. Choose one of them.")
    floor = rule.floor_constant + rule.floor_slope * np.abs(np.asarray(mean, np.float64))
    half = np.asarray(rule.quantiles[level] * np.hypot(np.asarray(spread, np.float64), floor))
    if rule.zero_is_sure:
        half = np.where((np.asarray(mean) == 0.0) & (np.asarray(spread) == 0.0), 0.0, half)
    return half


def signed_scores(rule: IntervalRule, residuals: Residuals) -> Floats:
    """[n] (observed - ensemble mean) in units of sqrt(spread^2 + floor^2): what `quantiles` are of, with its sign."""
    mean, spread, _ = _parts(residuals)
    floor = rule.floor_constant + rule.floor_slope * np.abs(mean)
    return np.asarray((residuals.observed.astype(np.float64) - mean) / np.hypot(spread, floor))


def coverage_across_groups(residuals: Residuals, levels: Sequence[float] = LEVELS) -> dict[float, Covered]:
    """Level -> how much of each group lies inside intervals that the other groups set. Raises ValueError below 3."""
    names, group = np.unique(residuals.group, return_inverse=True)
    if len(names) < 3:
        raise ValueError(f"Coverage across groups needs at least 3 groups; given {len(names)}. Hold out more sites.")
    mean, spread, error = _parts(residuals)
    half = {level: np.empty(len(error)) for level in levels}
    reaches = dict.fromkeys(levels, True)
    for k in range(len(names)):
        inside = group == k
        rule = fit_rule(residuals.only(~inside), levels)
        for level in levels:
            half[level][inside] = half_width(rule, mean[inside], spread[inside], level)
            reaches[level] &= rule.reaches(level)
    counts = np.bincount(group)
    found = {}
    for level in levels:
        covered = error <= half[level]
        shares = np.bincount(group, covered) / counts
        found[level] = Covered(
            level=level,
            share=float(shares.mean()),
            of_group={str(name): float(share) for name, share in zip(names, shares, strict=True)},
            pairs=float(covered.mean()),
            groups=len(names),
            n=len(error),
            promised=reaches[level],
            mean_width=float((np.bincount(group, 2 * half[level]) / counts).mean()),
        )
    return found


def coverage_scores(found: Mapping[float, Covered], variable: str, step: str, data: str) -> tuple[Score, ...]:
    """Coverage at each level as scores of a card, with the level as the baseline and the spread over groups."""
    return tuple(
        Score(
            variable=variable,
            metric=f"coverage of the {100 * level:g} % interval, {step}",
            value=round(covered.share, 4),
            unit="1",
            split=f"{covered.groups} unseen groups of equal weight, each with intervals that the others set"
            + ("" if covered.promised else "; too few groups for this level: the largest score"),
            data=data,
            n=covered.n,
            spread=round(float(np.std(list(covered.of_group.values()), ddof=1)), 4),
            baseline={"nominal": level},
        )
        for level, covered in found.items()
    )


def over_steps(
    daily: Residuals, dates: NDArray[np.datetime64], step: Literal["month", "year"], least: float = 0.8
) -> Residuals:
    """Daily residuals of a flux, summed to calendar months or years: each member by itself, then compared.

    dates: [n] day of each pair. A step counts where at least that share of its days was measured; sums over the
    measured days, of observations and members alike, are scaled to all its days.
    Raises ValueError where no step has days enough, or a group has a day twice.
    """
    days = dates.astype("M8[D]")
    unit = {"month": "M", "year": "Y"}[step]
    calendar = days.astype(f"M8[{unit}]")
    keys = np.rec.fromarrays([daily.group, calendar])
    if len(np.unique(np.rec.fromarrays([daily.group, days]))) != len(days):
        raise ValueError("A group has more than one pair of the same day: give each place a group of its own.")
    _, first, at, measured = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    begin = calendar[first]
    length = ((begin + 1).astype("M8[D]") - begin.astype("M8[D]")).astype(np.int64)
    keep = measured >= least * length
    if not keep.any():
        raise ValueError(f"No {step} has {100 * least:.0f} % of its days measured: ask for a smaller share.")
    factor = length / measured

    def summed(values: Numbers) -> Floats:
        return np.asarray((np.bincount(at.ravel(), values, len(first)) * factor)[keep])

    return Residuals(daily.group[first][keep], summed(daily.observed), np.stack([summed(m) for m in daily.members]))


def step_for(rules: Mapping[str, IntervalRule], days: int) -> str | None:
    """The step whose rule a sum or mean over so many days takes: the longest that is not longer, None if all are.

    A sum that is longer than its rule's step is taken as if errors did not cancel any more from one step to the next:
    the share of the width in the sum stays that of the rule. Errors do cancel in part, so the interval is rather too
    wide. The other way round, from years to days, it would be too narrow: there is no rule then.
    """
    least = {"year": 365, "month": 28, "day": 1}
    return next((step for step, n in least.items() if step in rules and days >= n), None)


def steps_in(step: str, days: int) -> float:
    """How many steps of that kind so many days are: 1 for every month of the calendar, and every year."""
    if (step == "month" and 28 <= days <= 31) or (step == "year" and 365 <= days <= 366):
        return 1.0
    return days / STEP_DAYS[step]


def listed(levels: Mapping[float, float] | Sequence[float]) -> str:
    """Levels in words: "0.5, 0.8, 0.9 and 0.95"."""
    *others, last = (f"{level:g}" for level in levels)
    return f"{', '.join(others)} and {last}" if others else last


def _parts(residuals: Residuals) -> tuple[Floats, Floats, Floats]:
    """Ensemble mean, spread and |error|, each [n]."""
    members = residuals.members.astype(np.float64)
    mean = members.mean(axis=0)
    return mean, members.std(axis=0, ddof=1), np.abs(residuals.observed.astype(np.float64) - mean)


def _score(error: Floats, spread: Floats, floor: Floats) -> Floats:
    scale = np.hypot(spread, floor)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > 0, error / scale, 0.0)


def _floors(
    group: NDArray[np.intp], weight: Floats, size: Floats, spread: Floats, error: Floats
) -> tuple[Floats, Floats]:
    """Constant and slope of the floor, [K + 1]: with each of the K groups left out, and last with none left out.

    Least squares, groups weighing the same, of what the spread does not explain of an error on the size of the
    prediction; neither falls below zero. Sums by group make leaving one out a subtraction.
    """
    excess = np.sqrt(np.maximum(error**2 - spread**2, 0.0))
    terms = (np.ones_like(size), size, excess, size * size, size * excess)
    of_group = np.array([np.bincount(group, weight * term) for term in terms])
    whole = of_group.sum(axis=1, keepdims=True)
    n, x, y, xx, xy = np.concatenate([whole - of_group, whole], axis=1)
    x, y, xx, xy = x / n, np.maximum(y / n, 0.0), xx / n, xy / n
    varies = xx - x * x > 1e-12 * xx
    slope = np.maximum(np.divide(xy - x * y, xx - x * x, out=np.zeros_like(x), where=varies), 0.0)
    constant = y - slope * x
    low = constant < LEAST_FLOOR * y
    least = LEAST_FLOOR * y
    through = np.maximum(np.divide(xy - least * x, xx, out=np.zeros_like(x), where=xx > 0), 0.0)
    return np.where(low, least, constant), np.where(low, through, slope)
