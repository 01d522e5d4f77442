"""The served network: the place gives a season its parameters, the weather so far gives each day its light use.

It is causal by its structure. The parameters of a season (variety, roots, canopy) are known at sowing: they follow
from soil, latitude, date of sowing, year and the yield that earlier years let expect. What is left to weather is a
factor on radiation-use efficiency, 0.7 to 1.3, which an LSTM gives for the next five days from all days before them. So
what it says of a day is the same whatever follows, and a forecast is the same network with other weather to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.step import STATE, Variant
from torch import Tensor, nn

from .drive import FEATURES, STATICS, STEP, Part, features, weather_of
from .served import CARBON, Kind

LIGHT = (0.7, 1.3)
SHARE = (0.4, 1.3)
"""Harvest of a county by the grain of a stand that nothing but water limits, and that the network may correct."""
COURSE = ("biomass", "grain", "lai", "stage", "drought")
LEAST = 1.0  # gC m-2, of a harvest whose logarithm is taken
MOST = 0.7  # where the logarithm of a season by a normal one levels off


@dataclass(frozen=True, slots=True)
class OfPlace:
    """parameters: [14, C] that LINTUL5 learns. share: [C] of the grain that is harvested, where no yield is expected.
    normal: [C] logarithm of the grain of a normal season by the crop's usual yield. moved: [C, 16] all of them, as
    far as they are off the crop's own, before bounds."""

    parameters: Tensor
    share: Tensor
    normal: Tensor
    moved: Tensor


class SeasonNetwork(nn.Module):
    """One member for one crop.

    trust: the power with which a season's grain, by the grain of a normal season of the place, moves a yield off what
    was expected of it.
    """

    def __init__(self, kind: Kind, hidden: int = 16, wide: int = 16) -> None:
        super().__init__()
        self.hidden = hidden
        self.days = nn.LSTM(FEATURES, hidden, batch_first=True)
        self.place = nn.Sequential(nn.Linear(STATICS, wide), nn.Tanh(), nn.Linear(wide, len(p_.LEARNED) + 2))
        self.light = nn.Linear(hidden + STATICS, 1)
        for last in (self.place[2], self.light):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.trust = nn.Parameter(torch.tensor(-2.0))
        low, high = p_.ranges(kind.crop)
        own = torch.tensor(p_.defaults(kind.crop)[: len(p_.LEARNED)])
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.register_buffer("raw", torch.logit(((own - low) / (high - low)).clamp(0.02, 0.98)))

    low: Tensor
    high: Tensor
    raw: Tensor

    def of_place(self, statics: Tensor) -> OfPlace:
        """What [C, STATICS] give a season."""
        moved = self.place(statics)
        count = len(p_.LEARNED)
        learned = self.low + (self.high - self.low) * torch.sigmoid(self.raw + moved[:, :count])
        start = torch.logit(torch.tensor((1.0 - SHARE[0]) / (SHARE[1] - SHARE[0])))
        share = SHARE[0] + (SHARE[1] - SHARE[0]) * torch.sigmoid(start + moved[:, count])
        return OfPlace(learned.T, share, moved[:, count + 1], moved)

    def light_use(self, states: Tensor, row: Tensor, statics: Tensor) -> Tensor:
        """[R, K, hidden] memories before each step -> [C, K] factors on light use."""
        weight, bias = self.light.weight[0], self.light.bias
        of_weather = states @ weight[: self.hidden]
        raw = of_weather[row] + (statics @ weight[self.hidden :])[:, None] + bias
        return LIGHT[0] + (LIGHT[1] - LIGHT[0]) * torch.sigmoid(raw)


@dataclass(frozen=True, slots=True)
class Grown:
    """What a part gave. course: name of COURSE -> [M, C, D] as LINTUL5 gives it, g m-2. light: [M, C, D] factors.
    share, normal: [M, C] and moved: [M, C, 16], see `OfPlace`. memory: [M, C, width] after the last day."""

    course: dict[str, Tensor]
    light: Tensor
    share: Tensor
    normal: Tensor
    moved: Tensor
    memory: Tensor


def width(hidden: int) -> int:
    """Numbers of a season's memory: LINTUL5's state, the LSTM's, and sums of the step that is not full yet."""
    return len(STATE) + 2 * hidden + FEATURES


