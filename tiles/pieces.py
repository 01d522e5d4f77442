"""Reads small parts of shards, as `shards` writes them: for fields.

tensorstore takes 0.02 to 0.07 ms for each of the dozens of pieces of a field's year.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .shards import NOWHERE, days_last

RESIDUE = 0x48674BC7
"""CRC-32C of any bytes that their own CRC-32C follows, little end first (RFC 3720, B.4, has the inverted one)."""

Box: TypeAlias = tuple[slice, ...]


class DamagedShard(ValueError):
    """A shard that cannot be read: cut short, or not what its checksums say."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How an array is cut: its shape, shards of `outer` made of chunks of `inner` elements in each dimension."""

    shape: tuple[int, ...]
    outer: tuple[int, ...]
    inner: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: int
    days_last: bool = False
    """Whether, in a chunk, the days [.., day, y, x] are kept as [.., y, x, day]."""

    @property
    def kept(self) -> tuple[int, ...]:
        """The shape of a chunk as it is kept."""
        return (self.inner[0], *self.inner[2:], self.inner[1]) if self.days_last else self.inner

    @property
    def squares(self) -> int:
        """Cells on a side of its chunks, where these are cut in the last two dimensions only and their days are kept
        last; else 0."""
        (*lead, rows, cols), (*all_of, _, _) = self.inner, self.outer
        return rows if self.days_last and lead == all_of and rows == cols else 0

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Cutting:
        """From an array's `zarr.json`, as `layout` writes it. Raises KeyError, TypeError, ValueError for another."""
        codec = metadata["codecs"][0]
        if codec["name"] != "sharding_indexed":
            raise ValueError("the array has no shards")
        outer, inner = metadata["chunk_grid"]["configuration"]["chunk_shape"], codec["configuration"]["chunk_shape"]
        kind = np.dtype(metadata["data_type"]).newbyteorder("<")
        last = days_last(codec["configuration"]["codecs"])
        return cls(tuple(metadata["shape"]), tuple(outer), tuple(inner), kind, int(metadata["fill_value"]), last)


class OpenShard:
    """A shard that is open for reading, with its index: safe between threads. It is closed when nobody holds it."""

    def __init__(self, path: str, cutting: Cutting) -> None:
        """Raises FileNotFoundError, DamagedShard."""
        self.cutting = cutting
        self.file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self.table: NDArray[np.uint64] = _table(self.file, cutting)
        """[..., 2] offset and size of each chunk."""

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    @property
    def nbytes(self) -> int:
        return int(self.table.nbytes) + 500


def read_boxes(shard: OpenShard, boxes: Sequence[Box]) -> list[NDArray[Any]]:
    """Parts of a shard, each by its slices in it. Each chunk is decoded once for all of them. Raises DamagedShard."""
    cutting, table = shard.cutting, shard.table
    found: list[NDArray[Any]] = []
    lying: dict[tuple[int, ...], list[int]] = {}
    for n, box in enumerate(boxes):
        alone = _only_chunk(box, cutting)
        if alone is not None and table[alone][0] != NOWHERE:
            whole = np.empty(cutting.kept, cutting.dtype)
            _decode(shard.file, table[alone], whole)
            found.append(_in_order(whole, cutting))
            continue
        found.append(np.full([s.stop - s.start for s in box], cutting.fill, cutting.dtype))
        spans = [range(s.start // c, (s.stop - 1) // c + 1) for s, c in zip(box, cutting.inner, strict=True)]
        for at in product(*spans):
            lying.setdefault(at, []).append(n)
    # One buffer for all: pieces of this size that are taken and given back are page faults, each time.
    buffer = np.empty(cutting.kept, cutting.dtype)
    chunk = _in_order(buffer, cutting)
    for at, inside in lying.items():
        if table[at][0] == NOWHERE:
            continue
        _decode(shard.file, table[at], buffer)
        for n in inside:
            into, out_of = _overlap(boxes[n], at, cutting)
            found[n][into] = chunk[out_of]
    return found


def read_squares_at(shard: OpenShard, places: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
    """Whole chunks [.., cell, day] of a shard that is cut in `squares`, by their rows and columns in it.

    Otherwise as `read_boxes`, which takes twice as long for each.
    """
    cutting, found = shard.cutting, []
    table, kept = shard.table[(0,) * (shard.table.ndim - 3)], cutting.kept
    shape = (kept[0], kept[1] * kept[2], kept[3])
    for row, col in places:
        place = table[row, col]
        if place[0] == NOWHERE:
            found.append(np.full(shape, cutting.fill, cutting.dtype))
            continue
        whole = np.empty(shape, cutting.dtype)
        _decode(shard.file, place, whole)
        found.append(whole)
    return found


def _in_order(kept: NDArray[Any], cutting: Cutting) -> NDArray[Any]:
    """A chunk as it is kept, in the order of the array's dimensions."""
    return np.moveaxis(kept, -1, 1) if cutting.days_last else kept


def _overlap(box: Box, at: tuple[int, ...], cutting: Cutting) -> tuple[Box, Box]:
    """Where a chunk and a box lie over each other: in the box, and in the chunk."""
    ends = [(max(s.start, k * c), min(s.stop, (k + 1) * c)) for s, k, c in zip(box, at, cutting.inner, strict=True)]
    into = tuple(slice(a - s.start, b - s.start) for (a, b), s in zip(ends, box, strict=True))
    return into, tuple(slice(a - k * c, b - k * c) for (a, b), k, c in zip(ends, at, cutting.inner, strict=True))


def _only_chunk(box: Box, cutting: Cutting) -> tuple[int, ...] | None:
    """The chunk that a box is all of, if it is."""
    if any(s.start % c or s.stop - s.start != c for s, c in zip(box, cutting.inner, strict=True)):
        return None
    return tuple(s.start // c for s, c in zip(box, cutting.inner, strict=True))


def _table(file: int, cutting: Cutting) -> NDArray[np.uint64]:
    counts = [n // c for n, c in zip(cutting.outer, cutting.inner, strict=True)]
    whole, size = os.fstat(file).st_size, 16 * int(np.prod(counts)) + 4
    if whole < size:
        raise DamagedShard(f"it has {whole} bytes, less than its index")
    table = _checked_out(os.pread(file, size, whole - size), "index")
    return np.frombuffer(table, "<u8", size // 8).reshape(*counts, 2)


def _decode(file: int, place: NDArray[np.uint64], into: NDArray[Any]) -> None:
    offset, size = place.tolist()
    packed = _checked_out(os.pread(file, size, offset), "chunk")
    try:
        # The checksum behind it stays: how long it is, blosc's own header says.
        _blosc().decompress(packed, into)
    except (RuntimeError, ValueError) as error:
        raise DamagedShard(f"a chunk cannot be decoded: {error}") from error


@lru_cache(maxsize=1)
def _blosc() -> Any:
    from numcodecs import blosc

    # Pieces are of 10 to 60 kB: to share one out between threads takes longer than to decode it.
    blosc.use_threads = False
    return blosc


def _checked_out(blob: bytes, what: str) -> bytes:
    """The same, if its checksum, which is its end, is right. Raises DamagedShard."""
    import google_crc32c

    if len(blob) < 4 or google_crc32c.value(blob) != RESIDUE:
        raise DamagedShard(f"the checksum of its {what} is wrong")
    return blob
