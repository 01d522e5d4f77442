"""How much of measured soil carbon county covariates could ever explain: what differs within a county they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Limit:
    """Variance within groups and in all. ceiling: highest R2 of predictions that are one value per group, 1 - within
    / total. soils, groups: how many stand in groups of two or more."""

    within: float
    total: float
    ceiling: float
    soils: int
    groups: int


def within_groups(values: Array, group: NDArray[np.int64]) -> Limit:
    """One-way analysis of variance, without bias for small groups. NaN where no group has two.

    >>> within_groups(np.array([1.0, 3.0, 5.0, 7.0]), np.array([0, 0, 1, 1])).within
    2.0
    """
    _, index, count = np.unique(group, return_inverse=True, return_counts=True)
    index = index.ravel()
    several = (count >= 2)[index]
    mean = np.bincount(index, values) / count
    free = int(several.sum() - (count >= 2).sum())
    within = float(np.square(values - mean[index])[several].sum() / free) if free else float("nan")
    total = float(values.var(ddof=1))
    return Limit(within, total, 1.0 - within / total, int(several.sum()), int((count >= 2).sum()))


def semivariance(
    values: Array, latitude: Array, longitude: Array, kind: NDArray[np.str_], edges: Sequence[float]
) -> list[tuple[float, float, int]]:
    """(mean distance, km; half the mean squared difference; pairs) of soils of one kind, by distance class.

    edges: km, rising. What the first class shows is noise and variation that no map of coarser grain can explain.
    """
    from scipy.spatial import cKDTree

    a, b = np.radians(latitude), np.radians(longitude)
    xyz = 6371.0 * np.column_stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)])
    pairs = cKDTree(xyz).query_pairs(edges[-1], output_type="ndarray")
    pairs = pairs[kind[pairs[:, 0]] == kind[pairs[:, 1]]]
    away = np.linalg.norm(xyz[pairs[:, 0]] - xyz[pairs[:, 1]], axis=1)
    half = 0.5 * np.square(values[pairs[:, 0]] - values[pairs[:, 1]])
    out = []
    for low, high in pairwise(edges):
        here = (away >= low) & (away < high)
        if here.any():
            out.append((float(away[here].mean()), float(half[here].mean()), int(here.sum())))
    return out
