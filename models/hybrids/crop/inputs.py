"""What the networks read of a season: means of five days of weather, scaled by fixed numbers, and the soil."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from fieldflux.models.processes.lintul5 import parameters as p_
from torch import Tensor

DAYS = 5  # of a step
# of each input: what is taken off, and by what the rest is divided, so that temperate seasons lie about -1 to 1
SCALE: dict[str, tuple[float, float]] = {
    "t_min": (8.0, 8.0), "t_max": (18.0, 10.0), "radiation": (13.0, 7.0), "rain": (2.0, 4.0), "vapour": (1.0, 0.6),
    "wind": (2.5, 1.5),
}  # fmt: skip
SOIL = (p_.WILTING, p_.CAPACITY, p_.SATURATION, p_.RDMSO, p_.KSUB)
SOIL_SCALE = ((0.15, 0.05), (0.30, 0.05), (0.42, 0.05), (1.2, 0.4), (10.0, 10.0))
FEATURES = len(SCALE) + 2  # and the day of the year as sine and cosine
STATICS = len(SOIL) + 1  # and the latitude


def features(weather: Mapping[str, Tensor]) -> Tensor:
    """[R, steps, FEATURES] of daily weather [R, D] as `prepare` takes it. Days that fill no step drop."""
    steps = weather["t_min"].shape[1] // DAYS
    columns = [(weather[name] - middle) / spread for name, (middle, spread) in SCALE.items()]
    angle = (2.0 * math.pi / 365.0) * weather["day_of_year"].expand_as(weather["t_min"])
    whole = torch.stack([*columns, torch.sin(angle), torch.cos(angle)], dim=-1)[:, : steps * DAYS]
    return whole.reshape(-1, steps, DAYS, FEATURES).mean(dim=2).float()


def statics(table: Tensor, latitude: float) -> Tensor:
    """[C, STATICS] of a table of LINTUL5's parameters [COUNT, C]."""
    soil = [(table[place] - middle) / spread for place, (middle, spread) in zip(SOIL, SOIL_SCALE, strict=True)]
    return torch.stack([*soil, torch.full_like(table[0], (latitude - 45.0) / 10.0)], dim=-1).float()
