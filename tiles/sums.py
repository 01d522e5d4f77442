"""Sums over the cells of a polygon: what is read from a store, or from cells run on the spot, becomes one number a day.

Counts are 16-bit, sums 64-bit floats: a county's year is some ten million counts, of which each is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .grid import Window
from .packing import FILL, Counts
from .store import Store, YearData
from .zonal import Coverage

Floats = NDArray[np.float64]

SIDE = 128
"""Cells on a side of the squares that a large polygon is read in: memory stays small, chunks are read whole."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a polygon's cells, in one rectangle.

    rows, cols: [r, c] absolute cells. weights: [r, c] fraction of each cell covered, 0 outside the polygon.
    days: variables -> counts [day, r, c] of each. members: the same of every member, [member, day, r, c].
    year: (variable, member or None for the mean) -> values [r, c] of the year.
    """

    weights: Floats
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    days: Callable[[Sequence[str]], list[Counts]]
    members: Callable[[Sequence[str]], list[Counts]]
    year: Callable[[str, int | None], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class DailySums:
    """Weighted sums of counts [variable, day], and the weight [day] of the cells that had all the variables."""

    sums: Floats
    weight: Floats

    @property
    def nbytes(self) -> int:
        return int(self.sums.nbytes + self.weight.nbytes) + 200


def parts_of_store(store: Store, coverage: Coverage, year: int, first: date, last: date) -> Iterator[Part]:
    """The cells of a polygon in squares of a store, of which `first` to `last` of `year` are read."""
    box = coverage.window
    origin_row, origin_col = box.row0 // SIDE * SIDE, box.col0 // SIDE * SIDE
    square = (coverage.rows - origin_row) // SIDE * 4096 + (coverage.cols - origin_col) // SIDE
    if box.shape[0] <= SIDE and box.shape[1] <= SIDE:
        yield _store_part(store, coverage.rows, coverage.cols, coverage.fraction, year, first, last)
        return
    order = np.argsort(square, kind="stable")
    for cells in np.split(order, np.flatnonzero(np.diff(square[order])) + 1):
        yield _store_part(
            store, coverage.rows[cells], coverage.cols[cells], coverage.fraction[cells], year, first, last
        )


def _store_part(
    store: Store,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    fraction: Floats,
    year: int,
    first: date,
    last: date,
) -> Part:
    window = Window(int(rows.min()), int(rows.max()) + 1, int(cols.min()), int(cols.max()) + 1)
    weights = np.zeros(window.shape)
    weights[rows - window.row0, cols - window.col0] = fraction
    down, across = np.arange(window.row0, window.row1), np.arange(window.col0, window.col1)
    return Part(
        weights,
        np.broadcast_to(down[:, None], window.shape),
        np.broadcast_to(across, window.shape),
        lambda names: store.read_packed_together(names, window, first, last),
        lambda names: store.read_members(names, window, first, last),
        lambda name, member: store.read_year(name, window, year, member),
    )


def part_of_cells(data: YearData, coverage: Coverage) -> Part:
    """The cells of a polygon that were run by themselves, laid out in a square of cells, row by row."""
    either: dict[str, NDArray[Any]] = {**data.daily, **data.yearly}
    shape = next(iter(either.values())).shape[-2:]

    def lay(values: NDArray[Any], empty: Any) -> NDArray[Any]:
        out = np.full(shape[0] * shape[1], empty, values.dtype)
        out[: values.size] = values
        return out.reshape(shape)

    def of_year(variable: str, member: int | None) -> NDArray[np.float32]:
        return data.yearly[variable] if member is None else data.member_yearly[variable][member]

    rows, cols = coverage.rows, coverage.cols
    return Part(
        lay(coverage.fraction, 0.0),
        lay(rows, rows[0]),
        lay(cols, cols[0]),
        lambda names: [data.daily[name] for name in names],
        lambda names: [data.member_daily[name] for name in names],
        of_year,
    )


def daily_sums(parts: Iterable[Part], names: Sequence[str], days: int) -> DailySums:
    """Sums over all parts of variables that are valid together: a cell counts on a day where it has all of them."""
    found = DailySums(np.zeros((len(names), days)), np.zeros(days))
    for part in parts:
        add_sums(part.days(names), part.weights, found)
    return found


def member_sums(parts: Iterable[Part], names: Sequence[str], days: int, members: int) -> tuple[DailySums, ...]:
    """The same of each member."""
    found = tuple(DailySums(np.zeros((len(names), days)), np.zeros(days)) for _ in range(members))
    for part in parts:
        counts = part.members(names)
        for m, sums in enumerate(found):
            add_sums([c[m] for c in counts], part.weights, sums)
    return found


def add_sums(counts: Sequence[Counts], weights: Floats, into: DailySums) -> None:
    """Add the sums over cells of counts [day, r, c] of one variable, or of three that are valid together."""
    if len(counts) == 1:
        _sums(counts[0], weights, into.sums[0], into.weight)
    elif len(counts) == 3:
        _sums_of_three(counts[0], counts[1], counts[2], weights, into.sums, into.weight)
    else:
        raise ValueError(f"Sums are made of one variable or of three together, not of {len(counts)}.")


def yearly_sum(parts: Iterable[Part], name: str, member: int | None) -> tuple[float, float]:
    """Weighted sum of a yearly variable, and the weight of the cells that had it."""
    total = weight = 0.0
    for part in parts:
        values = part.year(name, member).astype(np.float64)
        w = np.where(np.isnan(values), 0.0, part.weights)
        total += float(np.sum(w * np.where(w > 0, values, 0.0)))
        weight += float(w.sum())
    return total, weight


# Compiled, and without the interpreter's lock. `reassoc` lets the sums be made four at a time.


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})  # type: ignore[untyped-decorator]
def _sums(counts: Any, weights: Any, sums: Any, weight: Any) -> None:
    days, rows, cols = counts.shape
    for d in range(days):
        total = 0.0
        valid = 0.0
        for y in range(rows):
            for x in range(cols):
                c = counts[d, y, x]
                w = weights[y, x] if c != FILL else 0.0
                total += w * c
                valid += w
        sums[d] += total
        weight[d] += valid


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})  # type: ignore[untyped-decorator]
def _sums_of_three(a: Any, b: Any, c: Any, weights: Any, sums: Any, weight: Any) -> None:
    days, rows, cols = a.shape
    for d in range(days):
        total_a = 0.0
        total_b = 0.0
        total_c = 0.0
        valid = 0.0
        for y in range(rows):
            for x in range(cols):
                i, j, k = a[d, y, x], b[d, y, x], c[d, y, x]
                w = weights[y, x] if i != FILL and j != FILL and k != FILL else 0.0
                total_a += w * i
                total_b += w * j
                total_c += w * k
                valid += w
        sums[0, d] += total_a
        sums[1, d] += total_b
        sums[2, d] += total_c
        weight[d] += valid
