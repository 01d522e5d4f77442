"""The solver's equations in torch, layer by layer over all cells at once, for GPUs and as a check of the compiled one.

See `solver.py`. In float32, decomposition slower than 1e-25 per year (metres down, at the ranges' corners) counts as
1e-25: else the numbers would run out. Tensors are [C, pools, layers]; no gradients are recorded in here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import THICKNESS, table

SLOWEST = 1e-25  # yr-1, in float32: products of three slower rates are nothing there, their inverses infinite


def solve(
    rate: Tensor, shares: Tensor, conductance: Tensor, source: Tensor, layers: Tensor, shift: float, eigen: bool
) -> Tensor:
    """[C, 7, L] mass; arguments as of `solver.solve`."""
    holds, rate, down, up = _prepared(rate, conductance, layers)
    source = source * holds
    wood = source[:, 0] / (rate[:, 0] + shift)
    # not rate times mass: at depth in float32 the mass can be more than there are numbers for
    decayed = source[:, 0] * (rate[:, 0] / (rate[:, 0] + shift))
    feed = source[:, 1:4].clone()
    to = shares[:, 8, None]
    feed[:, 1] += to * decayed
    feed[:, 2] += (1.0 - to) * decayed
    litter = _tridiagonal(rate[:, 1:4] + shift, down, up, feed, False)
    flow = rate[:, 1:4] * litter
    feed = source[:, 4:7].clone()
    feed[:, 0] += shares[:, 0, None] * flow[:, 0] + shares[:, 1, None] * flow[:, 1]
    feed[:, 1] += shares[:, 2, None] * flow[:, 2]
    way = _eigen if eigen else _blocks
    soil = way(rate[:, 4:7], shares, down, up, shift, feed, False)
    return torch.cat((wood[:, None], litter, soil), 1) * holds


def solve_transposed(
    rate: Tensor,
    shares: Tensor,
    conductance: Tensor,
    layers: Tensor,
    shift: float,
    mass: Tensor,
    given: Tensor,
    eigen: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """dJ by rate, shares, conductance and source, of given = dJ/dmass."""
    holds, rate, down, up = _prepared(rate, conductance, layers)
    given = given * holds
    way = _eigen if eigen else _blocks
    soil = way(rate[:, 4:7], shares, down, up, shift, given[:, 4:7], True)
    shared = shares[:, :, None]
    into = torch.stack((soil[:, 0], soil[:, 0], soil[:, 1]), 1) * shared[:, 0:3]  # worth of decomposed litter
    litter = _tridiagonal(rate[:, 1:4] + shift, down, up, given[:, 1:4] + rate[:, 1:4] * into, True)
    wooded = shared[:, 8] * litter[:, 1] + (1.0 - shared[:, 8]) * litter[:, 2]
    wood = (given[:, 0] + rate[:, 0] * wooded) / (rate[:, 0] + shift)
    worth = torch.cat((wood[:, None], litter, soil), 1) * holds
    becomes = torch.cat((wooded[:, None], into, torch.stack((
        shared[:, 3] * soil[:, 1] + shared[:, 4] * soil[:, 2],
        shared[:, 5] * soil[:, 0] + shared[:, 6] * soil[:, 2],
        shared[:, 7] * soil[:, 0],
    ), 1)), 1)  # fmt: skip
    flow = rate * mass
    pairs = ((1, 4), (2, 4), (3, 5), (4, 5), (4, 6), (5, 4), (5, 6), (6, 4))
    by_shares = [(flow[:, a] * worth[:, b]).sum(1) for a, b in pairs]
    by_shares.append((flow[:, 0] * (worth[:, 2] - worth[:, 3])).sum(1))
    dense = mass[:, 1:] / table(THICKNESS, mass)
    by_conductance = ((dense[..., :-1] - dense[..., 1:]) * (worth[:, 1:, 1:] - worth[:, 1:, :-1])).sum(1)
    return (
        mass * (becomes * holds - worth),
        torch.stack(by_shares, 1),
        by_conductance * holds[:, 0, 1:],
        worth,
    )


def _prepared(rate: Tensor, conductance: Tensor, layers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """[C, 1, L] 1 where there is soil, the rates (1 where there is none), ways down and up [C, L], yr-1."""
    count = rate.shape[2]
    if rate.dtype == torch.float32:
        rate = rate.clamp(min=SLOWEST)
    here = torch.arange(count, device=rate.device) < layers[:, None]
    thick = table(THICKNESS, rate)
    g = torch.where(here[:, 1:], conductance, torch.zeros_like(conductance))
    down = torch.nn.functional.pad(g / thick[:-1], (0, 1))
    up = torch.nn.functional.pad(g / thick[1:], (1, 0))
    here = here[:, None]
    return here.to(rate), torch.where(here, rate, torch.ones_like(rate)), down, up


def _tridiagonal(loss: Tensor, down: Tensor, up: Tensor, source: Tensor, transposed: bool) -> Tensor:
    """[C, P, L] of P independent columns. loss, source: [C, P, L]; down, up: [C, L]."""
    losses, sources = loss.unbind(2), source.unbind(2)
    ways_down, ways_up = down[:, None].unbind(2), up[:, None].unbind(2)
    lost = carried = torch.zeros_like(losses[0])  # of carbon that enters the layer below: the share that is lost
    pivots, held = [lost] * len(losses), [lost] * len(losses)
    for j in range(len(losses) - 1, -1, -1):
        gone = losses[j] + ways_down[j] * lost
        pivots[j] = 1.0 / (gone + ways_up[j])
        held[j] = sources[j] + (ways_down[j] * carried if transposed else carried)
        lost = gone * pivots[j]
        carried = held[j] * pivots[j] * (1.0 if transposed else ways_up[j])
    out, before = [], torch.zeros_like(lost)
    for j in range(len(losses)):
        # ways_up[0] is 0 and ways_down[-1] is 0, so no edge needs a case of its own
        way = ways_up[j] if transposed else ways_down[j - 1]
        before = (held[j] + way * before) * pivots[j]
        out.append(before)
    return torch.stack(out, 2)


def _blocks(
    rate: Tensor, shares: Tensor, down: Tensor, up: Tensor, shift: float, source: Tensor, transposed: bool
) -> Tensor:
    """[C, 3, L] the three soil pools, by blocks. rate, source: [C, 3, L]."""
    count = rate.shape[2]
    move = torch.zeros(rate.shape[0], 3, 3, dtype=rate.dtype, device=rate.device)  # shares, from row to column
    move[:, 0, 1], move[:, 0, 2], move[:, 1, 0] = shares[:, 3], shares[:, 4], shares[:, 5]
    move[:, 1, 2], move[:, 2, 0] = shares[:, 6], shares[:, 7]
    respired = 1.0 - move.sum(2)
    rates, sources = rate.unbind(2), source.unbind(2)
    ways_down, ways_up = down[:, None].unbind(2), up[:, None].unbind(2)
    below, lost = torch.zeros_like(move), torch.zeros_like(respired)
    carried = torch.zeros_like(respired)
    stays, held = [below] * count, [lost] * count
    for j in range(count - 1, -1, -1):
        between = rates[j][:, :, None] * move + ways_down[j][:, :, None] * below
        gone = rates[j] * respired + shift + ways_down[j] * lost
        stay = _stay(between, gone + ways_up[j])
        stays[j] = stay
        below = ways_up[j][:, :, None] * stay
        lost = (stay * gone[:, None, :]).sum(2)
        if transposed:
            held[j] = sources[j] + ways_down[j] * carried
            carried = _times(stay, held[j])
        else:
            held[j] = sources[j] + carried
            carried = ways_up[j] * _times(stay.transpose(1, 2), held[j])
    out, before = [], torch.zeros_like(lost)
    for j in range(count):
        way = ways_up[j] if transposed else ways_down[j - 1]
        before = _times(stays[j] if transposed else stays[j].transpose(1, 2), held[j] + way * before)
        out.append(before)
    return torch.stack(out, 2)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix * vector[:, None, :]).sum(2)


def _stay(between: Tensor, leaving: Tensor) -> Tensor:
    """[C, 3, 3] time in pool b of carbon put into pool a, from rates between pools [C, 3, 3] and out [C, 3].

    The inverse of a 3x3 matrix whose minors are written as sums of positive terms. The diagonal of `between` counts
    for the measure only.
    """
    # measured by the greatest: the product of three slow rates of a deep layer is nothing in float32
    unit = torch.maximum(between.amax((1, 2)), leaving.amax(1))[:, None]
    between, leaving = between / unit[:, :, None], leaving / unit
    w01, w02, w10 = between[:, 0, 1], between[:, 0, 2], between[:, 1, 0]
    w12, w20, w21 = between[:, 1, 2], between[:, 2, 0], between[:, 2, 1]
    e0, e1, e2 = leaving.unbind(1)
    t0, t1, t2 = e0 + w01 + w02, e1 + w10 + w12, e2 + w20 + w21
    minors = torch.stack((
        e1 * t2 + w10 * t2 + w12 * (e2 + w20), w01 * t2 + w02 * w21, w02 * t1 + w01 * w12,
        w10 * t2 + w12 * w20, e0 * t2 + w01 * t2 + w02 * (e2 + w21), w12 * t0 + w10 * w02,
        w20 * t1 + w21 * w10, w21 * t0 + w20 * w01, e0 * t1 + w02 * t1 + w01 * (e1 + w12),
    ), 1).view(-1, 3, 3)  # fmt: skip
    return minors / ((minors[:, 0] * leaving).sum(1)[:, None, None] * unit[:, :, None])


def _eigen(
    rate: Tensor, shares: Tensor, down: Tensor, up: Tensor, shift: float, source: Tensor, transposed: bool
) -> Tensor:
    """[C, 3, L] the three soil pools, by the eigenvectors of their exchange, which is that of layer 0 in all layers."""
    base = rate[:, :, 0]
    scale = rate[:, 0] / base[:, :1]
    # measured by the geometric mean of the rates: their products neither overflow nor vanish
    unit = base.log().mean(1, keepdim=True).exp()
    k0, k1, k2 = (base / unit).unbind(1)
    f01, f02, f10, f12, f20 = shares[:, 3:8].unbind(1)
    values = _roots(
        k0 + k1 + k2,
        k0 * k1 * (1.0 - f01 * f10) + k0 * k2 * (1.0 - f02 * f20) + k1 * k2,
        k0 * k1 * k2 * (1.0 - f01 * f10 - f20 * (f02 + f01 * f12)),
    )  # [C, 3]
    # vectors of the exchange matrix [[k0, -f10 k1, -f20 k2], [-f01 k0, k1, 0], [-f02 k0, -f12 k1, k2]]: the second row
    # gives the second entry for a first of (k1 - value)(k2 - value), the third row the third
    one, two = k1[:, None] - values, k2[:, None] - values
    across = (f01 * k0)[:, None]
    right = torch.stack((one * two, across * two, (f02 * k0)[:, None] * one + (f12 * k1)[:, None] * across), 1)
    right = right / right.abs().amax(1, keepdim=True)
    left, failed = torch.linalg.inv_ex(right)
    left = torch.where(failed[:, None, None] == 0, left, torch.full_like(left, torch.nan))
    if transposed:
        left, right = right.transpose(1, 2), left.transpose(1, 2)
    loss = (values * unit)[:, :, None] * scale[:, None, :] + shift
    return right @ _tridiagonal(loss, down, up, left @ source, transposed)


def _roots(total: Tensor, pairs: Tensor, product: Tensor) -> Tensor:
    """[C, 3] the roots of x³ - total x² + pairs x - product, all real (else NaN), polished by Newton's steps."""
    third = total / 3.0
    p = (total * third - pairs) / 3.0
    q = 0.5 * (third * (2.0 * third * third - pairs) + product)
    cosine = q / (p * p.sqrt())
    # rounding may leave the interval by a little; beyond that two roots are complex
    cosine = torch.where(cosine.abs() < 1.0 + 1e-5, cosine.clamp(-1.0, 1.0), torch.full_like(cosine, torch.nan))
    angle = torch.arccos(cosine)[:, None] / 3.0
    turn = torch.tensor([0.0, -2.0, 2.0], dtype=total.dtype, device=total.device) * (torch.pi / 3.0)
    x = third[:, None] + 2.0 * p.sqrt()[:, None] * torch.cos(angle + turn)
    a, b, c = total[:, None], pairs[:, None], product[:, None]
    for _ in range(3):
        step = (((x - a) * x + b) * x - c) / ((3.0 * x - 2.0 * a) * x + b)
        x = x - torch.where(step.isfinite(), step, torch.zeros_like(step))
    return x