def grow(networks: Sequence[SeasonNetwork], part: Part, memory: Tensor | None = None) -> Grown:
    """Run all members through the part's days. memory: [M, C, width] of the day before; None at the season's start."""
    kind, m, c, days = part.kind, len(networks), part.cells, part.days
    weather, given = weather_of(part), features(part)
    first_of_row = _firsts(part.row, len(part.latitude))
    begun = part.offset // STEP
    step_of_day = (torch.arange(days) + part.offset) // STEP - begun
    full = (part.offset + days) // STEP - begun
    sums = given.new_zeros(len(part.latitude), int(step_of_day[-1]) + 1, FEATURES)
    sums = sums.index_add(1, step_of_day, given)
    tables, light, places, after = [], [], [], []
    for k, network in enumerate(networks):
        h = sums.new_zeros(1, len(part.latitude), network.hidden)
        cell = torch.zeros_like(h)
        own = sums
        if memory is not None:
            kept = memory[k, first_of_row, len(STATE) :]
            h, cell = (kept[:, i * network.hidden : (i + 1) * network.hidden][None].contiguous() for i in (0, 1))
            own = torch.cat([(sums[:, 0] + kept[:, 2 * network.hidden :])[:, None], sums[:, 1:]], dim=1)
        states, last, last_cell = h[0][:, None], h, cell
        if full:
            over, (last, last_cell) = network.days(own[:, :full] / STEP, (h, cell))
            states = torch.cat([states, over], dim=1)
        places.append(network.of_place(part.statics))
        tables.append(torch.cat([places[-1].parameters, part.soil]))
        light.append(network.light_use(states, part.row, part.statics)[:, step_of_day])
        rest = own[:, full] if own.shape[1] > full else torch.zeros_like(own[:, 0])
        after.append(torch.cat([last[0], last_cell[0], rest], dim=1)[part.row])
    factors = torch.cat(light)
    season = simulate(
        kind.crop, weather, torch.cat(tables, dim=1), part.sow.repeat(m), rows=part.row.repeat(m),
        variant=Variant(limits="potential" if part.irrigated else "water"),
        state=None if memory is None else memory[..., : len(STATE)].reshape(m * c, -1).T.contiguous(),
        daily=factors, outputs=COURSE,
    )  # fmt: skip
    state = season.state.T.reshape(m, c, len(STATE))
    share, normal, moved = (
        torch.stack([getattr(one, name) for one in places]) for name in ("share", "normal", "moved")
    )
    course = {name: season[name].reshape(m, c, days) for name in COURSE}
    memory = torch.cat([state, torch.stack(after)], dim=-1)
    return Grown(course, factors.reshape(m, c, days), share, normal, moved, memory)


def harvest(networks: Sequence[SeasonNetwork], part: Part, grown: Grown, grain: Tensor) -> Tensor:
    """[M, C] harvested carbon, gC m-2, of grain on the day of harvest [M, C], g m-2 of dry matter.

    Where a yield is expected, it is that, times the season's grain by that of a normal one to the power of `trust`:
    what earlier years' yields tell of a place's level is not asked of LINTUL5. Elsewhere a share of the grain.
    """
    of_carbon = part.kind.market.carbon
    known = torch.isfinite(part.expected)
    line = torch.where(known, part.expected, 0.0) * part.kind.market.carbon_m2(1.0)
    usual = part.kind.yields[0] * part.kind.market.carbon_m2(1.0)
    trust = torch.sigmoid(torch.stack([n.trust for n in networks]))[:, None]
    off = torch.log((grain * of_carbon).clamp(min=LEAST) / usual) - grown.normal
    return torch.where(known, line * torch.exp(trust * MOST * torch.tanh(off / MOST)), grain * grown.share * of_carbon)


def carbon(kind: Kind, biomass: Tensor, grain: Tensor) -> tuple[Tensor, Tensor]:
    """Dry matter, g m-2, as carbon, gC m-2: all above ground, and the grain."""
    grain = grain.clamp(min=0.0)  # shares of growth add up to 1 but for rounding
    of_grain = grain * kind.market.carbon
    return (biomass - grain) * CARBON + of_grain, of_grain


def _firsts(row: Tensor, rows: int) -> Tensor:
    """[R] a cell of each row of weather."""
    found = torch.zeros(rows, dtype=torch.long)
    found[row.flip(0)] = torch.arange(len(row) - 1, -1, -1)
    return found
