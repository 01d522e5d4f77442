"""Sums over a polygon that reach over many chunks: of a chunk that it covers, what is kept of the whole of it is taken,
and cells are looked at only along the polygon's edge.

Where more of a chunk's cells are covered than not, the rest is taken away from the sums of all of it. Fractions are
multiples of 2**-24 or finer (see `zonal`) and counts whole numbers: so sums over up to 16,000 cells, and any below
2**29 counts times cells (36,000 cells of 14,000 counts), are exact
in 64-bit floats, in whatever order and by whichever way they are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from .cellsums import sums_of_cells
from .grid import Window
from .store import Integers, Store
from .sums import DailySums, Floats
from .zonal import Coverage

LEAST_CHUNKS = 2
"""A polygon of fewer cells than so many chunks is read at once, in one rectangle."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Some cells of a chunk: rows, cols, weights [c]."""

    rows: Integers
    cols: Integers
    weights: Floats


@dataclass(frozen=True, slots=True)
class Cut:
    """A polygon in chunks of a store.

    rows, cols: [n] the chunks under it, as in `Store.computed`. from_whole: [n] whether its sums are best made from
    those of the whole chunk. covered: [n] the cells that are covered; rest: [n] the cells that are then to be taken
    away, with negative weights; None where there are none.
    """

    rows: Integers
    cols: Integers
    from_whole: NDArray[np.bool_]
    covered: tuple[Cells, ...]
    rest: tuple[Cells | None, ...]


def is_large(cover: Coverage, store: Store) -> bool:
    """Whether a polygon has cells enough to be read chunk by chunk."""
    return cover.cells >= LEAST_CHUNKS * store.grid.chunk**2


def cut_by_chunks(store: Store, cover: Coverage, mask: NDArray[np.bool_], inputs: Window) -> Cut | None:
    """The polygon in chunks; None where it is small. mask: cells of the window `inputs` that have any values."""
    n, origin = store.grid.chunk, store.window
    if not is_large(cover, store):
        return None
    i, j = (cover.rows - origin.row0) // n, (cover.cols - origin.col0) // n
    chunk = i * store.layout.chunks[1] + j
    order = np.argsort(chunk, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(chunk[order]) > 0])
    chunks = [_in_chunk(store, cover, mask, inputs, cells) for cells in np.split(order, starts[1:])]
    at = order[starts]
    return Cut(
        i[at],
        j[at],
        np.array([from_whole for from_whole, _, _ in chunks]),
        tuple(covered for _, covered, _ in chunks),
        tuple(rest for _, _, rest in chunks),
    )


def _in_chunk(
    store: Store, cover: Coverage, mask: NDArray[np.bool_], inputs: Window, cells: NDArray[np.intp]
) -> tuple[bool, Cells, Cells | None]:
    """Whether to take the whole chunk, the cells that are covered, and those then to be taken away."""
    n = store.grid.chunk
    rows, cols = cover.rows[cells], cover.cols[cells]
    row0 = store.window.row0 + (int(rows[0]) - store.window.row0) // n * n
    col0 = store.window.col0 + (int(cols[0]) - store.window.col0) // n * n
    chunk = Window(row0, row0 + n, col0, col0 + n)
    weights = np.zeros((n, n))
    weights[rows - row0, cols - col0] = cover.fraction[cells]
    missing = np.zeros((n, n))
    inside = chunk.intersect(inputs)
    if inside is not None:
        part = inside.slices(chunk)
        missing[part] = np.where(mask[inside.slices(inputs)], weights[part] - 1.0, 0.0)
    covered, rest = _cells(chunk, weights), _cells(chunk, missing)
    if not rest.rows.size:
        return True, covered, None
    return rest.rows.size < covered.rows.size, covered, rest


def _cells(chunk: Window, weights: Floats) -> Cells:
    rows, cols = np.nonzero(weights)
    return Cells(rows + chunk.row0, cols + chunk.col0, weights[rows, cols])


def sums_by_chunks(
    store: Store, cut: Cut, names: Sequence[str], first: date, last: date, of_members: bool
) -> tuple[DailySums, ...]:
    """Sums of variables that are valid together, of the mean or of each member, from `first` to `last` of one year."""
    asked = np.flatnonzero(cut.from_whole)
    sums, weight, used = store.read_chunk_sums(names, cut.rows[asked], cut.cols[asked], first, last, of_members)
    whole = np.zeros(cut.rows.size, bool)
    whole[asked] = used
    either = [rest if taken else covered for taken, covered, rest in zip(whole, cut.covered, cut.rest, strict=True)]
    cells = [c for c in either if c is not None]
    rows, cols, weights = (
        np.concatenate([np.empty(0, kind), *(getattr(c, name) for c in cells)])
        for name, kind in (("rows", np.int64), ("cols", np.int64), ("weights", np.float64))
    )
    under, owner = store.squares_under(rows, cols), np.zeros(rows.size, np.int64)
    (found,) = sums_of_cells(store, names, under, weights, owner, 1, first, last, of_members)
    return tuple(
        DailySums(of_cells.sums + s, of_cells.weight + w) for of_cells, s, w in zip(found, sums, weight, strict=True)
    )
