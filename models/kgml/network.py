"""What the networks have in common: what a year of days gives, what is carried to the next, and small pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from .inputs import Days

Carry = Mapping[str, Tensor]
"""Memory of B cells between two days: name -> [B, ...]."""


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Of B cells over D days: ra, rh, nee [B, D], gC m-2 d-1 (ra, rh >= 0 leave the field; nee > 0 to the atmosphere).

    harvest: [B] carbon harvested in these days, gC m-2, 0 where nothing was. residue: [B] what the harvest left.
    """

    ra: Tensor
    rh: Tensor
    nee: Tensor
    harvest: Tensor
    residue: Tensor


class Network(Protocol):
    """A network of one member: memory in, a stretch of days of one calendar year, memory out."""

    def __call__(self, days: Days, carry: Carry | None = None) -> tuple[Outputs, Carry]: ...

    def fresh(self, days: Days) -> dict[str, Tensor]:
        """Memory of nothing."""
        ...

    def device(self) -> torch.device:
        """Where its weights are."""
        ...


def detached(carry: Carry) -> dict[str, Tensor]:
    """The memory without its gradient: back-propagation is cut here."""
    return {name: value.detach() for name, value in carry.items()}


def taken(carry: Carry, chosen: Tensor) -> dict[str, Tensor]:
    """The memory of some of the cells."""
    return {name: value[chosen] for name, value in carry.items()}


def mlp(inputs: int) -> nn.Sequential:
    """inputs -> 64 -> 64 -> 32 -> 1 with ReLU, the paper's attention and yield head."""
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
    )


def start_dense(module: nn.Module) -> None:
    """The paper's start of dense layers: weights uniform in +-0.1, no bias. GRUs keep torch's."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.uniform_(part.weight, -0.1, 0.1)
            nn.init.zeros_(part.bias)


def packed(hidden: Tensor) -> Tensor:
    """[L, B, H] of a GRU as [B, L, H] of a carry."""
    return hidden.transpose(0, 1)


def unpacked(hidden: Tensor) -> Tensor:
    """[B, L, H] of a carry as [L, B, H] of a GRU."""
    return hidden.transpose(0, 1).contiguous()


def zeros(days: Days, *shape: int) -> Tensor:
    """Zeros [B, ...] of the days' kind."""
    return torch.zeros(days.cells, *shape, dtype=days.x.dtype, device=days.x.device)
