"""Experiments with BINN, by name: parameter recovery, and comparison at held-out soils."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from fieldflux.app.kgml.setting import BadExperiment

from . import verbs
from .compare import compare, rivals, splits_of, table_of_scores, write_compared
from .recipe import read_binn_recipe
from .recovery import recovery
from .training import table_of

Told = Callable[[float, str], None]
RECOVERY, BLOCKS = "binn-recovery", "binn-blocks"
NAMES = (RECOVERY, BLOCKS, *verbs.NAMES)
NOTES = (
    "blocks: of 2 degrees, in 5 folds; states: left out in 5 groups; soils, covariates and folds are the same for all.",
    "Methods learn from all mineral soils and are scored on RaCA's, and apart on the other sets' (log R2 alone).",
    "BINN: ours. dense: the same with a dense network. published: as its paper, places among its inputs. same forcing "
    "everywhere: ours, told the mean climate and litter of all soils, so that places differ by covariates alone.",
    "The numbers in the recipe were chosen on blocks inside the training part of the first fold of draw 0.",
    "R2 in gC m-2: predictions times the mean ratio of measured to predicted of the other folds.",
    "cover: share of single pits inside, intervals set by the other blocks; width_90: upper end over lower end.",
)


def binn_experiment(
    name: str, data: Path, work: Path, out: Path, recipe: Path, quick: bool = False, told: Told = lambda *_: None
) -> list[Path]:
    """Make one of NAMES: tables (text, CSV, JSON) and a plot in `out`.

    recipe: ours; the published one lies beside it. work: what was done is kept there, and not done again.
    Raises BadExperiment, BadRecipe, BadMeasurements.
    """
    if name not in NAMES:
        raise BadExperiment(f"There is no experiment '{name}'. Choose one of: {', '.join(NAMES)}.")
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    if name in verbs.NAMES:
        return verbs.with_checkpoint(name, data, work, out, recipe, quick, told)
    ours = read_binn_recipe(recipe)
    table = table_of(ours, data)
    if name == RECOVERY:
        return recovery(table, out, (0, 1, 2), quick, told)
    published = read_binn_recipe(recipe.parent / "binn-published.toml")
    seeds = ours.split_seeds
    if quick:
        short = {"epochs": 1}
        ours = ours.model_copy(update={"fold_members": 2, "training": ours.training.model_copy(update=short)})
        published = published.model_copy(update={"training": published.training.model_copy(update=short)})
        seeds = seeds[:1]
    found = compare(table, rivals(ours, published), splits_of(table, seeds, ours.folds), work, told)
    return write_compared(out, table_of_scores(found, table), NOTES)
