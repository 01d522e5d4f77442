"""Splits of places that keep neighbours together: blocks of two degrees, and whole states left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

BLOCK = 2.0
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """fold: [n] the fold that each place is tested in, 0..folds-1. group: [n] what is never divided.

    Raises ValueError where a group lies in two folds or a fold is empty.
    """

    name: str
    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    folds: int

    def __post_init__(self) -> None:
        pairs = np.unique(np.column_stack([self.group, self.fold]), axis=0)
        if len(pairs) != len(np.unique(self.group)):
            raise ValueError(f"The split '{self.name}' divides a group between folds: neighbours would leak.")
        if not np.array_equal(np.unique(self.fold), np.arange(self.folds)):
            raise ValueError(f"The split '{self.name}' has an empty fold: ask for fewer than {self.folds} folds.")

    def parts(self) -> Iterator[tuple[Mask, Mask]]:
        """(training [n], test [n]) of each fold."""
        for k in range(self.folds):
            yield self.fold != k, self.fold == k


def block_of(latitude: Array, longitude: Array, size: float = BLOCK) -> NDArray[np.int64]:
    """[n] number of the block of `size` degrees that each place lies in; edges at multiples of the size.

    >>> block_of(np.array([41.9, 42.1]), np.array([-93.0, -93.0])).tolist()
    [11923, 12103]
    """
    across = round(360.0 / size)
    row = np.floor((latitude + 90.0) / size).astype(np.int64)
    return np.asarray(row * across + np.floor((longitude + 180.0) / size).astype(np.int64), np.int64)


def blocks(latitude: Array, longitude: Array, seed: int, folds: int = FOLDS, size: float = BLOCK) -> Split:
    """Blocks of `size` degrees drawn into folds of about equal size."""
    group = block_of(latitude, longitude, size)
    return Split(f"{size:g}-degree blocks, seed {seed}", _dealt(group, folds, seed), group, folds)


def states_out(state: NDArray[np.int64], seed: int = 0, folds: int | None = None) -> Split:
    """Whole states left out: one at a time, or several at a time in `folds` groups of about equal size.

    state: [n] FIPS of states.
    """
    if folds is not None:
        return Split(f"states left out in {folds} groups, seed {seed}", _dealt(state, folds, seed), state, folds)
    names, fold = np.unique(state, return_inverse=True)
    return Split("each state left out", fold.ravel().astype(np.int64), state, len(names))


def _dealt(group: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Groups in a drawn order, each to the fold that has least so far."""
    names, index, count = np.unique(group, return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise ValueError(f"{len(names)} groups cannot fill {folds} folds: ask for {len(names)} or fewer.")
    size, at = np.zeros(folds, np.int64), np.zeros(len(names), np.int64)
    for k in np.random.default_rng(seed).permutation(len(names)):
        at[k] = int(size.argmin())
        size[at[k]] += count[k]
    return at[index.ravel()]
