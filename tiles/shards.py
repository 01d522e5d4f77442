"""Writes the shards and chunks of a store's arrays: Zarr v3 sharding, blosc lz4 with bit-shuffle, crc32c.

Chunk by chunk into the file. A shard of an ensemble's days is 240 MB before compression; through an array library it is
in memory three times. tensorstore, zarr-python and xarray read what is written here, and the tests make them.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

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
            if 0 in part.shape:
                continue
            whole = _padded(part, shape, fill)
            if (whole == fill).all():
                continue
            blob = _encode(whole, inner["codecs"])
            file.write(blob)
            index[at] = offset, len(blob)
            offset += len(blob)
        file.write(checked(index.tobytes()))


def array_metadata(folder: Path) -> dict[str, Any]:
    """The `zarr.json` of an array or a group. Raises OSError, ValueError."""
    with open(folder / "zarr.json", "rb") as file:
        found: dict[str, Any] = json.load(file)
    return found


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
    return checked(packed)


def checked(blob: bytes) -> bytes:
    """With its checksum behind it."""
    import google_crc32c

    return blob + int(google_crc32c.value(blob)).to_bytes(4, "little")
