"""What a soil sample would show: carbon at a depth, and stocks between two depths."""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import ACTIVE, BOTTOM, LAYERS, NODE, TOP, table


def soil_carbon(pools: Tensor, litter: bool = False) -> Tensor:
    """[C, 20] carbon of the three soil pools, gC m-3; with litter and coarse wood if `litter`. pools: [C, 7, 20]."""
    return (pools if litter else pools[:, ACTIVE:]).sum(1)


def stock(pools: Tensor, top: float, bottom: float, *, litter: bool = False) -> Tensor:
    """[C] carbon between two depths (m), gC m-2, each layer taken as even. pools: [C, 7, 20], gC m-3.

    litter: count litter and coarse wood too. Raises ValueError unless 0 <= top < bottom <= 8.6.
    """
    if not 0.0 <= top < bottom <= BOTTOM[-1] + 1e-9:
        raise ValueError(
            f"The stock was asked for {top} to {bottom} m, but the depths must rise from 0 or more to {BOTTOM[-1]} m "
            f"at most: give metres, the upper one first."
        )
    overlap = [max(0.0, min(b, bottom) - max(a, top)) for a, b in zip(TOP, BOTTOM, strict=True)]
    return soil_carbon(pools, litter) @ table(tuple(overlap), pools)


def profile_at(pools: Tensor, depths: Tensor, *, litter: bool = False, layers: Tensor | None = None) -> Tensor:
    """[C, N] carbon at depths (m), gC m-3: linear between the layers' nodes, level above the first and below the last.

    pools: [C, 7, 20]. depths: [N], or [C, N] with NaN where there is none (the result is NaN there).
    layers: [C] how many layers hold soil (`SoilForcing.layers`): level below the last node of these, instead of
    falling to the nothing in the rock. Raises ValueError for negative depths.
    """
    if bool((depths < 0.0).any()):
        raise ValueError(f"The least depth is {depths.nan_to_num(0.0).min().item():g} m, but must be 0 or more.")
    carbon = soil_carbon(pools, litter)
    at = depths.to(carbon).expand(carbon.shape[0], depths.shape[-1])
    node = table(NODE, carbon)
    last = torch.full_like(carbon[:, 0], LAYERS - 1, dtype=torch.int64) if layers is None else layers - 1
    deepest = node[last][:, None]
    inside = torch.minimum(at.nan_to_num(0.0).clamp(min=NODE[0]), deepest)
    upper = (torch.searchsorted(node, inside, right=True) - 1).clamp(0, LAYERS - 2)
    weight = (inside - node[upper]) / (node[upper + 1] - node[upper])
    value = torch.lerp(carbon.gather(1, upper), carbon.gather(1, upper + 1), weight)
    return torch.where(at.isnan(), torch.full_like(value, torch.nan), value)
