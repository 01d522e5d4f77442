"""Sums over cells of a store, of one polygon or of many, made square by square of what is kept decoded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numba
import numpy as np

from .packing import FILL
from .store import Integers, Store, Under
from .sums import DailySums, Floats


def sums_of_cells(
    store: Store,
    names: Sequence[str],
    under: Under,
    weights: Floats,
    owner: Integers,
    owners: int,
    first: date,
    last: date,
    of_members: bool,
) -> list[tuple[DailySums, ...]]:
    """Sums over the cells of each owner (a polygon) of variables valid together: of the mean, or of each member.

    first, last: of one year. under: where the cells lie; weights, owner: [c] of each.
    """
    members = store.members if of_members else 1
    days = (last - first).days + 1
    sums = np.zeros((owners, members, len(names) + 1, days))
    if len(names) not in (1, 3):
        raise ValueError(f"Sums are made of one variable or of three together, not of {len(names)}.")
    add: Any = _add if len(names) == 1 else _add_three
    start = first.timetuple().tm_yday - 1
    for square in store.read_squares(names, under, first.year, of_members):
        add(*square.counts, square.at, weights[square.cells], owner[square.cells], start, sums)
    # Polygon by polygon a copy where there are many, so that what one answer keeps does not hold all the others.
    each = [of_one if owners == 1 else of_one.copy() for of_one in sums]
    return [tuple(DailySums(s[:-1], s[-1]) for s in of_one) for of_one in each]


# Compiled, without the interpreter's lock. counts: [member, cell, day]; of the cells `at`, with their weights and
# owners. sums: [owner, member, variable + 1, day], the weights last; start: the first day of the sums among those of
# the counts. Days lie behind each other, so that several are added at once.


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add(counts: Any, at: Any, weights: Any, owner: Any, start: int, sums: Any) -> None:
    a = 0
    while a < at.size:
        b = _behind(owner, a)
        _add_one(counts, at[a:b], weights[a:b], start, sums[owner[a]])
        a = b


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_three(i: Any, j: Any, k: Any, at: Any, weights: Any, owner: Any, start: int, sums: Any) -> None:
    a = 0
    while a < at.size:
        b = _behind(owner, a)
        _add_together(i, j, k, at[a:b], weights[a:b], start, sums[owner[a]])
        a = b


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _behind(owner: Any, a: int) -> int:
    """Behind the last of the cells from `a` on that have the same owner."""
    b = a + 1
    while b < owner.size and owner[b] == owner[a]:
        b += 1
    return b


@numba.njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _add_one(counts: Any, at: Any, weights: Any, start: int, sums: Any) -> None:
    for m in range(sums.shape[0]):
        total, valid = sums[m, 0], sums[m, 1]
        for e in range(at.size):
            year, weight = counts[m, at[e], start:], weights[e]
            for d in range(sums.shape[2]):
                c = year[d]
                w = weight if c != FILL else 0.0
                total[d] += w * c
                valid[d] += w


@numba.njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _add_together(i: Any, j: Any, k: Any, at: Any, weights: Any, start: int, sums: Any) -> None:
    for m in range(sums.shape[0]):
        total_i, total_j, total_k, valid = sums[m, 0], sums[m, 1], sums[m, 2], sums[m, 3]
        for e in range(at.size):
            year_i, year_j, year_k = i[m, at[e], start:], j[m, at[e], start:], k[m, at[e], start:]
            weight = weights[e]
            for d in range(sums.shape[2]):
                a, b, c = year_i[d], year_j[d], year_k[d]
                w = weight if a != FILL and b != FILL and c != FILL else 0.0
                total_i[d] += w * a
                total_j[d] += w * b
                total_k[d] += w * c
                valid[d] += w
