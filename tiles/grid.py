"""The grid: square cells of a projected plane, addressed by row and column, grouped into blocks.

The default is Fieldflux's own: 250 m cells in EPSG:5070 (CONUS Albers equal area) whose north-west corner is that of
the national Cropland Data Layer, so that cell ids stay the same in every cube and store. Rows count southward.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class BadGrid(ValueError):
    """A grid, window or cell that cannot be."""


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Any:
    """Cached pyproj transformer between two reference systems; x before y, longitude before latitude."""
    from pyproj import Transformer
    from pyproj.exceptions import CRSError

    try:
        return Transformer.from_crs(source, target, always_xy=True)
    except CRSError as error:
        raise BadGrid(
            f"No transformation from '{source}' to '{target}' is known: {error}. Give an EPSG code such as "
            f"'EPSG:5070', or a WKT string."
        ) from None


@dataclass(frozen=True, slots=True)
class Grid:
    """Square cells on a projected plane, north up.

    x0, y0: the outer corner of cell (0, 0), its north-west, in `crs`. size: side of a cell, in the unit of `crs` (m).
    block, chunk: cells on a side of a block, the unit of work and storage, and of a chunk, the unit of reading.
    """

    crs: str = "EPSG:5070"
    x0: float = -2356095.0
    y0: float = 3172605.0
    size: float = 250.0
    rows: int = 11583
    cols: int = 18458
    block: int = 256
    chunk: int = 32

    def __post_init__(self) -> None:
        if not self.size > 0:
            raise BadGrid(f"A grid's cell size must be greater than 0, not {self.size}.")
        if self.rows < 1 or self.cols < 1:
            raise BadGrid(f"A grid needs at least one row and one column, not {self.rows} x {self.cols}.")
        if self.chunk < 1 or self.block < 1 or self.block % self.chunk:
            raise BadGrid(
                f"A grid's block ({self.block} cells) must be a whole number of chunks ({self.chunk} cells). "
                f"Choose a block that the chunk divides."
            )

    @property
    def cell_area_m2(self) -> float:
        """Area of a cell on the plane of the grid."""
        return self.size * self.size

    def cell_id(self, rows: ArrayLike, cols: ArrayLike) -> Integers:
        """Stable ids of cells: row * cols + col.

        Raises BadGrid where a cell lies outside the grid.
        """
        r, c = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
        outside = (r < 0) | (r >= self.rows) | (c < 0) | (c >= self.cols)
        if np.any(outside):
            first = int(np.argmax(np.ravel(outside)))
            row, col = (int(np.ravel(a)[first]) for a in np.broadcast_arrays(r, c))
            raise BadGrid(
                f"Cell (row {row}, column {col}) lies outside the grid, whose rows are 0 to {self.rows - 1} and "
                f"columns 0 to {self.cols - 1}."
            )
        return np.asarray(r * self.cols + c, np.int64)

    def rows_cols(self, ids: ArrayLike) -> tuple[Integers, Integers]:
        """Rows and columns of cell ids."""
        i = np.asarray(ids, np.int64)
        return i // self.cols, i % self.cols

    def from_lonlat(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
        """x, y on the grid's plane of longitudes and latitudes (WGS 84, degrees); inf where there is no projection."""
        x, y = transformer("EPSG:4326", self.crs).transform(np.asarray(lon, float), np.asarray(lat, float))
        return np.asarray(x), np.asarray(y)

    def to_lonlat(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Longitudes and latitudes (WGS 84, degrees) of points on the grid's plane."""
        lon, lat = transformer(self.crs, "EPSG:4326").transform(np.asarray(x, float), np.asarray(y, float))
        return np.asarray(lon), np.asarray(lat)

    def cell_at(self, x: ArrayLike, y: ArrayLike) -> tuple[Integers, Integers]:
        """Rows and columns of the cells that hold points; a point on an edge belongs to the cell south or east of it.

        Points outside the grid give rows or columns outside its range.
        """
        col = np.floor((np.asarray(x, float) - self.x0) / self.size)
        row = np.floor((self.y0 - np.asarray(y, float)) / self.size)
        return row.astype(np.int64), col.astype(np.int64)

    def centres(self, rows: ArrayLike, cols: ArrayLike) -> tuple[Floats, Floats]:
        """x, y of the centres of cells."""
        x = self.x0 + (np.asarray(cols, np.float64) + 0.5) * self.size
        y = self.y0 - (np.asarray(rows, np.float64) + 0.5) * self.size
        return x, y

    def edges(self, window: Window) -> tuple[Floats, Floats]:
        """Edges of a window's cells: x eastward [cols + 1], y southward [rows + 1]."""
        x = self.x0 + np.arange(window.col0, window.col1 + 1, dtype=np.float64) * self.size
        y = self.y0 - np.arange(window.row0, window.row1 + 1, dtype=np.float64) * self.size
        return x, y

    def affine(self, window: Window) -> tuple[float, float, float, float, float, float]:
        """Coefficients (a, b, c, d, e, f) of the transform from (col, row) of the window to (x, y), as in rasterio."""
        return (
            self.size,
            0.0,
            self.x0 + window.col0 * self.size,
            0.0,
            -self.size,
            self.y0 - window.row0 * self.size,
        )

    def window_of(self, xmin: float, ymin: float, xmax: float, ymax: float, multiple: int = 1) -> Window:
        """The smallest window that covers a rectangle of the plane, grown to multiples of cells, kept in the grid.

        Raises BadGrid where the rectangle lies outside the grid.
        """
        col0 = int(np.floor((xmin - self.x0) / self.size))
        col1 = int(np.ceil((xmax - self.x0) / self.size))
        row0 = int(np.floor((self.y0 - ymax) / self.size))
        row1 = int(np.ceil((self.y0 - ymin) / self.size))
        if row1 <= 0 or col1 <= 0 or row0 >= self.rows or col0 >= self.cols:
            raise BadGrid(
                f"The rectangle x {xmin:.0f} to {xmax:.0f}, y {ymin:.0f} to {ymax:.0f} ({self.crs}) lies outside the "
                f"grid. Check its reference system, and whether longitude and latitude were swapped."
            )
        row0, col0 = row0 // multiple * multiple, col0 // multiple * multiple
        row1, col1 = -(-row1 // multiple) * multiple, -(-col1 // multiple) * multiple
        return Window(
            max(row0, 0), min(max(row1, row0 + 1), self.rows), max(col0, 0), min(max(col1, col0 + 1), self.cols)
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Window:
    """Cells of a rectangle, half-open, in absolute rows and columns of a grid."""

    row0: int
    row1: int
    col0: int
    col1: int

    def __post_init__(self) -> None:
        if self.row1 <= self.row0 or self.col1 <= self.col0:
            raise BadGrid(
                f"A window needs at least one cell; rows {self.row0} to {self.row1} and columns {self.col0} to "
                f"{self.col1} hold none. The end of each range comes after its start and is not included."
            )

    @property
    def shape(self) -> tuple[int, int]:
        return self.row1 - self.row0, self.col1 - self.col0

    @property
    def size(self) -> int:
        """Number of cells."""
        return (self.row1 - self.row0) * (self.col1 - self.col0)

    def intersect(self, other: Window) -> Window | None:
        """The cells in both; None where there are none."""
        row0, row1 = max(self.row0, other.row0), min(self.row1, other.row1)
        col0, col1 = max(self.col0, other.col0), min(self.col1, other.col1)
        return Window(row0, row1, col0, col1) if row0 < row1 and col0 < col1 else None

    def contains(self, rows: ArrayLike, cols: ArrayLike) -> NDArray[np.bool_]:
        """Whether each cell lies in the window."""
        r, c = np.asarray(rows), np.asarray(cols)
        return np.asarray((r >= self.row0) & (r < self.row1) & (c >= self.col0) & (c < self.col1))

    def cells(self) -> tuple[Integers, Integers]:
        """Rows and columns of every cell, row by row, [rows * cols] each."""
        r, c = np.meshgrid(np.arange(self.row0, self.row1), np.arange(self.col0, self.col1), indexing="ij")
        return r.ravel(), c.ravel()

    def slices(self, of: Window) -> tuple[slice, slice]:
        """Where this window lies in an array that covers `of`."""
        return (
            slice(self.row0 - of.row0, self.row1 - of.row0),
            slice(self.col0 - of.col0, self.col1 - of.col0),
        )

    def bounds(self, grid: Grid) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax on the grid's plane."""
        return (
            grid.x0 + self.col0 * grid.size,
            grid.y0 - self.row1 * grid.size,
            grid.x0 + self.col1 * grid.size,
            grid.y0 - self.row0 * grid.size,
        )

    def blocks(self, grid: Grid) -> list[Block]:
        """Blocks that the window touches, row by row."""
        n = grid.block
        return [
            Block(row, col)
            for row in range(self.row0 // n, (self.row1 - 1) // n + 1)
            for col in range(self.col0 // n, (self.col1 - 1) // n + 1)
        ]

    def block_aligned(self, grid: Grid) -> Window:
        """The window grown to whole blocks; it may reach over the edge of the grid."""
        n = grid.block
        return Window(
            self.row0 // n * n,
            -(-self.row1 // n) * n,
            self.col0 // n * n,
            -(-self.col1 // n) * n,
        )


@dataclass(frozen=True, order=True, slots=True)
class Block:
    """A block of the grid: `grid.block` cells on a side, by block numbers."""

    row: int
    col: int

    @property
    def name(self) -> str:
        """Name in files and messages.

        >>> Block(16, 39).name
        'b016-039'
        """
        return f"b{self.row:03d}-{self.col:03d}"

    def window(self, grid: Grid) -> Window:
        n = grid.block
        return Window(self.row * n, (self.row + 1) * n, self.col * n, (self.col + 1) * n)
