"""Numbers in 16 bits: a value is a whole number of steps of its variable; -32768 stands for missing.

The five carbon fluxes share one step, so `reco = ra + rh` and `nee = reco - gpp` are made on the counts and hold
exactly. A value that does not fit is stored as missing and counted, never wrapped around.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from fieldflux.models.variables import variable
from numpy.typing import NDArray

FILL = -32768
LARGEST = 32767

Counts = NDArray[np.int16]


class NotPackable(ValueError):
    """A variable without a step in the vocabulary."""


def step_of(name: str) -> float:
    """Size of one count. Raises NotPackable, UnknownVariable."""
    step = variable(name).step
    if step is None:
        raise NotPackable(
            f"Variable '{name}' has no step in the vocabulary, so a store cannot pack its daily values. Give it one in "
            f"models/variables.py, or leave it out of the model's outputs."
        )
    return step


Number = NDArray[np.int64]


def pack(name: str, values: NDArray[np.floating[Any]]) -> tuple[Counts, Number, Number]:
    """Counts of `values` [cell, day] as [day, cell]; by cell, how many days did not fit; how many fit but are faults.

    A fault lies outside the variable's low..high; it is kept.
    """
    v = variable(name)
    counts = np.empty(values.shape[::-1], np.int16)
    # Half a count of slack: a value at the edge of its range is not a fault because of rounding.
    slack = 0.5 * step_of(name)
    lost, outside = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    _pack(values, step_of(name), v.low - slack, v.high + slack, counts, lost, outside)
    return counts, lost, outside


def unpack(name: str, counts: Counts) -> NDArray[np.float32]:
    """Values of counts, float32, NaN where missing; same shape."""
    values = np.multiply(counts, np.float32(step_of(name)), dtype=np.float32)
    values[counts == FILL] = np.nan
    return values


def plus(a: Counts, b: Counts) -> Counts:
    """Sum of two arrays of counts, missing where either is, or where the sum does not fit (see `did_not_fit`)."""
    return _combined(a, b, 1)


def minus(a: Counts, b: Counts) -> Counts:
    """Difference of two arrays of counts, missing where either is, or where it does not fit (see `did_not_fit`)."""
    return _combined(a, b, -1)


def _combined(a: Counts, b: Counts, sign: int) -> Counts:
    out = np.empty(a.shape, np.int16)
    if a.size > 1_000_000:
        _combine(a.reshape(-1), b.reshape(-1), sign, out.reshape(-1))
        return out
    # A reader of a field should not wait for a compiled loop to be loaded.
    total = a.astype(np.int32) + sign * b.astype(np.int32)
    out[...] = np.where((a == FILL) | (b == FILL) | (np.abs(total) > LARGEST), FILL, total)
    return out


def did_not_fit(a: Counts, b: Counts, combined: Counts) -> Number:
    """[cell] days on which a sum or difference of [day, cell] counts did not fit."""
    return np.asarray(((combined == FILL) & (a != FILL) & (b != FILL)).sum(axis=0), np.int64)


def totals(counts: Counts) -> Number:
    """[cell] sums over the days of [day, cell] counts; the lowest int64 where any day is missing."""
    out = np.empty(counts.shape[1], np.int64)
    _totals(counts, out)
    return out


NO_TOTAL = np.iinfo(np.int64).min


def over_year(name: str, counts: Counts) -> NDArray[np.float64]:
    """[cell] the year's value of [day, cell] counts, as the vocabulary aggregates it; NaN where any day is missing.

    Sums are made on whole counts, so they are exact before the step multiplies them.
    """
    how = variable(name).over_time
    total = totals(counts)
    values = np.where(total == NO_TOTAL, np.nan, total * step_of(name))
    if how == "mean":
        return np.asarray(values / counts.shape[0])
    if how == "last":
        last = counts[-1]
        return np.where(last == FILL, np.nan, last * step_of(name))
    return values


def spread(source: NDArray[Any], group: NDArray[np.int32], flat: NDArray[np.int64], out: NDArray[Any]) -> None:
    """out[day, flat[i]] = source[day, group[i]]: identical cells were computed once and are written many times."""
    _spread(source, group, flat, out)


# Compiled loops. They let go of the interpreter's lock, so that a background run does not stall a server.


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pack(values: Any, step: float, low: float, high: float, out: Any, lost: Any, outside: Any) -> None:
    cells, days = values.shape
    # By groups of cells: rows of `values` and of `out` then both stay in cache while they are transposed.
    for first in range(0, cells, 64):
        for day in range(days):
            for cell in range(first, min(first + 64, cells)):
                value = values[cell, day]
                count = FILL
                if not np.isnan(value):
                    scaled = np.rint(np.float64(value) / step)
                    if abs(scaled) > LARGEST:
                        lost[cell] += 1
                    else:
                        count = int(scaled)
                        if value < low or value > high:
                            outside[cell] += 1
                out[day, cell] = count


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _combine(a: Any, b: Any, sign: int, out: Any) -> None:
    for i in range(a.size):
        result = FILL
        if a[i] != FILL and b[i] != FILL:
            total = int(a[i]) + sign * int(b[i])
            if abs(total) <= LARGEST:
                result = total
        out[i] = result


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _totals(counts: Any, out: Any) -> None:
    days, cells = counts.shape
    out[:] = 0
    for day in range(days):
        for cell in range(cells):
            if counts[day, cell] == FILL or out[cell] == NO_TOTAL:
                out[cell] = NO_TOTAL
            else:
                out[cell] += counts[day, cell]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _spread(source: Any, group: Any, flat: Any, out: Any) -> None:
    for day in range(source.shape[0]):
        for i in range(flat.size):
            out[day, flat[i]] = source[day, group[i]]
