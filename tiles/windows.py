"""Reading windows of cells of a store's arrays, through tensorstore: from whole blocks, and from chunks on demand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .damage import bad_metadata, damaged, short
from .folder import StoreAway
from .grid import Window
from .layout import shards
from .manifest import BadStore
from .packing import FILL, Counts
from .pyramid import coarse_counts, coarse_values
from .site import NotInStore, Site
from .view import View


@dataclass(frozen=True, slots=True)
class Ask:
    """One array of one year: where it lies in whole blocks, and in the overlay of chunks."""

    year: int
    array: str
    index: tuple[Any, ...]
    overlay: str
    overlay_index: tuple[Any, ...]
    level: int


@dataclass(frozen=True, slots=True)
class _Read:
    """A read under way: where it goes in the result, the cells read and those filled, what will hold it."""

    where: tuple[Any, ...]
    part: Window
    into: Window
    future: Any
    ask: Ask


def daily_ask(site: Site, name: str, year: int, days: Any, level: int, member: int | slice | None) -> Ask:
    """Days of a variable: of the mean, of a member, or of some of them."""
    if member is None or site.members == 1:
        at = f"{year}/level{level}/{name}" if level else f"{year}/{name}"
        return Ask(year, at, (days,), f"overlay/{year}/daily", (site.daily.index(name), days), level)
    k = site.layout.member_daily.index(name) * site.members
    of: Any = slice(k, k + site.members) if isinstance(member, slice) else k + member
    return Ask(year, f"{year}/members/{name}", (member, days), f"overlay/{year}/members_daily", (of, days), level)


def yearly_ask(site: Site, name: str, year: int, level: int, member: int | None) -> Ask:
    """The year's value of a variable: of the mean, or of a member."""
    array = name if name in site.annual else f"{name}_year"
    if member is not None:
        site.require_member(member)
    if member is None or site.members == 1:
        at = f"{year}/level{level}/{array}" if level else f"{year}/{array}"
        return Ask(year, at, (), f"overlay/{year}/yearly", (site.layout.yearly.index(array),), level)
    if array not in site.layout.member_yearly or level:
        raise NotInStore(
            f"The store keeps years of each member, without levels, for {', '.join(site.layout.member_yearly)}, "
            f"not for '{name}'. Ask for its mean."
        )
    k = site.layout.member_yearly.index(array) * site.members + member
    return Ask(year, f"{year}/members/{array}", (member,), f"overlay/{year}/members_yearly", (k,), level)


def gather(site: Site, view: View, ask: Ask, window: Window, dtype: Any) -> NDArray[Any]:
    """One array over a window; missing where it is not computed, or outside."""
    return _end(site, _begin(site, view, [((), ask)], window), 1, window, (), dtype)


def days_together(
    site: Site,
    view: View,
    variables: Sequence[str],
    window: Window,
    first: date,
    last: date,
    member: int | slice | None,
    level: int = 0,
) -> list[Counts]:
    """[(member,) day, row, col] counts of each variable, all read at the same time."""
    days = (last - first).days + 1
    every = isinstance(member, slice)
    lead = (site.members, days) if every else (days,)
    begun = []
    for name in variables:
        asks = []
        for a, b in _by_year(first, last):
            where: Any = slice((a - first).days, (b - first).days + 1)
            ask = daily_ask(site, name, a.year, days_of_year(a, b), level, member)
            asks.append(((slice(None), where) if every else (where,), ask))
        begun.append((_begin(site, view, asks, window), len(asks)))
    return [_end(site, pending, n, window, lead, np.dtype(np.int16)) for pending, n in begun]


def opened_array(site: Site, view: View, at: str) -> Any:
    """The open array of that path. Raises BadStore."""
    found = view.opened.arrays.get(at)
    if found is None:
        try:
            found = view.files.array(at, view.opened)
        except (StoreAway, BadStore):
            raise
        except ValueError as error:
            raise bad_metadata(site, at, short(error)) from error
        view.opened.arrays[at] = found
    return found


def days_of_year(first: date, last: date) -> slice:
    """The days from `first` to `last` of one year, counted from its beginning."""
    return slice(first.timetuple().tm_yday - 1, last.timetuple().tm_yday)


def _by_year(first: date, last: date) -> list[tuple[date, date]]:
    return [(max(first, date(y, 1, 1)), min(last, date(y, 12, 31))) for y in range(first.year, last.year + 1)]


