"""What a store keeps a second time, so that it is read sooner: sums over whole chunks, and fluxes cut for series.

Both follow from the days. A reader that finds neither reads the days; `bring_up_to_date` makes them for stores, or for
blocks and chunks of them, of before they were kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from threading import Event
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .chunksums import LARGEST_CHUNK, Sums, chunk_sums, quantities
from .files import disk_faults, scratch, sweep, write_folder
from .grid import Window
from .layout import series_group, shards, sums_group
from .manifest import write_token
from .packing import Counts
from .shards import array_metadata, write_shard
from .site import Site
from .view import View
from .windows import days_together

Shard: TypeAlias = tuple[str, NDArray[Any], str]
"""Path of an array in the store, what goes into one of its shards, and the shard's path under the array."""


def shortcuts_of(
    site: Site, daily: Mapping[str, Counts], member_daily: Mapping[str, Counts], year: int, kind: str, i: int, j: int
) -> list[Shard]:
    """Of a block or a chunk, (i, j) in the extent, from its days. kind: "blocks" or "chunks"."""
    found: list[Shard] = []
    if daily and site.grid.chunk <= LARGEST_CHUNK:
        found.append((f"sums/{year}/{kind}", chunk_sums(site.layout, daily, member_daily), shards(4, i, j)))
    names = site.layout.series_daily
    if names:
        found.append((f"series/{year}/{kind}", np.stack([daily[name] for name in names]), shards(4, i, j)))
    return found


def ensure_groups(site: Site, wanted: Sequence[Shard]) -> None:
    """Make the folders, with their metadata, of the arrays of these shards. Raises StoreFull, StoreReadOnly."""
    for at, _, _ in wanted:
        what, year, _ = at.split("/")
        folder = site.path / what / year
        if folder.exists():
            continue
        files = (
            sums_group(site.layout, int(year), quantities(site.layout))
            if what == "sums"
            else series_group(site.layout, int(year))
        )
        with disk_faults("the store's metadata", site.path):
            write_folder(folder, files, site.path)


@dataclass(frozen=True, slots=True)
class Lacking:
    """A block or a chunk on demand that lacks shortcuts: its place in the extent, its cells, what it lacks."""

    year: int
    kind: str
    i: int
    j: int
    window: Window
    what: tuple[str, ...]


def lacking(site: Site, view: View) -> list[Lacking]:
    """What `bring_up_to_date` would make, year by year."""
    sums = bool(site.daily) and site.grid.chunk <= LARGEST_CHUNK
    kinds = tuple(w for w, kept in (("sums", sums), ("series", bool(site.layout.series_daily))) if kept)
    found = []
    for year, kind, i, j, window in _whole(site, view):
        what = tuple(w for w in kinds if not (site.path / w / str(year) / kind / shards(4, i, j)).exists())
        if what:
            found.append(Lacking(year, kind, i, j, window, what))
    return found


def bring_up_to_date(
    site: Site, view: View, told: Callable[[int, int], None] = lambda _done, _of: None, cancel: Event | None = None
) -> int:
    """Make what is lacking, one block and year after the other; how many were made.

    Each is there whole or not at all, so that it can be stopped and started again at any time, and readers may go on
    meanwhile. told: done, and of how many. Raises BadStore for days that are damaged, StoreFull, StoreReadOnly.
    """
    sweep(site.path)
    todo = lacking(site, view)
    told(0, len(todo))
    made = 0
    for one in todo:
        if cancel is not None and cancel.is_set():
            break
        _make(site, view, one)
        made += 1
        told(made, len(todo))
    return made


def _make(site: Site, view: View, one: Lacking) -> None:
    wanted: list[Shard] = []
    at = shards(4, one.i, one.j)
    if "sums" in one.what:
        wanted.append((f"sums/{one.year}/{one.kind}", _sums(site, view, one), at))
    if "series" in one.what:
        days = days_together(site, view, site.layout.series_daily, one.window, *_ends(one.year), None)
        wanted.append((f"series/{one.year}/{one.kind}", np.stack(days), at))
    ensure_groups(site, wanted)
    with disk_faults("what it is read sooner by", site.path):
        unfinished = scratch(site.path)
        unfinished.mkdir()
        try:
            for array, data, shard in wanted:
                write_shard(unfinished / "shard", data, array_metadata(site.path / array))
                final = site.path / array / shard
                final.parent.mkdir(parents=True, exist_ok=True)
                os.replace(unfinished / "shard", final)
            # Readers then open what they found empty before; nothing that they read has changed.
            write_token(site.path, "shortcuts")
            write_token(site.path, "epoch")
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _sums(site: Site, view: View, one: Lacking) -> Sums:
    """A row of chunks after the other: all days of a block and its members are 1.4 GB."""
    layout, n, w = site.layout, site.grid.chunk, one.window
    rows = []
    for row0 in range(w.row0, w.row1, n):
        band = Window(row0, row0 + n, w.col0, w.col1)
        daily = days_together(site, view, layout.daily, band, *_ends(one.year), None)
        of = slice(0, site.members)
        members = (
            days_together(site, view, layout.member_daily, band, *_ends(one.year), of) if layout.member_daily else []
        )
        rows.append(
            chunk_sums(
                layout,
                dict(zip(layout.daily, daily, strict=True)),
                dict(zip(layout.member_daily, members, strict=True)),
            )
        )
    return np.concatenate(rows, axis=2)


def _ends(year: int) -> tuple[date, date]:
    return date(year, 1, 1), date(year, 12, 31)


def _whole(site: Site, view: View) -> Iterator[tuple[int, str, int, int, Window]]:
    """Whole blocks, and chunks on demand outside of them."""
    k = site.grid.block // site.grid.chunk
    for year in sorted({*view.blocks, *view.chunks}):
        for block in site.blocks:
            i, j = site.place(block)
            if view.has_block(year, i, j):
                yield year, "blocks", i, j, block.window(site.grid)
        for i, j in np.argwhere(view.chunks[year]).tolist() if year in view.chunks else ():
            if not view.has_block(year, i // k, j // k):
                yield year, "chunks", i, j, site.chunk_window(i, j)
