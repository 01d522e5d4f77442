"""Yields forecast within the season: weather up to a day, then that of the same place's earlier years."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from fieldflux.models.hybrids.crop.learn import yields_of
from fieldflux.models.hybrids.crop.seasonnet import SeasonNetwork
from fieldflux.models.hybrids.crop.served import Kind
from numpy.typing import NDArray

from .county import CountyYear, lessons_of

Array = NDArray[np.float64]
MOST_YEARS = 15
"""Earlier years that a forecast takes at most, the latest ones."""


def earlier_years(row: CountyYear) -> list[int]:
    """Years before the season's whose weather can stand in for what is to come."""
    first = row.record.years[0] + (1 if _autumn(row) else 0)
    return list(range(first, row.year))[-MOST_YEARS:]


def _autumn(row: CountyYear) -> bool:
    return row.sowing > row.harvest


def forecast_rows(
    kind: Kind, networks: Sequence[SeasonNetwork], rows: Sequence[CountyYear], cuts: Sequence[int]
) -> list[Array]:
    """For each row [M, years] t ha-1, one for each member and earlier year.

    cuts: [len(rows)] day numbers of the season (from its memory's beginning) from which the weather is not known. Each
    row needs an earlier year.
    """
    found: list[Array] = [np.zeros((0, 0))] * len(rows)
    for cut in sorted(set(cuts)):
        chosen = [i for i, c in enumerate(cuts) if c == cut]
        many = [(i, year) for i in chosen for year in earlier_years(rows[i])]
        lessons = lessons_of(kind, [rows[i] for i, _ in many], [year for _, year in many], cut)
        with torch.inference_mode():
            made = yields_of(list(networks), lessons)[0].double().numpy()
        for i in chosen:
            found[i] = made[:, [k for k, (j, _) in enumerate(many) if j == i]]
    return found
