"""The output store: what a model said of every cell and day of a cube, packed, cut for both maps and series.

Readers and writers may be many, in one process or several. Blocks appear whole: a block and year is first written
beside the store's arrays, then renamed into them, and only then marked. Readers look at one small file, at most once a
second, to see what is new. Shards are not forced down to the disk one by one, which would take longer than computing
them: one that a power cut destroyed is found by its checksum and can be made again.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from fieldflux.models.contract import Model
from fieldflux.models.variables import variable as vocabulary
from numpy.typing import NDArray

from . import state as states
from .chunksums import KEPT, LARGEST_CHUNK, TOGETHER, chunk_sums, quantities, wanted
from .files import StoreFull, StoreReadOnly, disk_faults, scratch, write_folder, write_whole
from .grid import Block, Grid, Window
from .layout import (
    DAYS_IN_SHARD,
    FLUXES,
    Layout,
    gather_root,
    overlay_group,
    root_group,
    shards,
    split,
    sums_group,
    year_folders,
    year_group,
)
from .lru import Lru
from .manifest import (
    FORMAT,
    NAME,
    BadStore,
    CubeUsed,
    Manifest,
    ModelUsed,
    Record,
    WrongStore,
    chunk_marker,
    code_version,
    marked,
    marker,
    now,
    read_manifest,
    read_record,
    read_token,
    write_token,
)
from .packing import FILL, Counts, minus, plus, unpack
from .pyramid import coarse_counts, coarse_values, count_levels
from .shards import Cutting, DamagedShard, Index, read_boxes, write_shard
from .state import CellState
from .surface import CubeLike

__all__ = [
    "BadStore",
    "NotInStore",
    "Store",
    "StoreFull",
    "StoreReadOnly",
    "WrongStore",
    "YearData",
    "create_store",
    "open_or_create_store",
    "open_store",
]

log = logging.getLogger(__name__)
Integers: TypeAlias = NDArray[np.int64]

CACHE_BYTES = 128 * 2**20
LOOK_EVERY = 1.0
OCCUPIED = "occupied.npy"


class NotInStore(ValueError):
    """A variable, member, day or level that a store does not hold."""


@dataclass(frozen=True, slots=True)
class YearData:
    """Packed outputs of one year over a square of cells (a block or a chunk).

    daily: name -> int16 [day, y, x]. yearly: name (annual, and "<daily>_year") -> float32 [y, x].
    member_daily: name -> int16 [member, day, y, x]. member_yearly: name -> float32 [member, y, x].
    flags: what the model flagged, name -> bool [y, x]; None where that is not known.
    """

    daily: Mapping[str, Counts]
    yearly: Mapping[str, NDArray[np.float32]]
    member_daily: Mapping[str, Counts] = field(default_factory=dict)
    member_yearly: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    flags: Mapping[str, NDArray[np.bool_]] | None = None


@dataclass(frozen=True, slots=True)
class _View:
    """What was readable when a reader last looked."""

    token: str
    generation: str
    blocks: Mapping[int, NDArray[np.bool_]]
    chunks: Mapping[int, NDArray[np.bool_]]
    computed: dict[int, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(slots=True)
class _Cache:
    """Open arrays, their decoded chunks, and shards that were seen on disk: of one generation of the store.

    Given up as a whole, so that a thread in the middle of a read cannot carry an old array into the new generation.
    """

    size: int
    arrays: dict[str, Any] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    flags: dict[str, Mapping[str, NDArray[np.bool_]] | None] = field(default_factory=dict)
    context: Any = None
    cuttings: dict[str, Cutting] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    squares: Lru = field(init=False)
    """Whole years of small squares, for series."""

    def __post_init__(self) -> None:
        self.squares = Lru(3 * self.size // 4)

    def open(self, path: str) -> Any:
        """An array for reading. Raises ValueError."""
        import tensorstore as ts

        if self.context is None:
            self.context = ts.Context({"cache_pool": {"total_bytes_limit": self.size // 4}})
        # Nothing is read before it is marked, and what is marked does not change in a generation: so no file has to be
        # looked at twice, and warm reads make no system call.
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": path},
            "recheck_cached_data": False,
            "recheck_cached_metadata": False,
        }
        return ts.open(spec, context=self.context, open=True, read=True).result()


@dataclass(frozen=True, slots=True)
class _Ask:
    """One array of one year: where it lies in whole blocks, and in the overlay of chunks."""

    year: int
    array: str
    index: tuple[Any, ...]
    overlay: str
    overlay_index: tuple[Any, ...]
    level: int


@dataclass(frozen=True, slots=True)
class Square:
    """A year of a small square of cells. row0, col0: its first cell; cells: [c] which of those asked for lie in it.

    counts: of each variable [member, 366 days, y, x]; of the mean, one member. Kept for others: not to be written to.
    """

    row0: int
    col0: int
    cells: Integers
    counts: tuple[Counts, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """A read under way: where it goes in the result, the cells read and those filled, what will hold it."""

    where: tuple[Any, ...]
    part: Window
    into: Window
    future: Any
    ask: _Ask


class Store:
    """An open store. Safe to share between threads; windows are in absolute rows and columns of the grid.

    cache_bytes: room for decoded chunks. look_every: seconds between looks for what others have written.
    """

    def __init__(
        self, path: Path, manifest: Manifest, cache_bytes: int = CACHE_BYTES, look_every: float = LOOK_EVERY
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.grid: Grid = manifest.the_grid()
        self.window: Window = manifest.the_window()
        """Extent: the cube's window, grown to whole blocks."""
        self.years: tuple[int, ...] = manifest.cube.years
        self.members: int = manifest.model.members
        self.layout = Layout(self.grid, self.window, manifest.daily, manifest.annual, self.members)
        self._cache_bytes = cache_bytes
        self._look_every = look_every
        self._lock = threading.Lock()
        self._cache = _Cache(cache_bytes)
        self._next_look = 0.0
        self._view = _View("not looked yet", "", {}, {})
        self._ready: set[int] = set()

    # What it is

    @property
    def model_id(self) -> str:
        return self.manifest.model.id

    @property
    def weights_sha256(self) -> str:
        return self.manifest.model.weights_sha256

    @property
    def cube_id(self) -> str:
        return self.manifest.cube.id

    @property
    def cube_hash(self) -> str:
        return self.manifest.cube.hash

    @property
    def daily(self) -> tuple[str, ...]:
        return self.manifest.daily

    @property
    def annual(self) -> tuple[str, ...]:
        return self.manifest.annual

    @property
    def variables(self) -> tuple[str, ...]:
        """Daily variables, then annual ones."""
        return (*self.daily, *self.annual)

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels of the pyramid, 0 = the cells."""
        return (0, *self.layout.levels)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self.window.blocks(self.grid))

    @property
    def snapshot(self) -> str:
        """A short text that changes whenever something that can be read changes."""
        return self._look().token

    @property
    def edition(self) -> str:
        """A short text that changes only when something that could be read is replaced or taken away.

        What is added leaves it as it is: all that was complete in an edition stays the same in it.
        """
        return self._look().generation

    def check(self, model: Model | None = None, cube: CubeLike | None = None) -> None:
        """Raise WrongStore unless the store was made by this model, from this cube."""
        used = self.manifest
        if model is not None and (model.card.id, model.card.weights_sha256) != (
            used.model.id,
            used.model.weights_sha256,
        ):
            raise WrongStore(
                f"The store {self.path} was made by model '{used.model.id}' with weights "
                f"{used.model.weights_sha256[:12]}…, not by '{model.card.id}' with weights "
                f"{model.card.weights_sha256[:12]}…. Choose another folder for this model's store."
            )
        if cube is not None and (cube.id, cube.hash) != (used.cube.id, used.cube.hash):
            raise WrongStore(
                f"The store {self.path} was made from cube '{used.cube.id}' with content {used.cube.hash[:12]}…, not "
                f"from '{cube.id}' with content {cube.hash[:12]}…. Choose another folder for this cube's store."
            )

    # What is there

    def complete(self, block: Block, year: int) -> bool:
        """Whether a block and year is whole and readable."""
        found = self._look().blocks.get(year)
        i, j = self._place(block)
        return found is not None and 0 <= i < found.shape[0] and 0 <= j < found.shape[1] and bool(found[i, j])

    def computed(self, year: int) -> NDArray[np.bool_]:
        """[chunk rows, chunk columns] of the extent: which chunks of `grid.chunk` cells can be read for the year.

        Index (i, j) is the chunk whose first cell is (window.row0 + i * chunk, window.col0 + j * chunk). A chunk
        without any cell that could be computed counts as computed. Not to be written to.
        """
        view = self._look()
        found = view.computed.get(year)
        if found is None:
            found = ~self.occupied
            if year in view.chunks:
                found |= view.chunks[year]
            if year in view.blocks:
                k = self.grid.block // self.grid.chunk
                found |= np.repeat(np.repeat(view.blocks[year], k, axis=0), k, axis=1)
            found.flags.writeable = False
            view.computed[year] = found
        return found

    @cached_property
    def occupied(self) -> NDArray[np.bool_]:
        """[chunk rows, chunk columns] of the extent: which chunks hold any cell that can be computed."""
        try:
            return np.asarray(np.load(self.path / OCCUPIED), bool)
        except (OSError, ValueError) as error:
            raise BadStore(f"The store's file {self.path / OCCUPIED} is missing or damaged: {error}.") from error

    def record(self, block: Block, year: int) -> Record:
        """How a block and year was made. Raises BadStore where it was not."""
        return read_record(marker(self.path, block.name, year))

    def records(self) -> list[Record]:
        """All records of whole blocks and years, by name and year."""
        names = [(name, year) for year, all_names in marked(self.path / "blocks").items() for name in all_names]
        return [read_record(marker(self.path, name, year)) for name, year in sorted(names)]

    # Reading

    def read_days(
        self, variable: str, window: Window, first: date, last: date, member: int | None = None
    ) -> NDArray[np.float32]:
        """[day, row, col] values from `first` to `last`, both included; NaN = missing, not computed, or outside.

        member: one of the ensemble (only of the carbon fluxes); None: the ensemble's mean.
        """
        return unpack(variable, self.read_packed(variable, window, first, last, member))

    def read_packed(
        self, variable: str, window: Window, first: date, last: date, member: int | None = None, level: int = 0
    ) -> Counts:
        """As `read_days`, in counts: multiply by `VARIABLES[variable].step`; -32768 = missing.

        level: as in `read_counts`, of the ensemble's mean only.
        """
        self._require(variable, daily=True, level=level)
        if level and member is not None:
            raise NotInStore("The store keeps no levels of each member's days. Ask for their mean, or for the cells.")
        if last < first:
            raise NotInStore(f"The last day ({last}) lies before the first ({first}). Exchange them.")
        derived = self._member_parts(variable, member)
        if derived is not None:
            gpp, ra, rh = (self.read_packed(n, window, first, last, member) for n in ("gpp", "ra", "rh"))
            reco = plus(ra, rh)
            return reco if variable == "reco" else minus(reco, gpp)
        return self._read_together((variable,), window, first, last, member, level)[0]

    def read_packed_together(self, variables: Sequence[str], window: Window, first: date, last: date) -> list[Counts]:
        """As `read_packed` of each, all read at the same time."""
        for name in variables:
            self._require(name, daily=True)
        return self._read_together(variables, window, first, last, None)

    def read_members(self, variables: Sequence[str], window: Window, first: date, last: date) -> list[Counts]:
        """[member, day, row, col] counts of each variable, of those whose days are kept of each member."""
        for name in variables:
            self._require(name, daily=True)
            self._require_member_days(name)
        return self._read_together(variables, window, first, last, slice(0, self.members))

    def _read_together(
        self,
        variables: Sequence[str],
        window: Window,
        first: date,
        last: date,
        member: int | slice | None,
        level: int = 0,
    ) -> list[Counts]:
        view = self._look()
        days = (last - first).days + 1
        every = isinstance(member, slice)
        lead = (self.members, days) if every else (days,)
        begun = []
        for name in variables:
            asks = []
            for a, b in _by_year(first, last):
                where: Any = slice((a - first).days, (b - first).days + 1)
                ask = self._daily_ask(name, a.year, _days(a, b), level, member)
                asks.append(((slice(None), where) if every else (where,), ask))
            begun.append((self._begin(asks, window, view), len(asks)))
        return [self._end(pending, n, window, lead, np.dtype(np.int16)) for pending, n in begun]

    def read_squares(
        self, variables: Sequence[str], rows: Integers, cols: Integers, year: int, members: bool = False
    ) -> Iterator[Square]:
        """The year of all small squares under the cells [c], square by square, chunk by chunk.

        members: of each member of the ensemble, of variables whose days are kept of each; else of the mean.
        Missing where it is not computed; cells lie in the extent.
        """
        for name in variables:
            self._require(name, daily=True)
            if members:
                self._require_member_days(name)
        view, cache, side, n = self._look(), self._cache, self.layout.square, self.grid.chunk
        asks = [self._daily_ask(name, year, slice(0, DAYS_IN_SHARD), 0, slice(0, self.members) if members else None)
                for name in variables]  # fmt: skip
        order = np.lexsort((cols // side, rows // side, cols // n, rows // n))
        starts = _starts(rows[order] // side, cols[order] // side)
        squares = [
            (int(rows[cells[0]]) // side * side, int(cols[cells[0]]) // side * side, cells)
            for cells in np.split(order, starts)
        ]
        for (i, j), group in groupby(
            squares, lambda s: ((s[0] - self.window.row0) // n, (s[1] - self.window.col0) // n)
        ):
            of_chunk = list(group)
            at = [(row0, col0) for row0, col0, _ in of_chunk]
            counts = [self._squares(ask, i, j, at, view, cache) for ask in asks]
            for k, (row0, col0, cells) in enumerate(of_chunk):
                yield Square(row0, col0, cells, tuple(of_variable[k] for of_variable in counts))

    def read_counts(self, variable: str, day: date, window: Window, level: int = 0) -> Counts:
        """[row, col] counts of one day for drawing; -32768 = missing, not computed, or outside.

        level: of the pyramid; rows and columns of `window` are then cells of that level (`row // 2**level`).
        """
        self._require(variable, daily=True, level=level)
        ask = self._daily_ask(variable, day.year, day.timetuple().tm_yday - 1, level, None)
        return self._gather(ask, window, np.dtype(np.int16), self._look())

    def read_year(
        self, variable: str, window: Window, year: int, member: int | None = None, level: int = 0
    ) -> NDArray[np.float32]:
        """[row, col] values of the year: annual variables, or daily ones summed, averaged or taken at its end.

        Units are those of `Variable.unit_over("year")`. NaN = missing, not computed, or outside. level: as in
        `read_counts`.
        """
        self._require(variable, daily=False, level=level)
        ask = self._yearly_ask(variable, year, level, member)
        return self._gather(ask, window, np.dtype(np.float32), self._look())

    def read_chunk_sums(
        self, variables: Sequence[str], rows: Integers, cols: Integers, first: date, last: date, members: bool = False
    ) -> tuple[Integers, Integers, NDArray[np.bool_]]:
        """Exact sums over chunks: [member, variable, day] of counts, [member, day] cells that had all variables.

        variables: one, or gpp, ra and rh, which count where all three are valid. rows, cols: [n] as in `computed`.
        first, last: of one year. members: of each member of the ensemble; else of its mean, as the one member.
        Third, [n] whether a chunk is in the sums; those that are not have to be read cell by cell: they are not
        computed, were stored before sums were kept, or have variables that are valid in different cells.
        """
        year, view, of = first.year, self._look(), self.members if members else 1
        listed = wanted(self.layout, variables, members and self.members > 1)
        sums = np.zeros((of, len(variables) + 1, (last - first).days + 1), np.int64)
        used = np.zeros(rows.size, bool)
        begun = []
        for at, picked in self._sums_at(view, year, rows, cols):
            r, c = rows[picked], cols[picked]
            i0, j0 = int(r.min()), int(c.min())
            box = slice(i0, int(r.max()) + 1), slice(j0, int(c.max()) + 1)
            begun.append((at, picked, r - i0, c - j0, self._array(at)[(listed, _days(first, last), *box)].read()))
        for at, picked, r, c, future in begun:
            try:
                found = future.result()
            except ValueError as error:
                # Sums are a short way to what the cells say, and the cells are there.
                log.warning("The sums in %s are damaged, cells are read instead: %s.", self.path / at, _short(error))
                continue
            found = found.reshape(of, len(variables) + 2, *found.shape[1:])[..., r, c]
            good = (found[:, 0] >= (KEPT if len(variables) == 1 else TOGETHER)).all(axis=(0, 1))
            sums += (found if good.all() else found[..., good])[:, 1:].sum(axis=-1, dtype=np.int64)
            used[picked] = good
        return sums[:, :-1], sums[:, -1], used

    def _sums_at(
        self, view: _View, year: int, rows: Integers, cols: Integers
    ) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """Arrays of sums, and which of the chunks (as in `computed`) are to be read there, block by block."""
        k = self.grid.block // self.grid.chunk
        blocks, chunks = view.blocks.get(year), view.chunks.get(year)
        if rows.size == 0 or not (self.path / "sums" / str(year)).exists():
            return
        whole = np.zeros(rows.size, bool) if blocks is None else blocks[rows // k, cols // k]
        block = (rows // k) * self.layout.chunks[1] + cols // k
        for one in np.unique(block[whole]):
            yield f"sums/{year}/blocks", np.flatnonzero(whole & (block == one))
        if chunks is not None:
            for one in np.flatnonzero(~whole & chunks[rows, cols]):
                yield f"sums/{year}/chunks", np.array([one])

    def read_flags(self, window: Window, year: int) -> dict[str, NDArray[np.bool_]] | None:
        """Name -> bool [row, col], what the model flagged; None where the store does not know it of some cells.

        Stores made before flags were kept do not know it.
        """
        view, n, k = self._look(), self.grid.block, self.grid.chunk
        found: dict[str, NDArray[np.bool_]] = {}
        blocks, chunks = view.blocks.get(year), view.chunks.get(year)
        for block in window.blocks(self.grid):
            i, j = self._place(block)
            if blocks is not None and 0 <= i < blocks.shape[0] and 0 <= j < blocks.shape[1] and blocks[i, j]:
                places = [(block.name, Window(block.row * n, (block.row + 1) * n, block.col * n, (block.col + 1) * n))]
            elif chunks is not None:
                inside = window.intersect(
                    Window(block.row * n, (block.row + 1) * n, block.col * n, (block.col + 1) * n)
                )
                inside = None if inside is None else inside.intersect(self.window)
                if inside is None:
                    continue
                i0, i1 = (inside.row0 - self.window.row0) // k, (inside.row1 - 1 - self.window.row0) // k + 1
                j0, j1 = (inside.col0 - self.window.col0) // k, (inside.col1 - 1 - self.window.col0) // k + 1
                at = [(i0 + int(a), j0 + int(b)) for a, b in np.argwhere(chunks[i0:i1, j0:j1])]
                places = [(self.chunk_name(a, b), self.chunk_window(a, b)) for a, b in at]
            else:
                continue
            for name, place in places:
                flags = self._flags_of(name, year)
                part = place.intersect(window)
                if flags is None:
                    return None
                if part is None:
                    continue
                for flag, cells in flags.items():
                    out = found.setdefault(flag, np.zeros(window.shape, bool))
                    out[part.slices(window)] = cells[part.slices(place)]
        return found

    def _flags_of(self, name: str, year: int) -> Mapping[str, NDArray[np.bool_]] | None:
        cache = self._cache
        key = f"{year}/{name}"
        if key not in cache.flags:
            cache.flags[key] = self._read_flags(self._flags_path(name, year))
        return cache.flags[key]

    def _read_flags(self, path: Path) -> Mapping[str, NDArray[np.bool_]] | None:
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: np.asarray(file[name], bool) for name in file.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise BadStore(
                f"The store's file {path} is damaged: {error}. Delete it: flags of these cells are then not known."
            ) from error

    def _flags_path(self, name: str, year: int) -> Path:
        return self.path / "flags" / str(year) / f"{name}.npz"

    # Writing

    def write_block(self, block: Block, year: int, data: YearData, record: Record, state: CellState | None) -> None:
        """Make a block and year readable, all of it at once, with its pyramid and the model's memory at its end.

        Raises StoreFull, StoreReadOnly; the store then is as before.
        """
        if block not in self.blocks:
            raise NotInStore(f"Block {block.name} lies outside the store {self.path}.")
        i, j = self._place(block)
        self._ensure_year(year)
        parts: list[tuple[str, Mapping[str, Counts], Mapping[str, NDArray[np.float32]]]] = [
            (f"{year}/level{level}" if level else str(year), daily, yearly)
            for level, (daily, yearly) in enumerate(self._with_levels(data))
        ]
        if self.members > 1:
            parts.append((f"{year}/members", data.member_daily, data.member_yearly))
        arrays: list[tuple[str, NDArray[Any], str]] = []
        for at, daily, yearly in parts:
            both: dict[str, NDArray[Any]] = {**daily, **yearly}
            arrays += [(f"{at}/{name}", array, shards(array.ndim, i, j)) for name, array in both.items()]
        sums = self._sums(data, f"sums/{year}/blocks", i, j)
        mark = marker(self.path, block.name, year)
        self._write_flags(block.name, year, data)
        self._commit(arrays, sums, mark, record, self._state_path(block.name, year), state)

    def write_chunk(
        self, row: int, col: int, year: int, data: YearData, record: Record, state: CellState | None
    ) -> None:
        """Make a chunk and year, computed on demand, readable; (row, col) as in `computed`. Raises as `write_block`."""
        self._ensure_overlay(year)
        at = f"overlay/{year}"
        arrays: list[tuple[str, NDArray[Any], str]] = []
        for prefix, daily, yearly in (
            ("", data.daily, data.yearly),
            ("members_", data.member_daily, data.member_yearly),
        ):
            if daily:
                stack = _stack(list(daily.values()), 3)
                arrays.append((f"{at}/{prefix}daily", stack, shards(4, row, col)))
            if yearly:
                stack = _stack(list(yearly.values()), 2)
                arrays.append((f"{at}/{prefix}yearly", stack, shards(3, row, col)))
        sums = self._sums(data, f"sums/{year}/chunks", row, col)
        name = self.chunk_name(row, col)
        mark = chunk_marker(self.path, name, year)
        self._write_flags(name, year, data)
        self._commit(arrays, sums, mark, record, self._state_path(name, year), state)

    def forget(self, block: Block, year: int) -> None:
        """Make a block and year unreadable, so that the next run computes it again."""
        with disk_faults("the store's record", self.path):
            marker(self.path, block.name, year).unlink(missing_ok=True)
            write_token(self.path, "generation")
            write_token(self.path, "epoch")
        self._next_look = 0.0

    def state(self, block: Block, year: int) -> CellState | None:
        """The model's memory of a block's cells at the end of a year; None where it is not kept."""
        return self._read_state(block.name, year)

    def chunk_state(self, row: int, col: int, year: int) -> CellState | None:
        """The model's memory of a chunk's cells at the end of a year; None where it is not kept."""
        return self._read_state(self.chunk_name(row, col), year)

    def chunk_name(self, row: int, col: int) -> str:
        """Name of a chunk in files and messages, by its number on the grid."""
        n = self.grid.chunk
        return f"c{self.window.row0 // n + row:04d}-{self.window.col0 // n + col:04d}"

    def chunk_window(self, row: int, col: int) -> Window:
        """Cells of a chunk; (row, col) as in `computed`."""
        n = self.grid.chunk
        row0, col0 = self.window.row0 + row * n, self.window.col0 + col * n
        return Window(row0, row0 + n, col0, col0 + n)

    # Internals

    def _ensure_year(self, year: int) -> None:
        """Make the groups of a year, unless they are there, and name them in the root's metadata."""
        if year in self._ready:
            return
        folder = self.path / str(year)
        with disk_faults("the store's metadata", self.path):
            if not folder.exists():
                write_folder(folder, year_group(self.layout, year, self._title, self._source), self.path)
            gathered = self._metadata("").get("consolidated_metadata", {}).get("metadata", {})
            if str(year) not in gathered:
                self._gather_metadata()
        self._ready.add(year)

    def _ensure_overlay(self, year: int) -> None:
        folder = self.path / "overlay" / str(year)
        if not folder.exists():
            with disk_faults("the store's metadata", self.path):
                write_folder(folder, overlay_group(self.layout, year), self.path)

    def _sums(self, data: YearData, at: str, i: int, j: int) -> list[tuple[str, NDArray[Any], str]]:
        """The sums over whole chunks, as arrays to be committed; the folder of their year is made."""
        if not data.daily or self.grid.chunk > LARGEST_CHUNK:
            return []
        folder = (self.path / at).parent
        if not folder.exists():
            with disk_faults("the store's metadata", self.path):
                write_folder(folder, sums_group(self.layout, int(folder.name), quantities(self.layout)), self.path)
        return [(at, chunk_sums(self.layout, data.daily, data.member_daily), shards(4, i, j))]

    def _gather_metadata(self) -> None:
        years: set[int] | None = None
        # Until no other process made a year meanwhile.
        while years != set(year_folders(self.path)):
            years = set(year_folders(self.path))
            write_whole(self.path / "zarr.json", gather_root(self.path), self.path)

    def _look(self) -> _View:
        if time.monotonic() < self._next_look:
            return self._view
        with self._lock:
            started = time.monotonic()
            if started < self._next_look:
                return self._view
            token = read_token(self.path, "epoch")
            if token != self._view.token:
                generation = read_token(self.path, "generation")
                if generation != self._view.generation:
                    self._cache = _Cache(self._cache_bytes)
                rows, cols = self.window.shape
                n = self.grid.block
                chunks = _flags(
                    marked(self.path / "overlay" / "chunks"), self.window, self.grid.chunk, self.layout.chunks
                )
                blocks = _flags(marked(self.path / "blocks"), self.window, n, (rows // n, cols // n))
                self._view = _View(token, generation, blocks, chunks)
            # A large store is looked through less often, so that looking stays under a twentieth of the time.
            elapsed = time.monotonic() - started
            self._next_look = started + max(self._look_every, 20 * elapsed)
            return self._view

    def _place(self, block: Block) -> tuple[int, int]:
        n = self.grid.block
        return block.row - self.window.row0 // n, block.col - self.window.col0 // n

    @property
    def _title(self) -> str:
        return f"{self.manifest.model.title}: {self.manifest.cube.title}"

    @property
    def _source(self) -> str:
        used = self.manifest
        return (
            f"Fieldflux {used.code}, model {used.model.id} (weights sha256 {used.model.weights_sha256}), cube "
            f"{used.cube.id} (content {used.cube.hash}). {used.cube.statement}"
        )

    def _require(self, name: str, daily: bool, level: int = 0) -> None:
        v = vocabulary(name)
        if name not in self.variables:
            raise NotInStore(
                f"The store of model '{self.model_id}' has no variable '{name}'; it has: {', '.join(self.variables)}."
            )
        if daily and v.period != "day":
            raise NotInStore(f"Variable '{name}' has one value a year, not one a day. Ask for a year.")
        if level not in self.levels:
            raise NotInStore(f"There is no level {level}; the levels are 0 (cells) to {self.levels[-1]}.")

    def _member_parts(self, name: str, member: int | None) -> tuple[str, ...] | None:
        """The fluxes that a member's reco or nee is made of; None where the variable is kept itself."""
        if member is None:
            return None
        self._require_member(member)
        if self.members == 1 or name in self.layout.member_daily:
            return None
        if name in ("reco", "nee") and len(self.layout.member_daily) == 3:
            return self.layout.member_daily
        kept = (*self.layout.member_daily, "reco", "nee")
        raise NotInStore(
            f"The store keeps days of each member for {', '.join(kept)}, not for '{name}'. Ask for its mean."
        )

    def _require_member_days(self, name: str) -> None:
        if name not in self.layout.member_daily:
            raise NotInStore(
                f"The store keeps days of each member for {', '.join(self.layout.member_daily) or 'nothing'}, not "
                f"for '{name}'. Ask for its mean."
            )

    def _require_member(self, member: int) -> None:
        if not 0 <= member < self.members:
            raise NotInStore(f"There is no member {member}; members are 0 to {self.members - 1}.")

    def _daily_ask(self, name: str, year: int, days: Any, level: int, member: int | slice | None) -> _Ask:
        if member is None or self.members == 1:
            at = f"{year}/level{level}/{name}" if level else f"{year}/{name}"
            return _Ask(year, at, (days,), f"overlay/{year}/daily", (self.daily.index(name), days), level)
        k = self.layout.member_daily.index(name) * self.members
        of: Any = slice(k, k + self.members) if isinstance(member, slice) else k + member
        return _Ask(year, f"{year}/members/{name}", (member, days), f"overlay/{year}/members_daily", (of, days), level)

    def _yearly_ask(self, name: str, year: int, level: int, member: int | None) -> _Ask:
        array = name if name in self.annual else f"{name}_year"
        if member is not None:
            self._require_member(member)
        if member is None or self.members == 1:
            at = f"{year}/level{level}/{array}" if level else f"{year}/{array}"
            return _Ask(year, at, (), f"overlay/{year}/yearly", (self.layout.yearly.index(array),), level)
        if array not in self.layout.member_yearly or level:
            raise NotInStore(
                f"The store keeps years of each member, without levels, for {', '.join(self.layout.member_yearly)}, "
                f"not for '{name}'. Ask for its mean."
            )
        k = self.layout.member_yearly.index(array) * self.members + member
        return _Ask(year, f"{year}/members/{array}", (member,), f"overlay/{year}/members_yearly", (k,), level)

    def _gather(self, ask: _Ask, window: Window, dtype: Any, view: _View) -> NDArray[Any]:
        return self._end(self._begin([((), ask)], window, view), 1, window, (), dtype)

    def _begin(self, asks: Sequence[tuple[tuple[Any, ...], _Ask]], window: Window, view: _View) -> list[_Read]:
        """Begin to read all parts at once."""
        return [
            _Read(where, part, into, array[index].read(), ask)
            for where, ask in asks
            for part, into, index, array in self._parts(ask, window, view)
        ]

    def _squares(
        self, ask: _Ask, i: int, j: int, places: Sequence[tuple[int, int]], view: _View, cache: _Cache
    ) -> list[Counts]:
        """Years [member, day, y, x] of squares of the chunk (i, j), by their first cells."""
        k, blocks, chunks = self.grid.block // self.grid.chunk, view.blocks.get(ask.year), view.chunks.get(ask.year)
        if blocks is not None and blocks[i // k, j // k]:
            at, shard, index, origin = ask.array, (i // k, j // k), ask.index, self.chunk_window(i // k * k, j // k * k)
        elif chunks is not None and chunks[i, j]:
            first = ask.overlay_index[0]
            lead = first if isinstance(first, slice) else slice(first, first + 1)
            at, shard, index, origin = ask.overlay, (i, j), (lead, ask.overlay_index[1]), self.chunk_window(i, j)
        else:
            side, (*lead_, days) = self.layout.square, ask.index
            members = self.members if lead_ else 1
            return [np.full((members, days.stop, side, side), FILL, np.int16) for _ in places]
        keys = [(at, index[0].start if len(index) > 1 else 0, row0, col0) for row0, col0 in places]
        found: list[Counts | None] = [cache.squares.find(key) for key in keys]
        missing = [k for k, counts in enumerate(found) if counts is None]
        if missing:
            boxes = [self._box(index, origin, *places[k]) for k in missing]
            for k, counts in zip(missing, self._read_boxes(at, shard, boxes, cache), strict=True):
                year = counts if counts.ndim == 4 else counts[None]
                cache.squares.put(keys[k], year, int(year.nbytes))
                found[k] = year
        return [counts for counts in found if counts is not None]

    def _box(self, index: tuple[slice, ...], origin: Window, row0: int, col0: int) -> tuple[slice, ...]:
        side = self.layout.square
        row, col = row0 - origin.row0, col0 - origin.col0
        return (*index, slice(row, row + side), slice(col, col + side))

    def _read_boxes(
        self, at: str, place: tuple[int, int], boxes: Sequence[tuple[slice, ...]], cache: _Cache
    ) -> list[Counts]:
        if at not in cache.cuttings:
            try:
                cache.cuttings[at] = Cutting.of(self._metadata(at))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise self._bad_metadata(at, str(error)) from error
        cutting = cache.cuttings[at]
        shard = f"{at}/{shards(len(cutting.shape), *place)}"
        try:
            found, cache.indexes[shard] = read_boxes(self.path / shard, cutting, boxes, cache.indexes.get(shard))
        except FileNotFoundError as error:
            raise self._damaged(shard, "it is not there") from error
        except DamagedShard as error:
            raise self._damaged(shard, str(error)) from error
        return found

    def _end(
        self, reads: Sequence[_Read], asked: int, window: Window, lead: tuple[int, ...], dtype: Any
    ) -> NDArray[Any]:
        """Wait for the parts of so many asks and put them in place."""
        if len(reads) == 1 and asked == 1 and reads[0].into == window and reads[0].part == window:
            return np.asarray(self._result(reads[0].future, reads[0].ask))
        out = np.full((*lead, *window.shape), FILL if dtype == np.int16 else np.nan, dtype)
        for read in reads:
            found = self._result(read.future, read.ask)
            if read.part != read.into:
                found = _coarse(found, read.ask.level, read.part, read.into)
            out[(*read.where, *read.into.slices(window))] = found
        return out

    def _parts(self, ask: _Ask, window: Window, view: _View) -> Any:
        """(cells read, cells filled, index, array) for what can be read of the window.

        The two windows differ only where the overlay, which has no levels, is read for a level.
        """
        n, level = self.grid.block >> ask.level, ask.level
        extent = _coarser(self.window, level)
        clip = window.intersect(extent)
        blocks, chunks = view.blocks.get(ask.year), view.chunks.get(ask.year)
        if clip is None or (blocks is None and chunks is None):
            return
        i0, i1 = (clip.row0 - extent.row0) // n, (clip.row1 - extent.row0 - 1) // n + 1
        j0, j1 = (clip.col0 - extent.col0) // n, (clip.col1 - extent.col0 - 1) // n + 1
        there = np.zeros((i1 - i0, j1 - j0), bool) if blocks is None else blocks[i0:i1, j0:j1]
        if there.any():
            array = self._array(ask.array)
            dimensions = len(ask.index) + 2
            for i, j in zip(*np.nonzero(there), strict=True):
                self._check_present(f"{ask.array}/{shards(dimensions, i0 + int(i), j0 + int(j))}")
            if there.all():
                yield clip, clip, (*ask.index, *clip.slices(extent)), array
                return
        for i in range(i0, i1):
            for j in range(j0, j1):
                row0, col0 = extent.row0 + i * n, extent.col0 + j * n
                part = clip.intersect(Window(row0, row0 + n, col0, col0 + n))
                if part is None:
                    continue
                if there[i - i0, j - j0]:
                    yield part, part, (*ask.index, *part.slices(extent)), array
                elif chunks is not None:
                    yield from self._overlay_parts(ask, part, chunks)

    def _overlay_parts(self, ask: _Ask, part: Window, chunks: NDArray[np.bool_]) -> Any:
        level, n = ask.level, self.grid.chunk
        fine = _finer(part, level)
        i0, i1 = (fine.row0 - self.window.row0) // n, (fine.row1 - self.window.row0 - 1) // n + 1
        j0, j1 = (fine.col0 - self.window.col0) // n, (fine.col1 - self.window.col0 - 1) // n + 1
        found = np.argwhere(chunks[i0:i1, j0:j1])
        if not len(found):
            return
        array = self._array(ask.overlay)
        for i, j in found:
            row, col = i0 + int(i), j0 + int(j)
            chunk = self.chunk_window(row, col).intersect(fine)
            if chunk is not None:
                self._check_present(f"{ask.overlay}/{shards(len(ask.overlay_index) + 2, row, col)}")
                into = chunk if level == 0 else _coarser(chunk, level)
                yield chunk, into, (*ask.overlay_index, *chunk.slices(self.window)), array

    def _array(self, at: str) -> Any:
        cache = self._cache
        found = cache.arrays.get(at)
        if found is None:
            try:
                found = cache.open(f"{self.path / at}/")
            except ValueError as error:
                raise self._bad_metadata(at, _short(error)) from error
            cache.arrays[at] = found
        return found

    def _bad_metadata(self, at: str, why: str) -> BadStore:
        return BadStore(
            f"The store's metadata {self.path / at / 'zarr.json'} is missing or damaged: {why}. "
            f"Delete the folders {at.split('/')[0]} and blocks/{at.split('/')[0]} of the store, and run the "
            f"model again; other years stay."
        )

    def _check_present(self, at: str) -> None:
        """A shard that vanished would read as missing data: look for it once."""
        present = self._cache.present
        if at not in present:
            if not (self.path / at).exists():
                raise self._damaged(at, "it is not there")
            present.add(at)

    def _result(self, read: Any, ask: _Ask) -> Any:
        try:
            return read.result()
        except ValueError as error:
            named = re.search(r'local file "([^"]+)"', str(error))
            at = str(Path(named.group(1)).relative_to(self.path)) if named else ask.array
            raise self._damaged(at, _short(error)) from error

    def _damaged(self, at: str, why: str) -> BadStore:
        parts = at.split("/")
        overlay = parts[0] == "overlay"
        year = int(parts[1] if overlay else parts[0])
        i, j = (int(p) for p in parts[-2:]) if parts[-1].isdigit() else (0, 0)
        n = self.grid.block
        if overlay:
            name = self.chunk_name(i, j)
            mark = chunk_marker(self.path, name, year)
            what = f"chunk {name}"
        else:
            name = Block(self.window.row0 // n + i, self.window.col0 // n + j).name
            mark = marker(self.path, name, year)
            what = f"block {name}"
        return BadStore(
            f"The store's file {self.path / at} ({what}, {year}) is damaged: {why}. Delete its marker {mark} and run "
            f"the model again: only that {what.split()[0]} and year is recomputed."
        )

    def _with_levels(self, data: YearData) -> list[tuple[dict[str, Counts], dict[str, NDArray[np.float32]]]]:
        """Daily and yearly arrays of level 0, 1, 2, ..."""
        levels = self.layout.levels
        daily: list[dict[str, Counts]] = [dict(data.daily), *({} for _ in levels)]
        for name in self.daily:
            if name not in ("reco", "nee") or not _has_parts(self.daily):
                for level, counts in count_levels(data.daily[name], levels):
                    daily[level][name] = counts
        if _has_parts(self.daily):
            for level in levels:
                # From the means of their parts, so that the identities hold at every level.
                reco = plus(daily[level]["ra"], daily[level]["rh"])
                daily[level]["reco"], daily[level]["nee"] = reco, minus(reco, daily[level]["gpp"])
                daily[level] = {n: daily[level][n] for n in self.daily}
        yearly = [{n: coarse_values(a, level) for n, a in data.yearly.items()} for level in (0, *levels)]
        return list(zip(daily, yearly, strict=True))

    def _commit(
        self,
        arrays: Sequence[tuple[str, NDArray[Any], str]],
        sums: Sequence[tuple[str, NDArray[Any], str]],
        mark: Path,
        record: Record,
        state_path: Path,
        state: CellState | None,
    ) -> None:
        with disk_faults("new data", self.path):
            unfinished = scratch(self.path)
            unfinished.mkdir()
            try:
                for k, (at, data, _) in enumerate([*arrays, *sums]):
                    write_shard(unfinished / str(k), data, self._metadata(at))
                if state is not None:
                    write_whole(state_path, states.dump(state), self.path)
                replaced = False
                # Should all end here, cells are read without sums, never beside those of other cells.
                for at, _, shard in sums:
                    (self.path / at / shard).unlink(missing_ok=True)
                for k, (at, _, shard) in enumerate([*arrays, *sums]):
                    final = self.path / at / shard
                    final.parent.mkdir(parents=True, exist_ok=True)
                    replaced = replaced or final.exists()
                    os.replace(unfinished / str(k), final)
                if replaced:
                    write_token(self.path, "generation")
                write_whole(mark, record.model_dump_json(indent=1).encode(), self.path, sync=True)
                write_token(self.path, "epoch")
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        self._next_look = 0.0

    def _write_flags(self, name: str, year: int, data: YearData) -> None:
        if data.flags is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **data.flags)
            with disk_faults("flags", self.path):
                write_whole(self._flags_path(name, year), buffer.getvalue(), self.path)

    def _metadata(self, at: str) -> dict[str, Any]:
        with open(self.path / at / "zarr.json", "rb") as file:
            found: dict[str, Any] = json.load(file)
        return found

    def _state_path(self, name: str, year: int) -> Path:
        return self.path / "states" / str(year) / f"{name}.safetensors"

    def _read_state(self, name: str, year: int) -> CellState | None:
        path = self._state_path(name, year)
        try:
            return states.load(path.read_bytes(), str(path))
        except FileNotFoundError:
            return None


def open_store(
    path: Path | str,
    model: Model | None = None,
    cube: CubeLike | None = None,
    cache_bytes: int = CACHE_BYTES,
    look_every: float = LOOK_EVERY,
) -> Store:
    """Open a store; with a model or a cube, only one that was made by it.

    Raises BadStore, WrongStore.
    """
    store = Store(Path(path), read_manifest(Path(path)), cache_bytes, look_every)
    store.check(model, cube)
    return store


def create_store(path: Path | str, model: Model, cube: CubeLike) -> Store:
    """Make an empty store for a model and a cube, in a folder that is not there or empty.

    Raises BadStore where something is there already; NotPackable; StoreFull, StoreReadOnly.
    """
    root = Path(path)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BadStore(
            f"A store cannot be made at {root}: something is there already. Choose another folder, or open the store "
            f"that is there."
        )
    card = model.card
    daily, annual = split(model.outputs)
    extent = cube.window.block_aligned(cube.grid)
    manifest = Manifest(
        format=FORMAT,
        model=ModelUsed(
            id=card.id,
            title=card.title,
            family=card.family,
            weights_sha256=card.weights_sha256,
            members=model.members,
            made=card.made,
        ),
        cube=CubeUsed(
            id=cube.id,
            title=cube.title,
            statement=cube.statement,
            synthetic=cube.synthetic,
            licence=cube.licence,
            hash=cube.hash,
            years=tuple(cube.years),
        ),
        code=code_version(),
        made=now(),
        grid=cube.grid.to_dict(),
        window=(extent.row0, extent.row1, extent.col0, extent.col1),
        daily=daily,
        annual=annual,
    )
    with disk_faults("a new store", root):
        store = Store(root, manifest)
        root.mkdir(parents=True, exist_ok=True)
        write_whole(root / "zarr.json", root_group(store._title, store._source)["zarr.json"], root)
        write_whole(root / OCCUPIED, _occupied(cube, store.layout), root)
        write_token(root, "generation")
        write_token(root, "epoch")
        # The manifest comes last: without it, there is no store.
        write_whole(root / NAME, manifest.model_dump_json(indent=1).encode(), root, sync=True)
    return store


def open_or_create_store(path: Path | str, model: Model, cube: CubeLike) -> Store:
    """The store at `path`, made if there is none. Raises as `open_store` and `create_store`."""
    if (Path(path) / NAME).exists():
        return open_store(path, model, cube)
    return create_store(path, model, cube)


def _occupied(cube: CubeLike, layout: Layout) -> bytes:
    cells = np.zeros(layout.window.shape, bool)
    cells[cube.window.slices(layout.window)] = cube.mask()
    (rows, cols), n = layout.chunks, layout.grid.chunk
    buffer = io.BytesIO()
    np.save(buffer, cells.reshape(rows, n, cols, n).any(axis=(1, 3)))
    return buffer.getvalue()


def _has_parts(daily: Sequence[str]) -> bool:
    return set(FLUXES) <= set(daily)


def _starts(*keys: Integers) -> NDArray[np.intp]:
    """Where sorted cells begin another square: at least one of the keys changes."""
    changed = np.zeros(keys[0].size - 1, bool)
    for key in keys:
        changed |= np.diff(key) != 0
    return np.flatnonzero(changed) + 1


def _days(first: date, last: date) -> slice:
    return slice(first.timetuple().tm_yday - 1, last.timetuple().tm_yday)


def _by_year(first: date, last: date) -> list[tuple[date, date]]:
    return [(max(first, date(y, 1, 1)), min(last, date(y, 12, 31))) for y in range(first.year, last.year + 1)]


def _coarser(w: Window, level: int) -> Window:
    s = 1 << level
    return w if level == 0 else Window(w.row0 // s, -(-w.row1 // s), w.col0 // s, -(-w.col1 // s))


def _finer(w: Window, level: int) -> Window:
    s = 1 << level
    return w if level == 0 else Window(w.row0 * s, w.row1 * s, w.col0 * s, w.col1 * s)


def _coarse(values: Any, level: int, part: Window, into: Window) -> Any:
    assert part.shape == _finer(into, level).shape
    return coarse_counts(values, level) if values.dtype == np.int16 else coarse_values(values, level)


def _flags(
    names: Mapping[int, frozenset[str]], window: Window, size: int, shape: tuple[int, int]
) -> dict[int, NDArray[np.bool_]]:
    """Names such as "b016-039" as flags over the extent."""
    found: dict[int, NDArray[np.bool_]] = {}
    for year, of_year in names.items():
        flags = np.zeros(shape, bool)
        if of_year:
            at = np.array([[int(p) for p in name[1:].split("-")] for name in of_year])
            at -= (window.row0 // size, window.col0 // size)
            inside = (at >= 0).all(axis=1) & (at < shape).all(axis=1)
            flags[tuple(at[inside].T)] = True
        found[year] = flags
    return found


def _stack(arrays: Sequence[NDArray[Any]], dimensions: int) -> NDArray[Any]:
    """One leading axis over variables and, inside, members."""
    return np.concatenate([a.reshape(-1, *a.shape[-dimensions:]) for a in arrays])


def _short(error: Exception) -> str:
    """The fault itself, without the library's code and its own trace."""
    text = str(error).split(" [")[0]
    return text.split(": ", 1)[-1].strip().rstrip(".")
