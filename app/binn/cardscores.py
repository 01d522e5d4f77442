"""What BINN's experiments found, as scores of its card."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldflux.models.card import Score
from fieldflux.models.checkpoint import read_checkpoint, write_checkpoint

from .compare import OURS

Line = Mapping[str, str]
# metric of the card: column, its spread, unit
METRICS: Mapping[str, tuple[str, str, str]] = {
    "R2 of logarithms": ("log_r2", "log_r2_sd", "1"),
    "RMSE of logarithms": ("log_rmse", "", "1"),
    "R2": ("r2", "r2_sd", "1"),
    "RMSE": ("rmse", "rmse_sd", "gC m-2"),
    "bias": ("bias", "", "gC m-2"),
}


def add_to_card(folder: Path, tables: Sequence[Path]) -> int:
    """Put the scores of the experiments' CSV tables into the card in `folder`, in place of earlier ones of the same
    split; returns how many. Raises BadCheckpoint.
    """
    found: list[Score] = []
    for table in tables:
        if table.suffix == ".csv":
            with table.open(newline="") as file:
                lines = list(csv.DictReader(file))
            found += compared(lines) if table.stem == "binn-blocks" else recovered(lines)
    again = {(s.variable, s.metric, s.split) for s in found}
    checkpoint = read_checkpoint(folder)
    kept = tuple(s for s in checkpoint.card.scores if (s.variable, s.metric, s.split) not in again)
    write_checkpoint(folder, checkpoint.card.model_copy(update={"scores": (*kept, *found)}), checkpoint.weights)
    return len(found)


def compared(lines: Sequence[Line]) -> list[Score]:
    """Our scores beside those of every other method, by split and stock."""
    out = []
    for own in (x for x in lines if x["method"] == OURS):
        same = [x for x in lines if all(x[c] == own[c] for c in ("split", "stock", "soils")) and x["method"] != OURS]
        for metric, (column, spread, unit) in METRICS.items():
            sd = own[spread] if spread else ""
            out.append(
                Score(
                    variable=own["stock"], metric=metric, value=float(own[column]), unit=unit,
                    split=f"experiment binn-blocks: {own['split']} left out, mean of {own['draws']} draws",
                    data=f"{own['soils']}, mineral soils", n=int(own["n"]),
                    spread=float(sd) if sd not in ("", "nan") else None,
                    baseline={x["method"]: float(x[column]) for x in same},
                )
            )  # fmt: skip
    return out


def recovered(lines: Sequence[Line]) -> list[Score]:
    """Pearson's r of every parameter of every task."""
    return [
        Score(
            variable=x["parameter"], metric="r of known and found values", value=float(x["r"]), unit="1",
            split=f"experiment binn-recovery: {x['task']}, held-out places, mean of {x['seeds']} seeds",
            baseline={"least of the seeds": float(x["r_least"])},
            data="labels made by the model itself at the places of measured soils", n=int(x["n"]),
        )
        for x in lines
    ]  # fmt: skip
