"""Pages of objects, kept on the disk up to a sum of bytes. They are of content that never changes, so never stale.

A file a page, named by the hash of the object and the page's number; written beside its place and renamed, so that any
number of processes may fill the same folder. What is read from it is checked as what comes over the network is: a page
that is not what its CRC-32C says is fetched again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fieldflux.tiles.files import sweep, write_whole
from fieldflux.tiles.lru import Lru

log = logging.getLogger("fieldflux")

MEMORY_BYTES = 16 * 2**20
_USED_AGAIN = 3600.0


class Pages:
    """The kept pages of a folder. Safe between threads and processes.

    max_bytes: of all pages together; the oldest go first. It is looked at after each sixteenth of it that this process
    adds, so that n processes may be n sixteenths above it for a moment.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.memory = Lru(MEMORY_BYTES)
        """Pages that were just read: small pieces of one are asked for one after the other."""
        self._added = max_bytes  # what others left is looked through at once
        self._lock = threading.Lock()
        self._told = False

    def find(self, key: str, right: Callable[[bytes], bool]) -> bytes | None:
        """A page that is kept, and is what `right` says it should be."""
        held: bytes | None = self.memory.find(key)
        if held is not None:
            return held
        path = self._path(key)
        try:
            with open(path, "rb") as file:
                blob, used = file.read(), os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        if not right(blob):
            log.warning("a page in %s was damaged and is fetched again", self.folder)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if time.time() - used > _USED_AGAIN:
            # Not at each read: the age need only be good to the hour.
            with contextlib.suppress(OSError):
                os.utime(path)
        self.memory.put(key, blob, len(blob))
        return blob

    def keep(self, key: str, blob: bytes) -> None:
        """Keep a page. Where the disk is full or closed, it is only not kept."""
        self.memory.put(key, blob, len(blob))
        try:
            self._make_room(len(blob))
            write_whole(self._path(key), blob, self.folder)
        except OSError as error:
            if not self._told:
                log.warning("what is read from the object store cannot be kept in %s: %s", self.folder, error.strerror)
            self._told = True

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def _make_room(self, more: int) -> None:
        with self._lock:
            self._added += more
            if self._added < self.max_bytes // 16:
                return
            self._added = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        found = sorted(_files(self.folder))
        held = sum(size for _, size, _ in found) + more
        # A little below, so that there is room until it is looked at again.
        for _, size, path in found if held > self.max_bytes else ():
            if held <= self.max_bytes - self.max_bytes // 16:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            held -= size


def _files(folder: Path) -> Iterator[tuple[float, int, str]]:
    """Time of last use, size and path of each page."""
    for inside in os.scandir(folder):
        if len(inside.name) == 2 and inside.is_dir():
            for entry in os.scandir(inside.path):
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    yield status.st_mtime, status.st_size, entry.path
