"""Pairs of plots of one experiment that differ in one thing alone, and intervals over experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

import numpy as np
from fieldflux.app.evaluate.soil import Plot
from numpy.typing import NDArray

from .longterm import Field

Array = NDArray[np.float64]

# What differs in a pair, and which of the two comes first.
FACTORS: Mapping[str, str] = MappingProxyType(
    {
        "tillage": "less tillage less more",
        "residue": "more straw left less less",
        "cover crop": "with a cover crop less without",
        "nitrogen": "more nitrogen less less",
        "rotation": "maize every year less maize with soybean, or that less soybean alone",
    }
)
# Values nearer than that count as the same: shares, gN m-2.
SAME = {"tillage": 0.1, "residue": 0.06, "cover crop": 0.5, "nitrogen": 3.5, "rotation": 0.1}
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Pair:
    """The difference of two plots' trends, gC m-2 yr-1; see FACTORS for its sign."""

    factor: str
    site: str
    first: str
    second: str
    measured: float
    modelled: float


def pairs_of(fields: Sequence[Field], plots: Sequence[Plot]) -> list[Pair]:
    """Every pair within an experiment over the same years in which one factor differs and no other."""
    by_name = {f.plot.treatment: f for f in fields}
    found = []
    for a, b in combinations(plots, 2):
        f, g = by_name[a.treatment], by_name[b.treatment]
        if a.site != b.site or (a.first, a.last) != (b.first, b.last):
            continue
        one, two = _management(f), _management(g)
        differ = [name for name in FACTORS if abs(one[name] - two[name]) > SAME[name]]
        if differ == ["rotation", "nitrogen"] or differ == ["nitrogen", "rotation"]:
            # fertiliser goes to maize: what a maize year gets is the same
            differ = ["rotation"] if abs(one["to maize"] - two["to maize"]) <= SAME["nitrogen"] else differ
        if len(differ) != 1:
            continue
        factor = differ[0]
        high_first = factor not in ("tillage", "residue")
        if (one[factor] > two[factor]) != high_first:
            a, b = b, a
        found.append(Pair(factor, a.site, a.treatment, b.treatment, a.measured - b.measured, a.mean - b.mean))
    return found


def _management(field: Field) -> dict[str, float]:
    seasons = list(field.plot.seasons.values())
    crops = list(field.crops.values())
    return {
        "tillage": float(np.mean([s.tillage for s in seasons])),
        "residue": float(np.mean([s.residue_removed for s in seasons])),
        "cover crop": float(field.cover),
        "nitrogen": field.plot.nitrogen,
        "rotation": float(np.mean([c.crop == 1 for c in crops])),
        "to maize": crops[0].nitrogen,
    }


def interval(
    values: Array, site: Sequence[str], of: Callable[[Array], float], seed: int = 0, level: float = 0.9
) -> tuple[float, float]:
    """Bootstrap interval of a number over whole sites, drawn with replacement; NaN with one site.

    values: [n, ...] rows of the sites' plots.
    """
    names = sorted(set(site))
    if len(names) < 2:
        return float("nan"), float("nan")
    rows = [np.flatnonzero(np.array(site) == name) for name in names]
    draw = np.random.default_rng(seed)
    found = [
        of(values[np.concatenate([rows[k] for k in draw.integers(len(names), size=len(names))])])
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(found, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
