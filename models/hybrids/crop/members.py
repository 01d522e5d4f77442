"""Many small trainings at once: every member has its own weights, its own training seasons and its own strength of
penalty, and is trained as if it were alone.

Measured field experiments are few, so that one training takes milliseconds a step and the time goes into starting
them; an experiment is hundreds of trainings (places left out x seeds x strengths). A member's numbers lie in the first
dimension M of every tensor. Seasons are C, days D, steps of the networks T, draws of noise K.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import Crop
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.step import Limits, Variant
from fieldflux.models.processes.lintul5.weather import Weather
from torch import Tensor

from .inputs import DAYS

Weights = dict[str, Tensor]
MASSES, SMALL = 3, -2.0  # biomass, grain and leaf area of a head begin at softplus(-2), an eighth of a good crop's
LAI = 5.0  # what the networks' leaf area index is a multiple of
NEAR = 0.02  # how near to the ends of its range a parameter may begin


@dataclass(frozen=True, slots=True)
class Given:
    """What members see of C seasons. read: [K, C, T, F] inputs of networks; static: [C, S]; length: [C] steps with
    weather of their own. weather: of K x C rows, draw k of season c in row k C + c. radiation: [K, C, T] MJ m-2 d-1.
    table: [COUNT, C] of LINTUL5. sow: [C]. at: [C, P] days of the season on which anything was measured, the last one
    over and over where they are fewer than P; there biomass, grain, lai: [K, C, P], NaN where not measured, and
    stage: [C, P], NaN but at flowering (1), maturity (2) and half-way (1.5). mass: g m-2 that errors of biomass are
    divided by. step: days of a step of the networks."""

    read: Tensor
    static: Tensor
    length: Tensor
    weather: Weather
    radiation: Tensor
    table: Tensor
    sow: Tensor
    at: Tensor
    biomass: Tensor
    grain: Tensor
    lai: Tensor
    stage: Tensor
    mass: float
    step: int = DAYS


@dataclass(frozen=True, slots=True)
class Team:
    """M members. seeds: [M] of their weights. draw: [M] the draw of noise each sees. training: [M, C] seasons each
    learns from. strength: [M] of the penalty. extra: [M] weight of grain, leaf area and stage beside biomass."""

    seeds: tuple[int, ...]
    draw: Tensor
    training: Tensor
    strength: Tensor
    extra: Tensor


@dataclass(frozen=True, slots=True)
class Courses:
    """[M, C, P] on the days asked for: biomass and grain g m-2, lai; stage for models with LINTUL5. shift: [M, C, 14]
    of its parameters. ends: for the network that is held to the balance of growth, [M, C, T, 4] at its steps' ends:
    biomass, lai, light use (g MJ-1), drought."""

    biomass: Tensor
    grain: Tensor
    lai: Tensor
    stage: Tensor | None = None
    shift: Tensor | None = None
    ends: Tensor | None = None


Predict = Callable[[Weights, Given, Tensor, Tensor], Courses]  # weights, seasons, draw [M], days [C, P]


# -- networks


def _even(seeds: Sequence[int], shapes: Mapping[str, tuple[int, ...]], within: float) -> Weights:
    """Even numbers within +- `within`; the same for the same seed, whatever the other members."""
    drawn: dict[str, list[Tensor]] = {name: [] for name in shapes}
    for seed in seeds:
        g = torch.Generator().manual_seed(seed)
        for name, shape in shapes.items():
            drawn[name].append((2.0 * torch.rand(*shape, generator=g) - 1.0) * within)
    return {name: torch.stack(values) for name, values in drawn.items()}


def network_weights(seeds: Sequence[int], inputs: int, hidden: int, outputs: int) -> Weights:
    """An LSTM with a linear head, begun as torch's own is, but with small masses and leaf area at first."""
    shapes = {"into": (inputs, 4 * hidden), "back": (hidden, 4 * hidden), "bias": (4 * hidden,),
              "head": (hidden, outputs), "head_bias": (outputs,)}  # fmt: skip
    weights = _even(seeds, shapes, 1.0 / math.sqrt(hidden))
    weights["head_bias"][:, :MASSES] += SMALL
    return weights


def parameter_weights(seeds: Sequence[int], inputs: int, statics: int, hidden: int) -> Weights:
    """An LSTM and a layer that also reads `statics`; its last matrix is nought, so that it begins with no shift."""
    shapes = {"into": (inputs, 4 * hidden), "back": (hidden, 4 * hidden), "bias": (4 * hidden,),
              "first": (hidden + statics, hidden), "first_bias": (hidden,)}  # fmt: skip
    weights = _even(seeds, shapes, 1.0 / math.sqrt(hidden))
    count = len(p_.LEARNED)
    return weights | {"last": torch.zeros(len(seeds), hidden, count), **shared_weights(seeds)}


def shared_weights(seeds: Sequence[int]) -> Weights:
    """One shift of LINTUL5's parameters for all seasons, nought at first."""
    return {"shared": torch.zeros(len(seeds), len(p_.LEARNED))}


