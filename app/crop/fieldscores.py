"""Scores of the experiments on fields: biomass against what was measured, day by day, and what no crop can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from fieldflux.models.processes.lintul5.crops import Crop
from torch import Tensor

from .fieldinputs import FieldInputs
from .fieldstudy import Result, Study

FALL = 1.0  # g m-2 d-1 of loss before flowering that counts
POOLED = "all"


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation over seeds."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class Score:
    """A model at one place, or pooled (`all`). n: measurements of biomass. rmse, bias, grain_rmse: g m-2. falls: share
    of days before flowering on which it loses biomass. beyond: share of days on which it grows more than the day's
    light allows at the crop's greatest light use with none lost."""

    crop: str
    level: str
    model: str
    place: str
    n: int
    r2: Spread
    rmse: Spread
    bias: Spread
    grain_rmse: Spread
    falls: Spread
    beyond: Spread


def scores_of(study: Study) -> list[Score]:
    """Pooled and by place, for every model and setting."""
    return [score for result in study.results for score in _scores(result, study)]


def _scores(result: Result, study: Study) -> list[Score]:
    inputs, split = study.inputs[result.crop], study.splits[result.crop]
    places: Sequence[str] = (POOLED, *split.names)
    out = []
    for place in places:
        which = torch.ones(len(split.labels), dtype=torch.bool) if place == POOLED else split.held(place)
        each = [_one(result.biomass[s], result.grain[s], inputs, which) for s in range(result.biomass.shape[0])]
        columns = [Spread(float(np.mean(c)), float(np.std(c))) for c in np.array(each).T]
        n = int((~torch.isnan(inputs.measured.biomass[which])).sum())
        out.append(Score(result.crop, result.setting.level, result.model, place, n, *columns))
    return out


def _one(biomass: Tensor, grain: Tensor, inputs: FieldInputs, which: Tensor) -> list[float]:
    seen = inputs.measured.biomass[which].double()
    known = ~torch.isnan(seen)
    off, truth = (biomass[which].double() - seen)[known], seen[known]
    corn = inputs.measured.grain[which]
    weighed = ~torch.isnan(corn)
    of_grain = float(((grain[which] - corn)[weighed] ** 2).mean()) ** 0.5 if bool(weighed.any()) else float("nan")
    falls, beyond = violations(biomass[which], inputs, which)
    return [
        1.0 - float((off**2).sum() / ((truth - truth.mean()) ** 2).sum()), float((off**2).mean()) ** 0.5,
        float(off.mean()), of_grain, falls, beyond,
    ]  # fmt: skip


def violations(biomass: Tensor, inputs: FieldInputs, which: Tensor) -> tuple[float, float]:
    """(share of days between sowing and flowering on which biomass [C, D] falls, share of days from sowing to the last
    measurement on which it grows by more than light allows)."""
    days = torch.arange(1, biomass.shape[1])[None]
    grown = biomass[:, 1:] - biomass[:, :-1]
    sow = inputs.seasons.sow[which][:, None]
    before = (days > sow) & (days <= torch.nan_to_num(inputs.measured.flowering[which], nan=-1.0)[:, None])
    seen = torch.where(torch.isnan(inputs.measured.biomass[which]), 0, torch.arange(biomass.shape[1])).amax(1)
    season = (days > sow) & (days <= seen[:, None])
    light = 0.5 * inputs.given["radiation"][which][:, 1:] * most_light_use(inputs.crop)
    falls, beyond = (grown < -FALL) & before, (grown > light + FALL) & season
    return float(falls.sum() / before.sum().clamp(min=1)), float(beyond.sum() / season.sum().clamp(min=1))


def most_light_use(crop: Crop) -> float:
    """g MJ-1 of PAR: the table's greatest with the top of its learned range, 1.4."""
    return 1.4 * max(value for _, value in crop.rue)
