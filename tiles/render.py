"""Map tiles: a store's day or year, coloured, as a PNG or WebP in Web Mercator.

A pixel is looked up in the store: the nearest cell from its own scale on, a cell of the area-mean pyramid
when zoomed out. What the store does not hold is transparent, and the tile says which chunks are missing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from fieldflux.models.variables import Variable, variable
from numpy.typing import NDArray

from .grid import Grid, Window
from .lru import Lru
from .mercator import BadTile, TileAddress, lonlat_bounds, mesh, pixel_m
from .packing import FILL, Counts, over_year, unpack
from .palettes import Style, style_of
from .png import Bytes8, palette_png, palette_webp
from .pyramid import levels_of
from .store import NotInStore
from .when import Anomaly, Difference, Period, Span, When, check, days_of, pieces, years_of

Format: TypeAlias = Literal["png", "webp"]
Floats: TypeAlias = NDArray[np.float32]

MEDIA: dict[Format, str] = {"png": "image/png", "webp": "image/webp"}
PAGE = 128
"""Side, in cells of a level, of the squares that are read and kept in memory."""


class Drawable(Protocol):
    """What a map is drawn from: the part of `Store` that this needs."""

    @property
    def grid(self) -> Grid: ...
    @property
    def window(self) -> Window: ...
    @property
    def years(self) -> tuple[int, ...]: ...
    @property
    def variables(self) -> tuple[str, ...]: ...
    @property
    def snapshot(self) -> str: ...
    def computed(self, year: int) -> NDArray[np.bool_]: ...
    def read_counts(self, variable: str, day: date, window: Window, level: int = 0) -> Counts: ...
    def read_packed(
        self, variable: str, window: Window, first: date, last: date, member: int | None = None, level: int = 0
    ) -> Counts: ...
    def read_year(
        self, variable: str, window: Window, year: int, member: int | None = None, level: int = 0
    ) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Tile:
    """An encoded picture.

    missing: chunks (year, and row and column of the store's `computed`) that would be on it and are not computed, from
    its middle outward; they are transparent. empty: nothing is on it.
    """

    content: bytes
    media_type: str
    empty: bool
    missing: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Values:
    """Numbers of a tile: [size, size] float32, NaN where there is none; `empty` and `missing` as in `Tile`."""

    values: Floats
    empty: bool
    missing: tuple[tuple[int, int, int], ...] = ()


def tile(
    store: Drawable,
    name: str,
    when: When,
    z: int,
    x: int,
    y: int,
    *,
    size: int = 256,
    fmt: Format = "png",
    style: Style | None = None,
    memory: Lru | None = None,
) -> Tile:
    """Draw a variable of a day, a year or another time (see `when`).

    memory: keeps decoded squares of the store and what follows from the grid alone; tiles are slow without.
    Raises BadTile for an address outside the tile matrix, UnknownVariable, NotInStore, BadMoment.
    """
    memory = Lru(0) if memory is None else memory
    return picture(store, name, when, mercator_place(store, TileAddress(z, x, y, size), memory), fmt, style, memory)


def picture(
    store: Drawable, name: str, when: When, place: Place, fmt: Format, style: Style | None, memory: Lru
) -> Tile:
    """Draw a variable at the pixels of `place`."""
    v = variable(name)
    years = check_when(store, v, when)
    style = style or style_of(v, when=when)
    cells = place.cells
    if cells is None:
        return empty_tile(place.size, fmt, memory)
    missing = _missing(store, years, cells)
    if isinstance(when, date):
        counts = _gather(cells, _counts(store, name, when, cells.level, memory))
        lut = memory.get(("lut", name, style), lambda: lookup(v, style), lambda a: a.nbytes)
        index = np.take(lut, counts.view(np.uint16))
    else:
        index = style.index(_gather(cells, pages(store, v, when, cells.level, memory)))
    if cells.outside is not None:
        index[cells.outside] = 0
    if not index.any():
        return Tile(empty_tile(place.size, fmt, memory).content, MEDIA[fmt], True, missing)
    return Tile(encode(index, style, fmt), MEDIA[fmt], False, missing)


def values(store: Drawable, name: str, when: When, place: Place, memory: Lru) -> Values:
    """The numbers behind a picture: what is read at the pixels of `place`, in the unit of `when.unit_of`.

    Raises as `tile`.
    """
    v = variable(name)
    years = check_when(store, v, when)
    cells = place.cells
    if cells is None:
        return Values(np.full((place.size, place.size), np.nan, np.float32), True)
    found = _gather(cells, pages(store, v, when, cells.level, memory))
    if cells.outside is not None:
        found[cells.outside] = np.nan
    return Values(found, bool(np.isnan(found).all()), _missing(store, years, cells))


def encode(index: Bytes8, style: Style, fmt: Format) -> bytes:
    """A picture of palette entries."""
    return palette_png(index, style.colours()) if fmt == "png" else palette_webp(index, style.colours())


def empty_tile(size: int, fmt: Format, memory: Lru | None = None) -> Tile:
    """A transparent tile."""

    def make() -> bytes:
        index = np.zeros((size, size), np.uint8)
        palette = np.zeros((1, 4), np.uint8)
        return palette_png(index, palette) if fmt == "png" else palette_webp(index, palette)

    content = make() if memory is None else memory.get(("empty", size, fmt), make, len)
    return Tile(content, MEDIA[fmt], True)


def tag(snapshot: str, name: str, when: When, z: int, x: int, y: int, size: int, fmt: str, style: Style | None) -> str:
    """A short name for a tile's content: equal tags, equal bytes. For an ETag, without drawing the tile."""
    said = repr((snapshot, name, when, z, x, y, size, fmt, style))
    return hashlib.sha256(said.encode()).hexdigest()[:20]


def check_when(store: Drawable, v: Variable, when: When) -> tuple[int, ...]:
    """The years that a map of `v` on `when` is read from. Raises NotInStore, BadMoment."""
    if v.name not in store.variables:
        raise NotInStore(
            f"The store has no '{v.name}'; its variables are: {', '.join(store.variables)}. Choose one of them."
        )
    check(v, when)
    years = years_of(when)
    for year in years:
        if year not in store.years:
            raise NotInStore(
                f"The store has no year {year}; it covers {min(store.years)} to {max(store.years)}."
                if store.years
                else f"The store has no year {year}; nothing has been computed in it yet."
            )
    return years


def level_at(grid: Grid, near: tuple[float, float, float, float], z: int, size: int) -> int:
    """The pyramid level of a zoom: the one whose cells are nearest to a pixel's size in the middle of the window.

    One for the whole zoom, not one for each tile, so that neighbours are drawn alike.
    """
    pixel = pixel_m(z, size, (near[1] + near[3]) / 2)
    deepest = max(levels_of(grid.block), default=0)
    return min(max(round(math.log2(pixel / grid.size)), 0), deepest)


def lookup(v: Variable, style: Style) -> Bytes8:
    """[65536] palette entry of each 16-bit count, indexed by the count as uint16; the empty count is transparent."""
    counts = np.arange(65536, dtype=np.uint16).view(np.int16)
    values = counts * np.float64(v.step or 1.0)
    values[counts == FILL] = np.nan
    return style.index(values)


# --- from pixels to cells --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile lies: its side in pixels, and its cells, None where it lies outside the store."""

    size: int
    cells: Cells | None


def mercator_place(store: Drawable, address: TileAddress, memory: Lru) -> Place:
    """Where a Web Mercator tile lies."""
    grid, window = store.grid, store.window
    near = memory.get(("near", grid, window), lambda: lonlat_bounds(grid, window), lambda _: 200)
    at = mesh(grid, address, near)
    if at is None:
        return Place(address.size, None)
    level = level_at(grid, near, address.z, address.size)
    rows, cols = at.within(window, level).pixels()
    return Place(address.size, Cells.at(_floor(rows), _floor(cols), window, level))


def grid_place(store: Drawable, level: int, row: int, col: int, size: int = 256) -> Place:
    """Where a tile of the grid's own matrix lies: `size` x `size` whole cells of a level, counted from the grid's
    north-west corner, so that nothing is resampled.

    Raises BadTile.
    """
    grid, window = store.grid, store.window
    down, across = grid_tiles(grid, level, size)
    if not 0 <= level <= max(levels_of(grid.block), default=0):
        raise BadTile(f"The grid has levels 0 to {max(levels_of(grid.block), default=0)}; {level} is not one of them.")
    if not (0 <= row < down and 0 <= col < across):
        raise BadTile(
            f"There is no tile in row {row}, column {col}: at this level, rows go from 0 to {down - 1} and columns "
            f"from 0 to {across - 1}."
        )
    rows = np.arange(row * size, (row + 1) * size, dtype=np.int32) - np.int32(window.row0 >> level)
    cols = np.arange(col * size, (col + 1) * size, dtype=np.int32) - np.int32(window.col0 >> level)
    down_all, across_all = (np.ascontiguousarray(a) for a in np.broadcast_arrays(rows[:, None], cols[None, :]))
    return Place(size, Cells.at(down_all, across_all, window, level))


def grid_tiles(grid: Grid, level: int, size: int = 256) -> tuple[int, int]:
    """Rows and columns of the grid's own tile matrix at a level."""
    side = size << max(level, 0)
    return -(-grid.rows // side), -(-grid.cols // side)


@dataclass(frozen=True, slots=True)
class Cells:
    """Where a tile's pixels lie in the store's arrays at a level.

    row, col: [size, size] cells at the level, from the window's corner. outside: pixels of none, None where there are
    none of those. box: rows and columns of all the cells, half-open.
    """

    level: int
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    outside: NDArray[np.bool_] | None
    box: tuple[int, int, int, int]

    @classmethod
    def at(cls, row: NDArray[np.int32], col: NDArray[np.int32], window: Window, level: int) -> Cells | None:
        """Takes `row` and `col` over; those outside the window are looked up at the nearest cell."""
        height, width = (n >> level for n in window.shape)
        outside = None
        if row.min() < 0 or col.min() < 0 or row.max() >= height or col.max() >= width:
            # as unsigned numbers, those below zero are large
            outside = (row.view(np.uint32) >= height) | (col.view(np.uint32) >= width)
            if outside.all():
                return None
            np.clip(row, 0, height - 1, out=row)
            np.clip(col, 0, width - 1, out=col)
        box = (int(row.min()), int(row.max()) + 1, int(col.min()), int(col.max()) + 1)
        return cls(level, row, col, outside, box)


def _floor(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """Floor of numbers above -1; those below stay below 0. A cast cuts towards zero, and is quicker than np.floor."""
    values += 1.0
    whole = values.astype(np.int32)
    whole -= 1
    return whole


Read: TypeAlias = Any
"""Reads a page: (page row, page column) -> its cells."""


def _gather(place: Cells, read: Read) -> NDArray[Any]:
    """[size, size] the values of a tile's pixels."""
    row0, row1, col0, col1 = place.box
    pages_down = range(row0 // PAGE, (row1 - 1) // PAGE + 1)
    pages_across = range(col0 // PAGE, (col1 - 1) // PAGE + 1)
    if len(pages_down) == len(pages_across) == 1:
        cells = read(pages_down[0], pages_across[0])
    else:
        cells = np.concatenate([np.concatenate([read(i, j) for j in pages_across], axis=1) for i in pages_down], axis=0)
    flat = place.row - np.int32(pages_down[0] * PAGE)
    flat *= np.int32(cells.shape[1])
    flat += place.col
    flat -= np.int32(pages_across[0] * PAGE)
    return np.take(cells.reshape(-1), flat, mode="clip")  # not "raise": numpy then copies through a buffer


def _page(store: Drawable, row: int, col: int, level: int) -> Window:
    """The cells of a page, in rows and columns of the level."""
    w = store.window
    row0, row1, col0, col1 = (edge >> level for edge in (w.row0, w.row1, w.col0, w.col1))
    return Window(
        row0 + row * PAGE, min(row0 + (row + 1) * PAGE, row1), col0 + col * PAGE, min(col0 + (col + 1) * PAGE, col1)
    )


def _counts(store: Drawable, name: str, day: date, level: int, memory: Lru) -> Read:
    snapshot = store.snapshot

    def read(row: int, col: int) -> Counts:
        return memory.get(
            ("day", snapshot, name, day, level, row, col),
            lambda: store.read_counts(name, day, _page(store, row, col, level), level),
            lambda a: a.nbytes,
        )

    return read


def pages(store: Drawable, v: Variable, when: When, level: int, memory: Lru) -> Read:
    """Reads pages of values, float32, NaN where any part of them is missing.

    What was made once is kept: maps of neighbouring times share their parts.
    """
    snapshot = store.snapshot

    def kept(of: Hashable, row: int, col: int, make: Callable[[], Floats]) -> Floats:
        return memory.get(("values", snapshot, v.name, of, level, row, col), make, lambda a: a.nbytes)

    def period(of: Period, row: int, col: int) -> Floats:
        if isinstance(of, date):
            return unpack(v.name, _counts(store, v.name, of, level, memory)(row, col))
        return kept(of, row, col, lambda: make(of, row, col))

    def make(of: int | Span, row: int, col: int) -> Floats:
        if isinstance(of, int):
            return store.read_year(v.name, _page(store, row, col, level), of, level=level)
        parts = pieces(of)
        if len(parts) == 1:
            counts = store.read_packed(v.name, _page(store, row, col, level), of.first, of.last, level=level)
            return over_year(v.name, counts.reshape(len(counts), -1)).reshape(counts.shape[1:]).astype(np.float32)
        if v.period == "day" and v.over_time == "last":
            return period(parts[-1], row, col)
        weights = [days_of(part) / of.days if v.over_time == "mean" else 1.0 for part in parts]
        if v.period == "year":
            weights = [1.0 / len(parts)] * len(parts)
        return _weighted(weights, (period(part, row, col) for part in parts))

    def normal(of: Anomaly, row: int, col: int) -> Floats:
        periods = of.normal()
        return kept(
            ("normal", periods),
            row,
            col,
            lambda: _weighted([1.0 / len(periods)] * len(periods), (period(p, row, col) for p in periods)),
        )

    def read(row: int, col: int) -> Floats:
        if isinstance(when, Difference):
            return period(when.of, row, col) - period(when.minus, row, col)
        if isinstance(when, Anomaly):
            return period(when.of, row, col) - normal(when, row, col)
        return period(when, row, col)

    return read


def _weighted(weights: Sequence[float], arrays: Iterable[Floats]) -> Floats:
    total: Any = 0.0
    for weight, array in zip(weights, arrays, strict=True):
        total = total + weight * array.astype(np.float64)
    return np.asarray(total, np.float32)


def _missing(store: Drawable, years: Sequence[int], cells: Cells) -> tuple[tuple[int, int, int], ...]:
    """Year, row and column of the chunks under a tile's pixels that are not computed, from its middle outward."""
    chunk = store.grid.chunk
    row0, row1, col0, col1 = ((edge << cells.level) // chunk for edge in cells.box)
    touched: NDArray[np.bool_] | None = None
    found: list[tuple[int, int, int]] = []
    for year in years:
        there = store.computed(year)[row0 : row1 + 1, col0 : col1 + 1]
        if there.all():
            continue
        if touched is None:
            # the box of a tile holds chunks that no pixel touches: the grid is turned against it
            touched = np.zeros(there.shape, bool)
            touched[(cells.row << cells.level) // chunk - row0, (cells.col << cells.level) // chunk - col0] = True
        i, j = np.nonzero(touched & ~there)
        if i.size:
            order = np.argsort((i - (i.min() + i.max()) / 2) ** 2 + (j - (j.min() + j.max()) / 2) ** 2, kind="stable")
            found += [(year, int(a) + row0, int(b) + col0) for a, b in zip(i[order], j[order], strict=True)]
    return tuple(found)
