"""A cache bounded in bytes, handed in by whoever wants results kept; nothing here is global."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Lru:
    """Keeps values up to a sum of sizes; the least recently used go first. Safe between threads.

    Two threads that miss the same key at once both compute it: values are pure, and a lock held over the work would
    make every other request wait.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"A cache's size is 0 or more bytes, not {max_bytes}.")
        self.max_bytes = max_bytes
        self.used = 0
        self.hits = 0
        self.misses = 0
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of `key`, made by `make` and kept if it is not there; `size` tells its bytes."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self.hits += 1
                found: T = self._kept[key][0]
                return found
            self.misses += 1
        value = make()
        self.put(key, value, size(value))
        return value

    def put(self, key: Hashable, value: object, taken: int) -> None:
        """Keep a value of so many bytes, unless it is larger than the whole cache."""
        if taken > self.max_bytes:
            return
        with self._lock:
            self.used += taken - self._kept.pop(key, (None, 0))[1]
            self._kept[key] = (value, taken)
            while self.used > self.max_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self.used -= freed

    def find(self, key: Hashable) -> Any:
        """The value of `key`; None where it is not kept."""
        with self._lock:
            if key not in self._kept:
                self.misses += 1
                return None
            self._kept.move_to_end(key)
            self.hits += 1
            return self._kept[key][0]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self.used = 0
