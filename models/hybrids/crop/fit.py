"""Training of the crop networks, all in the same way: whole seasons, biomass seen on some days, early stopping."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import Crop
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.weather import Weather
from torch import Tensor, nn

from .inputs import DAYS
from .networks import MASS, Course, residual


@dataclass(frozen=True, slots=True)
class Seasons:
    """Seasons to learn from or to be judged by. features: [C, steps, FEATURES]; statics: [C, STATICS]; table: [COUNT,
    C] LINTUL5's parameters with the soil; sow: [C]; rows: [C] of weather; radiation: [C, steps] MJ m-2 d-1; biomass:
    [C, steps] g m-2, NaN where it was not measured."""

    features: Tensor
    statics: Tensor
    weather: Weather
    rows: Tensor
    table: Tensor
    sow: Tensor
    radiation: Tensor
    biomass: Tensor

    def of(self, which: Tensor) -> Seasons:
        """Some of them."""
        return Seasons(
            self.features[which], self.statics[which], self.weather, self.rows[which], self.table[:, which],
            self.sow[which], self.radiation[which], self.biomass[which],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schedule:
    """How to train. wait: rounds without a better validation before it stops. hold: weight of the physical residual."""

    rounds: int = 200
    batch: int = 32
    rate: float = 3e-3
    clip: float = 1.0
    wait: int = 25
    hold: float = 0.1


Predict = Callable[[Seasons], Course]


def through_process(crop: Crop, network: nn.Module) -> Predict:
    """A network of parameters, and LINTUL5 with them: biomass at the end of each step."""

    def predict(seasons: Seasons) -> Course:
        learned = network(seasons.features, seasons.statics)
        table = torch.cat([learned, seasons.table[len(p_.LEARNED) :]])
        season = simulate(crop, seasons.weather, table, seasons.sow, rows=seasons.rows, outputs=("biomass", "lai"))
        last = slice(DAYS - 1, seasons.biomass.shape[1] * DAYS, DAYS)
        return Course(season["biomass"][:, last], season["lai"][:, last])

    return predict


def default_process(crop: Crop) -> Predict:
    """LINTUL5 as it comes."""
    own = torch.tensor(p_.defaults(crop)[: len(p_.LEARNED)])

    def predict(seasons: Seasons) -> Course:
        table = torch.cat([own[:, None].expand(-1, seasons.sow.shape[0]), seasons.table[len(p_.LEARNED) :]])
        season = simulate(crop, seasons.weather, table, seasons.sow, rows=seasons.rows, outputs=("biomass", "lai"))
        last = slice(DAYS - 1, seasons.biomass.shape[1] * DAYS, DAYS)
        return Course(season["biomass"][:, last], season["lai"][:, last])

    return predict


def alone(network: nn.Module) -> Predict:
    """A network without LINTUL5."""

    def predict(seasons: Seasons) -> Course:
        course: Course = network(seasons.features, seasons.statics)
        return course

    return predict


def error(course: Course, seasons: Seasons) -> Tensor:
    """Mean square of the error in shares of a good crop, over what was measured."""
    seen = ~torch.isnan(seasons.biomass)
    return (((course.biomass - seasons.biomass)[seen] / MASS) ** 2).mean()


def fit(
    network: nn.Module, predict: Predict, training: Seasons, validation: Seasons, schedule: Schedule, seed: int,
    extinction: float | None = None,
) -> list[float]:  # fmt: skip
    """Train in place; keeps the weights of the best validation. extinction: of the physical residual, where it is held.

    Returns the validation's root mean square error, g m-2, before the first round and after each.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=schedule.rate)
    count = training.sow.shape[0]

    def judged() -> float:
        network.eval()
        with torch.no_grad():
            value = math.sqrt(float(error(predict(validation), validation))) * MASS
        network.train()
        return value

    course = [judged()]
    best, kept, waited = course[0], copy.deepcopy(network.state_dict()), 0
    for _ in range(schedule.rounds):
        order = torch.randperm(count, generator=generator)
        for first in range(0, count, schedule.batch):
            part = training.of(order[first : first + schedule.batch])
            made = predict(part)
            loss = error(made, part)
            if extinction is not None:
                loss = loss + schedule.hold * residual(made, part.radiation, extinction)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
            optimiser.step()
        course.append(judged())
        if course[-1] < best:
            best, kept, waited = course[-1], copy.deepcopy(network.state_dict()), 0
        else:
            waited += 1
            if waited >= schedule.wait:
                break
    network.load_state_dict(kept)
    return course
