"""What a model's card says of changes of soil carbon, and what uses of a statement it is evidence enough for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fieldflux.models.card import Card, Score

from .rulesets import Ruleset

CHANGE = "delta_soc"
RATE = "gC m-2 yr-1"
_SYNTHETIC = "synthetic"

NEEDS: Mapping[str, str] = {
    "measured_inputs": "inputs that are measured, where the cube's are synthetic",
    "scenarios": "a baseline and a project scenario of one model, where this statement has one course of time",
    "skill": "a change of soil carbon that the model's card tells better than every simple floor, against measurements",
    "effect_validated": "a validation of the effect of each changed practice on the model's card",
    "yields": "yields of both scenarios, for leakage",
}
"""What a ruleset may ask of a use; each is checked by `lacking`."""


@dataclass(frozen=True, slots=True)
class Skill:
    """How well the card says that changes of soil carbon are told.

    rows: every such score beside its floors. error: the largest RMSE against measurements, gC m-2 yr-1, with the split
    it is of; None where the card has none. better: whether all of these beat every floor.
    """

    rows: tuple[Score, ...]
    error: float | None
    split: str
    better: bool

    def sentence(self, card: Card) -> str:
        """What a reader has to know first."""
        if self.error is None:
            return (
                f"Changes of soil carbon by {card.id} are not evidence: its card has no score of them against "
                f"measurements."
            )
        worst = max(_measured(self.rows), key=_over_floor)
        floors = ", ".join(f"{name} {value:.4g}" for name, value in worst.baseline.items())
        told = (
            f"against measurements its RMSE is {worst.value:.4g} {RATE} ({worst.split}, n = {worst.n}), where the "
            f"floors have {floors or 'nothing'}"
        )
        if self.better:
            return f"Changes of soil carbon by {card.id}: {told}."
        return f"Changes of soil carbon by {card.id} are not evidence: {told}."

    def as_json(self, card: Card) -> dict[str, Any]:
        """Every row, as the card has it."""
        rows = [
            {
                "metric": s.metric,
                "value": s.value,
                "unit": s.unit,
                "split": s.split,
                "data": s.data,
                "n": s.n,
                "spread": s.spread,
                "floors": dict(s.baseline),
            }
            for s in self.rows
        ]
        return {"better_than_floors": self.better, "sentence": self.sentence(card), "scores": rows}


def skill_of(card: Card) -> Skill:
    """The card's scores of changes of soil carbon."""
    rows = tuple(s for s in card.scores if s.variable == CHANGE)
    measured = _measured(rows)
    worst = max(measured, key=lambda s: s.value, default=None)
    better = bool(measured) and all(_over_floor(s) < 1.0 for s in measured)
    return Skill(rows, worst.value if worst else None, worst.split if worst else "", better)


def lacking(
    card: Card,
    ruleset: Ruleset,
    use: str,
    practices: Iterable[str],
    synthetic: bool,
    paired: bool,
    yields: bool,
) -> list[str]:
    """What is missing for a use of a statement, as sentences; none where nothing is.

    practices: that differ between the scenarios. paired: whether there are two. yields: of both.
    """
    skill, changed = skill_of(card), tuple(practices)
    without = [practice for practice in changed if not _validated(card, ruleset, practice)]
    named = " and ".join(f"'{metric}'" for metric in ruleset.metrics)
    found = {
        "measured_inputs": "" if not synthetic else "The cube's inputs are synthetic.",
        "scenarios": "" if paired else "There is no baseline: give `scenario` with `baseline` and `project`.",
        "skill": "" if skill.better else skill.sentence(card),
        "effect_validated": ""
        if not without and changed
        else f"The card of {card.id} has no {named} of the effect of {', '.join(without) or 'any practice'}.",
        "yields": "" if yields else f"{card.id} gives no yields of both scenarios, which leakage needs.",
    }
    return [found[need] for need in ruleset.uses[use] if found[need]]


def _validated(card: Card, ruleset: Ruleset, practice: str) -> bool:
    """Whether the card has each of the ruleset's tests passed (1) for a practice's effect, as `delta_soc:tillage`."""
    passed = {s.metric for s in card.scores if s.variable == f"{CHANGE}:{practice}" and s.value >= 1.0}
    return set(ruleset.metrics) <= passed


def _measured(rows: Iterable[Score]) -> list[Score]:
    return [s for s in rows if s.metric == "rmse" and s.unit == RATE and not _is_synthetic(s)]


def _over_floor(score: Score) -> float:
    """The score over its best floor: below 1 it is better; one without a floor tells nothing."""
    floor = min(score.baseline.values(), default=0.0)
    return score.value / floor if floor > 0 else float("inf")


def _is_synthetic(score: Score) -> bool:
    return _SYNTHETIC in score.data.lower() or _SYNTHETIC in score.split.lower()
