"""The six processes that carbon in a soil results from, one number each per cell, as the BINN and PRODA studies name
them: what goes in where, how fast, how well, held back by what, moved how fast, kept from litter in what share.

All weights are carbon masses (gC m-2), all flows those of the model itself, with every modifier that acts on them. The
studies' own programs weight some of them by concentrations instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .balance import balance, base_rates
from .environment import Cap, Modifiers, modifiers
from .inputs import SoilForcing
from .layers import ACTIVE, BOTTOM, METABOLIC, THICKNESS, table
from .rooting import input_shares

UNITS = {
    "input_allocation": "1",
    "decomposition": "yr-1",
    "transfer_efficiency": "1",
    "environment": "1",
    "transport": "yr-1",
    "litter_to_soil": "1",
    "residence_time": "yr",
}


@dataclass(frozen=True, slots=True)
class SixProcesses:
    """[C] each; `UNITS` has their units.

    input_allocation: effective beta, the share of litter input still below each further centimetre (1: deep, 0.9: in
    the topmost decimetres). decomposition: turnover rate in warm, moist topsoil, mean over the pools by their carbon.
    transfer_efficiency: share of the carbon decomposed from litter and soil pools that becomes soil carbon, the rest
    is respired. environment: factor of temperature, water, oxygen and depth, mean by soil carbon.
    transport: rate at which mixing takes carbon out of a layer, mean by soil carbon. litter_to_soil: share of
    decomposed litter that becomes soil carbon. residence_time: all carbon by input, which follows from the six.
    """

    input_allocation: Tensor
    decomposition: Tensor
    transfer_efficiency: Tensor
    environment: Tensor
    transport: Tensor
    litter_to_soil: Tensor
    residence_time: Tensor


def six_processes(
    pools: Tensor,
    parameters: Tensor,
    forcing: SoilForcing,
    *,
    cap: Cap = "published",
    given: Modifiers | None = None,
) -> SixProcesses:
    """The processes at a state of the pools [C, 7, 20] (gC m-3), as a rule the steady one. Differentiable.

    parameters, cap, given: as of `steady_state`. Cells without any carbon come back NaN.
    """
    terms = balance(parameters, forcing, cap, given)
    factors = modifiers(parameters, forcing, cap) if given is None else given
    thick, bottom = table(THICKNESS, pools), table(BOTTOM, pools)
    mass = pools * thick
    soil = mass[:, ACTIVE:].sum(1)
    weight = soil / soil.sum(1, keepdim=True)
    flow = (terms.rate * mass).sum(2)
    f = terms.shares
    kept = torch.stack((
        f[:, 0], f[:, 1], f[:, 2], f[:, 3] + f[:, 4], f[:, 5] + f[:, 6], f[:, 7],
    ), 1) * flow[:, METABOLIC:]  # fmt: skip
    litter = slice(0, ACTIVE - METABOLIC)
    shares = input_shares(parameters, forcing)
    # what still lies below each bottom; from below, so that small rests keep their digits
    rest = shares.flip(1).cumsum(1).flip(1)[:, 1:]
    ends = rest > 0.0
    roots = (torch.where(ends, rest, torch.ones_like(rest)).log() / (100.0 * bottom[:-1])).exp()
    allocation = (roots * ends).sum(1) / ends.sum(1)
    g = torch.nn.functional.pad(terms.conductance, (1, 1))
    return SixProcesses(
        input_allocation=allocation,
        decomposition=(base_rates(parameters) * mass.sum(2)).sum(1) / mass.sum((1, 2)),
        transfer_efficiency=kept.sum(1) / flow[:, METABOLIC:].sum(1),
        environment=(factors.soil * weight).sum(1),
        transport=((g[:, :-1] + g[:, 1:]) / thick * weight).sum(1),
        litter_to_soil=kept[:, litter].sum(1) / flow[:, METABOLIC:ACTIVE].sum(1),
        residence_time=mass.sum((1, 2)) / forcing.litter.to(pools).sum(1),
    )
