"""The same model as one 140 x 140 matrix per cell, built straight from its equations and solved by a general solver.

The reference that the structured solver is checked against, so it shares none of its code; and the only place with the
published treatment of bedrock, in which the row of the bedrock's layer passes carbon down that the row below does not
receive: carbon is lost there, and below it the matrix is close to singular. The state is pool-major, gC m-3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .inputs import SoilForcing
from .layers import BOTTOM, LAYERS, NODE, POOLS, THICKNESS
from .parameters import BETA, CRYO, DIFFUS, EFOLDING, FL1S1, Q10, TAUCWD, W_SCALING

Bedrock = Literal["conserving", "published"]
DAYS = 365.0
BELOW = (9.795, 10.99)  # node and bottom of the layer below the last one, m


def dense_steady_state(parameters: Tensor, forcing: SoilForcing, bedrock: Bedrock = "conserving") -> Tensor:
    """[C, 7, 20] gC m-3, as `steady.steady_state` with the published cap; differentiable by torch alone."""
    solved: Tensor = torch.linalg.solve(matrix(parameters, forcing, bedrock), inputs(parameters, forcing, bedrock))
    return solved.view(-1, len(POOLS), LAYERS)


def matrix(parameters: Tensor, forcing: SoilForcing, bedrock: Bedrock = "conserving") -> Tensor:
    """[C, 140, 140] V - A K, day-1: times the state it is what leaves each pool and layer, in gC m-3 d-1.

    bedrock "conserving": nothing lies below the bedrock, and nothing passes it; rows below are those of a unit matrix.
    """
    cells = parameters.shape[0]
    a = torch.eye(140, dtype=parameters.dtype, device=parameters.device).repeat(cells, 1, 1).neg()
    f = parameters[:, FL1S1:]
    moves = (
        (4, 1, f[:, 0]), (4, 2, f[:, 1]), (5, 3, f[:, 2]), (5, 4, f[:, 3]), (6, 4, f[:, 4]), (4, 5, f[:, 5]),
        (6, 5, f[:, 6]), (4, 6, f[:, 7]), (2, 0, f[:, 8]), (3, 0, 1.0 - f[:, 8]),
    )  # fmt: skip
    for to, of, share in moves:
        for j in range(LAYERS):
            a[:, to * LAYERS + j, of * LAYERS + j] = share
    k = torch.stack([decomposition(parameters, forcing.month(m)) for m in range(forcing.months)]).mean(0)
    mixing = transport(parameters, forcing, bedrock)
    v = torch.zeros_like(a)
    for pool in range(1, 7):
        part = slice(pool * LAYERS, (pool + 1) * LAYERS)
        v[:, part, part] = mixing
    out = v - a * k[:, None, :]
    if bedrock == "conserving":
        here = (torch.arange(LAYERS, device=a.device) < forcing.layers[:, None]).repeat(1, len(POOLS))
        unit = torch.eye(140, dtype=a.dtype, device=a.device)
        out = torch.where(here[:, :, None] & here[:, None, :], out, unit)
    return out


def decomposition(parameters: Tensor, forcing: SoilForcing) -> Tensor:
    """[C, 140] K of one month, day-1."""
    at = torch.arange(parameters.shape[0], device=parameters.device) if forcing.row is None else forcing.row
    kelvin = forcing.temperature[at, 0] + 273.15
    q10 = parameters[:, Q10, None]
    warm = q10 ** ((kelvin - 298.15) / 10.0)
    cold = q10 ** ((273.15 - 298.15) / 10.0) * q10 ** ((kelvin - 273.15) / 10.0)
    xi = torch.where(kelvin >= 273.15, warm, cold)
    xi = xi * torch.minimum(parameters[:, W_SCALING, None] * forcing.water[at, 0], torch.ones_like(xi))
    if forcing.oxygen is not None:
        xi = xi * forcing.oxygen[at, 0]
    node = torch.tensor(NODE, dtype=xi.dtype, device=xi.device)
    xi = xi * torch.exp(-node / parameters[:, EFOLDING, None])
    litter = xi if forcing.nitrogen is None else xi * forcing.nitrogen[at, 0]
    tau = parameters[:, TAUCWD : TAUCWD + 6]
    of = (0, 1, 2, 2, 3, 4, 5)  # cellulose and lignin share one
    return torch.cat([(litter if p in (1, 2, 3) else xi) / (DAYS * tau[:, of[p], None]) for p in range(7)], 1)


def transport(parameters: Tensor, forcing: SoilForcing, bedrock: Bedrock) -> Tensor:
    """[C, 20, 20] tridiagonal V of one pool, day-1; diagonal positive."""
    zero = parameters[:, DIFFUS] * 0.0
    life, frost = parameters[:, DIFFUS], parameters[:, CRYO]
    thaw, rock = forcing.active_layer, forcing.bedrock
    nodes, bottoms = (*NODE, BELOW[0]), (*BOTTOM, BELOW[1])
    floor = torch.tensor(BOTTOM, dtype=zero.dtype, device=zero.device)[rock.clamp(max=LAYERS - 1)].clamp(max=3.0)
    of = []  # diffusivity of each layer, m2 d-1
    for j in range(LAYERS + 1):
        taper = (1.0 - (bottoms[j] - thaw) / (floor - thaw).clamp(min=1e-6)).clamp(min=0.0)
        mixed = torch.where(thaw > 2.0, life, frost * torch.where(bottoms[j] < thaw, 1.0, taper))
        of.append(torch.where((rock >= j) & (thaw > 0.0), mixed, zero) / DAYS)
    if bedrock == "published":
        of = [torch.where(d == 0.0, 1e-30, d) for d in of]
    between = []  # conductance to the layer below, m d-1
    for j in range(LAYERS):
        apart = nodes[j + 1] - nodes[j]
        w = (nodes[j + 1] - bottoms[j]) / apart
        closed = (of[j] == 0.0) | (of[j + 1] == 0.0) | ((rock <= j) & (bedrock == "conserving"))
        upper, lower = (torch.where(closed, 1.0, d) for d in (of[j], of[j + 1]))
        between.append(torch.where(closed, zero, 1.0 / ((1.0 - w) / upper + w / lower) / apart))
    v = zero.new_zeros(zero.shape[0], LAYERS, LAYERS)
    for j in range(LAYERS):
        above = between[j - 1] if j else zero
        # the published rule: in the row of the bedrock and those below, as much passes down as comes from above
        under = torch.where((rock <= j) & (bedrock == "published"), above, between[j]) if j < LAYERS - 1 else zero
        v[:, j, j] = (above + under) / THICKNESS[j]
        if j:
            v[:, j, j - 1] = -above / THICKNESS[j]
        if j < LAYERS - 1:
            v[:, j, j + 1] = -under / THICKNESS[j]
    return v


def inputs(parameters: Tensor, forcing: SoilForcing, bedrock: Bedrock) -> Tensor:
    """[C, 140] litter, gC m-3 d-1. The published treatment spreads it over all 20 layers, into rock as well."""
    edges = torch.tensor((0.0, *BOTTOM), dtype=parameters.dtype, device=parameters.device)
    left = parameters[:, BETA, None] ** (100.0 * edges)
    shares = left[:, :-1] - left[:, 1:]
    if bedrock == "conserving":
        shares = shares * (torch.arange(LAYERS, device=shares.device) < forcing.layers[:, None])
    shares = shares / shares.sum(1, keepdim=True)
    first = torch.zeros_like(shares)
    first[:, 0] = 1.0
    shares = torch.where(forcing.active_layer[:, None] > 0.0, shares, first)
    spread = forcing.litter[:, :, None] * shares[:, None] / (edges.diff() * DAYS)
    return torch.nn.functional.pad(spread.flatten(1), (0, 3 * LAYERS))


def periodic_state(parameters: Tensor, forcing: SoilForcing) -> Tensor:
    """[C, 12, 7, 20] the exact cycle of a year that repeats itself, at the end of each month, gC m-3.

    By backward Euler with steps of a twelfth of a year and an even litter input: what the steady state of the year's
    mean matrix stands for.
    """
    step = DAYS / forcing.months
    source = inputs(parameters, forcing, "conserving")[:, :, None]
    unit = torch.eye(140, dtype=parameters.dtype, device=parameters.device)
    passes = [
        torch.linalg.inv(unit + step * matrix(parameters, forcing.month(m), "conserving"))
        for m in range(forcing.months)
    ]
    once, gained = unit.expand_as(passes[0]), torch.zeros_like(source)
    for month in passes:
        once, gained = month @ once, month @ (gained + step * source)
    state = torch.linalg.solve(unit - once, gained)
    states = []
    for month in passes:
        state = month @ (state + step * source)
        states.append(state.view(-1, len(POOLS), LAYERS))
    return torch.stack(states, 1)
