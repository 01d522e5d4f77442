"""What a BINN learns from: places with covariates, forcing, and what was measured there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.layers import BOTTOM, NODE, THICKNESS, TOP
from torch import Tensor

STOCKS = (0.3, 1.0)  # m, the depths of the stocks
Where = Literal["mean", "middle"]


@dataclass(frozen=True, slots=True)
class Observations:
    """Up to S measurements at each of N places, all as carbon densities.

    value: [N, S] gC m-3, NaN where there is none; a stock is divided by its depth. The first two columns are the stocks
    of 0-0.3 and 0-1 m, the others layers. weight: [N, S, 20]: the measurement is weight @ (soil carbon by layer).
    """

    value: Tensor
    weight: Tensor

    def of(self, soil: Tensor, places: Tensor) -> Tensor:
        """[C, S] what the model has there: soil [C, 20] gC m-3 at the places [C] (indices)."""
        return torch.bmm(self.weight[places], soil[:, :, None])[..., 0]


def span_weights(top: Tensor, bottom: Tensor) -> Tensor:
    """[..., 20] weights of the mean between two depths (m) of a profile that is even within its layers."""
    upper = torch.tensor(TOP, dtype=top.dtype)
    lower = torch.tensor(BOTTOM, dtype=top.dtype)
    inside = (torch.minimum(bottom[..., None], lower) - torch.maximum(top[..., None], upper)).clamp(min=0.0)
    return inside / (bottom - top)[..., None]


def point_weights(depth: Tensor) -> Tensor:
    """[..., 20] weights of the value at a depth (m), linear between the layers' nodes and level beyond them."""
    node = torch.tensor(NODE, dtype=depth.dtype)
    inside = depth.clamp(NODE[0], NODE[-1])
    upper = (torch.searchsorted(node, inside.contiguous(), right=True) - 1).clamp(0, len(NODE) - 2)
    part = (inside - node[upper]) / (node[upper + 1] - node[upper])
    out = torch.zeros(*depth.shape, len(THICKNESS), dtype=depth.dtype)
    out.scatter_(-1, upper[..., None], (1.0 - part)[..., None])
    return out.scatter_(-1, (upper + 1)[..., None], part[..., None])


def observations(
    stocks: Sequence[Tensor], owner: Tensor, top: Tensor, bottom: Tensor, density: Tensor, where: Where = "mean"
) -> Observations:
    """Of stocks to STOCKS ([N] each, gC m-2, NaN where unknown) and m layers (owner [m] rising; m, gC m-3).

    where: whether a layer is compared by its mean or, as published, at its middle.
    """
    count = stocks[0].shape[0]
    known = (density > 0.0) & (bottom > top) & (bottom <= BOTTOM[-1])
    owner, top, bottom, density = owner[known], top[known], bottom[known], density[known]
    first = torch.searchsorted(owner, torch.arange(count))
    slot = torch.arange(len(owner)) - first[owner] + len(STOCKS)
    slots = len(STOCKS) if len(owner) == 0 else max(len(STOCKS), int(slot.max()) + 1)
    value = torch.full((count, slots), torch.nan, dtype=torch.float64)
    weight = torch.zeros(count, slots, len(THICKNESS), dtype=torch.float64)
    for k, (depth, stock) in enumerate(zip(STOCKS, stocks, strict=True)):
        value[:, k] = torch.where(stock > 0.0, stock / depth, torch.nan)
        weight[:, k] = span_weights(torch.zeros(1, dtype=torch.float64), torch.full((1,), depth, dtype=torch.float64))
    value[owner, slot] = density
    weight[owner, slot] = span_weights(top, bottom) if where == "mean" else point_weights((top + bottom) / 2.0)
    return Observations(value, weight)


@dataclass(frozen=True, slots=True)
class Lessons:
    """N places. x: [N, F] covariates in their units. place: [N, 2] longitude, latitude. forcing: of N cells.

    prescribed: [N, 21] physical values of the parameters that are not learned; None: the middle of their ranges.
    """

    x: Tensor
    place: Tensor
    forcing: SoilForcing
    observed: Observations
    prescribed: Tensor | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def forcing_at(self, places: Tensor) -> SoilForcing:
        """The forcing of some places [C] (indices, repeated at will)."""
        f = self.forcing
        row = torch.arange(f.cells) if f.row is None else f.row
        return replace(
            f, litter=f.litter[places], bedrock=f.bedrock[places], active_layer=f.active_layer[places], row=row[places]
        )
