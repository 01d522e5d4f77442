"""Many polygons at once: their cells are found together, and each chunk is read once for all that lie in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .cellsums import sums_of_cells
from .question import SeriesRequest, Source, Unanswerable, check_request, check_size, has_members, read_groups
from .reading import Held, ends_in, lacking_chunks, work_of
from .series import Series, series
from .sums import DailySums
from .together import ready_together
from .whole import is_large
from .zonal import BadGeometry, Coverage, Shape, coverages


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
    made = ready_together(list(ready.values()), held, daily, request, source.card)
    left = source.live_cell_years
    found: dict[str, Series | Unanswerable] = {}
    for key, cover in ready.items():
        lacking = [year for year in request.years if lacking_chunks(source, cover, year)]
        budget = replace(source, live_cell_years=left)
        try:
            found[key] = series(replace(request, geometry=shape_of[key]), budget, held.get(key), made.get(key))
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
    if store is None or len(covers) < 2:
        return {}
    with_members = request.interval and source.card.members > 1
    # of a large polygon, sums of whole chunks are read, not all its cells
    small = [cover for cover in covers if not is_large(cover, store)]
    for year in request.years:
        there = [cover for cover in small if not lacking_chunks(source, cover, year)]
        if not there:
            continue
        rows, cols = np.concatenate([c.rows for c in there]), np.concatenate([c.cols for c in there])
        fraction = np.concatenate([c.fraction for c in there])
        owner = np.repeat(np.arange(len(there)), [c.cells for c in there])
        under = store.squares_under(rows, cols)
        first, last = ends_in(request, year)
        for group in read_groups(daily, source.card):
            for of_members in (False, True) if with_members and has_members(group, source.card) else (False,):
                sums = sums_of_cells(store, group, under, fraction, owner, len(there), first, last, of_members)
                for cover, own in zip(there, sums, strict=True):
                    found[cover.key][year, group, of_members] = own
    return dict(found)
