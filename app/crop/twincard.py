"""What the stress tests found, as scores of the crop hybrid's card: the hybrid, with every other model beside it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldflux.models.card import Score
from fieldflux.models.checkpoint import read_checkpoint, write_checkpoint

from .tables import HYBRID

METRICS = {"r2": ("R2 over seasons and days", "1"), "rmse": ("RMSE over seasons and days", "g m-2")}
GROUPS = {"inputs": "noise on weather x", "targets": "noise on measurements x", "both": "noise on both x",
          "heavy": "heavy-tailed noise on both x", "gaps": "gaps x", "share": "share of the training's seasons",
          "without": "left out:"}  # fmt: skip
PREFIX = "experiment crop twin, "
SEEDS = ", mean of "


def add_to_card(folder: Path, tables: Sequence[Path]) -> int:
    """Put the scores of the experiments' CSV tables into the card in `folder`, in place of earlier ones of the same
    split; returns how many. Raises BadCheckpoint."""
    found = [score for table in tables if table.suffix == ".csv" for score in scores_of_table(table)]
    again = {_place(s) for s in found}
    checkpoint = read_checkpoint(folder)
    kept = tuple(s for s in checkpoint.card.scores if _place(s) not in again)
    write_checkpoint(folder, checkpoint.card.model_copy(update={"scores": (*kept, *found)}), checkpoint.weights)
    return len(found)


def _place(score: Score) -> tuple[str, str]:
    """Where a score belongs in a card, of however many seeds it is."""
    return score.split.rpartition(SEEDS)[0] or score.split, score.metric


def scores_of_table(table: Path) -> list[Score]:
    """The hybrid's METRICS at every level of a table that `tables.write` wrote; that of no noise once."""
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    ours = [x for x in lines if x["model"] == HYBRID and (x["level"] != "0" or x["group"] == "both")]
    return [_score(own, lines, metric) for own in ours for metric in METRICS]


def _score(own: Mapping[str, str], lines: Sequence[Mapping[str, str]], metric: str) -> Score:
    same = [x for x in lines if (x["group"], x["level"]) == (own["group"], own["level"]) and x["model"] != HYBRID]
    name, unit = METRICS[metric]
    where = "seasons of the place left out" if own["group"] == "without" else "later seasons of the same places"
    return Score(
        variable="biomass", metric=name, value=float(own[metric]), unit=unit,
        split=f"{PREFIX}{own['crop']}, truth {own['truth']}, {GROUPS[own['group']]} {own['level']}: {where}, "
        f"the architecture trained anew{SEEDS}{own['seeds']} seeds",
        data=f"made-up weather and soils; truth grown by {own['truth']} with hidden parameters",
        n=int(own["test_seasons"]), spread=float(own[f"{metric}_sd"]),
        baseline={x["model"]: float(x[metric]) for x in same},
    )  # fmt: skip
