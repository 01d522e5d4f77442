"""What any model of biomass has to beat: the usual course of the season, and gradient boosting on summed weather."""

from __future__ import annotations

import numpy as np
import torch
from fieldflux.models.hybrids.crop.fit import Predict, Seasons
from fieldflux.models.hybrids.crop.networks import Course
from torch import Tensor


def climatology(training: Seasons, every: Seasons) -> Predict:
    """The mean measured biomass of each step, of the season's own place where the training has it, else of all; steps
    without a measurement lie on the line between their neighbours. A place is told by its soil and latitude."""
    places = torch.unique(every.statics, dim=0)
    usual = _course(training.biomass)
    own = []
    for place in places:
        here = (training.statics == place).all(1)
        own.append(_course(training.biomass[here]) if bool(here.any()) else usual)
    table = torch.stack(own)

    def predict(seasons: Seasons) -> Course:
        which = (seasons.statics[:, None] == places).all(2).float().argmax(1)
        return Course(table[which])

    return predict


def _course(biomass: Tensor) -> Tensor:
    """[steps] of [C, steps]."""
    seen = (~torch.isnan(biomass)).sum(0)
    at = seen.nonzero()[:, 0].numpy()
    mean = biomass.nan_to_num().sum(0)[seen > 0] / seen[seen > 0]
    steps = np.arange(biomass.shape[1])
    first = max(int(at[0]) - 3, 0)  # nothing stands before the first measurement but a little
    values = np.interp(steps, [first, *at], [0.0, *mean.numpy()])
    return torch.from_numpy(values).float()


def boosted(training: Seasons, seed: int) -> Predict:
    """Gradient boosting (scikit-learn's) of a step's biomass on the step, the weather summed to it and lately, soil."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    seen = ~torch.isnan(training.biomass)
    model = HistGradientBoostingRegressor(max_iter=100, learning_rate=0.08, min_samples_leaf=5, random_state=seed)
    model.fit(_rows(training)[seen].numpy(), training.biomass[seen].numpy())

    def predict(seasons: Seasons) -> Course:
        rows = _rows(seasons)
        made = model.predict(rows.reshape(-1, rows.shape[-1]).numpy())
        return Course(torch.from_numpy(made).float().reshape(rows.shape[:2]))

    return predict


def _rows(seasons: Seasons) -> Tensor:
    """[C, steps, columns]."""
    x = seasons.features
    count, steps, _ = x.shape
    step = torch.arange(steps, dtype=x.dtype).expand(count, steps)[..., None]
    total = x.cumsum(1)
    lately = (total - torch.nn.functional.pad(total, (0, 0, 6, 0))[:, :steps]) / 6.0
    return torch.cat([step, total, lately, seasons.statics[:, None].expand(-1, steps, -1)], dim=-1)
