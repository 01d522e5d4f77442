"""A model's card for a terminal: what it is, and its scores, each beside the best of its floors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .cardscores import told_of_former

if TYPE_CHECKING:
    from fieldflux.models.card import Card, Score
    from rich.console import Console

LESS_IS_BETTER = ("rmse", "mae", "bias")
MORE_IS_BETTER = ("nse", "r2", "r with", "r of")


def show_card(card: Card, console: Console, whole: bool) -> None:
    """Print a card. whole: every score; else those rows that say most, and how many more there are."""
    from rich.markup import escape
    from rich.table import Table

    def said(name: str, text: str) -> None:
        console.print(f"[bold]{name}[/] {escape(text)}", highlight=False)

    console.print(f"[bold]{card.id}[/]  {escape(card.title)}\n{escape(card.description)}\n", highlight=False)
    said("Needs daily:", ", ".join(card.needs_daily))
    said("Needs a year:", ", ".join(card.needs_annual))
    said("Needs of the place:", ", ".join(card.needs_static))
    said("Uses where there is:", ", ".join(card.optional) or "nothing")
    said("Gives:", ", ".join(card.outputs))
    said("Members:", str(card.members))
    said("Crops:", ", ".join(card.domain.crops))
    said("Climates:", card.domain.climates)
    said("Years:", card.domain.years)
    said("Weights:", f"sha256 {card.weights_sha256}")
    said("Licence:", card.licence)
    shown = list(card.scores) if whole else telling(card.scores)
    if shown:
        table = Table("", "score", "value", "best floor", "days or sites", title="Scores", title_justify="left")
        for s in shown:
            value = f"{s.value:.3g}" + (f" ± {s.spread:.2g}" if s.spread is not None else "")
            unit = "" if s.unit == "1" else f" {s.unit}"
            table.add_row(s.variable, f"{s.metric}{unit}", value, escape(beside(s)), escape(f"{s.split} (n = {s.n})"))
        console.print(table)
    if len(shown) < len(card.scores):
        console.print(f"{len(card.scores) - len(shown)} more scores, and every floor: with --all, or --json.")
    for line in told_of_former(card, "models/checkpoints/" + card.id):
        console.print(line, highlight=False, markup=False)
    for fault in card.known_faults:
        said("Known fault:", fault)


def telling(scores: Sequence[Score]) -> list[Score]:
    """One score of each variable and split: its root mean square error, else the first that the card has."""
    kept: dict[tuple[str, str, str], Score] = {}
    for score in scores:
        key = score.variable, score.split, score.data
        if key not in kept or (_is_rmse(score) and not _is_rmse(kept[key])):
            kept[key] = score
    return list(kept.values())


def beside(score: Score) -> str:
    """The best of a score's floors, and how many there are: `county trend 1.14 (of 9)`. All where none is best."""
    told = {name: f"{name} {value:.3g}" for name, value in score.baseline.items()}
    metric = score.metric.lower()
    best = ""
    if score.baseline and metric.startswith(LESS_IS_BETTER):
        best = min(score.baseline, key=lambda name: abs(score.baseline[name]))
    elif score.baseline and metric.startswith(MORE_IS_BETTER):
        best = max(score.baseline, key=lambda name: score.baseline[name])
    if not best:
        return ", ".join(told.values())
    return told[best] + (f" (of {len(told)})" if len(told) > 1 else "")


def _is_rmse(score: Score) -> bool:
    return score.metric.lower().startswith("rmse")
