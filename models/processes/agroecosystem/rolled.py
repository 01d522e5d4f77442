"""The day's step rolled over days in torch: for training by gradient, and for runs on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .inputs import AUTUMN
from .step import GPP_IN, YTD_GPP, YTD_HARVEST, build_decayed, build_smooth_least, build_step

Day = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def torch_day(compiled: bool = False) -> Day:
    """One day over torch tensors: (state [S, B], weather [K, B], parameters of this and of the next season [P, B] each,
    whether it is the next season's [B], soil [5, B], field [6, B]) -> (state [S, B], outputs [V, B]).

    compiled: by torch.compile, which needs a C++ compiler on the machine and a minute or two, and pays from some twenty
    passes over a year on.
    """
    step = build_step(
        torch.exp,
        torch.log,
        torch.relu,
        torch.minimum,
        lambda a, limit: torch.clamp(a, max=limit),
        torch.sigmoid,
        lambda a, b: torch.where(torch.isnan(a), b, a),
        build_smooth_least(torch.sqrt, torch.relu),
        build_decayed(torch.exp),
    )

    def day(
        state: Tensor, weather: Tensor, now: Tensor, following: Tensor, later: Tensor, soil: Tensor, field: Tensor
    ) -> tuple[Tensor, Tensor]:
        parameters = torch.where(later, following, now)
        after, out = step(state.unbind(0), weather.unbind(0), parameters.unbind(0), soil.unbind(0), field.unbind(0))
        return torch.stack(after), torch.stack(out)

    if compiled:
        fused: Day = torch.compile(day, dynamic=False, fullgraph=True)
        return fused
    return day


@dataclass(frozen=True, slots=True)
class Batch:
    """What a roll over D days of B elements reads; an element is one cell of one member.

    weather: [W, D, K]; row: [B]; gpp: [G, D]; unit: [B, Y]. crop ... tillage: [B, Y]. soil: [5, B].
    day_of_year, year, closes: of each day: its number, the column of its year, whether it is 31 December.
    """

    weather: Tensor
    row: Tensor
    gpp: Tensor
    unit: Tensor
    crop: Tensor
    sow: Tensor
    harvest: Tensor
    switch: Tensor
    irrigated: Tensor
    removed: Tensor
    tillage: Tensor
    soil: Tensor
    day_of_year: Sequence[int]
    year: Sequence[int]
    closes: Sequence[bool]


def roll(day: Day, state: Tensor, parameters: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Run all days of a batch.

    state: [len(STATE), B]. parameters: [P, B, Y], those of each season's crop (any crop's where unknown).
    Returns the state after the last day, the outputs [len(OUTPUT), D, B], and [4, Y, B], the sums (GPP, Ra, Rh,
    harvest) at the end of each calendar year, which stay zero for a year that does not end.
    """
    years = batch.crop.shape[1]
    outputs: list[Tensor] = []
    of_season = [parameters[..., y].contiguous() for y in range(years)]
    sums = [torch.zeros_like(state[YTD_GPP : YTD_HARVEST + 1]) for _ in range(years)]
    for d, (doy, y, closes) in enumerate(zip(batch.day_of_year, batch.year, batch.closes, strict=True)):
        later, field = day_in_field(batch, doy, y)
        following = min(y + 1, years - 1)
        weather = batch.weather[:, d].index_select(0, batch.row).T
        unit = batch.unit[:, y]
        given = batch.gpp[:, d].index_select(0, unit.clamp(min=0))
        own = torch.where(unit >= 0, given, weather[GPP_IN])
        weather = torch.cat([weather[:GPP_IN], own[None], weather[GPP_IN + 1 :]])
        state, out = day(state, weather, of_season[y], of_season[following], later, batch.soil, field)
        outputs.append(out)
        if closes:
            sums[y] = state[YTD_GPP : YTD_HARVEST + 1]
            state = torch.cat([state[:YTD_GPP], torch.zeros_like(sums[y]), state[YTD_HARVEST + 1 :]])
    return state, torch.stack(outputs, dim=1), torch.stack(sums, dim=1)


def day_in_field(batch: Batch, doy: int, y: int) -> tuple[Tensor, Tensor]:
    """Whether the next year's season has begun [B], and the field's inputs of the step [len(FIELD), B], on a day."""
    following = min(y + 1, batch.crop.shape[1] - 1)
    later = (batch.switch[:, y] < doy) & (following > y)

    def season(values: Tensor) -> Tensor:
        return torch.where(later, values[:, following], values[:, y])

    kind, first, last = season(batch.crop), season(batch.sow), season(batch.harvest)
    known, perennial, autumn = kind >= 0, last == 0, first > AUTUMN
    start = torch.where(autumn, first - AUTUMN, first)
    standing = torch.where(later, autumn & (doy >= start), (doy <= last) & (autumn | (doy >= start)))
    grows = known & (perennial | standing)
    sown = grows & (start == doy) & (later == autumn)
    reaped = grows & ~perennial & ~later & (last == doy)
    managed = [season(batch.irrigated), season(batch.removed), season(batch.tillage)]
    return later, torch.stack([*(flag.to(managed[0].dtype) for flag in (grows, sown, reaped)), *managed])
