"""What the model flagged of a block's or chunk's cells in a year: small files beside the arrays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from .files import disk_faults, write_whole
from .folder import StoreAway
from .grid import Window
from .manifest import BadStore
from .site import Site
from .view import View


def read_flags(site: Site, view: View, window: Window, year: int) -> dict[str, NDArray[np.bool_]] | None:
    """As `Store.read_flags`."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, place in _places(site, view, window, year):
        flags = _flags_of(site, view, name, year)
        if flags is None:
            return None
        part = place.intersect(window)
        if part is None:
            continue
        for flag, cells in flags.items():
            out = found.setdefault(flag, np.zeros(window.shape, bool))
            out[part.slices(window)] = cells[part.slices(place)]
    return found


def write_flags(site: Site, name: str, year: int, flags: Mapping[str, NDArray[np.bool_]] | None) -> None:
    """Write the flags of a block or chunk, where they are known. Raises StoreFull, StoreReadOnly."""
    if flags is None:
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **flags)
    with disk_faults("flags", site.path):
        write_whole(site.path / _at(name, year), buffer.getvalue(), site.path)


def _places(site: Site, view: View, window: Window, year: int) -> Iterator[tuple[str, Window]]:
    """Names and cells of the whole blocks, and of the chunks on demand, in a window."""
    n, k, extent = site.grid.block, site.grid.chunk, site.window
    chunks = view.chunks.get(year)
    for block in window.blocks(site.grid):
        cells = Window(block.row * n, (block.row + 1) * n, block.col * n, (block.col + 1) * n)
        if view.has_block(year, *site.place(block)):
            yield block.name, cells
            continue
        inside = window.intersect(cells)
        inside = None if inside is None else inside.intersect(extent)
        if chunks is None or inside is None:
            continue
        i0, i1 = (inside.row0 - extent.row0) // k, (inside.row1 - 1 - extent.row0) // k + 1
        j0, j1 = (inside.col0 - extent.col0) // k, (inside.col1 - 1 - extent.col0) // k + 1
        for a, b in np.argwhere(chunks[i0:i1, j0:j1]).tolist():
            yield site.chunk_name(i0 + a, j0 + b), site.chunk_window(i0 + a, j0 + b)


def _flags_of(site: Site, view: View, name: str, year: int) -> Mapping[str, NDArray[np.bool_]] | None:
    kept, key = view.opened.flags, f"{year}/{name}"
    if key not in kept:
        kept[key] = _read(site, view, _at(name, year))
    return kept[key]


def _read(site: Site, view: View, at: str) -> Mapping[str, NDArray[np.bool_]] | None:
    try:
        with np.load(io.BytesIO(view.files.read(at)), allow_pickle=False) as file:
            return {name: np.asarray(file[name], bool) for name in file.files}
    except FileNotFoundError:
        return None
    except StoreAway:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadStore(
            f"The store's file {site.path / at} is damaged: {error}. Delete it: these cells' flags are then not known."
        ) from error


def _at(name: str, year: int) -> str:
    return f"flags/{year}/{name}.npz"