def lstm(weights: Weights, read: Tensor) -> Tensor:
    """[M, C, T, H] hidden states of inputs [M, C, T, F]."""
    members, seasons, steps, inputs = read.shape
    by_step = read.transpose(1, 2).reshape(members, -1, inputs)
    fed = torch.baddbmm(weights["bias"][:, None], by_step, weights["into"]).view(members, steps, seasons, -1)
    hidden = fed.shape[-1] // 4
    h = c = fed.new_zeros(members, seasons, hidden)
    over = []
    for now in fed.unbind(1):  # not by index, whose gradient is a whole tensor of noughts for every step
        gates = torch.baddbmm(now, h, weights["back"])
        doors, fresh = gates.split_with_sizes([3 * hidden, hidden], dim=-1)
        let_in, forget, out = torch.sigmoid(doors).chunk(3, dim=-1)
        c = forget * c + let_in * torch.tanh(fresh)
        h = out * torch.tanh(c)
        over.append(h)
    return torch.stack(over, dim=2)


def _inputs(given: Given, draw: Tensor) -> Tensor:
    """[M, C, T, F + S] with the statics beside every step's inputs."""
    read = given.read[draw]
    static = given.static[None, :, None].expand(read.shape[0], -1, read.shape[2], -1)
    return torch.cat([read, static], dim=-1)


def by_day(ends: Tensor, sow: Tensor, at: Tensor, step: int = DAYS) -> Tensor:
    """[M, C, P] on days `at` [C, P] of values at the ends of steps [M, C, T] from sowing on: straight between them, 0
    at sowing, the last one after it."""
    after = (at + 1 - sow[:, None]).clamp(min=0) / step
    low = after.floor().clamp(max=ends.shape[2]).long()
    padded = torch.cat([torch.zeros_like(ends[..., :1]), ends, ends[..., -1:]], dim=-1)
    first = padded.gather(2, low[None].expand(ends.shape[0], -1, -1))
    second = padded.gather(2, (low + 1)[None].expand(ends.shape[0], -1, -1))
    return torch.lerp(first, second, (after - low).clamp(max=1.0).to(ends.dtype)[None].expand_as(first))


def plain(weights: Weights, given: Given, draw: Tensor, at: Tensor) -> Courses:
    """An LSTM that knows nothing of crops but that masses and leaf area are not negative."""
    ends = _positive(_head(weights, lstm(weights, _inputs(given, draw))), given)
    return Courses(*(by_day(v, given.sow, at, given.step) for v in ends))


def with_physics(weights: Weights, given: Given, draw: Tensor, at: Tensor) -> Courses:
    """The same with light use and drought, for `balance` to hold."""
    head = _head(weights, lstm(weights, _inputs(given, draw)))
    mass, grain, lai = _positive(head, given)
    light_use, drought = torch.sigmoid(head[..., MASSES:]).unbind(-1)
    daily = [by_day(v, given.sow, at, given.step) for v in (mass, grain, lai)]
    return Courses(daily[0], daily[1], daily[2], ends=torch.stack([mass, lai, 5.0 * light_use, drought], dim=-1))


def _positive(head: Tensor, given: Given) -> tuple[Tensor, Tensor, Tensor]:
    """Biomass, grain and leaf area of a head's first three numbers."""
    mass, grain, lai = torch.nn.functional.softplus(head[..., :MASSES]).unbind(-1)
    return mass * given.mass, 0.5 * grain * given.mass, lai * LAI


def _head(weights: Weights, states: Tensor) -> Tensor:
    flat = states.reshape(states.shape[0], -1, states.shape[-1])
    out = torch.baddbmm(weights["head_bias"][:, None], flat, weights["head"])
    return out.view(*states.shape[:3], -1)


def through_lintul5(crop: Crop, limits: Limits, learned: bool) -> Predict:
    """LINTUL5 with parameters that are the crop's own, shifted for all seasons alike and, if `learned`, by a network
    that reads the season's weather, soil and management. Shifts are taken before the sigmoid that holds the range."""
    low, high = p_.ranges(crop)
    own = torch.tensor(p_.defaults(crop)[: len(p_.LEARNED)])
    raw = torch.logit(((own - low) / (high - low)).clamp(NEAR, 1.0 - NEAR))
    variant = Variant(limits=limits)

    def predict(weights: Weights, given: Given, draw: Tensor, at: Tensor) -> Courses:
        seasons = given.sow.shape[0]
        moved = weights["shared"][:, None].expand(-1, seasons, -1)
        if learned:
            moved = moved + shifts(weights, given, draw)
        values = low + (high - low) * torch.sigmoid(raw + moved)
        members = values.shape[0]
        rest = given.table[len(p_.LEARNED) :].repeat(1, members)
        table = torch.cat([values.reshape(members * seasons, -1).T, rest])
        rows = (draw[:, None] * seasons + torch.arange(seasons)).reshape(-1)
        grown = simulate(crop, given.weather, table, given.sow.repeat(members), rows=rows, variant=variant,
                         outputs=("biomass", "grain", "lai", "stage"))  # fmt: skip
        days = at.repeat(members, 1).clamp(max=given.weather.days - 1)
        found = [grown[n].gather(1, days).view(members, seasons, -1) for n in grown.names]
        return Courses(found[0], found[1], found[2], found[3], moved)

    return predict


def shifts(weights: Weights, given: Given, draw: Tensor) -> Tensor:
    """[M, C, 14] of LINTUL5's parameters from the season's weather and what is known of the field."""
    states = lstm(weights, given.read[draw])
    own = torch.arange(states.shape[2])[None] < given.length[:, None]
    mean = (states * own[None, :, :, None]).sum(2) / own.sum(1)[None, :, None]
    static = given.static[None].expand(mean.shape[0], -1, -1)
    first = torch.baddbmm(weights["first_bias"][:, None], torch.cat([mean, static], dim=-1), weights["first"])
    return torch.bmm(torch.tanh(first), weights["last"])
