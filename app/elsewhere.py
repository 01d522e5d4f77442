"""Stores that lie in an object store: each followed by a thread from when it is first needed."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from .settings import Settings

if TYPE_CHECKING:
    from fieldflux.tiles.objects.follow import Followed
    from fieldflux.tiles.objects.pages import Pages
    from fieldflux.tiles.store import Store


class Elsewhere:
    """The stores of the settings that are addresses. cache_bytes: room for what is decoded, of each."""

    def __init__(self, settings: Settings, cache_bytes: int) -> None:
        self._settings, self._cache_bytes = settings, cache_bytes
        self._lock = Lock()
        self._followed: dict[str, Followed] = {}

    def store(self, address: str) -> Store | None:
        """The store at an address; None where nothing is pushed there. Raises StoreAway, BadStore, BadAddress."""
        with self._lock:
            found = self._followed.get(address)
            if found is None:
                from fieldflux.tiles.objects.follow import Followed

                found = self._followed[address] = Followed(address, self._pages, self._cache_bytes)
        return found.store()

    def look(self) -> None:
        """Begin to follow all of them, and wait some seconds for each: later, no request does."""
        for where in self._settings.stores:
            if isinstance(where, str):
                with suppress(ValueError):  # told to those who ask for it
                    self.store(where)

    def close(self) -> None:
        """End the threads."""
        for followed in self._followed.values():
            followed.close()

    @cached_property
    def _pages(self) -> Pages:
        from fieldflux.tiles.objects.pages import Pages

        return Pages(self._settings.home / "cache" / "objects", self._settings.store_cache_bytes)
