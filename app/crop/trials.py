"""One trial: all models trained on one draw of the truth, spoilt in one way, and scored on seasons without noise.

Models: LINTUL5 as it comes; calibrated (one set of parameters for all seasons, by gradient); a plain LSTM; an LSTM
first trained on LINTUL5's output for all seasons whose weather is known; an LSTM held to the balance of growth; an
LSTM that gives LINTUL5 its parameters. Floors: the mean course of the training's seasons, and gradient boosting.
A fifth of the training's seasons, the last years, chooses among each training's steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from fieldflux.models.hybrids.crop.fit import Predict, Seasons, alone, default_process, through_process
from fieldflux.models.hybrids.crop.inputs import DAYS, FEATURES
from fieldflux.models.hybrids.crop.networks import (
    Course,
    OneForAll,
    ParameterNetwork,
    PhysicsNetwork,
    PlainNetwork,
    residual,
)
from fieldflux.models.hybrids.crop.steps import Budget, fit_steps
from fieldflux.models.processes.lintul5.crops import crop_named, interpolate
from torch import Tensor

from .floors import boosted, climatology
from .noise import Noise
from .recipe import CropRecipe, Training
from .twin import Truth, Twin, spoilt

FLOORS = ("climatology", "boosting")
TRAINED = ("LINTUL5 calibrated", "LSTM", "LSTM pre-trained", "LSTM with physics", "LSTM to LINTUL5")
MODELS = (*FLOORS, "LINTUL5", *TRAINED)
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Trial:
    """noise: what spoils the records; share: of the training's seasons; away: the place left out, or none."""

    noise: Noise
    share: float
    away: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class Split:
    """Which seasons train, which choose among the steps, which have weather but no measurements as well, which test."""

    training: Tensor
    validation: Tensor
    weather: Tensor
    test: Tensor


def split(twin: Twin, trial: Trial) -> Split:
    place, year = twin.truth.drawn.place, twin.truth.drawn.year
    known, test = twin.known, ~twin.known
    if trial.away is not None:
        known, test = known & (place != trial.away), place == trial.away
    g = torch.Generator().manual_seed(trial.seed)
    places = known.nonzero()[:, 0]
    few = max(2, round(trial.share * len(places)))
    chosen = places[torch.randperm(len(places), generator=g)[:few]]
    chosen = chosen[torch.argsort(year[chosen], stable=True)]
    last = max(1, len(chosen) // 5)
    return Split(chosen[:-last], chosen[-last:], places, test.nonzero()[:, 0])


def attempt(recipe: CropRecipe, truth: Truth, trial: Trial) -> Scores:
    """Train and score all models; see `scores`."""
    twin = spoilt(truth, trial.noise, recipe.trained, trial.seed)
    parts = split(twin, trial)
    return {name: scores(predict, twin, parts.test) for name, predict in predictors(recipe, twin, parts, trial.seed)}


def predictors(recipe: CropRecipe, twin: Twin, parts: Split, seed: int) -> Iterator[tuple[str, Predict]]:
    """The models of one trial, each trained when it is asked for."""
    crop = crop_named(recipe.crop)
    both = twin.seasons.of(torch.cat([parts.training, parts.validation]))
    yield "climatology", climatology(both, twin.seasons)
    yield "boosting", boosted(both, seed)
    yield "LINTUL5", default_process(crop)
    for name in TRAINED:
        yield name, trained(recipe, twin, parts, name, recipe.schedule(name), seed)[0]


def trained(
    recipe: CropRecipe, twin: Twin, parts: Split, name: str, plan: Training, seed: int
) -> tuple[Predict, float]:
    """One of TRAINED, and its root mean square error on the validation, g m-2."""
    crop = crop_named(recipe.crop)
    training, validation = twin.seasons.of(parts.training), twin.seasons.of(parts.validation)
    weather = twin.seasons.of(parts.weather)
    budget = Budget(plan.steps, plan.rate, hold=recipe.hold)
    torch.manual_seed(seed)
    inputs, extinction = FEATURES + 1, None
    network: torch.nn.Module
    match name:
        case "LINTUL5 calibrated":
            network = OneForAll(crop)
        case "LSTM to LINTUL5":
            network = ParameterNetwork(crop, recipe.hidden, inputs)
        case "LSTM with physics":
            network = PhysicsNetwork(recipe.hidden, inputs)
            extinction = interpolate(crop.extinction, 1.0)
        case _:
            network = PlainNetwork(recipe.hidden, inputs)
    predict = through_process(crop, network) if "to LINTUL5" in name or "calib" in name else alone(network)
    if name == "LSTM pre-trained":
        # weather needs no measurements: LINTUL5 teaches on all seasons of the training's places and years
        with torch.no_grad():
            taught = replace(weather, biomass=default_process(crop)(weather).biomass)
        last = max(1, len(parts.weather) // 5)
        order = torch.randperm(len(parts.weather), generator=torch.Generator().manual_seed(seed))
        fit_steps(network, predict, taught.of(order[:-last]), taught.of(order[-last:]), budget, seed)
    labelled = len(parts.training) + len(parts.validation)
    unmeasured = weather if len(parts.weather) > labelled else None
    course = fit_steps(network, predict, training, validation, budget, seed, extinction, unmeasured)
    network.eval()
    return predict, course.best


def scores(predict: Predict, twin: Twin, test: Tensor) -> dict[str, float]:
    """Of biomass after sowing, against the truth without noise: r2 (1 - SSE / SST over seasons and steps) and rmse,
    g m-2; the same of the last step (season_r2, season_rmse), which tells seasons apart; violations of what a crop can
    do: falls (share of steps before flowering at which biomass falls by more than 1 g m-2), unsown (mean biomass before
    sowing, g m-2), balance (root mean square of growth that a model's own light, leaves and drought do not explain,
    g m-2 d-1; not a number for models that keep no such account)."""
    seasons: Seasons = twin.seasons.of(test)
    with torch.no_grad():
        course: Course = predict(seasons)
    made, truth, stage = course.biomass, twin.truth.biomass[test], twin.truth.stage[test]
    first = -(-twin.truth.drawn.sow // DAYS)
    falls = ((made[:, 1:] - made[:, :-1]) < -1.0)[stage[:, 1:] < 1.0]
    balance = float("nan")
    if course.light_use is not None:
        extinction = interpolate(crop_named(twin.truth.crop).extinction, 1.0)
        balance = 20.0 * float(residual(course, seasons.radiation, extinction)) ** 0.5
    out = {"falls": float(falls.float().mean()), "unsown": _before(made, first), "balance": balance}
    for prefix, kept in (("", slice(first, None)), ("season_", slice(-1, None))):
        off, spread = (made - truth)[:, kept], truth[:, kept] - truth[:, kept].mean()
        out[f"{prefix}r2"] = 1.0 - float((off**2).sum() / (spread**2).sum())
        out[f"{prefix}rmse"] = float((off**2).mean()) ** 0.5
    return out


def _before(made: Tensor, first: int) -> float:
    """Mean before the step of sowing; 0 where the window begins with it."""
    return float(made[:, : first - 1].mean()) if first > 1 else 0.0
