"""The three stress tests: noise, few seasons, unseen places. Every model is trained and scored in the same way.

Models: LINTUL5 as it comes; calibrated (one set of parameters for all seasons, by gradient); a plain LSTM; an LSTM
first trained on LINTUL5's own output; an LSTM held to the balance of growth; an LSTM that gives LINTUL5 its parameters.
A fifth of the training seasons, the last years, stops the training early. A trial's scores are kept in a file, so that
a broken-off experiment goes on.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from fieldflux.models.hybrids.crop.fit import (
    Predict,
    Schedule,
    Seasons,
    alone,
    default_process,
    fit,
    through_process,
)
from fieldflux.models.hybrids.crop.networks import OneForAll, ParameterNetwork, PhysicsNetwork, PlainNetwork
from fieldflux.models.processes.lintul5.crops import crop_named, interpolate
from torch import Tensor

from .recipe import BadCropRecipe, CropRecipe, read_crop_recipe
from .twin import PLACES, Twin, twin

NAMES = ("crop-noise", "crop-scarcity", "crop-transfer")
MODELS = ("LINTUL5", "LINTUL5 calibrated", "LSTM", "LSTM pre-trained", "LSTM with physics", "LSTM to LINTUL5")
Told = Callable[[float, str], None]
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of all models. noise: level; share: of the training seasons; away: the place left out, or none."""

    noise: float
    share: float
    away: int | None
    seed: int


def crop_experiment(name: str, work: Path, out: Path, recipe: Path, quick: bool, told: Told) -> list[Path]:
    """Make one of NAMES: a table (text, CSV) and a figure in `out`. Raises BadCropRecipe."""
    if name not in NAMES:
        raise BadCropRecipe(f"There is no experiment '{name}' with crops. Choose one of: {', '.join(NAMES)}.")
    given = read_crop_recipe(recipe)
    if quick:
        given = given.model_copy(update={"years": 10, "trained": 7, "seeds": 2, "rounds": 8, "noise": (0.0, 3.0),
                                         "shares": (0.1, 1.0)})  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    kept = work / f"{given.crop}-{hash_of(given):x}"
    kept.mkdir(parents=True, exist_ok=True)
    trials = list(trials_of(name, given))
    results: list[tuple[Trial, Scores]] = []
    for i, trial in enumerate(trials):
        results.append((trial, _remembered(kept, given, trial)))
        told((i + 1) / len(trials), f"trial {i + 1} of {len(trials)}")
    return _write(name, out, given, results)


def hash_of(recipe: CropRecipe) -> int:
    """The same for the same settings, in every process."""
    fixed = recipe.model_dump(exclude={"seeds", "noise", "shares"})
    return int(hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:12], 16)


def trials_of(name: str, recipe: CropRecipe) -> Iterator[Trial]:
    for seed in range(recipe.seeds):
        if name == "crop-noise":
            yield from (Trial(level, 1.0, None, seed) for level in recipe.noise)
        elif name == "crop-scarcity":
            yield from (Trial(1.0, share, None, seed) for share in recipe.shares)
        else:
            yield from (Trial(1.0, 1.0, away, seed) for away in range(len(PLACES)))


def _remembered(kept: Path, recipe: CropRecipe, trial: Trial) -> Scores:
    path = kept / f"noise{trial.noise:g}-share{trial.share:g}-away{trial.away}-seed{trial.seed}.json"
    if path.exists():
        found: Scores = json.loads(path.read_text())
        return found
    scores = attempt(recipe, trial)
    path.with_suffix(".part").write_text(json.dumps(scores))
    path.with_suffix(".part").rename(path)
    return scores


