"""Arrays of a pushed store, indexed as tensorstore's are: shard by shard, all at the same time, through `pieces`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from fieldflux.tiles.folder import Files
from fieldflux.tiles.lru import Lru
from fieldflux.tiles.pieces import Box, Cutting, OpenShard, read_boxes
from numpy.typing import NDArray

Index: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DistantArray:
    """An array for reading. shards: keeps those that are open, with their indexes."""

    files: Files
    at: str
    cutting: Cutting
    shards: Lru
    pool: ThreadPoolExecutor

    def __getitem__(self, index: Index) -> Selection:
        return Selection(self, index)

    def shard(self, number: tuple[int, ...]) -> OpenShard | None:
        """A shard; None where there is none. Raises StoreAway, BadStore, DamagedShard."""
        key = (self.at, number[-2:])
        found: OpenShard | None = self.shards.find(key)
        if found is None:
            try:
                file = self.files.open("/".join([self.at, "c", *map(str, number)]))
            except FileNotFoundError:
                return None
            found = OpenShard(file, self.cutting)
            self.shards.put(key, found, found.nbytes)
        return found


@dataclass(frozen=True, slots=True)
class Selection:
    """A part of an array. index: numbers, slices without steps and lists of numbers, one for each dimension."""

    array: DistantArray
    index: Index

    def read(self) -> Pending:
        """Begin to read it."""
        cutting = self.array.cutting
        box, after = _box(self.index, cutting.shape)
        begun = [
            (into, self.array.pool.submit(_read, self.array, number, inside))
            for number, inside, into in _shards_under(box, cutting.outer)
        ]
        return Pending(cutting, tuple(s.stop - s.start for s in box), after, begun)


@dataclass(frozen=True, slots=True)
class Pending:
    """A part that is being read."""

    cutting: Cutting
    shape: tuple[int, ...]
    after: Index
    begun: list[tuple[Box, Future[NDArray[Any] | None]]]

    def result(self) -> NDArray[Any]:
        """Wait for it. Raises StoreAway, BadStore, DamagedShard."""
        out = np.full(self.shape, self.cutting.fill, self.cutting.dtype.newbyteorder("="))
        for into, future in self.begun:
            found = future.result()
            if found is not None:
                out[into] = found
        return out[self.after]


def _read(array: DistantArray, number: tuple[int, ...], inside: Box) -> NDArray[Any] | None:
    shard = array.shard(number)
    return None if shard is None else read_boxes(shard, [inside])[0]


def _box(index: Index, shape: tuple[int, ...]) -> tuple[Box, Index]:
    """The slices that hold all of an index, and what is left to be taken of them."""
    box: list[slice] = []
    after: list[Any] = []
    for one, length in zip(index, shape, strict=True):
        if isinstance(one, slice):
            box.append(slice(*one.indices(length)[:2]))
            after.append(slice(None))
        elif isinstance(one, (int, np.integer)):
            box.append(slice(int(one), int(one) + 1))
            after.append(0)
        else:
            some = np.asarray(one)
            first = int(some.min())
            box.append(slice(first, int(some.max()) + 1))
            after.append(some - first)
    return tuple(box), tuple(after)


def _shards_under(box: Box, outer: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Box, Box]]:
    """(number, part of it, part of the box) of each shard that a box lies over."""
    spans = [range(s.start // n, (s.stop - 1) // n + 1) for s, n in zip(box, outer, strict=True)]
    for number in product(*spans):
        ends = [(max(s.start, k * n), min(s.stop, (k + 1) * n)) for s, k, n in zip(box, number, outer, strict=True)]
        inside = tuple(slice(a - k * n, b - k * n) for (a, b), k, n in zip(ends, number, outer, strict=True))
        yield number, inside, tuple(slice(a - s.start, b - s.start) for (a, b), s in zip(ends, box, strict=True))
