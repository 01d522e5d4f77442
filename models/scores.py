"""How far predictions are from measurements: each number with its name, its count and its definition.

Pairs with a NaN on either side are left out, and `n` says how many are left. Two things that are both called R2
elsewhere are kept apart: `nse`, which a biased or wrongly scaled prediction loses, and `r2`, which it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n pairs, in the unit of the variable where they have one; NaN where n is too small to define them.

    rmse: root mean squared error. bias: mean of predicted less observed. nse: 1 - SS_res / SS_tot, the coefficient of
    determination, also called Nash-Sutcliffe efficiency: 1 perfect, 0 as good as the observed mean, no lower bound.
    r2: squared Pearson correlation, 0..1. nnse: 1 / (2 - nse), which maps nse into 0..1.
    observed: mean of the observations. observed_sd: their standard deviation (divisor n).
    """

    n: int
    rmse: float
    bias: float
    nse: float
    r2: float
    nnse: float
    observed: float
    observed_sd: float


def score(predicted: Numbers, observed: Numbers, mask: Mask | None = None) -> Scores:
    """Scores of a prediction; any shape, the same for both. mask: True where a pair may count.

    Raises ValueError where the shapes differ.
    """
    p, o = pairs(predicted, observed, mask)
    n = int(o.size)
    if n == 0:
        return Scores(0, *(float("nan"),) * 7)
    error = p - o
    mean = float(o.mean())
    total = float(np.square(o - mean).sum())
    residual = float(np.square(error).sum())
    nse = 1.0 - residual / total if total > 0 else float("nan")
    return Scores(
        n=n,
        rmse=float(np.sqrt(residual / n)),
        bias=float(error.mean()),
        nse=nse,
        r2=_squared_correlation(p, o),
        nnse=1.0 / (2.0 - nse),
        observed=mean,
        observed_sd=float(np.sqrt(total / n)),
    )


def pairs(predicted: Numbers, observed: Numbers, mask: Mask | None = None) -> tuple[Numbers, Numbers]:
    """The pairs that count, as two float64 vectors."""
    p, o = np.asarray(predicted, np.float64), np.asarray(observed, np.float64)
    if p.shape != o.shape:
        raise ValueError(f"Predicted and observed must have one shape, but have {p.shape} and {o.shape}.")
    keep = np.isfinite(p) & np.isfinite(o)
    if mask is not None:
        keep &= np.asarray(mask, bool)
    return p[keep], o[keep]


def member_spread(members: Numbers, observed: Numbers, mask: Mask | None = None) -> float | None:
    """Standard deviation over members (axis 0) of each member's own RMSE; None for a single member."""
    if len(members) < 2:
        return None
    return float(np.std([score(member, observed, mask).rmse for member in members], ddof=1))


def _squared_correlation(p: Numbers, o: Numbers) -> float:
    dp, do = p - p.mean(), o - o.mean()
    both = float(np.square(dp).sum() * np.square(do).sum())
    return float((dp * do).sum() ** 2 / both) if both > 0 else float("nan")
