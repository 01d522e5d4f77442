"""The files of a store that other programs may read: Zarr metadata, coordinates and shards, and nothing else of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from .problems import Refused
from .reply import same

if TYPE_CHECKING:
    from fieldflux.tiles.folder import File

# A store's folder also holds the model's memory and records of runs. What is served is listed, not what is not: a
# path of any other form, such as one with dots in it, is of no file.
_SERVED = re.compile(r"zarr\.json|\d{4}(/(level\d|members))?(/[a-z][a-z0-9_]{0,60})?/(zarr\.json|c(/\d{1,6}){0,4})")


_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
AT_ONCE = 4 * 2**20
"""Bytes of a file that are in memory, of one that lies elsewhere."""


def check_path(path: str) -> None:
    """Raises Refused (not-found) for a path that is none of the store's Zarr hierarchy."""
    if not _SERVED.fullmatch(path):
        raise Refused("not-found", f"'{path[:80]}' is not a file of the store's Zarr hierarchy.")


def file_of(store: Path, path: str) -> Path | None:
    """The file at a path in a store's folder; None where there is none, which readers take as "no data"."""
    found = store / path
    return found if found.is_file() and not found.is_symlink() else None


async def sent(request: Request, file: File, tag: str) -> Response:
    """A file that lies elsewhere, or the range of it that is asked for (RFC 9110, 14; of several, all of the file)."""
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Accept-Ranges": "bytes"}
    if same(request, tag):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range", "")
    if request.headers.get("if-range", tag) != tag:
        asked = ""
    status, (first, end) = 200, (0, file.size)
    if _RANGE.fullmatch(asked) and asked != "bytes=-":
        status, (first, end) = 206, part_of(asked, file.size)
        if first >= end:
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{file.size}"
    headers["Content-Length"] = str(end - first)
    if request.method == "HEAD":
        return Response(None, status, headers, "application/octet-stream")

    def some(at: int) -> bytes:
        return file.read(min(AT_ONCE, end - at), at)

    # Read before the answer begins, so that an object store that is away is a problem and not half an answer.
    begin = await to_thread.run_sync(some, first)

    async def parts() -> AsyncIterator[bytes]:
        yield begin
        for at in range(first + AT_ONCE, end, AT_ONCE):
            yield await to_thread.run_sync(some, at)

    return StreamingResponse(parts(), status, headers, "application/octet-stream")


def part_of(asked: str, size: int) -> tuple[int, int]:
    """First byte, and the one behind the last, of a range of a file; the first one not below the second for none.

    >>> part_of("bytes=2-3", 10), part_of("bytes=-4", 10), part_of("bytes=8-99", 10), part_of("bytes=10-", 10)
    ((2, 4), (6, 10), (8, 10), (10, 10))
    """
    found = _RANGE.fullmatch(asked)
    assert found is not None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
