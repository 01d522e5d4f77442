"""What simpler methods reach on the same soils, covariates and splits: the floors that a process model must beat."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from fieldflux.models.scores import Scores, score
from numpy.typing import NDArray

from .sites import SoilTable
from .splits import Split

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MEAN, RIDGE, FOREST, BOOSTING, NETWORK = "mean", "ridge", "random forest", "boosting", "network"
STOCK_30, STOCK_100, DENSITY = "stock_30", "stock_100", "density"
TARGETS: Mapping[str, str] = MappingProxyType({STOCK_30: "gC m-2", STOCK_100: "gC m-2", DENSITY: "gC m-3"})
MEMBERS, WIDTH, EPOCHS, BATCH = 4, 64, 60, 128

# (x of training, log y of training, x of test, seed) -> log y of test
Fit = Callable[[Array, Array, Array, int], Array]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """r values to be predicted. x: [r, feature]. y: [r], above 0. owner: [r] index of the soil in its table."""

    target: str
    unit: str
    x: Array
    y: Array
    owner: NDArray[np.int64]


def problem_of(table: SoilTable, target: str) -> Problem:
    """Stocks, or densities by layer with depth as two more features, where they are known and above 0.

    A layer without carbon (below what was detectable) has no logarithm and is left out.
    Raises ValueError for another target.
    """
    if target not in TARGETS:
        raise ValueError(f"The target is '{target}', but must be one of {', '.join(TARGETS)}.")
    soils = table.soils
    if target == DENSITY:
        middle = (soils.top + soils.bottom) / 2.0
        y, owner = soils.density, soils.owner
        x = np.column_stack([table.x[owner], middle, np.log(middle)])
    else:
        y, owner = getattr(soils, target), np.arange(len(table))
        x = table.x
    known = np.nan_to_num(y) > 0.0
    return Problem(target, TARGETS[target], x[known], y[known], owner[known])


@dataclass(frozen=True, slots=True)
class Floor:
    """Scores of one method on one split, all test folds together, in logarithms and in the target's unit.

    spread: standard deviation over folds of the R2 (nse) in logarithms. train: R2 in logarithms on the training rows,
    mean over folds.
    """

    target: str
    unit: str
    split: str
    method: str
    log: Scores
    plain: Scores
    spread: float
    train: float


def floors(problem: Problem, split: Split, methods: Mapping[str, Fit] | None = None) -> tuple[Floor, ...]:
    """Every method, trained on each fold's training soils and scored on its test soils.

    Methods learn logarithms. In plain units a prediction is its exponential times Duan's (1983) smearing factor, taken
    from the held-out residuals of the other folds.
    """
    return tuple(_floor(problem, split, name, fit) for name, fit in (methods or every_method()).items())


def _floor(problem: Problem, split: Split, name: str, fit: Fit) -> Floor:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    fold, log = split.fold[problem.owner], np.log(problem.y)
    predicted, train = np.full(len(log), np.nan), []
    with threadpool_limits(1):
        for k in np.unique(fold):
            test = fold == k
            both = fit(problem.x[~test], log[~test], np.concatenate([problem.x[test], problem.x[~test]]), int(k))
            predicted[test] = both[: test.sum()]
            train.append(score(both[test.sum() :], log[~test]).nse)
    residual = np.exp(log - predicted)
    factor = np.array([residual[fold != k].mean() for k in range(split.folds)])[fold]
    by_fold = [score(predicted[fold == k], log[fold == k]).nse for k in np.unique(fold)]
    return Floor(
        problem.target,
        problem.unit,
        split.name,
        name,
        score(predicted, log),
        score(np.exp(predicted) * factor, problem.y),
        float(np.nanstd(by_fold)),
        float(np.mean(train)),
    )


def every_method() -> Mapping[str, Fit]:
    """The methods by name."""
    return {MEAN: mean, RIDGE: ridge, FOREST: forest, BOOSTING: boosting, NETWORK: network}


def mean(_: Array, y: Array, at: Array, __: int) -> Array:
    """The training mean of logarithms."""
    return np.full(len(at), y.mean())


def ridge(x: Array, y: Array, at: Array, _: int) -> Array:
    """Linear, with the penalty chosen within the training soils."""
    from sklearn.linear_model import RidgeCV

    return _fitted(RidgeCV(np.logspace(-1, 4, 11)), x, y, at)


def forest(x: Array, y: Array, at: Array, seed: int) -> Array:
    """Random forest of 200 trees, leaves of five or more."""
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(200, min_samples_leaf=5, max_features=0.33, random_state=seed, n_jobs=1)
    return _fitted(model, x, y, at)


def boosting(x: Array, y: Array, at: Array, seed: int) -> Array:
    """Gradient boosting on histograms."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=120,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=30,
        l2_regularization=1.0,
        random_state=seed,
    )
    return _fitted(model, x, y, at)


