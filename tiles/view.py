"""What of a store can be read at the moment: blocks and chunks that are whole, and the files that are open."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .folder import Files, Folder
from .grid import Window
from .lru import Lru
from .pieces import Cutting
from .site import Site

INDEX_BYTES = 8 * 2**20
"""Room for the indexes of open shards: 64 kB of one that is cut for series, so that some 120 files stay open."""


@dataclass(slots=True)
class Opened:
    """Open arrays, their decoded chunks, and shards that were seen on disk: of one generation of the store.

    Given up as a whole, so that a thread in the middle of a read cannot carry an old array into the new generation.
    """

    cache_bytes: int
    arrays: dict[str, Any] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    flags: dict[str, Mapping[str, NDArray[np.bool_]] | None] = field(default_factory=dict)
    context: Any = None
    cuttings: dict[str, Cutting] = field(default_factory=dict)
    shards: Lru = field(default_factory=lambda: Lru(INDEX_BYTES))
    """Shards that pieces are read of."""
    squares: Lru = field(init=False)
    """Whole years of small squares, for series."""

    def __post_init__(self) -> None:
        # Small: a field's sums are kept elsewhere, and its neighbours' squares are read in a millisecond.
        self.squares = Lru(self.cache_bytes // 4)

    def open(self, path: str) -> Any:
        """An array for reading. Raises ValueError."""
        import tensorstore as ts

        if self.context is None:
            self.context = ts.Context({"cache_pool": {"total_bytes_limit": 3 * self.cache_bytes // 4}})
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
class View:
    """What was readable when a reader last looked, by year: flags over the extent's blocks, and over its chunks."""

    token: str
    generation: str
    blocks: Mapping[int, NDArray[np.bool_]]
    chunks: Mapping[int, NDArray[np.bool_]]
    opened: Opened
    files: Files
    shortcuts: str = ""
    computed: dict[int, NDArray[np.bool_]] = field(default_factory=dict)

    def has_block(self, year: int, i: int, j: int) -> bool:
        """Whether the block in that row and column of the extent is whole; False beyond it."""
        found = self.blocks.get(year)
        return found is not None and 0 <= i < found.shape[0] and 0 <= j < found.shape[1] and bool(found[i, j])


class Watch:
    """Looks at a store's tokens, at most once in `look_every` seconds, and at its markers where these changed.

    Safe between threads. cache_bytes: room for decoded chunks. files: those of the site's folder without.
    """

    def __init__(self, site: Site, cache_bytes: int, look_every: float, files: Files | None = None) -> None:
        self._site = site
        self._cache_bytes = cache_bytes
        self._look_every = look_every
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._view = View("not looked yet", "", {}, {}, Opened(cache_bytes), files or Folder(site.path))

    def soon(self) -> None:
        """Look at the next question, whatever the time: something was written here."""
        self._next_look = 0.0

    def look(self) -> View:
        if time.monotonic() < self._next_look:
            return self._view
        with self._lock:
            started = time.monotonic()
            if started < self._next_look:
                return self._view
            files = self._view.files.latest()
            token = files.token("epoch")
            if token != self._view.token:
                self._view = self._read(files, token, files.token("generation"))
            # A large store is looked through less often, so that looking stays under a twentieth of the time.
            elapsed = time.monotonic() - started
            self._next_look = started + max(self._look_every, 20 * elapsed)
            return self._view

    def _read(self, files: Files, token: str, generation: str) -> View:
        site, seen = self._site, self._view
        rows, cols = site.window.shape
        n = site.grid.block
        chunks = _flags(files.marked("overlay/chunks"), site.window, site.grid.chunk, site.layout.chunks)
        blocks = _flags(files.marked("blocks"), site.window, n, (rows // n, cols // n))
        # What follows from the days may be made later than they (see `shortcuts`); nothing that was read changes then.
        shortcuts = files.token("shortcuts")
        same = (generation, shortcuts, files) == (seen.generation, seen.shortcuts, seen.files)
        opened = seen.opened if same else Opened(self._cache_bytes)
        return View(token, generation, blocks, chunks, opened, files, shortcuts)


def _flags(
    names: Mapping[int, frozenset[str]], window: Window, size: int, shape: Sequence[int]
) -> dict[int, NDArray[np.bool_]]:
    """Names such as "b016-039" as flags over the extent."""
    found: dict[int, NDArray[np.bool_]] = {}
    for year, of_year in names.items():
        flags = np.zeros(tuple(shape), bool)
        if of_year:
            at = np.array([[int(p) for p in name[1:].split("-")] for name in of_year])
            at -= (window.row0 // size, window.col0 // size)
            inside = (at >= 0).all(axis=1) & (at < tuple(shape)).all(axis=1)
            flags[tuple(at[inside].T)] = True
        found[year] = flags
    return found
