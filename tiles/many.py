"""Many polygons at once: their cells are found together, and each chunk is read once for all that lie in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .grid import Window
from .packing import FILL
from .question import SeriesRequest, Source, Unanswerable, check_request, check_size, has_members, read_groups
from .reading import Held, ends_in, lacking_chunks, work_of
from .series import Series, series
from .sums import DailySums
from .whole import is_large
from .zonal import BadGeometry, Coverage, Shape, coverages

LEAST = 3
"""So many polygons are read together; fewer are read one by one."""


def many_series(
    shapes: Sequence[Shape], request: SeriesRequest, source: Source
) -> list[Series | BadGeometry | Unanswerable]:
    """The same question of each shape, in order; what cannot be answered is its error. `request.geometry` is not used.

    Answers are those of `series`, up to the order in which sums are made. Cells that have to be run share the source's
    `live_cell_years`: shapes for which nothing is left are told that they are not computed yet.
    Raises what `check_request` does, and Unanswerable (over-limit) where all together are too much to read.
    """
    daily, _ = check_request(request, source)
    cube = source.cube
    covers = coverages(
        shapes, cube.grid, cube.window, source.mask(), limits=source.limits, memory=source.memory, place=cube.hash
    )
    check_size(request, source, sum(c.cells for c in covers if isinstance(c, Coverage)), daily)
    ready = {c.key: c for c in covers if isinstance(c, Coverage)}
    shape_of = {c.key: shape for c, shape in zip(covers, shapes, strict=True) if isinstance(c, Coverage)}
    held = read_together(list(ready.values()), daily, request, source)
    left = source.live_cell_years
    found: dict[str, Series | Unanswerable] = {}
    for key, cover in ready.items():
        lacking = [year for year in request.years if lacking_chunks(source, cover, year)]
        budget = replace(source, live_cell_years=left)
        try:
            found[key] = series(replace(request, geometry=shape_of[key]), budget, held.get(key))
            left -= work_of(source, cover, lacking) if lacking else 0
        except Unanswerable as error:
            found[key] = error
    return [c if isinstance(c, BadGeometry) else _with_flags(found[c.key], c) for c in covers]


def _with_flags(found: Series | Unanswerable, cover: Coverage) -> Series | Unanswerable:
    """The answer of a shape that has the same coordinates as another, with its own flags."""
    if isinstance(found, Unanswerable) or found.coverage.flags == cover.flags:
        return found
    others = tuple(f for f in found.flags if f not in found.coverage.flags)
    return replace(found, coverage=cover, flags=(*cover.flags, *others))


def read_together(
    covers: Sequence[Coverage], daily: Sequence[str], request: SeriesRequest, source: Source
) -> dict[str, Held]:
    """Sums of the store over each polygon, by its key, as `Reader` would read them one by one."""
    store = source.store
    found: dict[str, dict[Any, tuple[DailySums, ...]]] = {cover.key: {} for cover in covers}
    if store is None or len(covers) < LEAST:
        return {}
    with_members = request.interval and source.card.members > 1
    # of a large polygon, sums of whole chunks are read, not all its cells
    small = [cover for cover in covers if not is_large(cover, store)]
    for year in request.years:
        there = [cover for cover in small if not lacking_chunks(source, cover, year)]
        if not there:
            continue
        entries = _Entries.of(there, store.grid.chunk)
        first, last = ends_in(request, year)
        for group in read_groups(daily, source.card):
            for of_members in (False, True) if with_members and has_members(group, source.card) else (False,):
                members = source.card.members if of_members else 1
                sums = np.zeros((members, len(group) + 1, (last - first).days + 1, len(there)))
                for window, part in entries.parts:
                    counts = (
                        store.read_members(group, window, first, last)
                        if of_members
                        else [c[None] for c in store.read_packed_together(group, window, first, last)]
                    )
                    at = (entries.rows[part] - window.row0, entries.cols[part] - window.col0)
                    numbers = (entries.fraction[part], entries.owner[part])
                    for m in range(members):
                        if len(group) == 1:
                            _add(counts[0][m], *at, *numbers, sums[m])
                        else:
                            _add_three(counts[0][m], counts[1][m], counts[2][m], *at, *numbers, sums[m])
                # polygon by polygon, so that what one answer keeps does not hold all the others
                by_owner = np.ascontiguousarray(sums.transpose(3, 0, 1, 2))
                for cover, own in zip(there, by_owner, strict=True):
                    found[cover.key][year, group, of_members] = tuple(DailySums(s[:-1], s[-1]) for s in own)
    return dict(found)


class _Entries:
    """Cells of many polygons, sorted by chunk and then by polygon; `parts`: each chunk's cells, as window and slice."""

    def __init__(
        self,
        rows: NDArray[np.int64],
        cols: NDArray[np.int64],
        fraction: NDArray[np.float64],
        owner: NDArray[np.int64],
        parts: list[tuple[Window, slice]],
    ) -> None:
        self.rows, self.cols, self.fraction, self.owner, self.parts = rows, cols, fraction, owner, parts

    @classmethod
    def of(cls, covers: Sequence[Coverage], chunk: int) -> _Entries:
        rows = np.concatenate([c.rows for c in covers])
        cols = np.concatenate([c.cols for c in covers])
        fraction = np.concatenate([c.fraction for c in covers])
        owner = np.repeat(np.arange(len(covers)), [c.cells for c in covers])
        place = (rows // chunk) * (1 << 32) + cols // chunk
        order = np.argsort(place, kind="stable")
        rows, cols, fraction, owner, place = rows[order], cols[order], fraction[order], owner[order], place[order]
        cuts = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), len(place)]
        parts = []
        for a, b in pairwise(cuts):
            r, c = rows[a:b], cols[a:b]
            window = Window(int(r.min()), int(r.max()) + 1, int(c.min()), int(c.max()) + 1)
            parts.append((window, slice(a, b)))
        return cls(rows, cols, fraction, owner, parts)


# Compiled, and without the interpreter's lock. sums: [variable + 1, day, polygon], the weights last.


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add(counts: Any, rows: Any, cols: Any, fraction: Any, owner: Any, sums: Any) -> None:
    for d in range(counts.shape[0]):
        for e in range(rows.size):
            c = counts[d, rows[e], cols[e]]
            if c != FILL:
                sums[0, d, owner[e]] += fraction[e] * c
                sums[1, d, owner[e]] += fraction[e]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_three(i: Any, j: Any, k: Any, rows: Any, cols: Any, fraction: Any, owner: Any, sums: Any) -> None:
    for d in range(i.shape[0]):
        for e in range(rows.size):
            r, c = rows[e], cols[e]
            a, b, g = i[d, r, c], j[d, r, c], k[d, r, c]
            if a != FILL and b != FILL and g != FILL:
                w, o = fraction[e], owner[e]
                sums[0, d, o] += w * a
                sums[1, d, o] += w * b
                sums[2, d, o] += w * g
                sums[3, d, o] += w