def _begin(site: Site, view: View, asks: Sequence[tuple[tuple[Any, ...], Ask]], window: Window) -> list[_Read]:
    """Begin to read all parts at once."""
    return [
        _Read(where, part, into, array[index].read(), ask)
        for where, ask in asks
        for part, into, index, array in _parts(site, view, ask, window)
    ]


def _end(
    site: Site, reads: Sequence[_Read], asked: int, window: Window, lead: tuple[int, ...], dtype: Any
) -> NDArray[Any]:
    """Wait for the parts of so many asks and put them in place."""
    if len(reads) == 1 and asked == 1 and reads[0].into == window and reads[0].part == window:
        return np.asarray(_result(site, reads[0].future, reads[0].ask))
    out = np.full((*lead, *window.shape), FILL if dtype == np.int16 else np.nan, dtype)
    for read in reads:
        found = _result(site, read.future, read.ask)
        if read.part != read.into:
            found = _coarse(found, read.ask.level, read.part, read.into)
        out[(*read.where, *read.into.slices(window))] = found
    return out


def _parts(site: Site, view: View, ask: Ask, window: Window) -> Iterator[tuple[Window, Window, tuple[Any, ...], Any]]:
    """(cells read, cells filled, index, array) for what can be read of the window.

    The two windows differ only where the overlay, which has no levels, is read for a level.
    """
    n, level = site.grid.block >> ask.level, ask.level
    extent = _coarser(site.window, level)
    clip = window.intersect(extent)
    blocks, chunks = view.blocks.get(ask.year), view.chunks.get(ask.year)
    if clip is None or (blocks is None and chunks is None):
        return
    i0, i1 = (clip.row0 - extent.row0) // n, (clip.row1 - extent.row0 - 1) // n + 1
    j0, j1 = (clip.col0 - extent.col0) // n, (clip.col1 - extent.col0 - 1) // n + 1
    there = np.zeros((i1 - i0, j1 - j0), bool) if blocks is None else blocks[i0:i1, j0:j1]
    if there.any():
        array = opened_array(site, view, ask.array)
        dimensions = len(ask.index) + 2
        for i, j in zip(*np.nonzero(there), strict=True):
            _check_present(site, view, f"{ask.array}/{shards(dimensions, i0 + int(i), j0 + int(j))}")
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
                yield from _overlay_parts(site, view, ask, part, chunks)


def _overlay_parts(
    site: Site, view: View, ask: Ask, part: Window, chunks: NDArray[np.bool_]
) -> Iterator[tuple[Window, Window, tuple[Any, ...], Any]]:
    level, n, origin = ask.level, site.grid.chunk, site.window
    fine = _finer(part, level)
    i0, i1 = (fine.row0 - origin.row0) // n, (fine.row1 - origin.row0 - 1) // n + 1
    j0, j1 = (fine.col0 - origin.col0) // n, (fine.col1 - origin.col0 - 1) // n + 1
    found = np.argwhere(chunks[i0:i1, j0:j1])
    if not len(found):
        return
    array = opened_array(site, view, ask.overlay)
    for i, j in found:
        row, col = i0 + int(i), j0 + int(j)
        chunk = site.chunk_window(row, col).intersect(fine)
        if chunk is not None:
            _check_present(site, view, f"{ask.overlay}/{shards(len(ask.overlay_index) + 2, row, col)}")
            into = chunk if level == 0 else _coarser(chunk, level)
            yield chunk, into, (*ask.overlay_index, *chunk.slices(origin)), array


def _check_present(site: Site, view: View, at: str) -> None:
    """A shard that vanished would read as missing data: look for it once."""
    present = view.opened.present
    if at not in present:
        if not view.files.exists(at):
            raise damaged(site, at, "it is not there")
        present.add(at)


def _result(site: Site, read: Any, ask: Ask) -> Any:
    try:
        return read.result()
    except (StoreAway, BadStore):
        raise
    except ValueError as error:
        named = re.search(r'local file "([^"]+)"', str(error))
        at = str(Path(named.group(1)).relative_to(site.path)) if named else ask.array
        raise damaged(site, at, short(error)) from error


def _coarser(w: Window, level: int) -> Window:
    s = 1 << level
    return w if level == 0 else Window(w.row0 // s, -(-w.row1 // s), w.col0 // s, -(-w.col1 // s))


def _finer(w: Window, level: int) -> Window:
    s = 1 << level
    return w if level == 0 else Window(w.row0 * s, w.row1 * s, w.col0 * s, w.col1 * s)


def _coarse(values: Any, level: int, part: Window, into: Window) -> Any:
    assert part.shape == _finer(into, level).shape
    return coarse_counts(values, level) if values.dtype == np.int16 else coarse_values(values, level)
