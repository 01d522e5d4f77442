"""Floors that know no physics of crops: the mean course of other places, and boosting on sums of weather."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from fieldflux.models.hybrids.crop.members import Given
from fieldflux.models.processes.lintul5 import parameters as p_
from numpy.typing import NDArray
from torch import Tensor

from .fieldgiven import Split, inner_folds
from .fieldinputs import FieldInputs

FLOORS = ("mean course by days", "mean course by warmth", "boosting")
WIDTHS = (3.0, 6.0, 12.0, 24.0)  # per cent of the season, of the window that the mean course is smoothed with
SEASON_DAYS, SEASON_WARMTH = 130.0, 1900.0
BASE = {"maize": 8.0, "soybean": 7.0, "winter_wheat": 0.0}  # degC, of the warmth that counts
TREES, DEPTH, RATE = 200, 2, 0.05
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clocks:
    """What floors read, [K, C, D] each: days and warmth (degC d) since sowing; columns: [K, C, D, P] for boosting."""

    days: Array
    warmth: Array
    columns: Array


def clocks_of(inputs: FieldInputs, weathers: Sequence[dict[str, Tensor]], crop: str) -> Clocks:
    """Of the season so far: days, sums of warmth, of radiation, of rain and irrigation; with the day length's latitude,
    soil, plants, nitrogen and maturity group."""
    sow = inputs.seasons.sow[:, None]
    days = inputs.measured.biomass.shape[1]
    on = (torch.arange(days)[None] >= sow).float()
    since = on.cumsum(1)
    table = inputs.seasons.table
    fixed = torch.cat([
        inputs.seasons.statics, inputs.field, (table[p_.CAPACITY] - table[p_.WILTING])[:, None] * 5.0,
    ], dim=1)[:, None].expand(-1, days, -1)  # fmt: skip
    warmths, columns = [], []
    for w in weathers:
        mean = 0.5 * (w["t_min"] + w["t_max"])
        warmth = ((mean - BASE[crop]).clamp(min=0.0) * on).cumsum(1)
        light, water = (w["radiation"] * on).cumsum(1), ((w["rain"] + w["irrigation"]) * on).cumsum(1)
        warmths.append(warmth)
        columns.append(torch.cat([torch.stack([since, warmth, light, water], dim=-1), fixed], dim=-1))
    k = len(weathers)
    return Clocks(
        since[None].expand(k, -1, -1).double().numpy(), torch.stack(warmths).double().numpy(),
        torch.stack(columns).double().numpy(),
    )  # fmt: skip


def floor_of(name: str, clocks: Clocks, given: Given, inputs: FieldInputs, split: Split) -> Callable[..., Array]:
    """The function (place, training [C], its seasons [A], draw, seed) -> biomass [A, D] of a floor of FLOORS.

    How wide it smooths, or how many trees it has, is chosen on the first training given for a place.
    """
    best: dict[str, int] = {}
    seen = given.biomass.double().numpy()
    at = given.at.numpy()

    def course(place: str, training: Tensor, away: NDArray[np.int64], draw: int, seed: int) -> Array:
        del seed
        x = clocks.days[draw] / SEASON_DAYS if name == FLOORS[0] else clocks.warmth[draw] / SEASON_WARMTH
        there = np.take_along_axis(x, at, 1)

        def smooth(where: Array, part: Tensor, width: float) -> Array:
            known = np.isfinite(seen[draw]) & part.numpy()[:, None]
            return _smooth(where, there[known], seen[draw][known], width / 100.0)

        if place not in best:
            folds = inner_folds(inputs, split, training)
            errors = [sum(_error(smooth(there, training & ~h, w), seen[draw], h) for h in folds) for w in WIDTHS]
            best[place] = int(np.argmin(errors))
        return smooth(x[away], training, WIDTHS[best[place]])

    def boosting(place: str, training: Tensor, away: NDArray[np.int64], draw: int, seed: int) -> Array:
        from sklearn.ensemble import GradientBoostingRegressor

        columns = clocks.columns[draw]
        there = np.take_along_axis(columns, at[..., None], 1)

        def known(part: Tensor) -> NDArray[np.bool_]:
            return np.asarray(np.isfinite(seen[draw]) & part.numpy()[:, None])

        def fitted(part: Tensor, trees: int) -> GradientBoostingRegressor:
            model = GradientBoostingRegressor(
                n_estimators=trees, max_depth=DEPTH, learning_rate=RATE, subsample=0.7, random_state=seed
            )
            return model.fit(there[known(part)], seen[draw][known(part)])

        if place not in best:
            errors = np.zeros(TREES)
            for held in inner_folds(inputs, split, training):
                staged = fitted(training & ~held, TREES).staged_predict(there[known(held)])
                errors += [float(((made - seen[draw][known(held)]) ** 2).sum()) for made in staged]
            best[place] = int(errors.argmin()) + 1
        model = fitted(training, best[place])
        own = columns[away]
        return np.asarray(model.predict(own.reshape(-1, own.shape[-1]))).reshape(own.shape[:2])

    return boosting if name == FLOORS[2] else course


def _smooth(where: Array, x: Array, seen: Array, width: float) -> Array:
    """Means of what was seen at x, weighted by nearness (normal, of that width); 0 at sowing is one of them."""
    x, seen = np.append(x, 0.0), np.append(seen, 0.0)
    off = (where.reshape(-1, 1) - x) / width
    weight = np.exp(-0.5 * (off**2 - (off**2).min(1, keepdims=True)))
    return np.asarray((weight @ seen / weight.sum(1)).reshape(where.shape))


def _error(made: Array, seen: Array, held: Tensor) -> float:
    known = np.isfinite(seen) & held.numpy()[:, None]
    return float(((made - seen)[known] ** 2).sum())
