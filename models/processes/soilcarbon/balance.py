"""The coefficients of the carbon balance of C cells, from parameters and what is known of the places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .environment import Cap, Modifiers, modifiers
from .inputs import SoilForcing
from .layers import LAYERS, LITTER_INPUTS, POOLS
from .parameters import COUNT, FRACTIONS, TAUCWD, TAUL1, TAUL2, TAUS1, TAUS3
from .rooting import input_shares
from .transport import conductance


@dataclass(frozen=True, slots=True)
class Balance:
    """What `solver.solve` needs, in its units.

    rate: [C, 7, 20] yr-1. shares: [C, 9]. conductance: [C, 19] m yr-1. source: [C, 7, 20] gC m-2 yr-1. layers: [C].
    """

    rate: Tensor
    shares: Tensor
    conductance: Tensor
    source: Tensor
    layers: Tensor


def balance(
    parameters: Tensor, forcing: SoilForcing, cap: Cap = "published", given: Modifiers | None = None
) -> Balance:
    """Coefficients for the mean of the months in `forcing`. parameters: [C, 21] physical. given: use these modifiers.

    Raises ValueError where shapes do not fit.
    """
    if tuple(parameters.shape) != (forcing.cells, COUNT):
        raise ValueError(
            f"parameters has shape {list(parameters.shape)}, but must be [{forcing.cells}, {COUNT}]: one row per cell."
        )
    factors = modifiers(parameters, forcing, cap) if given is None else given
    return Balance(
        rates(parameters, factors),
        parameters[:, FRACTIONS],
        conductance(parameters, forcing),
        sources(forcing.litter.to(parameters), input_shares(parameters, forcing)),
        forcing.layers,
    )


def rates(parameters: Tensor, factors: Modifiers) -> Tensor:
    """[C, 7, 20] decomposition of each pool and layer, yr-1."""
    k = base_rates(parameters)
    soil, litter = factors.soil[:, None], factors.litter[:, None]
    if factors.litter is factors.soil:
        return k[:, :, None] * soil
    return torch.cat((k[:, :1, None] * soil, k[:, 1:4, None] * litter, k[:, 4:, None] * soil), 1)


def base_rates(parameters: Tensor) -> Tensor:
    """[C, 7] of each pool in warm, moist topsoil, yr-1. Cellulose and lignin share one."""
    tau = torch.cat((
        parameters[:, TAUCWD : TAUCWD + 1], parameters[:, TAUL1 : TAUL2 + 1], parameters[:, TAUL2 : TAUL2 + 1],
        parameters[:, TAUS1 : TAUS3 + 1],
    ), 1)  # fmt: skip
    return 1.0 / tau


def sources(litter: Tensor, shares: Tensor) -> Tensor:
    """[C, 7, 20] input of carbon, of litter [C, 4] spread over the layers by shares [C, 20], in litter's unit."""
    spread = litter[:, :, None] * shares[:, None, :]
    empty = spread.new_zeros(spread.shape[0], len(POOLS) - len(LITTER_INPUTS), LAYERS)
    return torch.cat((spread, empty), 1)
