"""From a tile's pixels to cells: where each lies is worked out between the corners of a mesh, as it is drawn.

Arrays of rows and columns for all pixels would take longer to make than all else in a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from .grid import Window
from .mercator import Mesh

PAGE = 128
"""Side, in cells of a level, of the squares that are read and kept in memory."""

Read: TypeAlias = Callable[[range, range], NDArray[Any]]
"""Reads pages: (page rows, page columns) -> their cells, as one array."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Where a tile's pixels lie in the store's arrays at a level.

    mesh: in cells of the level, from the window's corner; shape: rows and columns of the window at the level.
    box: rows and columns of all cells that a pixel lies in, half-open.
    """

    level: int
    mesh: Mesh
    shape: tuple[int, int]
    box: tuple[int, int, int, int]

    @classmethod
    def under(cls, mesh: Mesh, window: Window, level: int) -> Cells | None:
        """None where no pixel lies in the window."""
        shape = (window.shape[0] >> level, window.shape[1] >> level)
        box = _box(mesh.rows, mesh.cols, mesh.step, *shape)
        return None if box[0] == box[1] else cls(level, mesh, shape, box)

    @property
    def nbytes(self) -> int:
        return int(self.mesh.rows.nbytes + self.mesh.cols.nbytes) + 500

    def looked_up(self, read: Read, table: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
        """[size, size] the entry of each pixel's count in `table` [65536], 0 outside; and whether any is not 0."""
        out = np.zeros(self.mesh.size, np.uint8)
        some = _look_up(*self._place(), *self._read(read), table, out)
        return out, bool(some)

    def values(self, read: Read) -> NDArray[np.float32]:
        """[size, size] values of the cells, NaN outside."""
        out = np.full(self.mesh.size, np.nan, np.float32)
        _take(*self._place(), *self._read(read), out)
        return out

    def touched(self, chunk: int) -> NDArray[np.bool_]:
        """Which chunks of so many cells of the grid, from that of the box's first corner on, a pixel lies in."""
        row0, row1, col0, col1 = ((edge << self.level) // chunk for edge in self.box)
        out = np.zeros((row1 - row0 + 1, col1 - col0 + 1), bool)
        _touch(*self._place(), self.level, chunk, row0, col0, out)
        return out

    def _place(self) -> tuple[Any, Any, int, int, int]:
        return self.mesh.rows, self.mesh.cols, self.mesh.step, *self.shape

    def _read(self, read: Read) -> tuple[NDArray[Any], int, int]:
        """All pages under the pixels as one array, and its first row and column."""
        row0, row1, col0, col1 = self.box
        down, across = range(row0 // PAGE, (row1 - 1) // PAGE + 1), range(col0 // PAGE, (col1 - 1) // PAGE + 1)
        return read(down, across), down[0] * PAGE, across[0] * PAGE


# Compiled, line of pixels after line. rows, cols: [n, n] at mesh corners, `step` pixels apart; height, width: of the
# window; cells: those read, from row0 and col0 on.


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _line(rows: Any, cols: Any, step: int, height: int, width: int, line: int, row: Any, col: Any) -> None:
    """The cell of each pixel of a line; -1 for its row where that lies outside the window.

    A pixel's place comes from the four corners around it alone, bit for bit: neighbouring tiles agree. `step` is a
    power of two, so that its inverse is exact.
    """
    a, part = line // step, 1.0 / step
    down = (line - a * step + 0.5) * part
    for b in range(rows.shape[1] - 1):
        r0 = rows[a, b] + (rows[a + 1, b] - rows[a, b]) * down
        r1 = rows[a, b + 1] + (rows[a + 1, b + 1] - rows[a, b + 1]) * down
        c0 = cols[a, b] + (cols[a + 1, b] - cols[a, b]) * down
        c1 = cols[a, b + 1] + (cols[a + 1, b + 1] - cols[a, b + 1]) * down
        for k in range(step):
            along = (k + 0.5) * part
            r, c = (r1 - r0) * along + r0, (c1 - c0) * along + c0
            inside = (r >= 0.0) & (r < height) & (c >= 0.0) & (c < width)
            row[b * step + k] = np.int64(r) if inside else -1
            col[b * step + k] = np.int64(c) if inside else 0


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _box(rows: Any, cols: Any, step: int, height: int, width: int) -> tuple[int, int, int, int]:
    across = (rows.shape[1] - 1) * step
    row, col = np.empty(across, np.int64), np.empty(across, np.int64)
    row0, row1, col0, col1 = height, -1, width, -1
    for line in range((rows.shape[0] - 1) * step):
        _line(rows, cols, step, height, width, line, row, col)
        for j in range(across):
            if row[j] >= 0:
                row0, row1 = min(row0, row[j]), max(row1, row[j])
                col0, col1 = min(col0, col[j]), max(col1, col[j])
    if row1 < 0:
        return 0, 0, 0, 0
    return row0, row1 + 1, col0, col1 + 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _look_up(
    rows: Any, cols: Any, step: int, height: int, width: int, cells: Any, row0: int, col0: int, table: Any, out: Any
) -> bool:
    row, col = np.empty(out.shape[1], np.int64), np.empty(out.shape[1], np.int64)
    some = 0
    for line in range(out.shape[0]):
        _line(rows, cols, step, height, width, line, row, col)
        for j in range(out.shape[1]):
            if row[j] >= 0:
                found = table[np.uint16(cells[row[j] - row0, col[j] - col0])]
                out[line, j] = found
                some |= found
    return some != 0


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _take(rows: Any, cols: Any, step: int, height: int, width: int, cells: Any, row0: int, col0: int, out: Any) -> None:
    row, col = np.empty(out.shape[1], np.int64), np.empty(out.shape[1], np.int64)
    for line in range(out.shape[0]):
        _line(rows, cols, step, height, width, line, row, col)
        for j in range(out.shape[1]):
            if row[j] >= 0:
                out[line, j] = cells[row[j] - row0, col[j] - col0]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _touch(
    rows: Any, cols: Any, step: int, height: int, width: int, level: int, chunk: int, row0: int, col0: int, out: Any
) -> None:
    across = (rows.shape[1] - 1) * step
    row, col = np.empty(across, np.int64), np.empty(across, np.int64)
    for line in range((rows.shape[0] - 1) * step):
        _line(rows, cols, step, height, width, line, row, col)
        for j in range(across):
            if row[j] >= 0:
                out[(row[j] << level) // chunk - row0, (col[j] << level) // chunk - col0] = True
