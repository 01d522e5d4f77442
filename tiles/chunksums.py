"""Sums over whole chunks of cells, kept beside a store's days, so that a large polygon need not look at every cell.

A day's packed counts are whole numbers, so their sum is exact, and that of a chunk of up to 256 x 256 cells fits in
32 bits. `state` tells of each chunk and day what its sums may be used for; nothing written reads as `NOT_KEPT`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from .layout import Layout
from .packing import FILL, Counts

Sums: TypeAlias = NDArray[np.int32]

NOT_KEPT, KEPT, TOGETHER = 0, 1, 2
"""States of a chunk on a day. TOGETHER: kept, and gpp, ra and rh have values in the very same cells."""
LARGEST_CHUNK = 256
"""Cells on a side of the largest chunk whose sum of counts surely fits in 32 bits."""
PARTS = ("gpp", "ra", "rh")


def quantities(layout: Layout) -> list[tuple[str, str, int | None]]:
    """(kind, variable, member or None for the mean) of each sum that is kept, in order; kinds: state, sum, cells."""
    found: list[tuple[str, str, int | None]] = []
    for member in (None, *(range(layout.members) if layout.member_daily else ())):
        found.append(("state", "", member))
        for name in layout.daily if member is None else layout.member_daily:
            found += [("sum", name, member), ("cells", name, member)]
    return found


def wanted(layout: Layout, names: Sequence[str], members: bool) -> list[int]:
    """Numbers, among the quantities, of state, sums of the variables and cells of the first: of the mean, or of each
    member in turn. Variables that are asked for together are valid in the same cells, or `state` says otherwise.
    """
    at = {quantity: k for k, quantity in enumerate(quantities(layout))}
    of = range(layout.members) if members else (None,)
    return [at[q] for m in of for q in (("state", "", m), *(("sum", n, m) for n in names), ("cells", names[0], m))]


def chunk_sums(layout: Layout, daily: Mapping[str, Counts], member_daily: Mapping[str, Counts]) -> Sums:
    """[quantity, day, chunk row, chunk column] of a block or a chunk, in the order of `quantities`.

    daily: name -> counts [day, y, x]; member_daily: name -> counts [member, day, y, x].
    """
    n = layout.grid.chunk
    days, rows, cols = next(iter(daily.values())).shape
    listed = quantities(layout)
    out = np.zeros((len(listed), days, rows // n, cols // n), np.int32)
    at = {quantity: k for k, quantity in enumerate(listed)}
    for member in (None, *(range(layout.members) if layout.member_daily else ())):
        counts = daily if member is None else {name: of[member] for name, of in member_daily.items()}
        for name in layout.daily if member is None else layout.member_daily:
            _add(counts[name], n, out[at["sum", name, member]], out[at["cells", name, member]])
        state = out[at["state", "", member]]
        state[:] = KEPT
        if set(PARTS) <= set(counts):
            _compare(counts["gpp"], counts["ra"], counts["rh"], n, state)
    return out


# Compiled, and without the interpreter's lock.


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add(counts: Any, n: int, sums: Any, cells: Any) -> None:
    for d in range(counts.shape[0]):
        for y in range(counts.shape[1]):
            for j in range(sums.shape[2]):
                total = np.int32(0)
                valid = np.int32(0)
                for x in range(j * n, (j + 1) * n):
                    c = counts[d, y, x]
                    if c != FILL:
                        total += np.int32(c)
                        valid += np.int32(1)
                sums[d, y // n, j] += total
                cells[d, y // n, j] += valid


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _compare(a: Any, b: Any, c: Any, n: int, state: Any) -> None:
    for d in range(a.shape[0]):
        for i in range(state.shape[1]):
            for j in range(state.shape[2]):
                apart = 0
                for y in range(i * n, (i + 1) * n):
                    for x in range(j * n, (j + 1) * n):
                        missing = a[d, y, x] == FILL
                        apart |= missing != (b[d, y, x] == FILL)
                        apart |= missing != (c[d, y, x] == FILL)
                if apart == 0:
                    state[d, i, j] = TOGETHER
