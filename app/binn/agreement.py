"""Whether BINN and the sampler tell the same of the same soils: the six processes of each, and the time of each.

Both rest on the same climate and litter, which alone make processes vary from place to place. So beside every
correlation stands that of a model without any inference: all parameters at the middle of their ranges everywhere
("same parameters"); and the correlation that is left when that is taken out of both sides ("beyond climate").
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from fieldflux.models.hybrids.binn.network import Ensemble
from fieldflux.models.processes.soilcarbon.environment import Cap
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.parameters import COUNT, from_unit
from numpy.typing import NDArray

from .sampler import PROCESSES, Posterior, processes_at
from .sites import SoilTable
from .splits import blocks

Array = NDArray[np.float64]

SAMPLER, PRODA, BINN, CALMED, SAME = (
    "sampler", "PRODA network", "BINN", "BINN, identified parameters only", "same parameters",
)  # fmt: skip
# A parameter whose spread shrank by less than that, over the soils, is its prior's.
PRIOR_LIKE = 0.05
RESAMPLES = 500
FOLDS = 5
MEMBERS = 5


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pearson r over the soils of two estimates of one process. low, high: 90 % by drawing soils (one per 2-degree
    block). beyond: partial r, without what the same parameters everywhere explain; NaN for that estimate itself."""

    first: str
    second: str
    process: str
    r: float
    low: float
    high: float
    beyond: float


def processes_by(
    table: SoilTable, forcing: SoilForcing, posteriors: Sequence[Posterior], ensemble: Ensemble, seed: int
) -> Mapping[str, Array]:
    """[n, 6] processes of the soils by each way of estimating them.

    BINN's are means over its members. The PRODA network is out of fold: it learns the posterior means of the other
    blocks' soils from the covariates. What the soils do not tell (`identified`) is at the middle of its range in
    "BINN, identified parameters only".
    """
    n = len(table)
    middle = np.full((n, COUNT), 0.5)
    members = ensemble.parameters(table.x)
    calmed = members.clone()
    calmed[..., ~torch.from_numpy(identified(posteriors))] = from_unit(torch.full((COUNT,), 0.5, dtype=torch.float64))[
        ~torch.from_numpy(identified(posteriors))
    ]
    return {
        SAMPLER: np.stack([p.at_mean for p in posteriors]),
        PRODA: _of(proda(table, posteriors, seed), forcing),
        BINN: np.mean([processes_at(p, forcing, ensemble.cap)[0] for p in members], axis=0),
        CALMED: np.mean([processes_at(p, forcing, ensemble.cap)[0] for p in calmed], axis=0),
        SAME: _of(middle, forcing),
    }


def identified(posteriors: Sequence[Posterior]) -> NDArray[np.bool_]:
    """[21] whether the soils tell something of a parameter: its spread shrinks by 5 % or more, mean over the soils."""
    return np.asarray(np.mean([p.shrunk for p in posteriors], axis=0) >= PRIOR_LIKE)


def _of(unit: Array, forcing: SoilForcing, cap: Cap = "published") -> Array:
    return processes_at(from_unit(torch.from_numpy(unit)), forcing, cap)[0]


def proda(table: SoilTable, posteriors: Sequence[Posterior], seed: int) -> Array:
    """[n, 21] posterior means in the unit ranges, predicted from covariates by networks that did not see the soil's
    block: the mean of a few, each with its own start."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    goal = np.stack([p.mean for p in posteriors])
    out = np.empty_like(goal)
    for train, test in blocks(table.soils.latitude, table.soils.longitude, seed, FOLDS).parts():
        each = []
        for k in range(MEMBERS):
            network = MLPRegressor(hidden_layer_sizes=(64, 64), alpha=1.0, max_iter=400, random_state=1000 * seed + k)
            chain = make_pipeline(StandardScaler(), network)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # 400 rounds are what it is given
                each.append(chain.fit(table.x[train], goal[train]).predict(table.x[test]))
        out[test] = np.mean(each, axis=0)
    return np.clip(out, 0.0, 1.0)


def agreements(processes: Mapping[str, Array], seed: int) -> list[Agreement]:
    """Every pair of interest, by process and their mean ("mean")."""
    pairs = (
        (BINN, SAMPLER), (CALMED, SAMPLER), (PRODA, SAMPLER), (BINN, PRODA), (SAME, SAMPLER), (SAME, BINN),
    )  # fmt: skip
    return [one for a, b in pairs for one in _pair(a, b, processes, seed)]


def _pair(a: str, b: str, processes: Mapping[str, Array], seed: int) -> list[Agreement]:
    x, y, same = processes[a], processes[b], processes[SAME]
    rs = np.array([correlation(x[:, k], y[:, k]) for k in range(len(PROCESSES))])
    if SAME in (a, b):
        beyond = np.full(len(rs), np.nan)
    else:
        beyond = np.array([partial(x[:, k], y[:, k], same[:, k]) for k in range(len(rs))])
    draw = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        at = draw.integers(len(x), size=len(x))
        drawn.append([correlation(x[at, k], y[at, k]) for k in range(len(rs))])
    each = np.array(drawn)
    low, high = np.nanquantile(each, (0.05, 0.95), axis=0)
    means = np.nanmean(each, axis=1)
    found = [
        Agreement(a, b, name, float(rs[k]), float(low[k]), float(high[k]), float(beyond[k]))
        for k, name in enumerate(PROCESSES)
    ]
    least, most = np.quantile(means, (0.05, 0.95))
    mean = Agreement(a, b, "mean", float(np.nanmean(rs)), float(least), float(most), float(np.mean(beyond)))
    return [*found, mean]


def correlation(x: Array, y: Array) -> float:
    """Pearson's r; NaN where one side does not vary.

    >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]))
    1.0
    """
    a, b = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 1e-12 * float(np.abs(x).max() * np.abs(y).max() + 1e-300) else np.nan


def partial(x: Array, y: Array, given: Array) -> float:
    """Correlation of what a straight line on `given` leaves of both; the plain one where `given` does not vary.

    >>> g = np.array([0.0, 1.0, 2.0, 3.0])
    >>> round(partial(g + [1, -1, -1, 1], 5 * g - [1, -1, -1, 1], g), 6)
    -1.0
    """
    if np.ptp(given) <= 1e-9 * np.abs(given).max():
        return correlation(x, y)
    line = np.column_stack([np.ones_like(given), given])
    left = [v - line @ np.linalg.lstsq(line, v, rcond=None)[0] for v in (x, y)]
    return correlation(left[0], left[1])
