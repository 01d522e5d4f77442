"""An open store of an object store, and a thread that sees what is pushed there later."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from fieldflux.tiles.folder import StoreAway
from fieldflux.tiles.manifest import NAME, BadStore, manifest_of
from fieldflux.tiles.store import CACHE_BYTES, Store

from .bucket import Bucket
from .pages import Pages
from .snapshot import Reader, Snapshot

log = logging.getLogger("fieldflux")

EVERY = 10.0
"""Seconds between looks at what is at the address."""


class Followed:
    """The store at an address: opened in the background, looked at again and again, so that no request waits for that.

    Where the object store is away, what is kept of it is read; what is not kept raises StoreAway until it is back.
    """

    def __init__(self, address: str, pages: Pages, cache_bytes: int = CACHE_BYTES, every: float = EVERY) -> None:
        """every: seconds between looks."""
        self.address = address
        self._pages, self._cache_bytes, self._every = pages, cache_bytes, every
        self._store: Store | None = None
        self._error: ValueError | None = None
        self._waited = False
        self._looked, self._stop = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def store(self, timeout: float = 10.0) -> Store | None:
        """The store; None where nothing is pushed there. The first who asks waits for it.

        Raises StoreAway, BadStore, BadAddress.
        """
        self._start()
        wait, self._waited = 0.0 if self._waited else timeout, True
        if not self._looked.wait(wait):
            raise StoreAway(f"The object store {self.address} has not answered yet.")
        if self._store is None and self._error is not None:
            raise self._error
        return self._store

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="fieldflux store", daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        reader: Reader | None = None
        while not self._stop.is_set():
            try:
                reader = reader or Reader(Bucket(self.address), self._pages)
                found = reader.look()
                if found is not None and self._store is None:
                    self._store = opened(found, self._cache_bytes)
                self._tell(None)
            except ValueError as error:
                self._tell(error)
            except Exception:
                log.exception("the store %s could not be looked at", self.address)
                self._tell(StoreAway(f"The store {self.address} could not be looked at; the log says more."))
            self._looked.set()
            # One that could not be opened is asked for more often: requests wait for it.
            self._stop.wait(self._every if self._error is None else min(self._every, 2.0))
        if reader is not None:
            reader.pool.shutdown(wait=False)

    def _tell(self, error: ValueError | None) -> None:
        if str(error) != str(self._error):
            if error is not None:
                log.warning("%s", error)
            elif self._error is not None:
                log.info("the store %s is read again", self.address)
        self._error = error


def opened(files: Snapshot, cache_bytes: int = CACHE_BYTES) -> Store:
    """A store that is read from a snapshot and those that follow it. Raises StoreAway, BadStore."""
    path = Path(files.reader.bucket.address)  # what its sentences name
    try:
        manifest = manifest_of(files.read(NAME), path / NAME)
    except FileNotFoundError:
        raise BadStore(
            f"The store {files.reader.bucket.address} was pushed without its {NAME}. Push it again."
        ) from None
    store = Store(path, manifest, cache_bytes, files=files)
    # Read now, so that asking which chunks are computed waits for nothing later.
    _ = store.occupied
    return store
