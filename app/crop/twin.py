"""Truths that are known: the seasons of `places`, grown by LINTUL5 or by WOFOST with hidden parameters.

Where the truth is LINTUL5's, it favours the models that contain LINTUL5: the scores say what noise and few data do to
each model, not which model is right about crops. Where it is WOFOST's, the process inside the hybrids is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from fieldflux.models.hybrids.crop.fit import Seasons
from fieldflux.models.hybrids.crop.inputs import DAYS, features, statics
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import crop_named
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.weather import prepare
from torch import Tensor

from .noise import Noise, measured, recorded
from .places import HIDDEN, PLACES, Draw, draw
from .wofost import wofost_biomass

Grower = Literal["lintul5", "wofost"]
Told = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Truth:
    """What was drawn, and what grew: biomass (g m-2, living, above the ground) and stage (0 to 2) at the end of each
    step, [C, steps]; table: [COUNT, C] LINTUL5's own parameters with each place's soil."""

    crop: str
    drawn: Draw
    biomass: Tensor
    stage: Tensor
    table: Tensor


@dataclass(frozen=True, slots=True)
class Twin:
    """A truth and what models are given of it. seasons: all of them, biomass as training sees it; present: [C, steps]
    share of the step's days that have weather; known: [C] seasons of the training's years."""

    truth: Truth
    seasons: Seasons
    present: Tensor
    known: Tensor


def grow(crop_name: str, years: int, seed: int, grower: Grower, kept: Path, told: Told = lambda _: None) -> Truth:
    """Three places of `years` seasons each. kept: folder where WOFOST's seasons are kept. Raises NoWofost."""
    drawn, crop = draw(crop_name, years, 1000 + seed), crop_named(crop_name)
    count, days = drawn.weather["t_min"].shape
    soil = drawn.soil
    given: dict[str, Tensor | float] = {
        "wilting": soil[:, 0], "air_dry": 0.5 * soil[:, 0], "capacity": soil[:, 1], "saturation": soil[:, 1] + 0.12,
        "rdmso": soil[:, 2], "start": soil[:, 1], "start_below": soil[:, 1],
    }  # fmt: skip
    table = p_.table(crop, count, given)
    last = slice(DAYS - 1, days - days % DAYS, DAYS)
    if grower == "wofost":
        file = kept / f"wofost-{crop_name}-{years}-seed{seed}.npz"
        biomass, stage = (torch.from_numpy(part) for part in wofost_biomass(crop_name, drawn, file, told))
    else:
        low, high = p_.ranges(crop)
        hidden = table.clone()
        for k, name in enumerate(HIDDEN):
            row = p_.NAMES.index(name)
            hidden[row] = low[row] + drawn.unit[:, k] * (high[row] - low[row])
        clear = prepare(crop, latitude=drawn.latitude, **drawn.weather)  # type: ignore[arg-type]
        season = simulate(crop, clear, hidden, drawn.sow, outputs=("biomass", "stage"))
        biomass, stage = season["biomass"], season["stage"]
    return Truth(crop_name, drawn, biomass[:, last].contiguous(), stage[:, last].contiguous(), table)


def spoilt(truth: Truth, noise: Noise, trained: int, seed: int) -> Twin:
    """The truth as it is recorded. trained: the first years, of which training may know."""
    drawn, crop = truth.drawn, crop_named(truth.crop)
    known = drawn.year < trained
    seen = recorded(drawn.weather, noise, known, drawn.place, 10_000 + seed)
    biomass = measured(truth.biomass, -(-drawn.sow // DAYS), noise, 20_000 + seed)
    steps = truth.biomass.shape[1]

    def mean(values: Tensor) -> Tensor:
        return values[:, : steps * DAYS].reshape(-1, steps, DAYS).mean(2)

    present = mean(seen.present)
    own = torch.cat([statics(truth.table[:, drawn.place == i], p.latitude) for i, p in enumerate(PLACES)])
    seasons = Seasons(
        torch.cat([features(seen.weather), present[..., None]], dim=-1), own,
        prepare(crop, latitude=drawn.latitude, **seen.weather), torch.arange(len(drawn.place)),  # type: ignore[arg-type]
        truth.table, torch.full((len(drawn.place),), drawn.sow), mean(seen.weather["radiation"]), biomass,
    )  # fmt: skip
    return Twin(truth, seasons, present, known)
