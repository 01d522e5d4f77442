"""What spoils the records: noise on the weather, on the measurements, on both; heavy tails; gaps.

Noise of level m has the standard deviation m x 10 % of that of the weather input (over all seasons, with the yearly
course), in training and in test, and m x 5 % of the greatest biomass on the measurements that training sees. It is
normal, or Student's t with 3 degrees of freedom of the same standard deviation. A place without noise is spoilt by
gaps: m x 10 % of the days have no weather, in stretches of ten days on average, and measurements come on any steps
instead of on every third, on 1/3 - m/12 of them. The same seed spoils the same days at each level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .places import CHANNELS

INPUT_NOISE, TARGET_NOISE = 0.10, 0.05
GAPS, STRETCH = 0.10, 10.0  # share of days; days on average
EVERY = 3  # steps between measurements of biomass
FREEDOM = 3  # degrees of, of the heavy-tailed noise
LEAST = {"radiation": 0.5, "rain": 0.0, "vapour": 0.01, "wind": 0.1}

Kind = Literal["inputs", "targets", "both", "heavy", "gaps"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Noise:
    """heavy: Student's t on both. level: 0 is none, of any kind."""

    kind: Kind = "both"
    level: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Weather as it was recorded: CHANNELS and day_of_year, gaps filled; present: [C, days] 1 where it was."""

    weather: dict[str, Tensor]
    present: Tensor


def errors(noise: Noise, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Draws of standard deviation 1 of the noise's distribution."""
    normal = torch.randn(*shape, generator=g)
    if noise.kind != "heavy":
        return normal
    square = torch.randn(FREEDOM, *shape, generator=g).square().sum(0)
    drawn: Tensor = normal / torch.sqrt(square / FREEDOM)
    return drawn * math.sqrt((FREEDOM - 2.0) / FREEDOM)


def recorded(weather: Mapping[str, Tensor], noise: Noise, known: Tensor, place: Tensor, seed: int) -> Seen:
    """The weather [C, days] with noise or gaps, kept possible: no negative rain, the minimum not above the maximum.

    A gap is filled by the mean of the same day of the year at the place, over the seasons that are `known` ([C]) and
    have one; where none has, over all places.
    """
    g = torch.Generator().manual_seed(seed)
    out = dict(weather)
    present = torch.ones_like(weather["t_min"])
    if noise.level == 0.0 or noise.kind == "targets":
        return Seen(out, present)
    if noise.kind == "gaps":
        present = _stretches(present.shape, GAPS * noise.level, g)
        for name in CHANNELS:
            out[name] = _filled(weather[name], present, known, place)
        return Seen(out, present)
    for name in CHANNELS:
        value = weather[name]
        out[name] = value + noise.level * INPUT_NOISE * value.std() * errors(noise, tuple(value.shape), g)
    for name, least in LEAST.items():
        out[name] = out[name].clamp(min=least)
    out["t_min"], out["t_max"] = torch.minimum(out["t_min"], out["t_max"]), torch.maximum(out["t_min"], out["t_max"])
    return Seen(out, present)


def _stretches(shape: torch.Size, share: float, g: torch.Generator) -> Tensor:
    """1 where a day is present; missing ones in stretches whose length is geometric."""
    luck = torch.rand(*shape, generator=g)
    ends, begins = 1.0 / STRETCH, share / (1.0 - share) / STRETCH
    missing = torch.rand(shape[0], generator=g) < share
    days = []
    for d in range(shape[1]):
        missing = torch.where(missing, luck[:, d] > ends, luck[:, d] < begins)
        days.append(missing)
    return 1.0 - torch.stack(days, dim=1).float()


def _filled(value: Tensor, present: Tensor, known: Tensor, place: Tensor) -> Tensor:
    out = value.clone()
    use = present * known[:, None]
    everywhere = (value * use).sum(0) / use.sum(0).clamp(min=1.0)
    for at in sorted(set(place.tolist())):
        own = use * (place == at)[:, None]
        usual = torch.where(own.sum(0) > 0, (value * own).sum(0) / own.sum(0).clamp(min=1.0), everywhere)
        here = (present == 0) & (place == at)[:, None]
        out = torch.where(here, usual.expand_as(out), out)
    return out


def measured(truth: Tensor, first: int, noise: Noise, seed: int) -> Tensor:
    """[C, steps] what training is told of the biomass, NaN where nothing was measured. Before the step `first`, that of
    sowing, it is known to be nought, without a measurement."""
    g = torch.Generator().manual_seed(seed)
    out = truth.clone()
    step = torch.arange(truth.shape[1])
    if noise.kind == "gaps" and noise.level:
        kept = torch.rand(truth.shape, generator=g) < 1.0 / EVERY - noise.level / 12.0
        kept[:, -1] |= ~kept[:, first:].any(1)  # nobody goes to a field all season and weighs nothing
    else:
        kept = (step % EVERY == 0).expand_as(truth)
    if noise.level and noise.kind in ("targets", "both", "heavy"):
        out = out + noise.level * TARGET_NOISE * truth.max() * errors(noise, tuple(truth.shape), g)
    return torch.where(step < first, 0.0, torch.where(kept, out, torch.nan))
