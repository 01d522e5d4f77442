"""Crops, dates and management of the runs of a teaching set, year by year."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from fieldflux.models.crops import ALFALFA, MAIZE, SOYBEAN, WINTER_WHEAT
from numpy.typing import NDArray

from .recipe import Rotation

Array = NDArray[np.float64]
Kinds = NDArray[np.str_]

CORN, SOY, WHEAT, HAY = MAIZE.cdl[0], SOYBEAN.cdl[0], WINTER_WHEAT.cdl[0], ALFALFA.cdl[0]
# Earliest and latest day of year. Sowing 15 April to 10 June is the paper's; harvests begin before its 31 October, so
# that real calendars are inside.
SPRING, AUTUMN = (105, 161), (258, 324)
WHEAT_SOWN, WHEAT_CUT = (253, 319), (161, 232)
YEAR_TO_YEAR = 8.0  # days, standard deviation of a field's dates around its own mean
STAND = (3, 6)  # years of an alfalfa stand


def sample_kinds(rng: np.random.Generator, shares: Mapping[Rotation, float], n: int) -> Kinds:
    """[n] rotations by their shares."""
    return np.asarray(rng.choice(list(shares), size=n, p=list(shares.values())), np.str_)


def sample_seasons(rng: np.random.Generator, kinds: Kinds, irrigated: Array, years: int) -> dict[str, Array]:
    """Annual inputs [n, years] float64 in the vocabulary's names; kinds, irrigated: [n] rotation, chance.

    Wheat is sown in the autumn before its year, after the harvest of what stood before. The dates of an alfalfa stand
    mean nothing to the teacher and are of two kinds, as in real records: 1 and 365, or a spring and an autumn day.
    """
    n = len(irrigated)
    crop = np.stack([_crops(rng, str(kind), years) for kind in kinds])

    def jitter() -> Array:
        return np.asarray(rng.normal(0.0, YEAR_TO_YEAR, crop.shape), np.float64)

    spring = rng.uniform(*SPRING, (n, 1)) - 5.0
    later = np.where(crop == SOY, rng.uniform(0.0, 20.0, (n, 1)), 0.0)
    sow = np.clip(spring + later + jitter(), *SPRING)
    # a slow autumn for the late sown: a crop cut after less than 110 days is no harvest
    cut = np.clip(rng.uniform(*AUTUMN, (n, 1)) + jitter(), np.maximum(AUTUMN[0], sow + 110.0), AUTUMN[1])
    wheat_sown = np.clip(rng.uniform(*WHEAT_SOWN, (n, 1)) + jitter(), *WHEAT_SOWN)
    wheat_cut = np.clip(rng.uniform(*WHEAT_CUT, (n, 1)) + jitter(), *WHEAT_CUT)
    # before wheat, summer crops leave early and wheat waits for them
    before_wheat = np.zeros(crop.shape, bool)
    before_wheat[:, :-1] = crop[:, 1:] == WHEAT
    cut = np.where(before_wheat, np.clip(cut, None, 295.0), cut)
    left = np.where((crop == CORN) | (crop == SOY), cut, 0.0)
    wheat_sown[:, 1:] = np.maximum(wheat_sown[:, 1:], left[:, :-1] + 3.0)

    dated = rng.random((n, 1)) < 0.5
    stand_sown = np.where(dated, rng.uniform(85.0, 120.0, (n, 1)), 1.0)
    stand_cut = np.where(dated, rng.uniform(265.0, 300.0, (n, 1)), 365.0)
    hay = crop == HAY
    new_stand = hay.copy()
    new_stand[:, 1:] &= ~hay[:, :-1]
    new_stand[:, 0] = False
    stand_sown = np.where(new_stand, np.clip(spring, *SPRING), stand_sown)

    wheat = crop == WHEAT
    water = np.broadcast_to((rng.random((n, 1)) < irrigated[:, None]).astype(np.float64), crop.shape)
    first, second = rng.choice([0.0, 0.5, 1.0], (2, n, 1))
    changed = np.where(rng.random((n, 1)) < 0.3, rng.integers(1, max(years, 2), (n, 1)), years)
    tillage = np.where(np.arange(years) < changed, first, second)
    baled = np.where(rng.random((n, 1)) < 0.3, rng.uniform(0.0, 0.7, (n, 1)), 0.0)
    removed = np.where((rng.random(crop.shape) < 0.6) & ~hay, baled, 0.0)
    return {
        "crop": crop.astype(np.float64),
        "sowing_doy": np.rint(np.where(hay, stand_sown, np.where(wheat, wheat_sown, sow))),
        "harvest_doy": np.rint(np.where(hay, stand_cut, np.where(wheat, wheat_cut, cut))),
        "irrigated": np.array(water),
        "tillage": np.where(hay & ~new_stand, 0.0, tillage),
        "residue_removed": removed,
    }


def _crops(rng: np.random.Generator, kind: str, years: int) -> NDArray[np.int64]:
    if kind in ("corn_soy", "soy_corn"):
        first = 0 if kind == "corn_soy" else 1
        return np.where((np.arange(years) + first) % 2 == 0, CORN, SOY)
    if kind == "corn_soy_random":
        return np.where(rng.random(years) < rng.uniform(0.2, 1.0), CORN, SOY)
    if kind == "wheat":
        rotation = [[CORN, SOY, WHEAT], [SOY, WHEAT], [WHEAT], [CORN, WHEAT]][rng.integers(4)]
        return np.roll(np.resize(rotation, years + len(rotation)), rng.integers(len(rotation)))[:years]
    crops: list[int] = []
    while len(crops) < years + STAND[1]:
        crops += [HAY] * int(rng.integers(STAND[0], STAND[1] + 1))
        crops += rng.choice([CORN, SOY, WHEAT], int(rng.integers(1, 4)), p=[0.6, 0.25, 0.15]).tolist()
    start = int(rng.integers(STAND[1]))
    return np.array(crops[start : start + years])
