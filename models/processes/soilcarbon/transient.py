"""The course of soil carbon in time, by implicit (backward Euler) steps of any length: a month, a year.

Stable and positive with any step; what a step gains is what comes in less what is respired, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .balance import Balance, balance, sources
from .environment import Cap
from .inputs import SoilForcing
from .layers import THICKNESS, table
from .rooting import input_shares
from .solver import Engine, solve

Observe = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Course:
    """pools: [C, 7, 20] at the end, gC m-3, from which another course can start. respired, entered: [S, C] gC m-2 in
    each step. seen: [S, ...] what `observe` made of the pools at the end of each step; without it empty."""

    pools: Tensor
    respired: Tensor
    entered: Tensor
    seen: Tensor


def step(pools: Tensor, terms: Balance, years: float, engine: Engine = "auto") -> tuple[Tensor, Tensor]:
    """One implicit step of that many years: pools [C, 7, 20] (gC m-3) after it, and carbon respired [C] (gC m-2).

    Raises ValueError unless years > 0.
    """
    if not years > 0.0:
        raise ValueError(f"The step is {years} years, but must be more than 0.")
    thick = table(THICKNESS, pools)
    before = pools * thick
    source = terms.source + before / years
    mass = solve(terms.rate, terms.shares, terms.conductance, source, terms.layers, 1.0 / years, engine=engine)
    return mass / thick, years * respired(mass, terms)


def respired(mass: Tensor, terms: Balance) -> Tensor:
    """[C] gC m-2 yr-1 that leaves as CO2, of the carbon mass [C, 7, 20] in gC m-2."""
    f = terms.shares
    lost = torch.stack((
        torch.zeros_like(f[:, 0]), 1.0 - f[:, 0], 1.0 - f[:, 1], 1.0 - f[:, 2], 1.0 - f[:, 3] - f[:, 4],
        1.0 - f[:, 5] - f[:, 6], 1.0 - f[:, 7],
    ), 1)  # fmt: skip
    return ((terms.rate * mass).sum(2) * lost).sum(1)


def run(
    pools: Tensor,
    parameters: Tensor,
    forcing: SoilForcing,
    steps: int,
    *,
    steps_per_year: int = 1,
    litter: Tensor | None = None,
    factors: Tensor | None = None,
    cap: Cap = "published",
    observe: Observe | None = None,
    engine: Engine = "auto",
) -> Course:
    """The course from `pools` [C, 7, 20] (gC m-3) over equal steps; differentiable.

    Yearly steps take the mean of the year's climate; with as many steps a year as the forcing has months, each takes
    its own; other numbers the mean as well. litter: [S, C, 4] input during each step as a yearly rate (gC m-2 yr-1),
    None: the forcing's throughout. factors: on turnover, [T, C, 7, 20] (`management.tillage`), used over and over
    if there are fewer than steps. cap: as of `steady_state`.
    Raises ValueError where shapes do not fit, and for carbon below the bedrock, which would be lost.
    """
    below = torch.arange(pools.shape[2], device=pools.device) >= forcing.layers[:, None]
    if bool((pools.detach() * below[:, None] != 0.0).any()):
        raise ValueError(
            "Some cells hold carbon below their bedrock, where the model has no soil: "
            "start from a state made with the same bedrock, or move that carbon up."
        )
    cells = parameters.shape[0]
    if litter is not None and tuple(litter.shape) != (steps, cells, 4):
        raise ValueError(f"litter has shape {list(litter.shape)}, but must be [{steps}, {cells}, 4].")
    if factors is not None and (factors.shape[0] == 0 or tuple(factors.shape[1:]) != tuple(pools.shape)):
        raise ValueError(f"factors has shape {list(factors.shape)}, but must be [steps >= 1, {cells}, 7, 20].")
    seasonal = steps_per_year == forcing.months
    climates = [forcing.month(m) for m in range(forcing.months)] if seasonal else [forcing]
    each = [balance(parameters, climate, cap) for climate in climates]
    spread = input_shares(parameters, forcing)
    gone, entered, seen = [], [], []
    for s in range(steps):
        terms = each[s % len(each)]
        if factors is not None:
            terms = replace(terms, rate=terms.rate * factors[s % factors.shape[0]].to(terms.rate))
        if litter is not None:
            terms = replace(terms, source=sources(litter[s].to(pools), spread))
        pools, lost = step(pools, terms, 1.0 / steps_per_year, engine)
        gone.append(lost)
        entered.append(terms.source.sum((1, 2)) / steps_per_year)
        if observe is not None:
            seen.append(observe(pools))
    nothing = pools.new_empty(0, cells)
    return Course(
        pools,
        torch.stack(gone) if gone else nothing,
        torch.stack(entered) if entered else nothing,
        torch.stack(seen) if seen else nothing,
    )
