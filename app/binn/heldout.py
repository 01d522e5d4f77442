"""Predictions of stocks at soils that were held out, of BINNs and of simpler methods, and how good they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fieldflux.models.card import IntervalRule, Score
from fieldflux.models.hybrids.binn.fit import Sample, fit, observed_by
from fieldflux.models.hybrids.binn.lessons import Lessons
from fieldflux.models.hybrids.binn.network import Binn
from fieldflux.models.intervals import Covered, Residuals, coverage_across_groups, fit_rule
from fieldflux.models.scores import Scores, score
from numpy.typing import NDArray

from .drawing import drawn
from .floors import Fit, every_method
from .recipe import BinnRecipe
from .sites import SoilTable
from .soils import covariates_of, lessons_of
from .splits import Split

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Told = Callable[[float, str], None]

# of the topsoil, and of the first metre: names in tables and cards, depths in m
STOCKS: Mapping[str, float] = {"soc_30": 0.3, "soc_100": 1.0}
SCORED = "RaCA"  # one survey with one method; the other sets learn along and are scored apart


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """One method on one split. members: [M, n, 2] logarithms of stocks (gC m-2) to 0.3 and 1 m at each soil, by
    networks that did not see its group; one member where the method has none. train: mean over folds of the R2 of
    logarithms at the training soils, by stock.
    """

    method: str
    split: Split
    members: Array
    train: Mapping[str, float]

    def log(self, name: str) -> Array:
        """[n] mean of the members."""
        return np.asarray(self.members[:, :, list(STOCKS).index(name)].mean(0))

    def smearing(self, name: str, table: SoilTable) -> float:
        """Mean over the scored soils of measured over predicted."""
        kept = scored(table, name)
        return float(np.exp(np.log(measured(table, name)[kept]) - self.log(name)[kept]).mean())


def measured(table: SoilTable, name: str) -> Array:
    """[n] gC m-2, NaN where unknown or not above 0."""
    stock = table.soils.stock_30 if name == "soc_30" else table.soils.stock_100
    return np.where(np.nan_to_num(stock) > 0.0, stock, np.nan)


def scored(table: SoilTable, name: str, others: bool = False) -> Mask:
    """[n] whether a soil counts in the scores: of RaCA (or of the other sets), with the stock known."""
    raca = table.soils.dataset == SCORED
    return np.asarray((~raca if others else raca) & np.isfinite(measured(table, name)))


def held_out(
    recipe: BinnRecipe,
    table: SoilTable,
    split: Split,
    work: Path | None = None,
    told: Told = lambda *_: None,
    method: str = "",
    lessons: Lessons | None = None,
) -> HeldOut:
    """The recipe's networks, `fold_members` for each fold of the split, trained without its soils, at its soils.

    work: folder where the result is kept; a call with the same recipe, soils and split reads it. lessons: to learn from
    instead of the soils' own, the same in number (with other forcing, say); give a work folder of their own.
    """
    method = method or recipe.name
    kept = None if work is None else work / f"heldout-{_digest(recipe, table, split)}.npz"
    if kept is not None and kept.exists():
        return _read(kept, method, split)
    count = recipe.fold_members
    check = recipe.check if recipe.training.patience else 0.0
    samples: list[Sample] = []
    for k in range(split.folds):
        samples += [
            drawn(split.group, split.fold != k, 1000 * recipe.seed + 100 * k + m, check) for m in range(count)
        ]  # fmt: skip
    network = Binn(recipe.network, covariates_of(table), len(samples), recipe.seed)
    taught = lessons or lessons_of(table, "middle" if recipe.training.loss == "smooth-l1" else "mean")
    fit(network, taught, samples, recipe.training, recipe.seed, None, told)
    density = observed_by(network, taught, torch.arange(len(table)))[..., : len(STOCKS)].numpy()
    # networks may leave a soil without carbon at float rounding: it is then scored as 1 gC m-2, which is as wrong
    logs = np.log(np.maximum(density * np.array(list(STOCKS.values())), 1.0)).reshape(
        split.folds, count, len(table), -1
    )
    members = np.full((count, len(table), len(STOCKS)), np.nan)
    train: dict[str, list[float]] = {name: [] for name in STOCKS}
    for k, (learnt, tested) in enumerate(split.parts()):
        members[:, tested] = logs[k][:, tested]
        for i, name in enumerate(STOCKS):
            here = learnt & scored(table, name)
            train[name].append(score(logs[k][:, here, i].mean(0), np.log(measured(table, name)[here])).nse)
    mean = {name: float(np.mean(values)) for name, values in train.items()}
    if kept is not None:
        np.savez(kept, members=members, train=np.array(list(mean.values())))
    return HeldOut(method, split, members, mean)


def floors_held_out(
    table: SoilTable,
    split: Split,
    methods: Mapping[str, Fit] | None = None,
    work: Path | None = None,
    told: Told = lambda *_: None,
) -> tuple[HeldOut, ...]:
    """The simpler methods, each stock by itself, on the same soils, covariates and folds. work: as of `held_out`."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    found = []
    chosen = methods or every_method()
    for at, (method, make) in enumerate(chosen.items()):
        told(at / len(chosen), method)
        kept = None if work is None else work / f"floor-{_digest_of(table, split, method.encode())}.npz"
        if kept is not None and kept.exists():
            found.append(_read(kept, method, split))
            continue
        members = np.full((1, len(table), len(STOCKS)), np.nan)
        train: dict[str, float] = {}
        for i, name in enumerate(STOCKS):
            stock, each = measured(table, name), []
            known = np.isfinite(stock)
            for k, (learnt, tested) in enumerate(split.parts()):
                rows, seen = learnt & known, learnt & scored(table, name)
                with threadpool_limits(1):
                    both = make(table.x[rows], np.log(stock[rows]), np.concatenate([table.x[tested], table.x[seen]]), k)
                members[0, tested, i] = both[: tested.sum()]
                each.append(score(both[tested.sum() :], np.log(stock[seen])).nse)
            train[name] = float(np.mean(each))
        if kept is not None:
            np.savez(kept, members=members, train=np.array(list(train.values())))
        found.append(HeldOut(method, split, members, train))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Line:
    """Scores of one method on one split and stock. log: of logarithms. plain: of gC m-2, predictions times Duan's
    smearing factor of the other folds. train: R2 of logarithms at training soils."""

    method: str
    split: str
    stock: str
    soils: str
    log: Scores
    plain: Scores
    train: float


