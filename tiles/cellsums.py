"""Sums over cells of a store, of one polygon or of many, made square by square of what is kept decoded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import numba
import numpy as np

from .packing import FILL
from .store import Integers, Store
from .sums import DailySums, Floats


def sums_of_cells(
    store: Store,
    names: Sequence[str],
    rows: Integers,
    cols: Integers,
    weights: Floats,
    owner: Integers,
    owners: int,
    first: date,
    last: date,
    of_members: bool,
) -> list[tuple[DailySums, ...]]:
    """Sums over the cells of each owner (a polygon) of variables valid together: of the mean, or of each member.

    first, last: of one year. rows, cols, weights, owner: [c] of each cell; an owner's cells are consecutive.
    """
    members = store.members if of_members else 1
    days = (last - first).days + 1
    sums = np.zeros((owners, members, len(names) + 1, days))
    if len(names) not in (1, 3):
        raise ValueError(f"Sums are made of one variable or of three together, not of {len(names)}.")
    start = first.timetuple().tm_yday - 1
    if rows.size:
        for square in store.read_squares(names, rows, cols, first.year, of_members):
            side = square.counts[0].shape[-1]
            own, weight = owner[square.cells], weights[square.cells]
            at = (rows[square.cells] - square.row0) * side + cols[square.cells] - square.col0
            counts = [c.reshape(*c.shape[:2], -1) for c in square.counts]
            ends = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), own.size] if owners > 1 else [0, own.size]
            for a, b in pairwise(ends):
                spread = np.zeros(side * side)
                spread[at[a:b]] = weight[a:b]
                if len(names) == 1:
                    _add(counts[0], spread, start, sums[own[a]])
                else:
                    _add_three(counts[0], counts[1], counts[2], spread, start, sums[own[a]])
    # Polygon by polygon a copy where there are many, so that what one answer keeps does not hold all the others.
    each = [of_one if owners == 1 else of_one.copy() for of_one in sums]
    return [tuple(DailySums(s[:-1], s[-1]) for s in of_one) for of_one in each]


# Compiled, and without the interpreter's lock. counts: [member, day, cell]; weights: [cell], also of cells outside, 0:
# eight by eight cells in a row are faster than the few of them that a field has. sums: [member, variable + 1, day], the
# weights last; start: the first day of the sums among those of the counts.


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})  # type: ignore[untyped-decorator]
def _add(counts: Any, weights: Any, start: int, sums: Any) -> None:
    for m in range(sums.shape[0]):
        for d in range(sums.shape[2]):
            day = counts[m, start + d]
            total = 0.0
            valid = 0.0
            for e in range(weights.size):
                c = day[e]
                w = weights[e] if c != FILL else 0.0
                total += w * c
                valid += w
            sums[m, 0, d] += total
            sums[m, 1, d] += valid


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})  # type: ignore[untyped-decorator]
def _add_three(i: Any, j: Any, k: Any, weights: Any, start: int, sums: Any) -> None:
    for m in range(sums.shape[0]):
        for d in range(sums.shape[2]):
            day_i, day_j, day_k = i[m, start + d], j[m, start + d], k[m, start + d]
            total_i = 0.0
            total_j = 0.0
            total_k = 0.0
            valid = 0.0
            for e in range(weights.size):
                a, b, c = day_i[e], day_j[e], day_k[e]
                w = weights[e] if a != FILL and b != FILL and c != FILL else 0.0
                total_i += w * a
                total_j += w * b
                total_k += w * c
                valid += w
            sums[m, 0, d] += total_i
            sums[m, 1, d] += total_j
            sums[m, 2, d] += total_k
            sums[m, 3, d] += valid
