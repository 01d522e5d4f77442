"""The two tests of VMD0053 v2.1 for a practice's effect: what a card must tell before effects are part of credits.

An effect is the difference that a practice makes to one source, modelled and measured side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

Z90 = 1.64
"""Half the 90 % interval in standard deviations, as VMD0053 rounds it."""


@dataclass(frozen=True, slots=True)
class Study:
    """Effects of one study, in one unit. modelled, measured: [n]. errors, replicates: [n] of the measurements."""

    modelled: Sequence[float]
    measured: Sequence[float]
    errors: Sequence[float]
    replicates: Sequence[int]


@dataclass(frozen=True, slots=True)
class Validation:
    """mean_bias: of studies, each with the same weight. pmu: pooled measurement uncertainty. s: of the model's errors.

    inside: share of measurements within modelled +- 1.64 s. n: measurements.
    """

    mean_bias: float
    pmu: float
    s: float
    inside: float
    n: int

    @property
    def bias_passes(self) -> bool:
        return abs(self.mean_bias) <= self.pmu

    @property
    def coverage_passes(self) -> bool:
        return self.inside >= 0.9


def validated(studies: Sequence[Study]) -> Validation:
    """Both tests. Raises ValueError for fewer than two measurements or no replicates."""
    errors = np.concatenate([np.subtract(s.modelled, s.measured) for s in studies]) if studies else np.empty(0)
    if len(errors) < 2:
        raise ValueError(f"The tests need two measurements or more; given: {len(errors)}.")
    pmu = pooled([e for s in studies for e in s.errors], [n for s in studies for n in s.replicates])
    s = float(np.std(errors, ddof=1))
    mean_bias = mean_of_biases([float(np.mean(np.subtract(one.modelled, one.measured))) for one in studies])
    return Validation(mean_bias, pmu, s, float(np.mean(np.abs(errors) <= Z90 * s)), len(errors))


def mean_of_biases(biases: Sequence[float]) -> float:
    """Unweighted mean over studies."""
    return float(np.mean(biases))


def pooled(errors: Sequence[float], replicates: Sequence[int]) -> float:
    """PMU = sqrt(sum s_j^2 (n_j - 1) / sum (n_j - 1)); the weights are n - 1. Raises ValueError without replicates."""
    weights = np.asarray(replicates, float) - 1.0
    if weights.sum() <= 0:
        raise ValueError("The pooled measurement uncertainty needs measurements with two replicates or more.")
    return sqrt(float(np.sum(np.square(errors) * weights) / weights.sum()))


def interval(effect: float, variance: float) -> tuple[float, float]:
    """The 90 % prediction interval of an effect. variance: of the model's errors."""
    half = Z90 * sqrt(variance)
    return effect - half, effect + half
