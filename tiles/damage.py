"""What is said of files of a store that are damaged or gone: which, how it came out, and what to do."""

from __future__ import annotations

from .manifest import BadStore, chunk_marker, marker
from .site import Site


def damaged(site: Site, at: str, why: str) -> BadStore:
    """The error for a shard, by its path in the store."""
    parts = at.split("/")
    overlay = parts[0] == "overlay"
    year = int(parts[1] if overlay else parts[0])
    i, j = (int(p) for p in parts[-2:]) if parts[-1].isdigit() else (0, 0)
    if overlay:
        name = site.chunk_name(i, j)
        mark = chunk_marker(site.path, name, year)
        what = f"chunk {name}"
    else:
        name = site.block_at(i, j).name
        mark = marker(site.path, name, year)
        what = f"block {name}"
    return BadStore(
        f"The store's file {site.path / at} ({what}, {year}) is damaged: {why}. Delete its marker {mark} and run "
        f"the model again: only that {what.split()[0]} and year is recomputed."
    )


def bad_metadata(site: Site, at: str, why: str) -> BadStore:
    """The error for an array's `zarr.json`, by the array's path in the store."""
    return BadStore(
        f"The store's metadata {site.path / at / 'zarr.json'} is missing or damaged: {why}. "
        f"Delete the folders {at.split('/')[0]} and blocks/{at.split('/')[0]} of the store, and run the "
        f"model again; other years stay."
    )


def short(error: Exception) -> str:
    """The fault itself, without tensorstore's code and its own trace."""
    text = str(error).split(" [")[0]
    return text.split(": ", 1)[-1].strip().rstrip(".")