def attempt(recipe: CropRecipe, trial: Trial) -> Scores:
    """Train and score all models on one draw of the truth: of each, r2 (1 - SSE / SST), rmse (g m-2), falls (share of
    steps before flowering at which biomass falls by more than 1 g m-2)."""
    drawn = twin(recipe.crop, recipe.years, trial.noise, 1000 + trial.seed)
    known = drawn.year < recipe.trained
    test = ~known if trial.away is None else drawn.place == trial.away
    if trial.away is not None:
        known = known & (drawn.place != trial.away)
    g = torch.Generator().manual_seed(trial.seed)
    places = known.nonzero()[:, 0]
    few = max(2, round(trial.share * len(places)))
    chosen = places[torch.randperm(len(places), generator=g)[:few]]
    stops = max(1, len(chosen) // 5)
    chosen = chosen[torch.argsort(drawn.year[chosen])]
    training, validation = drawn.seasons.of(chosen[:-stops]), drawn.seasons.of(chosen[-stops:])
    return {
        model: _scores(predict, drawn, test)
        for model, predict in _trained(recipe, drawn, training, validation, trial.seed)
    }


def _trained(
    recipe: CropRecipe, drawn: Twin, training: Seasons, validation: Seasons, seed: int
) -> Iterator[tuple[str, Predict]]:
    crop = crop_named(recipe.crop)
    # few seasons make few steps a round: every training gets about as many steps as one with all seasons
    full = recipe.trained * len(PLACES) * 4 // 5
    rounds = min(
        recipe.rounds * 4, max(recipe.rounds, recipe.rounds * full // (32 * max(1, -(-len(training.sow) // 32))))
    )
    schedule = Schedule(rounds=rounds, rate=recipe.rate, hold=recipe.hold)
    own = default_process(crop)
    yield "LINTUL5", own
    for name in MODELS[1:]:
        torch.manual_seed(seed)
        network: torch.nn.Module
        extinction = None
        if name == "LINTUL5 calibrated":
            network = OneForAll(crop)
            predict = through_process(crop, network)
        elif name == "LSTM to LINTUL5":
            network = ParameterNetwork(crop, recipe.hidden)
            predict = through_process(crop, network)
        elif name == "LSTM with physics":
            network = PhysicsNetwork(recipe.hidden)
            predict, extinction = alone(network), interpolate(crop.extinction, 1.0)
        else:
            network = PlainNetwork(recipe.hidden)
            predict = alone(network)
        if name == "LSTM pre-trained":
            # weather needs no measurements: LINTUL5 teaches on all seasons of the training's places and years
            with torch.no_grad():
                taught = replace(training, biomass=own(training).biomass)
                held = replace(validation, biomass=own(validation).biomass)
            fit(network, predict, taught, held, schedule, seed)
        fit(network, predict, training, validation, schedule, seed, extinction)
        network.eval()
        yield name, predict
    assert drawn.truth.shape[0] >= len(training.sow)


def _scores(predict: Predict, drawn: Twin, test: Tensor) -> dict[str, float]:
    which = test.nonzero()[:, 0]
    with torch.no_grad():
        made = predict(drawn.seasons.of(which)).biomass
    truth, growing = drawn.truth[which], drawn.growing[which]
    used = torch.zeros_like(growing)
    used[:, (~torch.isnan(drawn.seasons.biomass)).any(0)] = True
    off, spread = (made - truth)[used], truth[used] - truth[used].mean()
    falls = ((made[:, 1:] - made[:, :-1]) < -1.0)[growing[:, 1:]]
    return {
        "r2": 1.0 - float((off**2).sum() / (spread**2).sum()), "rmse": float((off**2).mean()) ** 0.5,
        "falls": float(falls.float().mean()),
    }  # fmt: skip


def _write(name: str, out: Path, recipe: CropRecipe, results: list[tuple[Trial, Scores]]) -> list[Path]:
    def level(trial: Trial) -> str:
        if name == "crop-noise":
            return f"noise x {trial.noise:g}"
        return f"{100.0 * trial.share:g} % of seasons" if name == "crop-scarcity" else f"without place {trial.away}"

    levels = list(dict.fromkeys(level(trial) for trial, _ in results))
    rows = []
    for at in levels:
        for model in MODELS:
            found = [scores[model] for trial, scores in results if level(trial) == at]
            columns = {key: np.array([score[key] for score in found]) for key in ("r2", "rmse", "falls")}
            rows.append((at, model, len(found), columns))
    lines = [
        f"{name}: {recipe.crop}, twin of LINTUL5 with hidden parameters, 3 made-up places x {recipe.years} seasons, "
        f"{recipe.trained} to train; mean and standard deviation over {recipe.seeds} seeds (truth, noise and weights).",
        "Test: biomass without noise, weather with it; "
        + ("all seasons of the place left out." if name == "crop-transfer" else "seasons after those of the training."),
        f"{'':24s} {'':20s} {'R2':>16s} {'RMSE, g m-2':>16s} {'falls, %':>9s}",
    ]
    for at, model, _, c in rows:
        lines.append(
            f"{at:24s} {model:20s} {c['r2'].mean():8.3f} ±{c['r2'].std():6.3f} {c['rmse'].mean():9.1f} "
            f"±{c['rmse'].std():5.1f} {100.0 * c['falls'].mean():9.2f}"
        )
    text, table, figure = (out / f"{name}.{kind}" for kind in ("txt", "csv", "png"))
    text.write_text("\n".join(lines) + "\n")
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["level", "model", "seeds", "r2", "r2_sd", "rmse_g_m2", "rmse_sd", "falls_share"])
        for at, model, count, c in rows:
            writer.writerow([at, model, count, c["r2"].mean(), c["r2"].std(), c["rmse"].mean(), c["rmse"].std(),
                             c["falls"].mean()])  # fmt: skip
    _figure(figure, levels, rows)
    return [text, table, figure]


def _figure(path: Path, levels: list[str], rows: list[tuple[str, str, int, dict[str, np.ndarray]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for model in MODELS:
        own = [c["rmse"] for _, name, _, c in rows if name == model]
        axes.errorbar(range(len(levels)), [v.mean() for v in own], [v.std() for v in own], marker="o", label=model)
    axes.set_xticks(range(len(levels)), levels)
    axes.set_ylabel("RMSE of biomass, g m$^{-2}$")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
