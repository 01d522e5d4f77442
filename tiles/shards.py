"""Writes, and in small parts reads, the shards and chunks of a store's arrays: Zarr v3 sharding, blosc lz4 with
bit-shuffle, crc32c.

Chunk by chunk into the file. A shard of an ensemble's days is 240 MB before compression; through an array library it is
in memory three times. tensorstore, zarr-python and xarray read what is written here, and the tests make them.

Reading is for fields: tensorstore takes 0.02 to 0.07 ms for each of the dozens of pieces of a field's year.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

NOWHERE = 2**64 - 1
"""Offset and size, in a shard's index, of a chunk that is not stored because it holds only missing values."""


def write_shard(path: Path, data: NDArray[Any], metadata: dict[str, Any]) -> None:
    """Write one cell of an array's chunk grid, with the codecs of `layout`.

    metadata: the array's `zarr.json`. data: as large as the cell, or smaller where the array ends.
    """
    outer = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    codec = metadata["codecs"][0]
    fill = np.array(metadata["fill_value"], data.dtype)
    with open(path, "wb") as file:
        if codec["name"] != "sharding_indexed":
            file.write(_encode(_padded(data, outer, fill), metadata["codecs"]))
            return
        inner = codec["configuration"]
        shape = inner["chunk_shape"]
        counts = [n // c for n, c in zip(outer, shape, strict=True)]
        index = np.full((*counts, 2), NOWHERE, "<u8")
        offset = 0
        for at in product(*map(range, counts)):
            part = data[tuple(slice(k * c, (k + 1) * c) for k, c in zip(at, shape, strict=True))]
            if 0 in part.shape or (part == fill).all():
                continue
            blob = _encode(_padded(part, shape, fill), inner["codecs"])
            file.write(blob)
            index[at] = offset, len(blob)
            offset += len(blob)
        file.write(_checked(index.tobytes()))


def _padded(data: NDArray[Any], shape: list[int], fill: NDArray[Any]) -> NDArray[Any]:
    if data.shape == tuple(shape):
        return np.ascontiguousarray(data)
    whole = np.full(shape, fill, data.dtype)
    whole[tuple(slice(n) for n in data.shape)] = data
    return whole


def _encode(chunk: NDArray[Any], codecs: list[dict[str, Any]]) -> bytes:
    from numcodecs import blosc

    about = codecs[1]["configuration"]
    packed = blosc.compress(chunk, about["cname"].encode(), about["clevel"], blosc.BITSHUFFLE, about["blocksize"])
    return _checked(packed)


def _checked(blob: bytes) -> bytes:
    import google_crc32c

    return blob + int(google_crc32c.value(blob)).to_bytes(4, "little")


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

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Cutting:
        """From an array's `zarr.json`, as `layout` writes it. Raises KeyError, TypeError, ValueError for another."""
        codec = metadata["codecs"][0]
        if codec["name"] != "sharding_indexed":
            raise ValueError("the array has no shards")
        outer, inner = metadata["chunk_grid"]["configuration"]["chunk_shape"], codec["configuration"]["chunk_shape"]
        kind = np.dtype(metadata["data_type"]).newbyteorder("<")
        return cls(tuple(metadata["shape"]), tuple(outer), tuple(inner), kind, int(metadata["fill_value"]))


@dataclass(frozen=True, slots=True)
class Index:
    """Where a shard's chunks are in its file: [..., 2] offset and size. stamp: of the file that it was read from."""

    stamp: tuple[int, int, int]
    table: NDArray[np.uint64]


def read_boxes(
    path: Path, cutting: Cutting, boxes: Sequence[Box], known: Index | None
) -> tuple[list[NDArray[Any]], Index]:
    """Parts of a shard, each by its slices in it, and the shard's index. Each chunk is decoded once for all of them.

    known: an index of before, which is used if the file is still the same. Raises FileNotFoundError, DamagedShard.
    """
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        index = (
            known if known is not None and known.stamp == stamp else Index(stamp, _table(file.fileno(), cutting, stamp))
        )
        found: list[NDArray[Any]] = []
        lying: dict[tuple[int, ...], list[int]] = {}
        for n, box in enumerate(boxes):
            alone = _only_chunk(box, cutting)
            if alone is not None and index.table[alone][0] != NOWHERE:
                whole = np.empty(cutting.inner, cutting.dtype)
                _decode(file.fileno(), index.table[alone], whole)
                found.append(whole)
                continue
            found.append(np.full([s.stop - s.start for s in box], cutting.fill, cutting.dtype))
            spans = [range(s.start // c, (s.stop - 1) // c + 1) for s, c in zip(box, cutting.inner, strict=True)]
            for at in product(*spans):
                lying.setdefault(at, []).append(n)
        # One buffer for all: pieces of this size that are taken and given back are page faults, each time.
        chunk = np.empty(cutting.inner, cutting.dtype)
        for at, inside in lying.items():
            if index.table[at][0] == NOWHERE:
                continue
            _decode(file.fileno(), index.table[at], chunk)
            for n in inside:
                into, out_of = _overlap(boxes[n], at, cutting)
                found[n][into] = chunk[out_of]
    return found, index


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


def _table(file: int, cutting: Cutting, stamp: tuple[int, int, int]) -> NDArray[np.uint64]:
    counts = [n // c for n, c in zip(cutting.outer, cutting.inner, strict=True)]
    size = 16 * int(np.prod(counts)) + 4
    if stamp[2] < size:
        raise DamagedShard(f"it has {stamp[2]} bytes, less than its index")
    return np.frombuffer(_checked_out(os.pread(file, size, stamp[2] - size), "index"), "<u8").reshape(*counts, 2)


def _decode(file: int, place: NDArray[np.uint64], into: NDArray[Any]) -> None:
    from numcodecs import blosc

    offset, size = (int(n) for n in place)
    packed = _checked_out(os.pread(file, size, offset), "chunk")
    try:
        blosc.decompress(packed, into)
    except (RuntimeError, ValueError) as error:
        raise DamagedShard(f"a chunk cannot be decoded: {error}") from error


def _checked_out(blob: bytes, what: str) -> bytes:
    """What is before the checksum, which is right. Raises DamagedShard."""
    import google_crc32c

    data = blob[:-4]
    if len(blob) < 4 or int(google_crc32c.value(data)).to_bytes(4, "little") != blob[-4:]:
        raise DamagedShard(f"the checksum of its {what} is wrong")
    return data
