"""Writes the shards and chunks of a store's arrays: Zarr v3 sharding, blosc lz4, crc32c.

Chunk by chunk into the file. A shard of an ensemble's days is 240 MB before compression; through an array library it is
in memory three times. tensorstore, zarr-python and xarray read what is written here, and the tests make them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numba
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
        shape, codecs = inner["chunk_shape"], inner["codecs"]
        counts = [n // c for n, c in zip(outer, shape, strict=True)]
        index = np.full((*counts, 2), NOWHERE, "<u8")
        offset = 0
        for at, chunk in _days_last(data, shape, fill) if days_last(codecs) else _chunks(data, counts, shape, fill):
            if (chunk == fill).all():
                continue
            blob = _encode(chunk, codecs)
            file.write(blob)
            index[at] = offset, len(blob)
            offset += len(blob)
        file.write(checked(index.tobytes()))


def array_metadata(folder: Path) -> dict[str, Any]:
    """The `zarr.json` of an array or a group. Raises OSError, ValueError."""
    with open(folder / "zarr.json", "rb") as file:
        found: dict[str, Any] = json.load(file)
    return found


def days_last(codecs: list[dict[str, Any]]) -> bool:
    """Whether an array's chunks are kept with the days of a cell behind each other."""
    return bool(codecs[0]["name"] == "transpose")


def _chunks(
    data: NDArray[Any], counts: list[int], shape: list[int], fill: NDArray[Any]
) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    for at in product(*map(range, counts)):
        part = data[tuple(slice(k * c, (k + 1) * c) for k, c in zip(at, shape, strict=True))]
        if 0 not in part.shape:
            yield at, _padded(part, shape, fill)


def _days_last(
    data: NDArray[Any], shape: list[int], fill: NDArray[Any]
) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    """Chunks [member, y, x, day] of data [member, day, y, x], a row of squares after the other."""
    members, days, side, _ = shape
    row = np.full((data.shape[3] // side, members, side, side, days), fill, data.dtype)
    for k in range(data.shape[0] // members):
        for i in range(data.shape[2] // side):
            _lay(data[k * members : (k + 1) * members, :, i * side : (i + 1) * side], row)
            for j, chunk in enumerate(row):
                yield (k, 0, i, j), chunk


def _padded(data: NDArray[Any], shape: list[int], fill: NDArray[Any]) -> NDArray[Any]:
    if data.shape == tuple(shape):
        return np.ascontiguousarray(data)
    whole = np.full(shape, fill, data.dtype)
    whole[tuple(slice(n) for n in data.shape)] = data
    return whole


def _encode(chunk: NDArray[Any], codecs: list[dict[str, Any]]) -> bytes:
    from numcodecs import blosc

    (about,) = (codec["configuration"] for codec in codecs if codec["name"] == "blosc")
    shuffle = {"bitshuffle": blosc.BITSHUFFLE, "shuffle": blosc.SHUFFLE}[about["shuffle"]]
    packed = blosc.compress(chunk, about["cname"].encode(), about["clevel"], shuffle, about["blocksize"])
    return checked(packed)


def checked(blob: bytes) -> bytes:
    """With its checksum behind it."""
    import google_crc32c

    return blob + int(google_crc32c.value(blob)).to_bytes(4, "little")


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _lay(data: Any, row: Any) -> None:
    """A row of squares [member, day, y, x] into [square, member, y, x, day]."""
    members, days, side, cells = data.shape
    for m in range(members):
        # Few days at a time: what is read and what is written then both stay in cache.
        for first in range(0, days, 32):
            for y in range(side):
                for x in range(cells):
                    j = x // side
                    for day in range(first, min(first + 32, days)):
                        row[j, m, y, x - j * side, day] = data[m, day, y, x]
