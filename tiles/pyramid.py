"""Area means for zoomed-out maps: level L has cells 2**L times as wide, the mean of the valid cells below each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .packing import FILL, Counts

DEEPEST = 4


def levels_of(block: int) -> tuple[int, ...]:
    """Levels, beside the cells themselves, that a block of that many cells can have."""
    return tuple(level for level in range(1, DEEPEST + 1) if block % 2**level == 0)


def count_levels(counts: Counts, levels: tuple[int, ...]) -> Iterator[tuple[int, Counts]]:
    """(level, counts) of [day, y, x] counts for levels 1, 2, ...: each the mean of all valid cells, rounded once."""
    total: NDArray[np.int32] | None = None
    number: NDArray[np.int16] | None = None
    for level in levels:
        days, rows, cols = counts.shape if total is None else total.shape
        next_total = np.zeros((days, rows // 2, cols // 2), np.int32)
        next_number = np.zeros((days, rows // 2, cols // 2), np.int16)
        if total is None or number is None:
            _fold_counts(counts, next_total, next_number)
        else:
            _fold(total, number, next_total, next_number)
        total, number = next_total, next_number
        means = np.empty(total.shape, np.int16)
        _means(total.reshape(-1), number.reshape(-1), means.reshape(-1))
        yield level, means


def coarse_counts(counts: Counts, level: int) -> Counts:
    """Counts of [..., y, x] cells at a level: the same means as `count_levels`, for a few cells on the fly."""
    if level == 0:
        return counts
    cells = _tiles(counts, 2**level)
    valid = cells != FILL
    number = valid.sum(axis=-1)
    total = np.where(valid, cells, 0).sum(axis=-1, dtype=np.int64)
    return np.where(number > 0, np.rint(total / np.maximum(number, 1)), FILL).astype(np.int16)


def coarse_values(values: NDArray[np.float32], level: int) -> NDArray[np.float32]:
    """Values of [y, x] cells at a level: the mean of those that are not NaN, NaN where all are."""
    if level == 0:
        return values
    cells = _tiles(values, 2**level).astype(np.float64)
    valid = ~np.isnan(cells)
    number = valid.sum(axis=-1)
    total = np.where(valid, cells, 0.0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)


def _tiles(array: NDArray[Any], side: int) -> NDArray[Any]:
    *lead, rows, cols = array.shape
    rows, cols = rows // side, cols // side
    cut = array.reshape(*lead, rows, side, cols, side)
    return cut.swapaxes(-3, -2).reshape(*lead, rows, cols, side * side)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fold_counts(counts: Any, total: Any, number: Any) -> None:
    for day in range(counts.shape[0]):
        for y in range(counts.shape[1]):
            for x in range(counts.shape[2]):
                if counts[day, y, x] != FILL:
                    total[day, y // 2, x // 2] += counts[day, y, x]
                    number[day, y // 2, x // 2] += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fold(total: Any, number: Any, next_total: Any, next_number: Any) -> None:
    for day in range(total.shape[0]):
        for y in range(total.shape[1]):
            for x in range(total.shape[2]):
                next_total[day, y // 2, x // 2] += total[day, y, x]
                next_number[day, y // 2, x // 2] += number[day, y, x]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _means(total: Any, number: Any, out: Any) -> None:
    for i in range(total.size):
        out[i] = np.rint(total[i] / number[i]) if number[i] > 0 else FILL
