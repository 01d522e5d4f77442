"""The files of a store that other programs may read: Zarr metadata, coordinates and shards, and nothing else of it."""

from __future__ import annotations

import re
from pathlib import Path

from .problems import Refused

# A store's folder also holds the model's memory and records of runs. What is served is listed, not what is not: a
# path of any other form, such as one with dots in it, is of no file.
_SERVED = re.compile(r"zarr\.json|\d{4}(/(level\d|members))?(/[a-z][a-z0-9_]{0,60})?/(zarr\.json|c(/\d{1,6}){0,4})")


def file_of(store: Path, path: str) -> Path | None:
    """The file at a path of the store's Zarr hierarchy; None where there is none, which readers take as "no data".

    Raises Refused (not-found) for a path that is none of Zarr's.
    """
    if not _SERVED.fullmatch(path):
        raise Refused("not-found", f"'{path[:80]}' is not a file of the store's Zarr hierarchy.")
    found = store / path
    return found if found.is_file() and not found.is_symlink() else None
