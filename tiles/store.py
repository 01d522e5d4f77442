"""The output store: what a model said of every cell and day of a cube, packed, cut for both maps and series.

Readers and writers may be many, in one process or several. Blocks appear whole: a block and year is first written
beside the store's arrays, then renamed into them, and only then marked. Readers look at one small file, at most once a
second, to see what is new. Shards are not forced down to the disk one by one, which would take longer than computing
them: one that a power cut destroyed is found by its checksum and can be made again.

Its parts: `layout` (what lies where), `site` (what does not change), `view` (what can be read at the moment), `windows`
and `squares` (reading maps, and series), `shortcuts` (what is kept a second time, to be read sooner), `writing`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from threading import Event

import numpy as np
from fieldflux.models.contract import Model
from numpy.typing import NDArray

from . import flagfiles, keptsums, shortcuts, squares, writing
from .files import StoreFull, StoreReadOnly, disk_faults, write_whole
from .folder import Files, StoreAway
from .grid import Block, Window
from .layout import Layout, root_group, split
from .manifest import (
    FORMAT,
    NAME,
    BadStore,
    CubeUsed,
    Manifest,
    ModelUsed,
    Record,
    WrongStore,
    code_version,
    marker_at,
    now,
    read_manifest,
    record_of,
    write_token,
)
from .packing import Counts, minus, plus, unpack
from .site import NotInStore, Site
from .squares import Integers, Square, Under
from .state import CellState
from .surface import CubeLike
from .view import View, Watch
from .windows import daily_ask, days_together, gather, yearly_ask
from .yeardata import YearData

__all__ = [
    "BadStore",
    "Integers",
    "NotInStore",
    "Square",
    "Store",
    "StoreFull",
    "StoreReadOnly",
    "Under",
    "WrongStore",
    "YearData",
    "create_store",
    "open_or_create_store",
    "open_store",
]

CACHE_BYTES = 128 * 2**20
LOOK_EVERY = 1.0
OCCUPIED = "occupied.npy"


class Store:
    """An open store. Safe to share between threads; windows are in absolute rows and columns of the grid.

    cache_bytes: room for decoded chunks. look_every: seconds between looks for what others have written. files: where
    its files lie; in the folder `path` without.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        cache_bytes: int = CACHE_BYTES,
        look_every: float = LOOK_EVERY,
        files: Files | None = None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.site = Site(path, manifest)
        self.grid = self.site.grid
        self.window: Window = self.site.window
        """Extent: the cube's window, grown to whole blocks."""
        self.years: tuple[int, ...] = manifest.cube.years
        self.members: int = manifest.model.members
        self.layout: Layout = self.site.layout
        self.waits = files is not None and files.waits
        """Whether it lies elsewhere: reading may wait for a network, and nothing can be written."""
        self._watch = Watch(self.site, cache_bytes, look_every, files)

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
        return self.site.levels

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.site.blocks

    @property
    def snapshot(self) -> str:
        """A short text that changes whenever something that can be read changes."""
        return self._watch.look().token

    @property
    def edition(self) -> str:
        """A short text that changes only when something that could be read is replaced or taken away.

        What is added leaves it as it is: all that was complete in an edition stays the same in it.
        """
        return self._watch.look().generation

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
        return self._watch.look().has_block(year, *self.site.place(block))

    def computed(self, year: int) -> NDArray[np.bool_]:
        """[chunk rows, chunk columns] of the extent: which chunks of `grid.chunk` cells can be read for the year.

        Index (i, j) is the chunk whose first cell is (window.row0 + i * chunk, window.col0 + j * chunk). A chunk
        without any cell that could be computed counts as computed. Not to be written to.
        """
        view = self._watch.look()
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
            return np.asarray(np.load(io.BytesIO(self._watch.look().files.read(OCCUPIED))), bool)
        except StoreAway:
            raise
        except (OSError, ValueError) as error:
            raise BadStore(f"The store's file {self.path / OCCUPIED} is missing or damaged: {error}.") from error

    def record(self, block: Block, year: int) -> Record:
        """How a block and year was made. Raises BadStore where it was not."""
        return self._record(block.name, year)

    def records(self) -> list[Record]:
        """All records of whole blocks and years, by name and year."""
        marked = self._watch.look().files.marked("blocks")
        names = [(name, year) for year, all_names in marked.items() for name in all_names]
        return [self._record(name, year) for name, year in sorted(names)]

    def _record(self, name: str, year: int) -> Record:
        at = marker_at(name, year)
        return record_of(self._watch.look().files.read, at, self.path / at)

    @property
    def view(self) -> View:
        """What of it can be read now."""
        return self._watch.look()

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
        self.site.require(variable, daily=True, level=level)
        if level and member is not None:
            raise NotInStore("The store keeps no levels of each member's days. Ask for their mean, or for the cells.")
        if last < first:
            raise NotInStore(f"The last day ({last}) lies before the first ({first}). Exchange them.")
        derived = self.site.member_parts(variable, member)
        if derived is not None:
            gpp, ra, rh = (self.read_packed(n, window, first, last, member) for n in ("gpp", "ra", "rh"))
            reco = plus(ra, rh)
            return reco if variable == "reco" else minus(reco, gpp)
        return days_together(self.site, self._watch.look(), (variable,), window, first, last, member, level)[0]

    def read_packed_together(self, variables: Sequence[str], window: Window, first: date, last: date) -> list[Counts]:
        """As `read_packed` of each, all read at the same time."""
        for name in variables:
            self.site.require(name, daily=True)
        return days_together(self.site, self._watch.look(), variables, window, first, last, None)

    def read_members(self, variables: Sequence[str], window: Window, first: date, last: date) -> list[Counts]:
        """[member, day, row, col] counts of each variable, of those whose days are kept of each member."""
        for name in variables:
            self.site.require(name, daily=True)
            self.site.require_member_days(name)
        return days_together(self.site, self._watch.look(), variables, window, first, last, slice(0, self.members))

    def squares_under(self, rows: Integers, cols: Integers) -> Under:
        """The small squares that cells [c] of the extent lie in."""
        return squares.squares_under(self.site, rows, cols)

    def read_squares(
        self, variables: Sequence[str], under: Under, year: int, members: bool = False
    ) -> Iterator[Square]:
        """The year of small squares, one after the other, chunk by chunk.

        members: of each member of the ensemble, of variables whose days are kept of each; else of the mean.
        Missing where it is not computed.
        """
        return squares.read_squares(self.site, self._watch.look(), variables, under, year, members)

    def read_counts(self, variable: str, day: date, window: Window, level: int = 0) -> Counts:
        """[row, col] counts of one day for drawing; -32768 = missing, not computed, or outside.

        level: of the pyramid; rows and columns of `window` are then cells of that level (`row // 2**level`).
        """
        self.site.require(variable, daily=True, level=level)
        ask = daily_ask(self.site, variable, day.year, day.timetuple().tm_yday - 1, level, None)
        return gather(self.site, self._watch.look(), ask, window, np.dtype(np.int16))

    def read_year(
        self, variable: str, window: Window, year: int, member: int | None = None, level: int = 0
    ) -> NDArray[np.float32]:
        """[row, col] values of the year: annual variables, or daily ones summed, averaged or taken at its end.

        Units are those of `Variable.unit_over("year")`. NaN = missing, not computed, or outside. level: as in
        `read_counts`.
        """
        self.site.require(variable, daily=False, level=level)
        ask = yearly_ask(self.site, variable, year, level, member)
        return gather(self.site, self._watch.look(), ask, window, np.dtype(np.float32))

    def read_chunk_sums(
        self, variables: Sequence[str], rows: Integers, cols: Integers, first: date, last: date, members: bool = False
    ) -> tuple[Integers, Integers, NDArray[np.bool_]]:
        """Exact sums over chunks: [member, variable, day] of counts, [member, day] cells that had all variables.

        variables: one, or gpp, ra and rh, which count where all three are valid. rows, cols: [n] as in `computed`.
        first, last: of one year. members: of each member of the ensemble; else of its mean, as the one member.
        Third, [n] whether a chunk is in the sums; those that are not have to be read cell by cell: they are not
        computed, were stored before sums were kept, or have variables that are valid in different cells.
        """
        view = self._watch.look()
        return keptsums.read_chunk_sums(self.site, view, variables, rows, cols, first, last, members)

    def read_flags(self, window: Window, year: int) -> dict[str, NDArray[np.bool_]] | None:
        """Name -> bool [row, col], what the model flagged; None where the store does not know it of some cells.

        Stores made before flags were kept do not know it.
        """
        return flagfiles.read_flags(self.site, self._watch.look(), window, year)

    # Writing

    def write_block(self, block: Block, year: int, data: YearData, record: Record, state: CellState | None) -> None:
        """Make a block and year readable, all of it at once, with its pyramid and the model's memory at its end.

        Raises StoreFull, StoreReadOnly; the store then is as before.
        """
        self._check_open("A block")
        writing.write_block(self.site, block, year, data, record, state)
        self._watch.soon()

    def write_chunk(
        self, row: int, col: int, year: int, data: YearData, record: Record, state: CellState | None
    ) -> None:
        """Make a chunk and year, computed on demand, readable; (row, col) as in `computed`. Raises as `write_block`."""
        self._check_open("A chunk")
        writing.write_chunk(self.site, row, col, year, data, record, state)
        self._watch.soon()

    def forget(self, block: Block, year: int) -> None:
        """Make a block and year unreadable, so that the next run computes it again."""
        self._check_open("What is to be forgotten")
        writing.forget(self.site, block, year)
        self._watch.soon()

    def _check_open(self, what: str) -> None:
        if self.waits:
            raise StoreReadOnly(
                f"{what} cannot be written to {self.path}: stores are only read in an object store. `fieldflux run` "
                f"computes into the work folder; `fieldflux stores push` puts what is new there."
            )

    def lacks_shortcuts(self) -> int:
        """How many blocks and years (or chunks on demand) lack what `shortcuts` has; they are read all the same."""
        return len(shortcuts.lacking(self.site, self._watch.look()))

    def bring_up_to_date(self, told: Callable[[int, int], None], cancel: Event | None = None) -> int:
        """Make these; how many were made. told: done, and of how many. Raises BadStore, StoreFull, StoreReadOnly."""
        self._check_open("What is read sooner by")
        made = shortcuts.bring_up_to_date(self.site, self._watch.look(), told, cancel)
        self._watch.soon()
        return made

    def state(self, block: Block, year: int) -> CellState | None:
        """The model's memory of a block's cells at the end of a year; None where it is not kept."""
        return writing.read_state(self.site, self.view.files, block.name, year)

    def chunk_state(self, row: int, col: int, year: int) -> CellState | None:
        """The model's memory of a chunk's cells at the end of a year; None where it is not kept."""
        return writing.read_state(self.site, self.view.files, self.chunk_name(row, col), year)

    def chunk_name(self, row: int, col: int) -> str:
        """Name of a chunk in files and messages, by its number on the grid."""
        return self.site.chunk_name(row, col)

    def chunk_window(self, row: int, col: int) -> Window:
        """Cells of a chunk; (row, col) as in `computed`."""
        return self.site.chunk_window(row, col)


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
        write_whole(root / "zarr.json", root_group(store.site.title, store.site.source)["zarr.json"], root)
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
