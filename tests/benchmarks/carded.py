"""A benchmark's table beside a checkpoint, and what it says in the checkpoint's card."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fieldflux.app.cardscores import add_scores
from fieldflux.models.card import Score

Line = Mapping[str, str]
DATA = "made-up weather; LINTUL5 alone, no networks"


def keep(folder: Path, name: str, lines: Sequence[Line], scores: Callable[[Sequence[Line]], list[Score]]) -> None:
    """Write `folder`/process/NAME.csv, and put its scores into the card in `folder`, in place of all that this
    benchmark had there."""
    path = table(folder, name)
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    count = add_scores(folder, scores(lines_of(path)), lambda score: score.split.partition(":")[0])
    print(f"{count} scores are in the card of {folder}.")


def table(folder: Path, name: str) -> Path:
    return folder / "process" / f"{name}.csv"


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
