"""What the stress tests found, as scores of the crop hybrid's card: the hybrid, with every other model beside it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldflux.app.cardscores import SEEDS, add_scores
from fieldflux.models.card import Score

from .tables import HYBRID

METRICS = {"r2": ("R2 over seasons and days", "1"), "rmse": ("RMSE over seasons and days", "g m-2")}
GROUPS = {"inputs": "noise on weather x", "targets": "noise on measurements x", "both": "noise on both x",
          "heavy": "heavy-tailed noise on both x", "gaps": "gaps x", "share": "share of the training's seasons",
          "without": "left out:"}  # fmt: skip


def add_to_card(folder: Path, tables: Sequence[Path]) -> int:
    """Put the scores of the experiments' CSV tables into the card in `folder`, in place of earlier ones of the same
    split; returns how many. Raises BadCheckpoint."""
    return add_scores(folder, [score for table in tables if table.suffix == ".csv" for score in scores_of_table(table)])


def scores_of_table(table: Path) -> list[Score]:
    """The hybrid's METRICS at every level of a table that `tables.write` wrote; that of no noise once."""
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    ours = [x for x in lines if x["model"] == HYBRID and (x["level"] != "0" or x["group"] == "both")]
    name = table.stem.rpartition("-")[0]
    return [_score(name, own, lines, metric) for own in ours for metric in METRICS]


def _score(experiment: str, own: Mapping[str, str], lines: Sequence[Mapping[str, str]], metric: str) -> Score:
    same = [x for x in lines if (x["group"], x["level"]) == (own["group"], own["level"]) and x["model"] != HYBRID]
    name, unit = METRICS[metric]
    where = "seasons of the place left out" if own["group"] == "without" else "later seasons of the same places"
    return Score(
        variable="biomass", metric=name, value=float(own[metric]), unit=unit,
        split=f"experiment {experiment}: {own['crop']}, truth {own['truth']}, {GROUPS[own['group']]} {own['level']}: "
        f"{where}, the architecture trained anew{SEEDS}{own['seeds']} seeds",
        data=f"made-up weather and soils; truth grown by {own['truth']} with hidden parameters",
        n=int(own["test_seasons"]), spread=float(own[f"{metric}_sd"]),
        baseline={x["model"]: float(x[metric]) for x in same},
    )  # fmt: skip
