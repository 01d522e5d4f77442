"""Scores come into the card of a checkpoint that lies there, in place of earlier ones; those that a new training of the
same model left unmade are kept apart in its card, as of the former weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from fieldflux.models.card import Card, Former, Score
from fieldflux.models.checkpoint import read_checkpoint, write_checkpoint

Place = Callable[[Score], Hashable]
SEEDS = ", mean of "
_KGML = {"synthetic test": "experiment synthetic", "ablation": "experiment ablation",
         "small samples": "experiment small-samples"}  # fmt: skip


def place_of(score: Score) -> Hashable:
    """Where a score belongs in a card, of however many seeds it is."""
    return score.variable, score.metric, score.data, score.split.rpartition(SEEDS)[0] or score.split


def add_scores(folder: Path, found: Sequence[Score], place: Place = place_of) -> int:
    """Put scores into the card in `folder`, in place of earlier ones, also of former weights, of the same `place`;
    returns how many. Raises BadCheckpoint."""
    checkpoint = read_checkpoint(folder)
    card, again = checkpoint.card, {place(s) for s in found}
    kept = (s for s in card.scores if place(s) not in again)
    former = _without(card.former, lambda s: place(s) in again)
    write_checkpoint(folder, card.model_copy(update={"scores": (*kept, *found), "former": former}), checkpoint.weights)
    return len(found)


def with_former(card: Card, before: Card | None) -> Card:
    """A newly trained card, with those scores of the card `before` that were not made again: kept apart, unless the
    weights are the same."""
    if before is None:
        return card
    made = {place_of(s) for s in card.scores}
    whole = Former(weights_sha256=before.weights_sha256, scores=before.scores)
    left = _without([whole], lambda s: place_of(s) in made)
    older = _without(before.former, lambda s: place_of(s) in made)
    if before.weights_sha256 == card.weights_sha256:
        return card.model_copy(update={"scores": card.scores + sum((f.scores for f in left), ()), "former": older})
    return card.model_copy(update={"former": (*left, *older)})


def told_of_former(card: Card, folder: str) -> list[str]:
    """Lines for people: which scores are of former weights, and by which command each is made again."""
    lines = []
    for former in card.former:
        lines.append(
            f"{len(former.scores)} scores are of former weights (sha256 {former.weights_sha256[:12]}), not of these:"
        )
        made = Counter(_command(score, folder) for score in former.scores)
        lines += [f"  {count} made again by: {by}" for by, count in made.items()]
    return lines


def _without(former: Sequence[Former], gone: Callable[[Score], bool]) -> tuple[Former, ...]:
    left = ((f, tuple(s for s in f.scores if not gone(s))) for f in former)
    return tuple(f.model_copy(update={"scores": scores}) for f, scores in left if scores)


def _command(score: Score, folder: str) -> str:
    """What makes a score again; its split begins with the experiment's or the benchmark's name."""
    begin = score.split.partition(":")[0]
    name = _KGML.get(begin, begin)
    if name.startswith("experiment "):
        recipe = " --recipe models/recipes/crop-twin-wofost.toml" if "truth wofost" in score.split else ""
        return f"fieldflux {name}{recipe} --card {folder}"
    if name.startswith("python -m "):
        return f"{name} --card {folder}"
    return f"no command that is known here ({begin})"
