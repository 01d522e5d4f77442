"""Training by a number of optimiser steps, so that few seasons are gone through more often, not trained less.

Each model has its own rate and number of steps; the rate falls to a twentieth along half a cosine. What the balance of
growth asks of a network needs no measurements, so it is asked on seasons without them too.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .fit import Predict, Seasons, error
from .networks import MASS, residual


@dataclass(frozen=True, slots=True)
class Course:
    """How training went. judged: validation's root mean square error, g m-2, at each of `steps`; best: the least."""

    steps: list[int]
    judged: list[float]

    @property
    def best(self) -> float:
        return min(self.judged)


@dataclass(frozen=True, slots=True)
class Budget:
    """steps of the optimiser; rate: its first; every: steps between two looks at the validation; hold: weight of the
    balance of growth."""

    steps: int = 300
    rate: float = 3e-3
    batch: int = 16
    clip: float = 1.0
    every: int = 20
    hold: float = 0.1


def fit_steps(
    network: nn.Module, predict: Predict, training: Seasons, validation: Seasons, budget: Budget, seed: int,
    extinction: float | None = None, unmeasured: Seasons | None = None,
) -> Course:  # fmt: skip
    """Train in place; keeps the weights that were best on the validation, the first ones included.

    extinction: of the balance of growth, where the network is held to it, on `unmeasured` seasons (or the training's).
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=budget.rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, budget.steps, budget.rate / 20.0)
    labelled = _Batches(training.sow.shape[0], budget.batch, generator)
    free = training if unmeasured is None else unmeasured
    others = _Batches(free.sow.shape[0], budget.batch, generator)

    def judge() -> float:
        network.eval()
        with torch.no_grad():
            value = math.sqrt(float(error(predict(validation), validation))) * MASS
        network.train()
        return value

    steps, judged = [0], [judge()]
    kept = copy.deepcopy(network.state_dict())
    for step in range(1, budget.steps + 1):
        part = training.of(labelled.next())
        made = predict(part)
        loss = error(made, part)
        if extinction is not None:
            if unmeasured is not None and step % 2 == 0:
                part = free.of(others.next())
                made = predict(part)
            loss = loss + budget.hold * residual(made, part.radiation, extinction)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), budget.clip)
        optimiser.step()
        schedule.step()
        if step % budget.every == 0 or step == budget.steps:
            steps.append(step)
            judged.append(judge())
            if judged[-1] < min(judged[:-1]):
                kept = copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return Course(steps, judged)


class _Batches:
    """All numbers below `count` in random order, in batches, again and again."""

    def __init__(self, count: int, batch: int, generator: torch.Generator) -> None:
        self.count, self.batch, self.generator = count, min(batch, count), generator
        self.order = torch.empty(0, dtype=torch.long)

    def next(self) -> Tensor:
        if len(self.order) < self.batch:
            self.order = torch.randperm(self.count, generator=self.generator)
        taken, self.order = self.order[: self.batch], self.order[self.batch :]
        return taken
