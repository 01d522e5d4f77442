"""Whole years of small squares of cells, of which series of fields are made.

A square of 4 x 4 cells and a year is one piece of a file: of the mean of gpp, ra and rh together in `series/`, and of
all members of each of them in `2019/members/`. A field of 65 ha lies in three such squares; of the chunks that maps are
drawn from, twenty times as many cells would be decoded for it. Other variables, and what was stored before there was
`series/`, are cut out of those chunks.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .damage import bad_metadata, damaged
from .folder import StoreAway
from .layout import DAYS_IN_SHARD, shards
from .manifest import BadStore
from .packing import FILL, Counts
from .pieces import Cutting, DamagedShard, OpenShard, read_boxes, read_squares_at
from .site import Site
from .view import View
from .windows import Ask, daily_ask

Integers: TypeAlias = NDArray[np.int64]
Place: TypeAlias = tuple[int, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Under:
    """The small squares that some cells lie in, chunk by chunk.

    Of each chunk: its row and column in the extent, the first cells of its squares, and of each square which of the
    cells lie in it, and where in it, row by row.
    """

    chunks: tuple[tuple[int, int, tuple[Place, ...], tuple[Integers, ...], tuple[Integers, ...]], ...]


@dataclass(frozen=True, slots=True)
class Square:
    """A year of a small square of cells. cells: [c] which of those asked for lie in it; at: [c] where, row by row.

    counts: of each variable [member, cell, 366 days]; of the mean, one member. Kept for others: not to be written to.
    """

    cells: Integers
    at: Integers
    counts: tuple[Counts, ...]


def squares_under(site: Site, rows: Integers, cols: Integers) -> Under:
    """Where cells [c] of the extent lie."""
    side, n, origin = site.layout.square, site.grid.chunk, site.window
    chunks: dict[Place, dict[Place, tuple[list[int], list[int]]]] = {}
    for cell, (row, col) in enumerate(zip(rows.tolist(), cols.tolist(), strict=True)):
        row0, col0 = row - row % side, col - col % side
        chunk = chunks.setdefault(((row - origin.row0) // n, (col - origin.col0) // n), {})
        cells, at = chunk.setdefault((row0, col0), ([], []))
        cells.append(cell)
        at.append((row - row0) * side + col - col0)
    return Under(
        tuple(
            (i, j, tuple(of), tuple(np.array(c) for c, _ in of.values()), tuple(np.array(a) for _, a in of.values()))
            for (i, j), of in chunks.items()
        )
    )


def read_squares(
    site: Site, view: View, variables: Sequence[str], under: Under, year: int, members: bool
) -> Iterator[Square]:
    """As `Store.read_squares`."""
    for name in variables:
        site.require(name, daily=True)
        if members:
            site.require_member_days(name)
    of = slice(0, site.members) if members else None
    asks = [daily_ask(site, name, year, slice(0, DAYS_IN_SHARD), 0, of) for name in variables]
    for i, j, places, cells, at in under.chunks:
        counts = None if members else _from_series(site, view, variables, year, i, j, places)
        if counts is None:
            of_asks = view.files.each(partial(_from_days, site, view, i, j, places), asks)
            counts = list(zip(*of_asks, strict=True))
        for of_cells, of_at, of_square in zip(cells, at, counts, strict=True):
            yield Square(of_cells, of_at, of_square)


def _from_series(
    site: Site, view: View, variables: Sequence[str], year: int, i: int, j: int, places: Sequence[Place]
) -> list[tuple[Counts, ...]] | None:
    """Counts of each variable of each square of the chunk (i, j), from what is cut for series; None without it."""
    names, opened = site.layout.series_daily, view.opened
    if not set(variables) <= set(names):
        return None
    n, k = site.grid.chunk, site.grid.block // site.grid.chunk
    chunks = view.chunks.get(year)
    if view.has_block(year, i // k, j // k):
        at, shard, size = f"series/{year}/blocks", (i // k, j // k), site.grid.block
    elif chunks is not None and chunks[i, j]:
        at, shard, size = f"series/{year}/chunks", (i, j), n
    else:
        return None
    origin = (site.window.row0 + shard[0] * size, site.window.col0 + shard[1] * size)
    keys = [(at, *place) for place in places]
    found = [opened.squares.find(key) for key in keys]
    missing = [m for m, counts in enumerate(found) if counts is None]
    if missing:
        try:
            cutting = _cutting(view, at)
            if cutting.squares != site.layout.square:
                return None
            read = _pieces(view, at, shard, cutting, [places[m] for m in missing], origin)
        except FileNotFoundError:
            return None
        except StoreAway:
            raise
        except (DamagedShard, OSError, ValueError, KeyError, TypeError) as error:
            # A second copy: the days themselves are there.
            log.warning("What is cut for series in %s is damaged, days are read instead: %s.", site.path / at, error)
            return None
        for m, counts in zip(missing, read, strict=True):
            opened.squares.put(keys[m], counts, int(counts.nbytes))
            found[m] = counts
    which = [names.index(name) for name in variables]
    return [tuple(counts[w : w + 1] for w in which) for counts in found]


def _from_days(site: Site, view: View, i: int, j: int, places: Sequence[Place], ask: Ask) -> list[Counts]:
    """Years [member, cell, day] of squares of the chunk (i, j), by their first cells."""
    k, opened = site.grid.block // site.grid.chunk, view.opened
    chunks = view.chunks.get(ask.year)
    if view.has_block(ask.year, i // k, j // k):
        at, shard, index, origin = ask.array, (i // k, j // k), ask.index, site.chunk_window(i // k * k, j // k * k)
    elif chunks is not None and chunks[i, j]:
        first = ask.overlay_index[0]
        lead = first if isinstance(first, slice) else slice(first, first + 1)
        at, shard, index, origin = ask.overlay, (i, j), (lead, ask.overlay_index[1]), site.chunk_window(i, j)
    else:
        side, (*lead_, days) = site.layout.square, ask.index
        members = site.members if lead_ else 1
        return [np.full((members, side * side, days.stop), FILL, np.int16) for _ in places]
    keys = [(at, index[0].start if len(index) > 1 else 0, row0, col0) for row0, col0 in places]
    found: list[Counts | None] = [opened.squares.find(key) for key in keys]
    missing = [m for m, counts in enumerate(found) if counts is None]
    if missing:
        some = [places[m] for m in missing]
        read = _days(site, view, at, shard, index, (origin.row0, origin.col0), some)
        for m, counts in zip(missing, read, strict=True):
            opened.squares.put(keys[m], counts, int(counts.nbytes))
            found[m] = counts
    return [counts for counts in found if counts is not None]


def _days(
    site: Site,
    view: View,
    at: str,
    shard: Place,
    index: tuple[slice, ...],
    origin: Place,
    places: Sequence[Place],
) -> list[Counts]:
    try:
        cutting = _cutting(view, at)
    except (StoreAway, BadStore):
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise bad_metadata(site, at, str(error)) from error
    side = site.layout.square
    try:
        if cutting.squares == side:
            return _pieces(view, at, shard, cutting, places, origin)
        boxes = [
            (*index, slice(r - origin[0], r - origin[0] + side), slice(c - origin[1], c - origin[1] + side))
            for r, c in places
        ]
        found = read_boxes(_open(view, at, shard, cutting), boxes)
    except FileNotFoundError as error:
        raise damaged(site, f"{at}/{shards(len(cutting.shape), *shard)}", "it is not there") from error
    except DamagedShard as error:
        raise damaged(site, f"{at}/{shards(len(cutting.shape), *shard)}", str(error)) from error
    four = [counts if counts.ndim == 4 else counts[None] for counts in found]
    return [np.ascontiguousarray(np.moveaxis(c, 1, -1)).reshape(len(c), side * side, -1) for c in four]


def _pieces(
    view: View, at: str, shard: Place, cutting: Cutting, places: Sequence[Place], origin: Place
) -> list[Counts]:
    """Squares [.., cell, day] that are pieces of a shard. Raises FileNotFoundError, DamagedShard."""
    side = cutting.squares
    inside = [((r - origin[0]) // side, (c - origin[1]) // side) for r, c in places]
    return read_squares_at(_open(view, at, shard, cutting), inside)


def _open(view: View, at: str, shard: Place, cutting: Cutting) -> OpenShard:
    # What is marked does not change in a generation, so that a shard stays open in it.
    found: OpenShard | None = view.opened.shards.find((at, shard))
    if found is None:
        found = OpenShard(view.files.open(f"{at}/{shards(len(cutting.shape), *shard)}"), cutting)
        view.opened.shards.put((at, shard), found, found.nbytes)
    return found


def _cutting(view: View, at: str) -> Cutting:
    found = view.opened.cuttings.get(at)
    if found is None:
        found = view.opened.cuttings[at] = Cutting.of(json.loads(view.files.read(f"{at}/zarr.json")))
    return found
