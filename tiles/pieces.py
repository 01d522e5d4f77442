"""Reads small parts of shards, as `shards` writes them: for fields.

tensorstore takes 0.02 to 0.07 ms for each of the dozens of pieces of a field's year.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .folder import File, Range
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
    fill: float
    days_last: bool = False
    """Whether, in a chunk, the days [.., day, y, x] are kept as [.., y, x, day]."""
    indexed: bool = True
    """Whether its files are shards, with an index at their end; else each is one chunk."""

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
        codec, outer = metadata["codecs"][0], tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
        kind, fill = np.dtype(metadata["data_type"]).newbyteorder("<"), float(metadata["fill_value"])
        if codec["name"] != "sharding_indexed":
            return cls(tuple(metadata["shape"]), outer, outer, kind, fill, indexed=False)
        inner = codec["configuration"]
        return cls(tuple(metadata["shape"]), outer, tuple(inner["chunk_shape"]), kind, fill, days_last(inner["codecs"]))


class OpenShard:
    """A shard that is open for reading, with its index: safe between threads."""

    def __init__(self, file: File, cutting: Cutting) -> None:
        """Raises DamagedShard."""
        self.cutting = cutting
        self.file, self.read, self.want = file, file.read, file.want
        self.table: NDArray[np.uint64] = _table(file, cutting)
        """[..., 2] offset and size of each chunk."""

    @property
    def nbytes(self) -> int:
        return int(self.table.nbytes) + 500


def read_boxes(shard: OpenShard, boxes: Sequence[Box]) -> list[NDArray[Any]]:
    """Parts of a shard, each by its slices in it. Each chunk is decoded once for all of them. Raises DamagedShard."""
    cutting, table = shard.cutting, shard.table
    found: list[NDArray[Any]] = []
    lying: dict[tuple[int, ...], list[int]] = {}
    if shard.want is not None:
        _want(shard.want, table, (at for box in boxes for at in _under(box, cutting)))
    for n, box in enumerate(boxes):
        alone = _only_chunk(box, cutting)
        if alone is not None and table[alone][0] != NOWHERE:
            whole = np.empty(cutting.kept, cutting.dtype)
            _decode(shard.read, table[alone], whole)
            found.append(_in_order(whole, cutting))
            continue
        found.append(np.full([s.stop - s.start for s in box], cutting.fill, cutting.dtype))
        for at in _under(box, cutting):
            lying.setdefault(at, []).append(n)
    # One buffer for all: pieces of this size that are taken and given back are page faults, each time.
    buffer = np.empty(cutting.kept, cutting.dtype)
    chunk = _in_order(buffer, cutting)
    for at, inside in lying.items():
        if table[at][0] == NOWHERE:
            continue
        _decode(shard.read, table[at], buffer)
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
    if shard.want is not None:
        _want(shard.want, table, places)
    for row, col in places:
        place = table[row, col]
        if place[0] == NOWHERE:
            found.append(np.full(shape, cutting.fill, cutting.dtype))
            continue
        whole = np.empty(shape, cutting.dtype)
        _decode(shard.read, place, whole)
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


def _under(box: Box, cutting: Cutting) -> Iterator[tuple[int, ...]]:
    """The chunks that a box lies over."""
    return product(*(range(s.start // c, (s.stop - 1) // c + 1) for s, c in zip(box, cutting.inner, strict=True)))


def _want(want: Callable[[Sequence[Range]], None], table: NDArray[np.uint64], at: Iterable[tuple[int, ...]]) -> None:
    places = (table[one].tolist() for one in at)
    want([(offset, size) for offset, size in places if offset != NOWHERE])


def _table(file: File, cutting: Cutting) -> NDArray[np.uint64]:
    if not cutting.indexed:
        return np.array([0, file.size], "<u8").reshape(*[1] * len(cutting.outer), 2)
    counts = [n // c for n, c in zip(cutting.outer, cutting.inner, strict=True)]
    whole, size = file.size, 16 * int(np.prod(counts)) + 4
    if whole < size:
        raise DamagedShard(f"it has {whole} bytes, less than its index")
    table = _checked_out(file.read(size, whole - size), "index")
    return np.frombuffer(table, "<u8", size // 8).reshape(*counts, 2)


def _decode(read: Callable[[int, int], bytes], place: NDArray[np.uint64], into: NDArray[Any]) -> None:
    offset, size = place.tolist()
    packed = _checked_out(read(size, offset), "chunk")
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
