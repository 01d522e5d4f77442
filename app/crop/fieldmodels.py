"""The models of the experiments on fields, each trained in the same way.

How strongly a model is held to its prior and how many steps it learns is chosen on seasons held out inside its
training: whole places where there are several. Then it learns from all of its training, once for every seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from fieldflux.models.hybrids.crop.memberfit import Pace, Penalty, balance, drift, misfit, shift_size, train
from fieldflux.models.hybrids.crop.members import (
    Courses,
    Given,
    Predict,
    Team,
    Weights,
    network_weights,
    parameter_weights,
    plain,
    shared_weights,
    through_lintul5,
    with_physics,
)
from fieldflux.models.processes.lintul5.crops import interpolate
from torch import Tensor

from .fieldgiven import Split, given_with, inner_folds, longer, moved_weather
from .fieldinputs import FieldInputs
from .fieldrecipe import CropName, FieldRecipe, Limits

MODELS = ("LINTUL5 calibrated", "LSTM", "LSTM pre-trained", "LSTM with physics", "LSTM to LINTUL5")
NETWORKS = MODELS[1:4]  # alone, without LINTUL5
TEACHING_EXTRA = 0.1  # weight of grain and leaf area, which the teacher knows without error
GRAIN_OUTPUTS, PHYSICS_OUTPUTS = 3, 5


@dataclass(frozen=True, slots=True)
class FieldModel:
    """One way to predict. begin: weights of seeds. penalty: of where they began. taught: by LINTUL5 at first."""

    name: str
    predict: Predict
    begin: Callable[[Sequence[int]], Weights]
    penalty: Callable[[Weights], Penalty]
    strengths: tuple[float, ...]
    extras: tuple[float, ...]
    pace: Pace
    seeded: bool = True
    taught: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """strength, extra and steps: for each training. error: root mean square over the inner folds, g m-2, with them."""

    strength: tuple[float, ...]
    extra: tuple[float, ...]
    steps: tuple[int, ...]
    error: tuple[float, ...]


def field_model(name: str, inputs: FieldInputs, given: Given, recipe: FieldRecipe, crop: CropName) -> FieldModel:
    """One of MODELS for a crop. Raises KeyError for another name."""
    fed = given.read.shape[3] + given.static.shape[1]
    strengths, hidden = recipe.strengths, recipe.hidden
    pace = Pace(recipe.rate, recipe.steps, recipe.every)
    limits = recipe.limits[crop]
    of_network = ("into", "back", "bias", "head", "head_bias")

    def begin(outputs: int) -> Callable[[Sequence[int]], Weights]:
        return lambda seeds: network_weights(seeds, fed, hidden, outputs)

    def parameters(seeds: Sequence[int]) -> Weights:
        return parameter_weights(seeds, given.read.shape[3], given.static.shape[1], hidden)

    held = balance(interpolate(inputs.crop.extinction, 1.0))
    slow = replace(pace, steps=recipe.network_steps)
    extras, fit = recipe.extras, replace(pace, rate=recipe.rate_parameters)
    models = (
        FieldModel(MODELS[0], through_lintul5(inputs.crop, limits, False), shared_weights, lambda _: shift_size,
                   strengths.shift, extras, fit, seeded=False),
        FieldModel(MODELS[1], plain, begin(GRAIN_OUTPUTS), lambda _: drift(of_network), strengths.decay, extras, slow),
        FieldModel(MODELS[2], plain, begin(GRAIN_OUTPUTS), lambda start: drift(of_network, start), strengths.drift,
                   extras, slow, taught=True),
        FieldModel(MODELS[3], with_physics, begin(PHYSICS_OUTPUTS), lambda _: held, strengths.hold, extras, slow),
        FieldModel(MODELS[4], through_lintul5(inputs.crop, limits, True), parameters, lambda _: shift_size,
                   strengths.shift, extras, pace),
    )  # fmt: skip
    return {model.name: model for model in models}[name]


def every_day(given: Given) -> Tensor:
    """[C, D] all days of all seasons, to ask a model for."""
    return torch.arange(given.weather.days).expand(given.sow.shape[0], -1)


def lintul5(inputs: FieldInputs, given: Given, limits: Limits) -> Courses:
    """LINTUL5 as it comes, for every draw of noise: [K, C, D]."""
    draws = given.read.shape[0]
    with torch.no_grad():
        run = through_lintul5(inputs.crop, limits, False)
        return run(shared_weights(range(draws)), given, torch.arange(draws), every_day(given))


def chosen(
    model: FieldModel, inputs: FieldInputs, given: Given, split: Split, trainings: Sequence[Tensor], draw: int,
    teach: Callable[[FieldModel, Weights, Sequence[Tensor], Sequence[int]], Weights],
) -> Choice:  # fmt: skip
    """Strength, weight and steps for each training [C], with the first seed and one draw of noise."""
    ways = [(strength, extra) for strength in model.strengths for extra in model.extras]
    folds = [(which, held) for which, t in enumerate(trainings) for held in inner_folds(inputs, split, t)]
    cases = [(which, held, s) for which, held in folds for s in range(len(ways))]
    training = torch.stack([trainings[which] & ~held for which, held, _ in cases])
    validation = torch.stack([held for _, held, _ in cases])
    seeds = (0,) * len(cases)
    draws = torch.full((len(cases),), draw)
    weights = model.begin(seeds)
    if model.taught:
        weights = _repeated(teach(model, model.begin((0,) * len(folds)), [trainings[w] & ~h for w, h in folds],
                                  (0,) * len(folds)), len(ways))  # fmt: skip
    team = Team(seeds, draws, training, torch.tensor([ways[s][0] for _, _, s in cases]),
                torch.tensor([ways[s][1] for _, _, s in cases]))  # fmt: skip
    looks: list[Tensor] = []
    counts = ((~torch.isnan(given.biomass[draw]))[None] & validation[..., None]).sum((1, 2))

    def look(step: int, now: Weights) -> None:  # noqa: ARG001
        with torch.no_grad():
            looks.append(misfit(model.predict(now, given, draws, given.at), given, draws, validation) * counts)

    train(model.predict, model.penalty(weights), weights, given, team, model.pace, look)
    errors = torch.stack(looks)  # [looks, cases]
    way, steps, least = [], [], []
    for which in range(len(trainings)):
        sums = torch.stack([
            errors[:, [k for k, (w, _, x) in enumerate(cases) if w == which and x == s]].sum(1)
            for s in range(len(ways))
        ])  # fmt: skip
        best = int(sums.argmin())
        s, step = divmod(best, len(looks))
        total = sum(int(counts[k]) for k, (w, _, x) in enumerate(cases) if w == which and x == 0)
        way.append(ways[s])
        steps.append(step * model.pace.every)
        least.append(float((sums.flatten()[best] / total).sqrt()) * given.mass)
    return Choice(tuple(w[0] for w in way), tuple(w[1] for w in way), tuple(steps), tuple(least))


def predicted(
    model: FieldModel, given: Given, trainings: Sequence[Sequence[Tensor]], held: Sequence[Tensor],
    seeds: Sequence[int], choice: Choice, teach: Callable[[FieldModel, Weights, Sequence[Tensor], Sequence[int]],
    Weights],
) -> Courses:  # fmt: skip
    """[S, C, D] for every season by the model that did not learn from it. trainings: for each seed, one [C] for each
    of the held-out [C]; draws of noise go with the seeds."""
    used = list(seeds) if model.seeded or given.read.shape[0] > 1 or _differ(trainings) else [seeds[0]]
    cases = [(k, f) for k in range(len(used)) for f in range(len(held))]
    own = tuple(used[k] if model.seeded else 0 for k, _ in cases)
    draws = torch.tensor([k if given.read.shape[0] > 1 else 0 for k, _ in cases])
    training = torch.stack([trainings[k][f] for k, f in cases])
    weights = model.begin(own)
    if model.taught:
        weights = teach(model, weights, list(training), own)
    strength, extra = (torch.tensor([v[f] for _, f in cases]) for v in (choice.strength, choice.extra))
    team = Team(own, draws, training, strength, extra)
    wanted = torch.tensor([choice.steps[f] for _, f in cases])
    kept: dict[str, Tensor] = {}

    def look(step: int, now: Weights) -> None:
        which = wanted == step
        if not bool(which.any()):
            return
        with torch.no_grad():
            some = {name: value[which] for name, value in now.items()}
            made = model.predict(some, given, draws[which], every_day(given))
        for name in ("biomass", "grain", "lai"):
            value = getattr(made, name)
            kept.setdefault(name, value.new_zeros(len(cases), *value.shape[1:]))[which] = value

    train(model.predict, model.penalty(weights), weights, given, team, model.pace, look)
    joined = {}
    for name, value in kept.items():
        out = value.new_full((len(used), *value.shape[1:]), torch.nan)
        for at, (k, f) in enumerate(cases):
            out[k, held[f]] = value[at, held[f]]
        joined[name] = out.expand(len(seeds), -1, -1) if len(used) == 1 else out
    return Courses(joined["biomass"], joined["grain"], joined["lai"])


def teacher(
    inputs: FieldInputs, given: Given, recipe: FieldRecipe, crop: CropName
) -> Callable[[FieldModel, Weights, Sequence[Tensor], Sequence[int]], Weights]:
    """A function that trains a network on what LINTUL5, as it comes, makes of the training's seasons and of copies of
    them with moved weather: weather needs no measurement."""
    weathers = [inputs.given, *(moved_weather(inputs, k, 0) for k in range(1, recipe.copies))]
    copies = len(weathers)
    sow = inputs.seasons.sow[:, None]
    since = torch.arange(given.weather.days)[None] - sow
    season = (since >= 0) & (since < (given.step * given.length)[:, None])
    weekly = torch.where(season & (since % 7 == 0), 0.0, torch.nan)[None].expand(copies, -1, -1)
    blank = given_with(inputs, given.mass, weathers, dict.fromkeys(("biomass", "grain", "lai"), weekly))
    made = lintul5(inputs, blank, recipe.limits[crop])
    at = blank.at[None].expand(copies, -1, -1)
    seen = {n: getattr(blank, n) + getattr(made, n).gather(2, at) for n in ("biomass", "grain", "lai")}
    taught = longer(replace(blank, biomass=seen["biomass"], grain=seen["grain"], lai=seen["lai"]), copies)

    def teach(model: FieldModel, weights: Weights, trainings: Sequence[Tensor], seeds: Sequence[int]) -> Weights:
        count = len(trainings)
        training = torch.stack([t.repeat(copies) for t in trainings])
        draws, nothing = torch.zeros(count, dtype=torch.long), torch.zeros(count)
        team = Team(tuple(seeds), draws, training, nothing, nothing + TEACHING_EXTRA)
        pace = replace(model.pace, steps=recipe.teaching)
        return train(model.predict, drift(("bias",)), weights, taught, team, pace, lambda *_: None)

    return teach


def _repeated(weights: Weights, times: int) -> Weights:
    return {name: value.repeat_interleave(times, dim=0) for name, value in weights.items()}


def _differ(trainings: Sequence[Sequence[Tensor]]) -> bool:
    return any(not torch.equal(a, b) for other in trainings[1:] for a, b in zip(trainings[0], other, strict=True))
