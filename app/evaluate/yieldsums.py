"""How sure sums over counties are: held-out yields of a year added up, by what is taken of how their errors hang
together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from fieldflux.models.correlation import LEAST_YEARS, Pairs, SumsCovered, coverage_of_sums
from fieldflux.models.crops import CROPS
from fieldflux.models.intervals import LEVELS, Residuals
from fieldflux.tiles.measurements import CountyRecord

from .report import Table
from .yieldsplit import TRAINING

if TYPE_CHECKING:
    from .yields import YieldPoints

FROM_KM = (0.0, 150.0)
"""Where classes of distance begin: counties side by side or nearly so, and others."""
DATA = "county yields of maize and soybean, unseen counties and held-out years"


def held_out_pairs(points: Sequence[YieldPoints], panel: Sequence[CountyRecord]) -> Pairs | None:
    """Yields that neither the model nor its floors were trained on, gC m-2, with its own GPP, a county a group; None
    where there are none, or the model has one member."""
    at = {r.fips: (r.longitude, float(np.mean(r.points["latitude"]))) for r in panel}
    parts = []
    for one in points:
        table, carbon = one.table, CROPS[one.table.crop].carbon_m2(1.0)
        there = np.isfinite(one.modelled).all(axis=0) & np.isfinite(table.observed)
        keep = there & ~one.trained & (table.part != TRAINING)
        if one.gpp != "own" or len(one.modelled) < 2 or not keep.any():
            continue
        fips = table.fips[keep]
        residuals = Residuals(fips, table.observed[keep] * carbon, one.modelled[:, keep] * carbon)
        where = np.array([at[str(f)] for f in fips])
        parts.append(Pairs(residuals, table.year[keep].astype(np.int64), np.full(fips.size, table.crop), where))
    if not parts:
        return None
    residuals = Residuals(
        np.concatenate([p.residuals.group for p in parts]),
        np.concatenate([p.residuals.observed for p in parts]),
        np.concatenate([p.residuals.members for p in parts], axis=1),
    )
    years, kinds, places = (np.concatenate([getattr(p, name) for p in parts]) for name in ("years", "kinds", "places"))
    return Pairs(residuals, years, kinds, places)


def sums_covered(points: Sequence[YieldPoints], panel: Sequence[CountyRecord]) -> tuple[SumsCovered, ...]:
    """Coverage of sums over the held-out counties of each year and crop, each year left out of what set them."""
    pairs = held_out_pairs(points, panel)
    return () if pairs is None else coverage_of_sums(pairs, LEVELS, FROM_KM)


def sums_table(found: Sequence[SumsCovered]) -> Table:
    """A line for each level."""
    return Table(
        "yield_sums",
        "Coverage of intervals of sums over held-out counties of a year",
        ("level", "independent errors", "measured correlation", "common errors", "years", "sums", "county years"),
        tuple((c.level, c.independent, c.measured, c.common, c.years, c.sums, c.pairs) for c in found),
        (
            "Share of sums inside, each year of the same weight and left out of what set its intervals: widths put "
            "together as if the errors of counties were independent, by their measured correlation, or common to all. "
            f"Where fewer than {LEAST_YEARS} years have pairs, none is measured, and errors are taken to be common.",
        ),
    )