def _fitted(model: Any, x: Array, y: Array, at: Array) -> Array:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    chain = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), model)
    return np.asarray(chain.fit(x, y).predict(at), np.float64)


def network(x: Array, y: Array, at: Array, seed: int) -> Array:
    """Mean of four networks (two hidden layers of 64, dropout 0.1, weight decay), each on its own resample."""
    import torch

    center, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    xs, ats = (torch.from_numpy(np.nan_to_num((v - center) / scale)).float() for v in (x, at))
    low, spread = float(y.mean()), float(y.std())
    ys = torch.from_numpy((y - low) / spread).float()
    make = torch.Generator().manual_seed(seed)
    sizes = (x.shape[1], WIDTH, WIDTH, 1)
    weights = [
        (torch.randn(MEMBERS, a, b, generator=make) * (2.0 / a) ** 0.5).requires_grad_() for a, b in pairwise(sizes)
    ]
    shifts = [torch.zeros(MEMBERS, 1, b, requires_grad=True) for b in sizes[1:]]

    def run(inputs: torch.Tensor, drop: float) -> torch.Tensor:
        for i, (weight, shift) in enumerate(zip(weights, shifts, strict=True)):
            inputs = torch.baddbmm(shift, inputs, weight)
            if i < 2:
                inputs = torch.nn.functional.silu(inputs)
                if drop:
                    inputs = inputs * (torch.rand(inputs.shape, generator=make) > drop) / (1.0 - drop)
        return inputs[..., 0]

    optimiser = torch.optim.AdamW([*weights, *shifts], lr=3e-3, weight_decay=0.1)
    steps = max(1, EPOCHS * len(ys) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
    bags = torch.randint(len(ys), (MEMBERS, len(ys)), generator=make)
    for _ in range(steps):
        drawn = torch.gather(bags, 1, torch.randint(len(ys), (MEMBERS, BATCH), generator=make))
        loss = torch.nn.functional.smooth_l1_loss(run(xs[drawn], 0.1), ys[drawn])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        out = run(ats.expand(MEMBERS, *ats.shape), 0.0).mean(dim=0)
    return np.asarray(out.numpy() * spread + low, np.float64)


def soil_map(table: SoilTable) -> tuple[Scores, Scores]:
    """The county mean of a soil map (HWSD) as a prediction of stock_30, untrained: in logarithms, in gC m-2."""
    v = table.counties.values
    stock = v["map_carbon"] * v["bulk_density"] * 1000.0 * (1.0 - v["gravel"]) * 0.3
    known = np.nan_to_num(table.soils.stock_30) > 0.0
    predicted, measured = stock[table.row][known], table.soils.stock_30[known]
    return score(np.log(predicted), np.log(measured)), score(predicted, measured)


def write_floors(path: Path, found: Sequence[Floor]) -> None:
    """A CSV table, one line per target, split and method."""
    columns = ("target", "unit", "split", "method", "n", "log_rmse", "log_r2", "log_bias", "log_r2_sd_of_folds")
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow((*columns, "log_r2_training", "rmse", "r2", "bias"))
        for f in found:
            logs = (f.log.rmse, f.log.nse, f.log.bias, f.spread, f.train)
            numbers = (*logs, f.plain.rmse, f.plain.nse, f.plain.bias)
            out.writerow((f.target, f.unit, f.split, f.method, f.log.n, *(f"{value:.4g}" for value in numbers)))
