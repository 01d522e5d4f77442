"""Map tiles: a store's day or year, coloured, as a PNG or WebP in Web Mercator.

A pixel is looked up in the store: the nearest cell from its own scale on, a cell of the area-mean pyramid
when zoomed out. What the store does not hold is transparent, and the tile says which chunks are missing.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from fieldflux.models.variables import Variable, variable
from numpy.typing import NDArray

from .grid import Grid, Window
from .lru import Lru
from .mercator import Mesh, TileAddress, lonlat_bounds, mesh, pixel_m
from .packing import FILL, Counts
from .palettes import Style, style_of
from .png import Bytes8, palette_png, palette_webp
from .pyramid import levels_of
from .store import NotInStore

Format: TypeAlias = Literal["png", "webp"]

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
    def read_year(
        self, variable: str, window: Window, year: int, member: int | None = None, level: int = 0
    ) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Tile:
    """An encoded picture.

    missing: chunks (row, column of the store's `computed`) that would be on it and are not computed, from its middle
    outward; they are transparent. empty: nothing is on it.
    """

    content: bytes
    media_type: str
    empty: bool
    missing: tuple[tuple[int, int], ...] = ()


def tile(
    store: Drawable,
    name: str,
    when: date | int,
    z: int,
    x: int,
    y: int,
    *,
    size: int = 256,
    fmt: Format = "png",
    style: Style | None = None,
    memory: Lru | None = None,
) -> Tile:
    """Draw a variable on a day (a date) or over a year (an int).

    memory: keeps decoded squares of the store and what follows from the grid alone; tiles are slow without.
    Raises BadTile for an address outside the tile matrix, UnknownVariable, and NotInStore.
    """
    memory = Lru(0) if memory is None else memory
    address = TileAddress(z, x, y, size)
    v = variable(name)
    year = check_when(store, v, when)
    style = style or style_of(v, over_year=isinstance(when, int))
    grid, window = store.grid, store.window
    near = memory.get(("near", grid, window), lambda: lonlat_bounds(grid, window), lambda _: 200)
    at = mesh(grid, address, near)
    if at is None:
        return empty_tile(size, fmt, memory)
    level = level_at(grid, near, z, size)
    place = _Place.of(at.within(window, level), window, level)
    if place is None:
        return empty_tile(size, fmt, memory)
    missing = _missing(store.computed(year), place, grid.chunk)
    if isinstance(when, int):
        index = style.index(_gather(place, _read_years(store, name, when, level, memory)))
    else:
        counts = _gather(place, _read_days(store, name, when, level, memory))
        lut = memory.get(("lut", name, style), lambda: lookup(v, style), lambda a: a.nbytes)
        index = np.take(lut, counts.view(np.uint16))
    if place.outside is not None:
        index[place.outside] = 0
    if not index.any():
        return Tile(empty_tile(size, fmt, memory).content, MEDIA[fmt], True, missing)
    return Tile(encode(index, style, fmt), MEDIA[fmt], False, missing)


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


def tag(
    snapshot: str, name: str, when: date | int, z: int, x: int, y: int, size: int, fmt: Format, style: Style | None
) -> str:
    """A short name for a tile's content: equal tags, equal bytes. For an ETag, without drawing the tile."""
    said = repr((snapshot, name, when, z, x, y, size, fmt, style))
    return hashlib.sha256(said.encode()).hexdigest()[:20]


def check_when(store: Drawable, v: Variable, when: date | int) -> int:
    """The year that a map of `v` on `when` is read from. Raises NotInStore."""
    if v.name not in store.variables:
        raise NotInStore(
            f"The store has no '{v.name}'; its variables are: {', '.join(store.variables)}. Choose one of them."
        )
    if v.period == "year" and not isinstance(when, int):
        raise NotInStore(f"'{v.name}' has one value a year; ask for the year {when.year} instead of {when}.")
    year = when if isinstance(when, int) else when.year
    if year not in store.years:
        raise NotInStore(
            f"The store has no year {year}; it covers {min(store.years)} to {max(store.years)}."
            if store.years
            else f"The store has no year {year}; nothing has been computed in it yet."
        )
    return year


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
class _Place:
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
    def of(cls, corners: Mesh, window: Window, level: int) -> _Place | None:
        height, width = (n >> level for n in window.shape)
        rows, cols = corners.pixels()
        row, col = _floor(rows), _floor(cols)
        outside = None
        if row.min() < 0 or col.min() < 0 or row.max() >= height or col.max() >= width:
            # as unsigned numbers, those below zero are large
            outside = (row.view(np.uint32) >= height) | (col.view(np.uint32) >= width)
            if outside.all():
                return None
            # pixels outside are looked up at the nearest cell, then made transparent
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


def _gather(place: _Place, read: Read) -> NDArray[Any]:
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


def _read_days(store: Drawable, name: str, day: date, level: int, memory: Lru) -> Read:
    snapshot = store.snapshot

    def read(row: int, col: int) -> Counts:
        return memory.get(
            ("day", snapshot, name, day, level, row, col),
            lambda: store.read_counts(name, day, _page(store, row, col, level), level),
            lambda a: a.nbytes,
        )

    return read


def _read_years(store: Drawable, name: str, year: int, level: int, memory: Lru) -> Read:
    snapshot = store.snapshot

    def read(row: int, col: int) -> NDArray[np.float32]:
        return memory.get(
            ("year", snapshot, name, year, level, row, col),
            lambda: store.read_year(name, _page(store, row, col, level), year, level=level),
            lambda a: a.nbytes,
        )

    return read


def _missing(computed: NDArray[np.bool_], place: _Place, chunk: int) -> tuple[tuple[int, int], ...]:
    """Chunks of `chunk` cells under a tile's pixels that are not computed, from its middle outward."""
    row0, row1, col0, col1 = ((edge << place.level) // chunk for edge in place.box)
    there = computed[row0 : row1 + 1, col0 : col1 + 1]
    if there.all():
        return ()
    # the box of a tile holds chunks that no pixel touches: the grid is turned against it
    touched = np.zeros(there.shape, bool)
    touched[(place.row << place.level) // chunk - row0, (place.col << place.level) // chunk - col0] = True
    i, j = np.nonzero(touched & ~there)
    if not i.size:
        return ()
    order = np.argsort((i - (i.min() + i.max()) / 2) ** 2 + (j - (j.min() + j.max()) / 2) ** 2, kind="stable")
    return tuple((int(a) + row0, int(b) + col0) for a, b in zip(i[order], j[order], strict=True))
