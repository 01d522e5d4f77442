"""Vertical mixing: conductances between neighbouring layers, by soil life where it thaws deeply, else by frost."""

from __future__ import annotations

import torch
from torch import Tensor

from .inputs import SoilForcing
from .layers import BOTTOM, LAYERS, NODE, table
from .parameters import CRYO, DIFFUS

FROST_TO = 2.0  # m: mixing by frost where the soil thaws no deeper than this
FROST_ENDS = 3.0  # m: no deeper than this

# of the way between two nodes, the part in the upper layer, by which their diffusivities are combined (Patankar 1980)
_UPPER = tuple((BOTTOM[j] - NODE[j]) / (NODE[j + 1] - NODE[j]) for j in range(LAYERS - 1))
_APART = tuple(NODE[j + 1] - NODE[j] for j in range(LAYERS - 1))


def diffusivity(parameters: Tensor, forcing: SoilForcing) -> Tensor:
    """[C, 20] of each layer, m2 yr-1; 0 below bedrock, and everywhere where the soil never thaws."""
    bottom = table(BOTTOM, parameters)
    thaw = forcing.active_layer.to(parameters)[:, None]
    floor = bottom[(forcing.layers - 1)][:, None]
    end = floor.clamp(max=FROST_ENDS)
    # where the thaw reaches the end there is nothing to taper over
    taper = torch.where(bottom < thaw, 1.0, ((end - bottom) / (end - thaw).clamp(min=1e-6)).clamp(0.0, 1.0))
    frost = parameters[:, CRYO, None] * taper
    life = parameters[:, DIFFUS, None].expand_as(frost)
    mixes = torch.where(thaw > FROST_TO, life, torch.where(thaw > 0.0, frost, torch.zeros_like(frost)))
    here = torch.arange(LAYERS, device=thaw.device) < forcing.layers[:, None]
    return torch.where(here, mixes, torch.zeros_like(mixes))


def conductance(parameters: Tensor, forcing: SoilForcing) -> Tensor:
    """[C, 19] between layer j and j + 1, m yr-1: a difference of 1 gC m-3 moves that many gC m-2 yr-1.

    0 at the bedrock and below: no carbon leaves through the bottom.
    """
    of = diffusivity(parameters, forcing)
    upper, lower = of[:, :-1], of[:, 1:]
    weight = table(_UPPER, parameters)
    # of the weighted harmonic mean 1 / (weight / upper + (1 - weight) / lower), in a form that allows zeros
    both = weight * lower + (1.0 - weight) * upper
    mean = torch.where(both > 0.0, upper * lower / torch.where(both > 0.0, both, torch.ones_like(both)), 0.0)
    return mean / table(_APART, parameters)