def line(one: HeldOut, table: SoilTable, name: str, others: bool = False) -> Line:
    """How good one method is at RaCA's soils, or at those of the other sets."""
    kept = scored(table, name, others)
    fold, log, stock = one.split.fold[kept], one.log(name)[kept], measured(table, name)[kept]
    ratio = stock / np.exp(log)
    factor = np.array([ratio[fold != k].mean() if (fold != k).any() else 1.0 for k in range(one.split.folds)])[fold]
    return Line(
        one.method, one.split.name, name, "other sets" if others else SCORED,
        score(log, np.log(stock)), score(np.exp(log) * factor, stock), one.train[name],
    )  # fmt: skip


def residuals(one: HeldOut, table: SoilTable, name: str) -> Residuals:
    """Held-out logarithms by block, for intervals across blocks."""
    kept = scored(table, name)
    members = one.members[:, kept, list(STOCKS).index(name)]
    return Residuals(one.split.group[kept].astype(str), np.log(measured(table, name)[kept]), members)


LEVELS = (0.5, 0.8, 0.9, 0.95)
METRICS: tuple[tuple[str, str, Callable[[Line], float]], ...] = (
    ("R2 of logarithms", "1", lambda x: x.log.nse),
    ("RMSE of logarithms", "1", lambda x: x.log.rmse),
    ("R2", "1", lambda x: x.plain.nse),
    ("RMSE", "gC m-2", lambda x: x.plain.rmse),
    ("bias", "gC m-2", lambda x: x.plain.bias),
)


def interval_rules(found: Sequence[HeldOut], table: SoilTable) -> dict[str, dict[str, IntervalRule]]:
    """ "ln_soc_30", "ln_soc_100" -> rule of logarithms, from the first split, each block with the same weight."""
    return {
        f"ln_{name}": {
            "year": fit_rule(
                residuals(found[0], table, name),
                LEVELS,
                f"logarithms of {name} at single pits of {SCORED} in held-out 2-degree blocks; {found[0].split.name}",
            )
        }
        for name in STOCKS
    }


def covered(one: HeldOut, table: SoilTable, name: str) -> dict[float, Covered]:
    """Level -> coverage at blocks that did not set the interval."""
    return coverage_across_groups(residuals(one, table, name), LEVELS)


def scores_of(found: Sequence[HeldOut], table: SoilTable, floors: Sequence[HeldOut] = ()) -> tuple[Score, ...]:
    """Scores of a card: means over the draws of the split, with their spread, beside floors on the same splits."""
    out: list[Score] = []
    for name in STOCKS:
        lines = [line(one, table, name) for one in found]
        others: dict[str, list[Line]] = {}
        for floor in floors:
            others.setdefault(floor.method, []).append(line(floor, table, name))
        for metric, unit, of in METRICS:
            values = [of(x) for x in lines]
            out.append(
                Score(
                    variable=name, metric=metric, value=round(float(np.mean(values)), 4), unit=unit,
                    split=f"2-degree blocks, {found[0].split.folds} folds, mean of {len(found)} draws of blocks",
                    data=f"{SCORED}, mineral soils", n=lines[0].log.n,
                    spread=round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None,
                    baseline={m: round(float(np.mean([of(x) for x in each])), 4) for m, each in others.items()},
                )
            )  # fmt: skip
    return tuple(out)


def rules_covered(found: Sequence[HeldOut], table: SoilTable) -> tuple[Score, ...]:
    """Coverage of the intervals as scores of a card, means over the draws."""
    out = []
    for name in STOCKS:
        each = [covered(one, table, name) for one in found]
        for level in LEVELS:
            shares = [c[level].share for c in each]
            out.append(
                Score(
                    variable=name, metric=f"coverage of the {100 * level:g} % interval", unit="1",
                    value=round(float(np.mean(shares)), 4),
                    split=f"blocks of equal weight, {each[0][level].groups}, each with intervals that the others set",
                    data=f"{SCORED}, mineral soils, single pits", n=each[0][level].n,
                    spread=round(float(np.std(shares, ddof=1)), 4) if len(shares) > 1 else None,
                    baseline={"nominal": level},
                )
            )  # fmt: skip
    return tuple(out)


def _digest(recipe: BinnRecipe, table: SoilTable, split: Split) -> str:
    """Of all that held-out predictions rest on but the code."""
    rests = recipe.model_dump_json(include={"seed", "network", "training", "fold_members", "check"}).encode()
    return _digest_of(table, split, rests)


def _digest_of(table: SoilTable, split: Split, rests: bytes) -> str:
    values = (table.x, table.soils.stock_30, table.soils.stock_100, table.soils.density, split.fold)
    return hashlib.sha256(b"|".join([rests, *(np.ascontiguousarray(v).tobytes() for v in values)])).hexdigest()[:16]


def _read(path: Path, method: str, split: Split) -> HeldOut:
    with np.load(path) as found:
        return HeldOut(method, split, found["members"], dict(zip(STOCKS, found["train"].tolist(), strict=True)))
