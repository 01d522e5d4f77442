"""Experiments with the network: small samples, the ablation, and the test on synthetic runs.

Every trial keeps its result in a file whose folder is named by all that the result rests on, so that an experiment that
was broken off goes on, and two experiments share their trials.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from fieldflux.models.kgml.recipe import Variant
from fieldflux.tiles.measurements import read_towers
from fieldflux.tiles.measurements.panel import read_panel
from fieldflux.tiles.teaching import open_teaching

from .ablation import ablation_trials, write_ablation
from .budget import ALL, KGML, PURE_ML, QUICK, Arm, Budget, Trial
from .setting import BadExperiment, Setting, process_of
from .shares import Told, share
from .small_samples import small_sample_trials, write_small_samples
from .synthetic_test import VARIANTS, synthetic_test
from .training import read_kgml_recipe
from .trials import Grounds, attempt, county_grounds, prepare, tower_grounds

Result = dict[str, Any]
NAMES = ("small-samples", "ablation", "synthetic")
SHARES = 3  # parts of the work for each worker: reading the measurements again costs some seconds each


def experiment(
    name: str,
    data: Path,
    work: Path,
    out: Path,
    recipe: Path,
    teaching: Path,
    told: Told,
    workers: int = 2,
    quick: bool = False,
    given: Mapping[Variant, Sequence[Path]] | None = None,
) -> list[Path]:
    """Make one of NAMES: tables (text, CSV) and a plot in `out`. work: what is kept for going on; `told` of progress.

    given: files of weights for the synthetic test, by variant: the mean of several is scored. Raises BadExperiment,
    BadRecipe, BadTeaching, BadMeasurements.
    """
    if name not in NAMES:
        raise BadExperiment(f"There is no experiment '{name}'. Choose one of: {', '.join(NAMES)}.")
    open_teaching(teaching)
    setting = Setting(read_kgml_recipe(recipe), QUICK if quick else Budget(), data, teaching, work)
    setting.kept.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    if name == "synthetic":
        return synthetic_test(setting, given or {}, out, workers, told)
    if name == "ablation":
        return write_ablation(out, run(setting, ablation_trials(setting.budget), workers, told))
    results = run(setting, small_sample_trials(setting.budget), workers, told)
    return write_small_samples(out, results, {"KGML": KGML.name, "pure ML": PURE_ML.name})


def weights_given(entries: Sequence[str]) -> dict[Variant, tuple[Path, ...]]:
    """Entries as "closed=FILE" or "closed=FOLDER", the work folder of a training: variant -> files of weights.

    Of a folder: those of every member after the steps on synthetic runs. Raises BadExperiment.
    """
    found: dict[Variant, tuple[Path, ...]] = {}
    for entry in entries:
        name, _, given = entry.partition("=")
        known = [variant for variant in VARIANTS if variant == name]
        path = Path(given)
        files = sorted(path.glob("member-*/synthetic.pt")) if given and path.is_dir() else [path]
        if not known or not files or not all(file.is_file() for file in files):
            raise BadExperiment(
                f"Weights are given as VARIANT=PATH, with a variant of {', '.join(VARIANTS)} and a file of weights or "
                f"the work folder of a training whose members have done steps 1 and 2; given: '{entry}'."
            )
        found[known[0]] = (*found.get(known[0], ()), *files)
    return found


def run(setting: Setting, trials: Sequence[Trial], workers: int, told: Told) -> list[Result]:
    """Do what is missing of the trials, and read the results of all of them."""
    arms = list(dict.fromkeys(t.arm for t in trials if t.arm.pretrained and not setting.weights(t.arm).exists()))
    share(_prepare, setting, [[arm] for arm in arms], workers, told, (0.0, 0.2), "pre-training", len(arms),
          lambda: sum(setting.weights(arm).exists() for arm in arms))  # fmt: skip
    missing = [t for t in trials if not setting.result(t).exists()]
    # towers and counties apart, since each needs its own lessons; long trials are spread over the parts
    shares: list[list[Trial]] = []
    for part in ("towers", "counties"):
        own = sorted((t for t in missing if t.part == part), key=lambda t: (t.size == ALL, t.size, t.arm.name))
        count = min(SHARES * workers, len(own)) if workers > 1 else 1
        shares += [own[k::count] for k in range(count) if own[k::count]]
    share(_attempt, setting, shares, workers, told, (0.2, 1.0), "tuning", len(missing),
          lambda: sum(setting.result(t).exists() for t in missing))  # fmt: skip
    return [json.loads(setting.result(t).read_text()) for t in trials]


def _prepare(setting: Setting, arms: Sequence[Arm]) -> None:
    torch.set_num_threads(1)
    grounds = grounds_of(setting)
    for arm in arms:
        prepare(arm, grounds, setting.budget, setting.recipe.network, setting.weights(arm))


def _attempt(setting: Setting, trials: Sequence[Trial]) -> None:
    torch.set_num_threads(1)
    grounds = grounds_of(setting, trials[0].part)
    for trial in trials:
        weights = setting.weights(trial.arm)
        attempt(trial, grounds, setting.budget, setting.recipe.network, weights, setting.result(trial))


def grounds_of(setting: Setting, part: str | None = None) -> Grounds:
    """Reads what trials of a part ("towers", "counties"; None: pre-training alone) need."""
    recipe = setting.recipe
    taught = open_teaching(setting.teaching)
    train, validation, _ = taught.split(recipe.seed)
    if part == "towers":
        lessons, learn, check = tower_grounds(read_towers(setting.data), process_of(recipe), recipe)
        return Grounds(taught, train, validation, lessons, (), learn, check, recipe.folds, frozenset())
    if part == "counties":
        lessons, learn, check, unseen = county_grounds(
            read_panel(setting.data), process_of(recipe), recipe, setting.budget
        )
        return Grounds(taught, train, validation, (), lessons, learn, check, recipe.folds, unseen)
    return Grounds(taught, train, validation, (), (), {}, {}, recipe.folds, frozenset())
