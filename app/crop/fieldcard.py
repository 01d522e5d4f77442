"""What the experiments on fields found, as scores of a hybrid crop model's card."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from fieldflux.app.cardscores import add_scores
from fieldflux.models.card import Score

from .fieldscores import POOLED

OURS = "LSTM to LINTUL5"
DATA = "DSSAT field experiments"


def add_to_card(folder: Path, tables: Sequence[Path]) -> int:
    """Put the scores of the experiments' tables into the card of the checkpoint in `folder`, in place of earlier ones
    of the same experiment and crop; returns how many. Raises BadCheckpoint."""
    found = [score for table in tables if table.suffix == ".csv" for score in scores_of_table(table)]
    return add_scores(folder, found, lambda score: score.split.partition(";")[0])


def scores_of_table(table: Path) -> list[Score]:
    """RMSE and R2 of the network that gives LINTUL5 its parameters, all other models as baselines, for each line of a
    table of an experiment on fields; those of single places from the main experiment alone."""
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    name = next(n for n in ("crop-fields-noise", "crop-fields-scarcity", "crop-fields") if table.stem.startswith(n))
    scores = []
    for line in lines:
        if line["model"] != OURS or (line["place"] != POOLED and name != "crop-fields"):
            continue
        same = [x for x in lines if all(x[k] == line[k] for k in ("crop", "level", "place"))]
        place = "all held-out seasons" if line["place"] == POOLED else f"at {line['place']}"
        how = f"the architecture trained anew, mean of {line['seeds']} seeds"
        split = f"experiment {name}: {line['crop']}; {line['split']}; learned from {line['level']}; {place}; {how}"
        for metric, column, unit in (("rmse", "rmse_g_m2", "g m-2 dry matter"), ("nse", "r2", "1")):
            score = Score(
                variable="biomass", metric=metric, value=round(float(line[column]), 4), unit=unit, split=split,
                data=DATA, n=int(line["n"]), spread=round(float(line["rmse_sd" if metric == "rmse" else "r2_sd"]), 4),
                baseline={x["model"]: round(float(x[column]), 4) for x in same if x["model"] != OURS},
            )  # fmt: skip
            scores.append(score)
    return scores
