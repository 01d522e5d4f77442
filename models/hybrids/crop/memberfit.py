"""How members are trained: what they are judged by, the penalties that hold them, and the steps. See `members`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .members import LAI, Courses, Given, Predict, Team, Weights

STAGE = 1.0  # what errors of the stage are divided by, as those of leaf area by LAI
Penalty = Callable[[Weights, Courses, Given, Team], Tensor]  # [M] of what the training seasons gave


def misfit(made: Courses, given: Given, draw: Tensor, seasons: Tensor, extra: Tensor | None = None) -> Tensor:
    """[M] mean square error of biomass over the members' seasons [M, C], in shares of `mass`; with `extra` times those
    of grain, leaf area and, where there is a stage, of the stage at flowering, half-way and maturity. Courses are on
    the days `given.at`."""
    total = _square(made.biomass, given.biomass[draw], seasons, given.mass)
    if extra is not None:
        total = total + extra * _square(made.grain, given.grain[draw], seasons, 0.5 * given.mass)
        total = total + extra * _square(made.lai, given.lai[draw], seasons, LAI)
        if made.stage is not None:
            total = total + extra * _square(made.stage, given.stage[None].expand_as(made.stage), seasons, STAGE)
    return total


def _square(made: Tensor, seen: Tensor, seasons: Tensor, scale: float) -> Tensor:
    known = ~torch.isnan(seen) & seasons[..., None]
    off = torch.where(known, (made - torch.nan_to_num(seen)) / scale, 0.0)
    return (off**2).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)


def balance(extinction: float) -> Penalty:
    """How far growth is from light use x intercepted light x drought: mean square over
    the training seasons in shares of a good day's growth, 1 % of `mass` (AgriPINN, arXiv 2601.16045)."""

    def penalty(weights: Weights, made: Courses, given: Given, team: Team) -> Tensor:  # noqa: ARG001
        if made.ends is None:
            raise ValueError("These courses have no light use and drought to hold to the balance of growth.")
        mass, lai, light_use, drought = made.ends.unbind(-1)
        caught = 0.5 * given.radiation[team.draw] * (1.0 - torch.exp(-extinction * lai))
        grown = torch.diff(mass, dim=2, prepend=torch.zeros_like(mass[..., :1])) / given.step
        off = (grown - light_use * caught * drought) / (0.01 * given.mass)
        return _over(off.square().mean(2), team.training)

    return penalty


def drift(names: Sequence[str], start: Weights | None = None) -> Penalty:
    """Sum of squares of weights by name, or of their distance from where they began."""

    def penalty(weights: Weights, made: Courses, given: Given, team: Team) -> Tensor:  # noqa: ARG001
        parts = [weights[n] - (start[n] if start else 0.0) for n in names]
        return torch.stack([(part**2).flatten(1).sum(1) for part in parts]).sum(0)

    return penalty


def shift_size(weights: Weights, made: Courses, given: Given, team: Team) -> Tensor:  # noqa: ARG001
    """Of the network between weather and LINTUL5: square of the common shift, and ten times the mean square of what
    differs from season to season."""
    common = (weights["shared"] ** 2).sum(1)
    if made.shift is None or "last" not in weights:
        return common
    own = made.shift - weights["shared"][:, None]
    return common + 10.0 * _over((own**2).sum(2), team.training)


def _over(values: Tensor, seasons: Tensor) -> Tensor:
    """[M] means of values [M, C] over each member's seasons."""
    return (values * seasons).sum(1) / seasons.sum(1)


@dataclass(frozen=True, slots=True)
class Pace:
    """How members learn. every: steps between looks."""

    rate: float = 1e-2
    steps: int = 120
    every: int = 10
    clip: float = 1.0


Look = Callable[[int, Weights], None]  # steps done, weights


def train(
    predict: Predict, penalty: Penalty, weights: Weights, given: Given, team: Team, pace: Pace, look: Look
) -> Weights:
    """Adam on every member's own error, with its gradient clipped by itself. `look` is called before the first step
    and after every `pace.every`. Returns the last weights."""
    own = {name: value.clone().requires_grad_() for name, value in weights.items()}
    optimiser = torch.optim.Adam(own.values(), lr=pace.rate)
    for step in range(pace.steps + 1):
        if step % pace.every == 0:
            look(step, {name: value.detach() for name, value in own.items()})
        if step == pace.steps:
            break
        made = predict(own, given, team.draw, given.at)
        loss = misfit(made, given, team.draw, team.training, team.extra)
        loss = loss + team.strength * penalty(own, made, given, team)
        optimiser.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        slopes = [value.grad for value in own.values() if value.grad is not None]
        size = torch.stack([(s**2).flatten(1).sum(1) for s in slopes]).sum(0).sqrt()
        factor = (pace.clip / size.clamp(min=1e-12)).clamp(max=1.0)
        for slope in slopes:
            slope.mul_(factor.view(-1, *[1] * (slope.ndim - 1)))
        optimiser.step()
    return {name: value.detach() for name, value in own.items()}
