"""Reading the sums over whole chunks that a store keeps (see `chunksums`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from .chunksums import KEPT, TOGETHER, wanted
from .damage import short
from .folder import StoreAway
from .site import Site
from .squares import Integers
from .view import View
from .windows import days_of_year, opened_array

log = logging.getLogger(__name__)


def read_chunk_sums(
    site: Site,
    view: View,
    variables: Sequence[str],
    rows: Integers,
    cols: Integers,
    first: date,
    last: date,
    members: bool,
) -> tuple[Integers, Integers, NDArray[np.bool_]]:
    """As `Store.read_chunk_sums`."""
    year, of = first.year, site.members if members else 1
    listed = wanted(site.layout, variables, members and site.members > 1)
    sums = np.zeros((of, len(variables) + 1, (last - first).days + 1), np.int64)
    used = np.zeros(rows.size, bool)
    begun = []
    for at, picked in _sums_at(site, view, year, rows, cols):
        r, c = rows[picked], cols[picked]
        i0, j0 = int(r.min()), int(c.min())
        box = slice(i0, int(r.max()) + 1), slice(j0, int(c.max()) + 1)
        array = opened_array(site, view, at)
        begun.append((at, picked, r - i0, c - j0, array[(listed, days_of_year(first, last), *box)].read()))
    for at, picked, r, c, future in begun:
        try:
            found = future.result()
        except StoreAway:
            raise
        except ValueError as error:
            # Sums are a short way to what the cells say, and the cells are there.
            log.warning("The sums in %s are damaged, cells are read instead: %s.", site.path / at, short(error))
            continue
        found = found.reshape(of, len(variables) + 2, *found.shape[1:])[..., r, c]
        good = (found[:, 0] >= (KEPT if len(variables) == 1 else TOGETHER)).all(axis=(0, 1))
        sums += (found if good.all() else found[..., good])[:, 1:].sum(axis=-1, dtype=np.int64)
        used[picked] = good
    return sums[:, :-1], sums[:, -1], used


def _sums_at(
    site: Site, view: View, year: int, rows: Integers, cols: Integers
) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Arrays of sums, and which of the chunks (as in `Store.computed`) are to be read there, block by block."""
    k = site.grid.block // site.grid.chunk
    blocks, chunks = view.blocks.get(year), view.chunks.get(year)
    if rows.size == 0 or not view.files.exists(f"sums/{year}/zarr.json"):
        return
    whole = np.zeros(rows.size, bool) if blocks is None else blocks[rows // k, cols // k]
    block = (rows // k) * site.layout.chunks[1] + cols // k
    for one in np.unique(block[whole]):
        yield f"sums/{year}/blocks", np.flatnonzero(whole & (block == one))
    if chunks is not None:
        for one in np.flatnonzero(~whole & chunks[rows, cols]):
            yield f"sums/{year}/chunks", np.array([one])
