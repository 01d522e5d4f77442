"""Writing blocks and chunks into a store: beside it, then renamed into it, and only then marked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import state as states
from .files import disk_faults, scratch, write_folder, write_whole
from .flagfiles import write_flags
from .folder import Files
from .grid import Block
from .layout import gather_root, overlay_group, shards, year_folders, year_group
from .manifest import Record, chunk_marker, marker, write_token
from .packing import Counts, minus, plus
from .pyramid import coarse_values, count_levels
from .shards import array_metadata, write_shard
from .shortcuts import Shard, ensure_groups, shortcuts_of
from .site import NotInStore, Site, has_parts
from .state import CellState
from .yeardata import YearData


def write_block(site: Site, block: Block, year: int, data: YearData, record: Record, state: CellState | None) -> None:
    """As `Store.write_block`."""
    if block not in site.blocks:
        raise NotInStore(f"Block {block.name} lies outside the store {site.path}.")
    i, j = site.place(block)
    _ensure_year(site, year)
    parts: list[tuple[str, Mapping[str, Counts], Mapping[str, NDArray[np.float32]]]] = [
        (f"{year}/level{level}" if level else str(year), daily, yearly)
        for level, (daily, yearly) in enumerate(_with_levels(site, data))
    ]
    if site.members > 1:
        parts.append((f"{year}/members", data.member_daily, data.member_yearly))
    arrays: list[Shard] = []
    for at, daily, yearly in parts:
        both: dict[str, NDArray[Any]] = {**daily, **yearly}
        arrays += [(f"{at}/{name}", array, shards(array.ndim, i, j)) for name, array in both.items()]
    more = shortcuts_of(site, data.daily, data.member_daily, year, "blocks", i, j)
    write_flags(site, block.name, year, data.flags)
    mark = marker(site.path, block.name, year)
    _commit(site, arrays, more, mark, record, state_path(site, block.name, year), state)


def write_chunk(
    site: Site, row: int, col: int, year: int, data: YearData, record: Record, state: CellState | None
) -> None:
    """As `Store.write_chunk`."""
    _ensure_overlay(site, year)
    at = f"overlay/{year}"
    arrays: list[Shard] = []
    for prefix, daily, yearly in (
        ("", data.daily, data.yearly),
        ("members_", data.member_daily, data.member_yearly),
    ):
        if daily:
            arrays.append((f"{at}/{prefix}daily", _stack(list(daily.values()), 3), shards(4, row, col)))
        if yearly:
            arrays.append((f"{at}/{prefix}yearly", _stack(list(yearly.values()), 2), shards(3, row, col)))
    more = shortcuts_of(site, data.daily, data.member_daily, year, "chunks", row, col)
    name = site.chunk_name(row, col)
    write_flags(site, name, year, data.flags)
    mark = chunk_marker(site.path, name, year)
    _commit(site, arrays, more, mark, record, state_path(site, name, year), state)


def forget(site: Site, block: Block, year: int) -> None:
    """As `Store.forget`."""
    with disk_faults("the store's record", site.path):
        marker(site.path, block.name, year).unlink(missing_ok=True)
        write_token(site.path, "generation")
        write_token(site.path, "epoch")


def read_state(site: Site, files: Files, name: str, year: int) -> CellState | None:
    """The model's memory of a block or chunk at the end of a year; None where it is not kept."""
    path = state_path(site, name, year)
    try:
        return states.load(files.read(path.relative_to(site.path).as_posix()), str(path))
    except FileNotFoundError:
        return None


def state_path(site: Site, name: str, year: int) -> Path:
    """Where that is kept."""
    return site.path / "states" / str(year) / f"{name}.safetensors"


def _ensure_year(site: Site, year: int) -> None:
    """Make the groups of a year, unless they are there, and name them in the root's metadata."""
    folder = site.path / str(year)
    with disk_faults("the store's metadata", site.path):
        if not folder.exists():
            write_folder(folder, year_group(site.layout, year, site.title, site.source), site.path)
        gathered = array_metadata(site.path).get("consolidated_metadata", {}).get("metadata", {})
        if str(year) not in gathered:
            _gather_metadata(site.path)


def _gather_metadata(path: Path) -> None:
    years: set[int] | None = None
    # Until no other process made a year meanwhile.
    while years != set(year_folders(path)):
        years = set(year_folders(path))
        write_whole(path / "zarr.json", gather_root(path), path)


def _ensure_overlay(site: Site, year: int) -> None:
    folder = site.path / "overlay" / str(year)
    if not folder.exists():
        with disk_faults("the store's metadata", site.path):
            write_folder(folder, overlay_group(site.layout, year), site.path)


def _with_levels(site: Site, data: YearData) -> list[tuple[dict[str, Counts], dict[str, NDArray[np.float32]]]]:
    """Daily and yearly arrays of level 0, 1, 2, ..."""
    levels, parts = site.layout.levels, has_parts(site.daily)
    daily: list[dict[str, Counts]] = [dict(data.daily), *({} for _ in levels)]
    for name in site.daily:
        if name not in ("reco", "nee") or not parts:
            for level, counts in count_levels(data.daily[name], levels):
                daily[level][name] = counts
    if parts:
        for level in levels:
            # From the means of their parts, so that the identities hold at every level.
            reco = plus(daily[level]["ra"], daily[level]["rh"])
            daily[level]["reco"], daily[level]["nee"] = reco, minus(reco, daily[level]["gpp"])
            daily[level] = {n: daily[level][n] for n in site.daily}
    yearly = [{n: coarse_values(a, level) for n, a in data.yearly.items()} for level in (0, *levels)]
    return list(zip(daily, yearly, strict=True))


def _commit(
    site: Site,
    arrays: Sequence[Shard],
    more: Sequence[Shard],
    mark: Path,
    record: Record,
    state_at: Path,
    state: CellState | None,
) -> None:
    """arrays: what readers cannot do without. more: what follows from it."""
    ensure_groups(site, more)
    with disk_faults("new data", site.path):
        unfinished = scratch(site.path)
        unfinished.mkdir()
        try:
            for k, (at, data, _) in enumerate([*arrays, *more]):
                write_shard(unfinished / str(k), data, array_metadata(site.path / at))
            if state is not None:
                write_whole(state_at, states.dump(state), site.path)
            replaced = False
            # Should all end here, days are read alone, never beside what follows from others.
            for at, _, shard in more:
                (site.path / at / shard).unlink(missing_ok=True)
            for k, (at, _, shard) in enumerate([*arrays, *more]):
                final = site.path / at / shard
                final.parent.mkdir(parents=True, exist_ok=True)
                replaced = replaced or final.exists()
                os.replace(unfinished / str(k), final)
            if replaced:
                write_token(site.path, "generation")
            write_whole(mark, record.model_dump_json(indent=1).encode(), site.path, sync=True)
            write_token(site.path, "epoch")
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _stack(arrays: Sequence[NDArray[Any]], dimensions: int) -> NDArray[Any]:
    """One leading axis over variables and, inside, members."""
    return np.concatenate([a.reshape(-1, *a.shape[-dimensions:]) for a in arrays])
