"""The files of a pushed store, as `folder.Files`: each page of an object is fetched when it is first read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from fieldflux.tiles.folder import Range
from fieldflux.tiles.lru import Lru
from fieldflux.tiles.manifest import BadStore
from fieldflux.tiles.pieces import Cutting
from fieldflux.tiles.view import Opened

from .arrays import DistantArray
from .bucket import Bucket
from .contents import (
    PAGE,
    POINTER,
    Contents,
    Entries,
    Entry,
    Pointer,
    contents_at,
    contents_from,
    entries_from,
    part_of,
    pointer_from,
    sha256_of,
)
from .pages import Pages

_Of = TypeVar("_Of")
_Found = TypeVar("_Found")

LISTS_BYTES = 16 * 2**20
RUN = 16
"""Pages in one request, at most: more are fetched by several at the same time."""
THREADS = 16


class Reader:
    """What the snapshots of an address have in common: the connection, the kept pages, and which of them is newest."""

    def __init__(self, bucket: Bucket, pages: Pages) -> None:
        self.bucket = bucket
        self.pages = pages
        self.lists = Lru(LISTS_BYTES)
        self.pool = ThreadPoolExecutor(THREADS, "objects")
        self.newest: Snapshot | None = None
        self._flying: dict[str, Future[bytes]] = {}
        self._lock = Lock()

    def look(self) -> Snapshot | None:
        """See what is at the address now; None where nothing is. Raises StoreAway, BadStore."""
        try:
            pointer = pointer_from(self.bucket.get(POINTER), self.bucket.address)
        except FileNotFoundError:
            return None
        if self.newest is None or self.newest.pointer != pointer:
            self.newest = Snapshot(self, pointer, contents_from(self.listed(pointer, pointer.contents)))
        return self.newest

    def listed(self, pointer: Pointer, sha256: str) -> bytes:
        """A list of contents, or a part of it, by its hash. Raises StoreAway, BadStore."""
        at = contents_at(pointer, sha256)
        return self._once(sha256, at, lambda blob: sha256_of(blob) == sha256, lambda: self.bucket.get(at))

    def pages_of(self, at: str, entry: Entry, numbers: Sequence[int]) -> dict[int, bytes]:
        """Pages of an object. Raises StoreAway, BadStore.

        A page that somebody is fetching is waited for; what is not what it should be is fetched once more.
        """
        found: dict[int, bytes] = {}
        others: dict[int, Future[bytes]] = {}
        mine: dict[int, Future[bytes]] = {}
        for number in numbers:
            key = _key(entry, number)
            kept = self.pages.find(key, _is(entry, number))
            if kept is not None:
                found[number] = kept
                continue
            with self._lock:
                flying = self._flying.get(key)
                if flying is None:
                    mine[number] = self._flying[key] = Future()
                else:
                    others[number] = flying
        try:
            found |= self._fetched(at, entry, sorted(mine)) if mine else {}
        except BaseException as error:
            for future in mine.values():
                future.set_exception(error)
            raise
        finally:
            with self._lock:
                for number in mine:
                    del self._flying[_key(entry, number)]
        for number, future in mine.items():
            future.set_result(found[number])
        return found | {number: future.result() for number, future in others.items()}

    def _fetched(self, at: str, entry: Entry, numbers: list[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        lacking = numbers
        for _ in range(2):
            for number, blob in self._asked(at, entry, lacking):
                if _is(entry, number)(blob):
                    found[number] = blob
                    self.pages.keep(_key(entry, number), blob)
            lacking = [number for number in numbers if number not in found]
            if not lacking:
                return found
        raise self._wrong(at)

    def _asked(self, at: str, entry: Entry, numbers: list[int]) -> list[tuple[int, bytes]]:
        runs: list[list[int]] = []
        for number in numbers:
            if runs and runs[-1][-1] == number - 1 and len(runs[-1]) < RUN:
                runs[-1].append(number)
            else:
                runs.append([number])
        starts = [run[0] * PAGE for run in runs]
        ends = [run[-1] * PAGE + entry.page_size(run[-1]) for run in runs]
        try:
            blobs = self.bucket.ranges(at, starts, ends)
        except FileNotFoundError:
            raise self._gone(at) from None
        return [
            (number, blob[k * PAGE : (k + 1) * PAGE])
            for run, blob in zip(runs, blobs, strict=True)
            for k, number in enumerate(run)
        ]

    def _once(self, key: str, at: str, right: Callable[[bytes], bool], fetch: Callable[[], bytes]) -> bytes:
        blob = self.pages.find(key, right)
        if blob is not None:
            return blob
        for _ in range(2):
            try:
                blob = fetch()
            except FileNotFoundError:
                raise self._gone(at) from None
            if right(blob):
                self.pages.keep(key, blob)
                return blob
        raise self._wrong(at)

    def _wrong(self, at: str) -> BadStore:
        return BadStore(
            f"The object {self.bucket.address}/{at} is not what was pushed: its checksum is wrong, twice. Delete it "
            f"and push the store again; only what is lacking is sent."
        )

    def _gone(self, at: str) -> BadStore:
        return BadStore(
            f"The object {self.bucket.address}/{at} is gone, and the list of contents has it. Push the store again; "
            f"only what is lacking is sent."
        )


class Snapshot:
    """The files of a store as it was when it was pushed. Safe between threads."""

    def __init__(self, reader: Reader, pointer: Pointer, contents: Contents) -> None:
        self.reader = reader
        self.pointer = pointer
        self.contents = contents

    waits = True

    def latest(self) -> Snapshot:
        return self.reader.newest or self

    def token(self, name: str) -> str:
        return self.pointer.tokens.get(name, "")

    def marked(self, folder: str) -> dict[int, frozenset[str]]:
        return dict(self.contents.marked.get(folder, {}))

    def exists(self, at: str) -> bool:
        return self.entry(at) is not None

    def read(self, at: str) -> bytes:
        file = self.open(at)
        return file.read(file.size, 0)

    def open(self, at: str) -> DistantFile:
        entry = self.entry(at)
        if entry is None:
            raise FileNotFoundError(at)
        return DistantFile(self.reader, f"{self.pointer.edition}/{at}", entry)

    def each(self, work: Callable[[_Of], _Found], of: Iterable[_Of]) -> Iterator[_Found]:
        return self.reader.pool.map(work, of)

    def array(self, at: str, opened: Opened) -> DistantArray:
        try:
            cutting = Cutting.of(json.loads(self.read(f"{at}/zarr.json")))
        except (FileNotFoundError, KeyError, TypeError) as error:
            raise ValueError(str(error)) from error
        return DistantArray(self, at, cutting, opened.shards, self.reader.pool)

    def entry(self, at: str) -> Entry | None:
        """What is known of a file; None where there is none. Raises StoreAway, BadStore."""
        part = part_of(at)
        return (self.contents.entries if not part else self.part(part)).get(at)

    def part(self, name: str) -> Entries:
        """A part of the list of contents; empty where there is none. Raises StoreAway, BadStore."""
        sha256 = self.contents.parts.get(name)
        if sha256 is None:
            return {}
        lists = self.reader.lists
        found: Entries = lists.get(
            sha256, lambda: entries_from(self.reader.listed(self.pointer, sha256)), lambda e: 500 * len(e)
        )
        return found


class DistantFile:
    """A file of a snapshot, as `folder.File`."""

    def __init__(self, reader: Reader, at: str, entry: Entry) -> None:
        self._reader, self._at, self.entry = reader, at, entry
        self.size, self.tag = entry.size, entry.sha256[:32]

    def read(self, size: int, offset: int) -> bytes:
        """Raises StoreAway, BadStore."""
        end = min(offset + size, self.size)
        if end <= offset:
            return b""
        numbers = range(offset // PAGE, (end - 1) // PAGE + 1)
        found = self._reader.pages_of(self._at, self.entry, numbers)
        whole = found[numbers[0]] if len(numbers) == 1 else b"".join(found[n] for n in numbers)
        first = numbers[0] * PAGE
        return whole[offset - first : end - first]

    def want(self, ranges: Sequence[Range]) -> None:
        """Fetch all pages of these at the same time. Raises StoreAway, BadStore."""
        numbers = {n for offset, size in ranges for n in range(offset // PAGE, (offset + size - 1) // PAGE + 1)}
        if len(numbers) > 1:
            self._reader.pages_of(self._at, self.entry, sorted(numbers))


def _key(entry: Entry, number: int) -> str:
    return f"{entry.sha256}-{number}"


def _is(entry: Entry, number: int) -> Callable[[bytes], bool]:
    import google_crc32c

    crc = entry.pages[number]
    return lambda blob: int(google_crc32c.value(blob)) == crc
