"""Which days a model was trained on, as its card says, and what the others therefore test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from fieldflux.models.card import Card
from fieldflux.tiles.measurements import Tower
from numpy.typing import NDArray

from .report import TRAINED

Mask = NDArray[np.bool_]

HELD_OUT_YEARS = "held-out years"
SEEN_PLACE = "unseen tower, seen place"
UNSEEN = "unseen tower"
UNKNOWN = "split unknown"
ORDER = (HELD_OUT_YEARS, UNSEEN, SEEN_PLACE, UNKNOWN, TRAINED)


class BadSplit(ValueError):
    """A card whose recipe does not say its training days in a way that can be read."""


def training_days(card: Card, towers: Sequence[Tower]) -> dict[str, Mask] | None:
    """Site -> [day] True where the model was trained; None where its card's recipe has no "train".

    The recipe's "train" is {site: [year or "first/last", ...]}: whole years, or spans of days as ISO dates, both ends
    included. Raises BadSplit.
    """
    train = card.recipe.get("train")
    if train is None:
        return None
    if not isinstance(train, Mapping):
        raise BadSplit(_sentence(card, train))
    return {tower.site: _days(card, tower, train.get(tower.site, ())) for tower in towers}


def _days(card: Card, tower: Tower, entries: Any) -> Mask:
    days, years = tower.dates(), tower.year_of_day()
    mask = np.zeros(tower.days, bool)
    if isinstance(entries, str) or not isinstance(entries, Sequence):
        raise BadSplit(_sentence(card, entries))
    for entry in entries:
        if isinstance(entry, int):
            mask |= years == entry
            continue
        try:
            first, last = (date.fromisoformat(text) for text in str(entry).split("/"))
        except ValueError:
            raise BadSplit(_sentence(card, entry)) from None
        mask |= (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    return mask


def _sentence(card: Card, found: object) -> str:
    return (
        f"The card of '{card.id}' must give its training days as recipe.train = {{site: [year or 'first/last', ...]}}, "
        f"but has {found!r}. Without it nobody can tell which days are held out."
    )


def splits(tower: Tower, training: Mapping[str, Mask] | None, towers: Sequence[Tower]) -> dict[str, Mask]:
    """Split -> [day]. The days of a tower that was trained on are of two splits; those of any other of one."""
    everything = np.ones(tower.days, bool)
    if training is None:
        return {UNKNOWN: everything}
    trained = training[tower.site]
    if trained.any():
        return {HELD_OUT_YEARS: ~trained, TRAINED: trained}
    seen = {other.group for other in towers if training[other.site].any()}
    return {SEEN_PLACE if tower.group in seen else UNSEEN: everything}
