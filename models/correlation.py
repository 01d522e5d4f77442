"""How sure a sum is whose parts err together: one arithmetic for fields, statements and years, and its measurement.

The error of a sum over places has the variance sum_ij e_i e_j rho(d_ij), with rho = 1 for a place with itself: between
that of independent errors (the root of the sum of squares) and of common ones (their sum).

How alike errors are is measured on held-out pairs of the same year (`fit_between`). Years, not pairs, are the evidence:
in a bad year all counties err together, and 29 counties of one year are one piece of it. So each year weighs the same,
years are drawn again to see how far the estimate can be trusted, and the upper end is taken, since errors that are
taken to be less alike than they are make a sum look surer than it is. Where fewer than `LEAST_YEARS` years tell,
nothing is measured, and errors are taken to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .card import Between, IntervalRule, Score
from .intervals import Residuals, fit_rule, half_width, signed_scores

Floats: TypeAlias = NDArray[np.float64]
Alike: TypeAlias = Callable[[Floats], Floats]
"""Correlation of the errors of two places, by their distance in km."""

LEAST_YEARS = 9
"""Years without which a correlation is no evidence: as many as groups that a 90 % interval needs."""
UPPER = 0.9
"""What share of the draws of years lies below the correlation that is taken."""
DRAWS = 2000
ROWS = 512
"""Places whose distances to all others are looked at together."""


def common(km: Floats) -> Floats:
    """Errors that are the same everywhere."""
    return np.ones_like(km)


def independent(km: Floats) -> Floats:
    """Errors that have nothing to do with each other."""
    return np.zeros_like(km)


def over_places(errors: Floats, places: Floats, alike: Alike) -> Floats:
    """Error [...] of a sum over F places, of errors [F, ...] >= 0 (standard errors, or half widths at one level).

    places: [F, 2] longitude and latitude, degrees.
    """
    if alike is common:
        return np.asarray(errors.sum(axis=0))
    if alike is independent:
        return np.asarray(np.sqrt((errors * errors).sum(axis=0)))
    flat = errors.reshape(len(errors), -1)
    variance = np.zeros(flat.shape[1])
    for k in range(0, len(flat), ROWS):
        some = flat[k : k + ROWS]
        together = alike(distances_km(places[k : k + ROWS], places))
        together[np.arange(len(some)), k + np.arange(len(some))] = 1.0
        variance += np.einsum("ft,ft->t", some, together @ flat)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)).reshape(errors.shape[1:]))


def distances_km(places: Floats, others: Floats | None = None) -> Floats:
    """[F, G] great-circle distances (haversine, a sphere of 6371 km) of places [F, 2] and others [G, 2]."""
    (lon, lat), (to_lon, to_lat) = (np.radians(p).T for p in (places, places if others is None else others))
    half = (
        np.sin(np.subtract.outer(lat, to_lat) / 2) ** 2
        + np.cos(lat)[:, None] * np.cos(to_lat)[None, :] * np.sin(np.subtract.outer(lon, to_lon) / 2) ** 2
    )
    return np.asarray(2 * 6371.0 * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0))))


@dataclass(frozen=True)
class Pairs:
    """Held-out pairs whose errors are compared: only those of the same year and kind (as the crop) are.

    years: [n]. kinds: [n]. places: [n, 2] longitude and latitude, degrees. Raises ValueError where shapes differ.
    """

    residuals: Residuals
    years: NDArray[np.int64]
    kinds: NDArray[np.str_]
    places: Floats

    def __post_init__(self) -> None:
        n = self.residuals.observed.shape
        if self.years.shape != n or self.kinds.shape != n or self.places.shape != (*n, 2):
            raise ValueError(
                f"Of {n[0]} pairs, years and kinds are [n] and places [n, 2]; given {self.years.shape}, "
                f"{self.kinds.shape} and {self.places.shape}."
            )

    def only(self, keep: NDArray[np.bool_]) -> Pairs:
        """The pairs where keep [n] is True."""
        return Pairs(self.residuals.only(keep), self.years[keep], self.kinds[keep], self.places[keep])


@dataclass(frozen=True)
class SumsCovered:
    """Share of sums inside their intervals at a level, each year of the same weight and left out of what set them.

    independent, measured, common: by how errors are taken to hang together. width: mean width of `measured` as a share
    of that of `common`. years, sums, pairs: how many there are.
    """

    level: float
    independent: float
    measured: float
    common: float
    width: float
    years: int
    sums: int
    pairs: int


def fit_between(pairs: Pairs, rule: IntervalRule, from_km: Sequence[float], seed: int = 0) -> Between | None:
    """How alike errors of the same year and kind are, by distance; None where too few years tell at any distance.

    Errors are in units of what the rule's width is made of, and not taken from their mean: an error that all have in
    common stays in a sum. from_km: where classes of distance begin, ascending; the last has no end. A class with too
    few years is as alike as can be, and none is less alike than one farther away.
    """
    scores = signed_scores(rule, pairs.residuals)
    names, year = np.unique(pairs.years, return_inverse=True)
    i, j = np.triu_indices(len(scores), 1)
    same = (year[i] == year[j]) & (pairs.kinds[i] == pairs.kinds[j])
    i, j = i[same], j[same]
    which = np.searchsorted(np.asarray(from_km, float), distances_km(pairs.places)[i, j], "right") - 1
    rng = np.random.default_rng(seed)
    classes = []
    for k, begin in enumerate(from_km):
        a, b = i[which == k], j[which == k]
        # Of each year: the mean product of pairs, and the mean square of those who are in them.
        count = np.bincount(year[a], minlength=len(names))
        there = count > 0
        if there.sum() < LEAST_YEARS:
            continue
        products = np.bincount(year[a], scores[a] * scores[b], len(names))[there] / count[there]
        squares = np.bincount(year[a], (scores[a] ** 2 + scores[b] ** 2) / 2, len(names))[there] / count[there]
        drawn = rng.integers(0, there.sum(), (DRAWS, int(there.sum())))
        upper = float(np.quantile(products[drawn].sum(axis=1) / squares[drawn].sum(axis=1), UPPER))
        measured = float(products.sum() / squares.sum())
        classes.append((float(begin), measured, min(1.0, max(0.0, upper)), int(count.sum()), int(there.sum())))
    if not classes:
        return None
    taken = np.maximum.accumulate([c[2] for c in classes[::-1]])[::-1]
    return Between(
        from_km=tuple(c[0] for c in classes),
        correlation=tuple(round(float(t), 4) for t in taken),
        measured=tuple(round(c[1], 4) for c in classes),
        pairs=tuple(c[3] for c in classes),
        years=tuple(c[4] for c in classes),
    )


def with_between(
    pairs: Pairs, rule: IntervalRule, from_km: Sequence[float], data: str
) -> tuple[IntervalRule, tuple[SumsCovered, ...]]:
    """The rule with how alike errors are, where enough years tell, and how often sums of left-out years were inside."""
    found = fit_between(pairs, rule, from_km)
    covered = coverage_of_sums(pairs, tuple(rule.quantiles), from_km)
    if found is None:
        return rule, covered
    held = tuple(c.level for c in covered if c.measured >= c.level)
    return rule.model_copy(update={"between": found.model_copy(update={"levels": held, "data": data})}), covered


def coverage_of_sums(pairs: Pairs, levels: Sequence[float], from_km: Sequence[float]) -> tuple[SumsCovered, ...]:
    """Sums over all places of a year and kind, of two places or more, by rules that the other years set."""
    inside: dict[float, list[tuple[int, list[bool], float]]] = {level: [] for level in levels}
    counted = 0
    for year in np.unique(pairs.years).tolist():
        away = pairs.years == year
        others = pairs.only(~away)
        if len(np.unique(others.residuals.group)) < 2:
            continue
        rule = fit_rule(others.residuals, levels)
        between = fit_between(others, rule, from_km)
        for kind in np.unique(pairs.kinds[away]).tolist():
            here = pairs.only(away & (pairs.kinds == kind))
            members = here.residuals.members.astype(np.float64)
            mean, spread = members.mean(axis=0), members.std(axis=0, ddof=1)
            if len(mean) < 2:
                continue
            counted += len(mean)
            off = abs(float((here.residuals.observed - mean).sum()))
            for level in levels:
                half = half_width(rule, mean, spread, level)
                ways = (independent, common if between is None else between.at, common)
                widths = [float(over_places(half, here.places, way)) for way in ways]
                inside[level].append((year, [off <= w for w in widths], widths[1] / widths[2]))
    return tuple(_covered(level, found, counted) for level, found in inside.items() if found)


def _covered(level: float, found: Sequence[tuple[int, list[bool], float]], pairs: int) -> SumsCovered:
    years = np.array([year for year, _, _ in found])
    held = np.array([each for _, each, _ in found], float)
    share = np.mean([held[years == year].mean(axis=0) for year in np.unique(years)], axis=0)
    width = float(np.mean([w for _, _, w in found]))
    one, other, last = (round(float(s), 4) for s in share)
    return SumsCovered(level, one, other, last, round(width, 4), len(np.unique(years)), len(found), pairs)


def sum_scores(found: Sequence[SumsCovered], variable: str, data: str) -> tuple[Score, ...]:
    """Coverage of sums at each level as scores of a card, beside that of independent and of common errors."""
    return tuple(
        Score(
            variable=variable,
            metric=f"coverage of the {100 * c.level:g} % interval of sums over places, year",
            value=c.measured,
            unit="1",
            split=f"{c.years} left-out years of equal weight ({c.sums} sums, {c.pairs} pairs), correlation set by the "
            f"others; width {c.width:.2f} of that of common errors",
            data=data,
            n=c.sums,
            baseline={"nominal": c.level, "independent errors": c.independent, "common errors": c.common},
        )
        for c in found
    )
