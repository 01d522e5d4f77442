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
from .mercator import BadTile, Mesh, TileAddress, lonlat_bounds, mesh, pixel_m
from .packing import FILL, Counts, over_year, unpack
from .palettes import Style, style_of
from .pixels import PAGE, Cells, Read
from .png import Bytes8, palette_png, palette_webp
from .pyramid import levels_of
from .store import NotInStore
from .when import Anomaly, Difference, Period, Span, When, check, days_of, pieces, years_of

Format: TypeAlias = Literal["png", "webp"]
Floats: TypeAlias = NDArray[np.float32]

MEDIA: dict[Format, str] = {"png": "image/png", "webp": "image/webp"}


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
        table = memory.get(("lut", name, style), lambda: lookup(v, style), lambda a: a.nbytes)
        index, some = cells.looked_up(_counts(store, name, when, cells.level, memory), table)
    else:
        index = style.index(cells.values(pages(store, v, when, cells.level, memory)))
        some = bool(index.any())
    if not some:
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
    found = cells.values(pages(store, v, when, cells.level, memory))
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


# --- where tiles lie -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile lies: its side in pixels, and its cells, None where it lies outside the store."""

    size: int
    cells: Cells | None


def mercator_place(store: Drawable, address: TileAddress, memory: Lru) -> Place:
    """Where a Web Mercator tile lies."""
    grid, window = store.grid, store.window

    def make() -> Place:
        near = memory.get(("near", grid, window), lambda: lonlat_bounds(grid, window), lambda _: 200)
        at = mesh(grid, address, near)
        if at is None:
            return Place(address.size, None)
        level = level_at(grid, near, address.z, address.size)
        return Place(address.size, Cells.under(at.within(window, level), window, level))

    # The same for all days and variables.
    return memory.get(("place", grid, window, address), make, lambda p: 300 if p.cells is None else p.cells.nbytes)


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
    edges = np.array([0.0, size])
    rows = np.repeat((edges + (row * size - (window.row0 >> level)))[:, None], 2, axis=1)
    cols = np.repeat((edges + (col * size - (window.col0 >> level)))[None, :], 2, axis=0)
    return Place(size, Cells.under(Mesh(rows, cols, size), window, level))


def grid_tiles(grid: Grid, level: int, size: int = 256) -> tuple[int, int]:
    """Rows and columns of the grid's own tile matrix at a level."""
    side = size << max(level, 0)
    return -(-grid.rows // side), -(-grid.cols // side)


def _pages(store: Drawable, down: range, across: range, level: int) -> Window:
    """The cells of some pages, in rows and columns of the level."""
    w = store.window
    row0, row1, col0, col1 = (edge >> level for edge in (w.row0, w.row1, w.col0, w.col1))
    return Window(
        row0 + down.start * PAGE,
        min(row0 + down.stop * PAGE, row1),
        col0 + across.start * PAGE,
        min(col0 + across.stop * PAGE, col1),
    )


def _counts(store: Drawable, name: str, day: date, level: int, memory: Lru) -> Read:
    snapshot = store.snapshot

    def read(down: range, across: range) -> Counts:
        keys = [[("day", snapshot, name, day, level, i, j) for j in across] for i in down]
        kept = [[memory.find(key) for key in line] for line in keys]
        if all(page is not None for line in kept for page in line):
            return _joined(kept)
        # To read one large piece takes less time than several small ones.
        whole = store.read_counts(name, day, _pages(store, down, across, level), level)
        for i, line in enumerate(keys):
            for j, key in enumerate(line):
                if kept[i][j] is None:
                    page = whole[i * PAGE : (i + 1) * PAGE, j * PAGE : (j + 1) * PAGE].copy()
                    memory.put(key, page, page.nbytes)
        return whole

    return read


def _joined(each: Sequence[Sequence[NDArray[Any]]]) -> NDArray[Any]:
    """Pages, line by line, as one array."""
    return each[0][0] if len(each) == len(each[0]) == 1 else np.block(each)  # type: ignore[arg-type]


def pages(store: Drawable, v: Variable, when: When, level: int, memory: Lru) -> Read:
    """Reads pages of values, float32, NaN where any part of them is missing.

    What was made once is kept: maps of neighbouring times share their parts.
    """
    snapshot = store.snapshot

    def kept(of: Hashable, row: int, col: int, make: Callable[[], Floats]) -> Floats:
        return memory.get(("values", snapshot, v.name, of, level, row, col), make, lambda a: a.nbytes)

    def period(of: Period, row: int, col: int) -> Floats:
        if isinstance(of, date):
            return unpack(v.name, _counts(store, v.name, of, level, memory)(_one(row), _one(col)))
        return kept(of, row, col, lambda: make(of, row, col))

    def make(of: int | Span, row: int, col: int) -> Floats:
        cells = _pages(store, _one(row), _one(col), level)
        if isinstance(of, int):
            return store.read_year(v.name, cells, of, level=level)
        parts = pieces(of)
        if len(parts) == 1:
            counts = store.read_packed(v.name, cells, of.first, of.last, level=level)
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

    def page(row: int, col: int) -> Floats:
        if isinstance(when, Difference):
            return period(when.of, row, col) - period(when.minus, row, col)
        if isinstance(when, Anomaly):
            return period(when.of, row, col) - normal(when, row, col)
        return period(when, row, col)

    return lambda down, across: _joined([[page(i, j) for j in across] for i in down])


def _one(k: int) -> range:
    return range(k, k + 1)


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
            touched = cells.touched(chunk)[: there.shape[0], : there.shape[1]]
        i, j = np.nonzero(touched & ~there)
        if i.size:
            order = np.argsort((i - (i.min() + i.max()) / 2) ** 2 + (j - (j.min() + j.max()) / 2) ** 2, kind="stable")
            found += [(year, int(a) + row0, int(b) + col0) for a, b in zip(i[order], j[order], strict=True)]
    return tuple(found)
