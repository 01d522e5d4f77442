"""Which counties and years of the yield panel are for training and which are held out, from a recipe with a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from fieldflux.models.card import Card
from fieldflux.tiles.measurements import CountyRecord

from .split import BadSplit

TRAINING = "training"
HELD_OUT_YEARS = "held-out years"
UNSEEN = "unseen county"
LONG = 10


@dataclass(frozen=True, slots=True)
class YieldRecipe:
    """How the panel is split.

    A record of less than ten years is short. seed, short_counties: how many of the short records' counties are held
    out, drawn from those with a reported yield. counties: held out whatever is drawn. short_years, long_years: held
    out in every other county.
    """

    seed: int = 3
    short_counties: int = 9
    counties: tuple[str, ...] = ("17003",)
    short_years: tuple[int, ...] = (2018, 2021, 2022)
    long_years: tuple[int, ...] = (2016, 2017, 2018, 2019, 2020)


@dataclass(frozen=True, slots=True)
class YieldSplit:
    """counties: held out in all years. years: county -> its held-out years; training is what is in neither."""

    recipe: YieldRecipe
    counties: frozenset[str]
    years: Mapping[str, frozenset[int]]

    def part(self, fips: str, year: int) -> str:
        """TRAINING, HELD_OUT_YEARS or UNSEEN: one and only one. A county that the split does not know is unseen."""
        if fips in self.counties or fips not in self.years:
            return UNSEEN
        return HELD_OUT_YEARS if year in self.years[fips] else TRAINING

    def train_counties(self, panel: Sequence[CountyRecord]) -> dict[str, list[int]]:
        """County -> its training years with a yield of any crop: what a card's recipe gives as "train_counties"."""
        found = {}
        for record in panel:
            reported = np.any([np.isfinite(values) for values in record.yields.values()], axis=0).tolist()
            years = [
                year
                for year, there in zip(record.years, reported, strict=True)
                if there and self.part(record.fips, year) == TRAINING
            ]
            if years:
                found[record.fips] = years
        return found


def split_yields(panel: Sequence[CountyRecord], recipe: YieldRecipe | None = None) -> YieldSplit:
    """The split of a panel; the same recipe and the same counties give the same split."""
    recipe = recipe or YieldRecipe()
    short = {record.fips for record in panel if len(record.years) < LONG}
    reported = sorted(
        record.fips
        for record in panel
        if record.fips in short and any(np.isfinite(values).any() for values in record.yields.values())
    )
    drawn = np.random.default_rng(recipe.seed).permutation(len(reported))[: recipe.short_counties]
    held = frozenset(reported[int(k)] for k in drawn) | frozenset(recipe.counties)
    years = {
        record.fips: frozenset(recipe.short_years if record.fips in short else recipe.long_years)
        for record in panel
        if record.fips not in held
    }
    return YieldSplit(recipe, held, years)


def trained_years(card: Card) -> dict[str, frozenset[int]]:
    """County -> years that a model was trained on, by its card; {} where it was trained on none. Raises BadSplit."""
    given = card.recipe.get("train_counties") or {}
    try:
        return {f"{int(fips):05d}": frozenset(int(year) for year in years) for fips, years in given.items()}
    except (AttributeError, TypeError, ValueError):
        raise BadSplit(
            f"The card of '{card.id}' must give its training counties as recipe.train_counties = {{FIPS code: "
            f"[year, ...]}}, but has {given!r}. Without it nobody can tell which yields are held out."
        ) from None
