"""The networks: one that gives LINTUL5 its parameters, a plain one, and one whose hidden quantities obey its equations.

Shi et al. 2025 (arXiv 2504.16141) name the two ways of joining; the residual of the third is that of their AgriPINN
(arXiv 2601.16045). Masses are g m-2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import Crop
from torch import Tensor, nn

from .inputs import DAYS, FEATURES, STATICS

MASS = 2000.0  # g m-2, of a good crop
PER_DAY = 20.0  # g m-2 d-1, of a good day


class ParameterNetwork(nn.Module):
    """A season's weather and soil -> LINTUL5's learned parameters within their ranges; the crop's own at first."""

    def __init__(self, crop: Crop, hidden: int = 32, features: int = FEATURES) -> None:
        super().__init__()
        self.days = nn.LSTM(features, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden + STATICS, hidden), nn.Tanh(), nn.Linear(hidden, len(p_.LEARNED)))
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.register_buffer("low", p_.ranges(crop)[0])
        self.register_buffer("high", p_.ranges(crop)[1])
        self.register_buffer("raw", _raw(crop))

    low: Tensor
    high: Tensor
    raw: Tensor

    def forward(self, features: Tensor, statics: Tensor) -> Tensor:
        """[C, steps, FEATURES], [C, STATICS] -> [14, C] physical values."""
        over, _ = self.days(features)
        moved = self.head(torch.cat([over.mean(dim=1), statics], dim=-1))
        return (self.low + (self.high - self.low) * torch.sigmoid(self.raw + moved)).T


class OneForAll(nn.Module):
    """The same parameters for every season: LINTUL5 calibrated by gradient."""

    def __init__(self, crop: Crop) -> None:
        super().__init__()
        low, high = p_.ranges(crop)
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.raw = nn.Parameter(_raw(crop))

    low: Tensor
    high: Tensor

    def forward(self, features: Tensor, statics: Tensor) -> Tensor:  # noqa: ARG002  the same call as the network's
        values = self.low + (self.high - self.low) * torch.sigmoid(self.raw)
        return values[:, None].expand(-1, features.shape[0])


def _raw(crop: Crop) -> Tensor:
    """Where the crop's own values lie between the ranges' ends, before the sigmoid."""
    low, high = p_.ranges(crop)
    own = torch.tensor(p_.defaults(crop)[: len(p_.LEARNED)])
    return torch.logit(((own - low) / (high - low)).clamp(0.02, 0.98))


@dataclass(frozen=True, slots=True)
class Course:
    """What a network without LINTUL5 gives, each [C, steps]: biomass, g m-2, at each step's end; for the physics-held
    one also its leaf area index, light use (g MJ-1 of PAR) and drought factor."""

    biomass: Tensor
    lai: Tensor | None = None
    light_use: Tensor | None = None
    drought: Tensor | None = None


class PlainNetwork(nn.Module):
    """Weather and soil -> biomass, with no knowledge of crops but that biomass is not negative."""

    def __init__(self, hidden: int = 32, features: int = FEATURES) -> None:
        super().__init__()
        self.days = nn.LSTM(features + STATICS, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, features: Tensor, statics: Tensor) -> Course:
        given = torch.cat([features, statics[:, None].expand(-1, features.shape[1], -1)], dim=-1)
        return Course(nn.functional.softplus(self.head(self.days(given)[0]))[..., 0] * MASS)


class PhysicsNetwork(nn.Module):
    """The plain network with hidden LAI, light use and drought, which `residual` holds to the balance of growth."""

    def __init__(self, hidden: int = 32, features: int = FEATURES) -> None:
        super().__init__()
        self.days = nn.LSTM(features + STATICS, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 4)

    def forward(self, features: Tensor, statics: Tensor) -> Course:
        given = torch.cat([features, statics[:, None].expand(-1, features.shape[1], -1)], dim=-1)
        mass, lai, light_use, drought = self.head(self.days(given)[0]).unbind(-1)
        return Course(
            nn.functional.softplus(mass) * MASS, 6.0 * torch.sigmoid(lai), 5.0 * torch.sigmoid(light_use),
            torch.sigmoid(drought),
        )  # fmt: skip


def residual(course: Course, radiation: Tensor, extinction: float) -> Tensor:
    """How far a course is from growth = light use x intercepted PAR x drought, in good days: mean square, a number.

    radiation: [C, steps] MJ m-2 d-1, means of a step. Raises ValueError for a course without hidden quantities.
    """
    if course.lai is None or course.light_use is None or course.drought is None:
        raise ValueError("This course has no leaf area, light use and drought to hold to the balance of growth.")
    intercepted = 0.5 * radiation * (1.0 - torch.exp(-extinction * course.lai))
    potential = (course.light_use * intercepted * course.drought)[:, 1:]
    grown = (course.biomass[:, 1:] - course.biomass[:, :-1]) / DAYS
    return (((grown - potential) / PER_DAY) ** 2).mean()
