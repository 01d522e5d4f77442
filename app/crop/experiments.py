"""The three stress tests of hybrid crop models: noise, few seasons, unseen places, against a truth that is known.

A trial's scores are kept in a file, so that a broken-off experiment goes on, and experiments share the trials that
they have in common. Trials come seed by seed: what is there after a while is complete for fewer seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from .noise import Noise
from .places import PLACES
from .recipe import BadCropRecipe, CropRecipe, read_crop_recipe
from .tables import Result, write
from .trials import Scores, Trial, attempt
from .twin import Truth, grow

NAMES = ("crop-noise", "crop-scarcity", "crop-transfer")
OTHERS = ("crop-truth", "crop-schedules")
Told = Callable[[float, str], None]


def crop_experiment(name: str, work: Path, out: Path, recipe: Path, quick: bool, told: Told) -> list[Path]:
    """Make one of NAMES: a table (text, CSV) and a figure in `out`; or one of OTHERS: grow the truth of all seeds;
    choose each model's rate and steps on spare draws. Raises BadCropRecipe, NoWofost."""
    if name not in NAMES + OTHERS:
        raise BadCropRecipe(
            f"There is no experiment '{name}' with crops. Choose one of: {', '.join((*NAMES, *OTHERS))}."
        )
    given = read_crop_recipe(recipe)
    if quick:
        given = given.model_copy(update={"years": 12, "trained": 9, "seeds": 2, "spare": 1, "levels": (0.0, 3.0),
                                         "shares": (0.1, 1.0), "training": {}})  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    if name == "crop-schedules":
        from .schedules import choose

        return choose(given, work, out, quick, told)
    if name == "crop-truth":
        for seed in range(given.seeds):
            truth_of(given, work, seed, lambda done, s=seed: told((s + done) / given.seeds, f"seed {s}"))  # type: ignore[misc]
        return []
    return write(name, out, given, list(results_of(name, given, work, told)))


def results_of(name: str, recipe: CropRecipe, work: Path, told: Told) -> Iterator[Result]:
    """The trials of an experiment with their scores: remembered ones, or made now."""
    kept = work / f"{recipe.crop}-{recipe.truth}-{hash_of(recipe):x}"
    kept.mkdir(parents=True, exist_ok=True)
    trials = list(trials_of(name, recipe))
    truth: Truth | None = None
    grown = -1
    for i, trial in enumerate(trials):
        path = kept / f"{name_of(trial)}.json"
        if not path.exists():
            if truth is None or grown != trial.seed:
                truth, grown = truth_of(recipe, work, trial.seed, lambda _: None), trial.seed
            scores = attempt(recipe, truth, trial)
            path.with_suffix(".part").write_text(json.dumps(scores))
            path.with_suffix(".part").rename(path)
        yield trial, _scores_in(path)
        told((i + 1) / len(trials), f"trial {i + 1} of {len(trials)}")


def truth_of(recipe: CropRecipe, work: Path, seed: int, told: Callable[[float], None]) -> Truth:
    """One seed's truth. Raises NoWofost."""
    return grow(recipe.crop, recipe.years, seed, recipe.truth, work / "truth", told)


def _scores_in(path: Path) -> Scores:
    found: Scores = json.loads(path.read_text())
    return found


def hash_of(recipe: CropRecipe) -> int:
    """The same for the same settings of a trial, in every process."""
    fixed = recipe.model_dump(exclude={"seeds", "spare", "kinds", "levels", "shares", "share_noise"})
    return int(hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:12], 16)


def name_of(trial: Trial) -> str:
    """The trial's file. Without noise the kinds of noise are the same trial."""
    noise = f"{trial.noise.kind}{trial.noise.level:g}" if trial.noise.level else "clear"
    return f"{noise}-share{trial.share:g}-away{trial.away}-seed{trial.seed}"


def trials_of(name: str, recipe: CropRecipe) -> Iterator[Trial]:
    """In the order in which they are made."""
    usual = Noise("both", recipe.share_noise)
    for seed in range(recipe.seeds):
        if name == "crop-noise":
            for kind in recipe.kinds:
                yield from (Trial(Noise(kind, level), 1.0, None, seed) for level in recipe.levels)
        elif name == "crop-scarcity":
            yield from (Trial(usual, share, None, seed) for share in recipe.shares)
        else:
            yield from (Trial(usual, 1.0, away, seed) for away in range(len(PLACES)))
