"""The day's step rolled over days in torch: for training by gradient, and for runs on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .inputs import AUTUMN
from .step import GPP_IN, YTD_GPP, YTD_HARVEST, Step, build_decayed, build_smooth_least, build_step


def torch_step() -> Step:
    """The day's step over torch tensors of one shape, [batch]."""
    return build_step(
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


@dataclass(frozen=True, slots=True)
class Batch:
    """What a roll over D days of B elements reads; an element is one cell of one member.

    weather: [W, D, K]; row: [B]; gpp: [G, D]; unit: [B, Y]. crop ... tillage: [B, Y]. soil: 5 tensors [B].
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
    soil: Sequence[Tensor]
    day_of_year: Sequence[int]
    year: Sequence[int]
    closes: Sequence[bool]


def roll(step: Step, state: list[Tensor], parameters: Tensor, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor]:
    """Run all days of a batch.

    state: len(STATE) tensors [B]. parameters: [P, B, Y], those of each season's crop (any crop's where unknown).
    Returns the state after the last day, the outputs [len(OUTPUT), D, B], and [4, Y, B], the sums (GPP, Ra, Rh,
    harvest) at the end of each calendar year, which stay zero for a year that does not end.
    """
    years = batch.crop.shape[1]
    outputs: list[Tensor] = []
    zero, one = torch.zeros_like(state[0]), torch.ones_like(state[0])
    never = torch.zeros_like(batch.row, dtype=torch.bool)
    sums = [torch.stack([zero] * 4) for _ in range(years)]
    for d, (doy, y, closes) in enumerate(zip(batch.day_of_year, batch.year, batch.closes, strict=True)):
        following = min(y + 1, years - 1)
        later = batch.switch[:, y] < doy if following > y else never

        def season(values: Tensor, y: int = y, following: int = following, later: Tensor = later) -> Tensor:
            return torch.where(later, values[..., following], values[..., y])

        kind, first, last = season(batch.crop), season(batch.sow), season(batch.harvest)
        known, perennial, autumn = kind >= 0, last == 0, first > AUTUMN
        start = torch.where(autumn, first - AUTUMN, first)
        standing = torch.where(later, autumn & (doy >= start), (doy <= last) & (autumn | (doy >= start)))
        grows = known & (perennial | standing)
        field = (
            torch.where(grows, one, zero),
            torch.where(grows & (start == doy) & (later == autumn), one, zero),
            torch.where(grows & ~perennial & ~later & (last == doy), one, zero),
            season(batch.irrigated),
            season(batch.removed),
            season(batch.tillage),
        )
        weather = list(batch.weather[:, d].index_select(0, batch.row).unbind(1))
        unit = batch.unit[:, y]
        given = batch.gpp[:, d].index_select(0, unit.clamp(min=0))
        weather[GPP_IN] = torch.where(unit >= 0, given, weather[GPP_IN])
        after, out = step(state, weather, season(parameters).unbind(0), batch.soil, field)
        state = list(after)
        outputs.append(torch.stack(out))
        if closes:
            sums[y] = torch.stack(state[YTD_GPP : YTD_HARVEST + 1])
            state[YTD_GPP : YTD_HARVEST + 1] = [zero, zero, zero, zero]
    return state, torch.stack(outputs, dim=1), torch.stack(sums, dim=1)
