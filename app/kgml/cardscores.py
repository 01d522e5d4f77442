"""What an experiment found, as scores of a model's card."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fieldflux.app.cardscores import add_scores
from fieldflux.models.card import Score
from fieldflux.models.checkpoint import read_checkpoint, write_checkpoint

from .budget import KGML

Line = Mapping[str, str]


def add_to_card(folder: Path, tables: Sequence[Path]) -> int:
    """Put the scores of experiments' tables into the card of the checkpoint in `folder`, in place of earlier ones of
    the same experiments; returns how many. Raises BadCheckpoint.
    """
    found = [score for table in tables if table.suffix == ".csv" for score in scores_of_table(table)]
    return add_scores(folder, found, lambda score: score.split.partition(":")[0])


def put_beside(folder: Path, other: Path, name: str) -> int:
    """Put the scores of the checkpoint in `other` as baseline `name` beside those of the one in `folder`, where split,
    variable, metric and number of values are the same; returns how many. Raises BadCheckpoint.
    """
    theirs = {(s.split, s.variable, s.metric, s.n): s.value for s in read_checkpoint(other).card.scores}
    checkpoint = read_checkpoint(folder)
    scores, count = [], 0
    for score in checkpoint.card.scores:
        value = theirs.get((score.split, score.variable, score.metric, score.n))
        if value is not None and "coverage" not in score.metric:
            score = score.model_copy(update={"baseline": {**score.baseline, name: value}})
            count += 1
        scores.append(score)
    write_checkpoint(folder, checkpoint.card.model_copy(update={"scores": tuple(scores)}), checkpoint.weights)
    return count


def scores_of_table(table: Path) -> list[Score]:
    """R2 of our network, with that of every other model as a baseline, for each line of an experiment's table."""
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    if table.stem == "synthetic":
        # the published network knows maize and soybean only
        lines = [line for line in lines if line["model"] != "paper" or line["crops"] != "all"]
        return _scores(lines, "closed", _synthetic, "synthetic runs: the teacher's values")
    if table.stem == "ablation":
        return _scores(lines, KGML.name, _ablation, "flux towers and USDA county yields")
    if table.stem == "small-samples":
        return _scores(lines, "KGML", _small_samples, "flux towers and USDA county yields")
    return []


def _synthetic(line: Line) -> str:
    return f"synthetic test: {line['split']}, {line['crops']}"


def _ablation(line: Line) -> str:
    return f"ablation: {line['sample']} sample, held-out places, {line['gpp']} GPP"


def _small_samples(line: Line) -> str:
    return f"small samples: learned from {line['size']}, held-out places, {line['gpp']} GPP"


def _scores(lines: Sequence[Line], ours: str, split: Callable[[Line], str], data: str) -> list[Score]:
    """Replicates are averaged; `n` counts what was compared, or the replicates where a table does not say."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    counts: dict[tuple[str, str], int] = {}
    for line in lines:
        if not line["r2"] or not math.isfinite(r2 := float(line["r2"])):
            continue
        key = split(line), line["variable"]
        values.setdefault(key, {}).setdefault(line["model"], []).append(r2)
        if line["model"] == ours:
            counts[key] = counts.get(key, 0) + int(float(line.get("n") or line.get("replicates") or 0))
    return [
        Score(
            variable=variable,
            metric="R2, pooled",
            value=_mean(models[ours]),
            unit="1",
            split=of,
            data=data,
            n=counts[of, variable],
            spread=_sd(models[ours]),
            baseline={name: _mean(own) for name, own in models.items() if name != ours},
        )
        for (of, variable), models in values.items()
        if ours in models
    ]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _sd(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return round(math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)), 4)
