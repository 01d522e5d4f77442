"""From days to steps: values, intervals of the sums, totals.

A day's mean over the cells is rounded once, to a hundredth of the variable's digits ("quanta"); everything longer is
made of the rounded days, so that days add up to months and years, and reco = ra + rh holds, in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, Protocol, TypeAlias

import numpy as np
from fieldflux.models.card import Card
from fieldflux.models.variables import Variable, variable
from numpy.typing import NDArray

from .bounds import Basis, interval
from .question import PARTS

Floats: TypeAlias = NDArray[np.float64]
Over: TypeAlias = Literal["day", "month", "year", "total"]
"""What unit a value has (see `Variable.unit_over`); "total" is of the whole period."""

CARBON = "gC m-2"


class Groups(Protocol):
    """How consecutive values fall into steps: [T] the first of each, and how many."""

    @property
    def first(self) -> NDArray[np.int64]: ...
    @property
    def lengths(self) -> NDArray[np.int64]: ...


class Land(Protocol):
    """Land that is covered, m2: one number, or that of each step."""

    @property
    def covered_m2(self) -> float | Floats: ...


@dataclass(frozen=True, slots=True)
class Runs:
    """Steps without a calendar: of years, or everything at once."""

    first: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def each(cls, n: int) -> Runs:
        return cls(np.arange(n), np.ones(n, np.int64))

    @classmethod
    def together(cls, n: int) -> Runs:
        return cls(np.zeros(1, np.int64), np.array([n]))


@dataclass(frozen=True, slots=True)
class Values:
    """A variable over steps of time.

    value: [T], NaN where there is none. low, high: [T], the interval at the request's level, or None.
    basis: what the width of the interval rests on.
    valid_fraction: [T] share of the covered area whose cells have a value. valid_days: [T] days (years, of a yearly
    variable) of the step that have a value in any cell; the step has one only where all have.
    total: [T] of the area with values, in `total_unit`: value x valid_fraction x covered area; None where the variable
    is neither a sum of carbon nor the carbon of a place. total_low, total_high: its interval.
    statistics: name -> [T] over the cells, in `unit`, those that were asked for.
    members: [M, T] of each member, in the variable's own unit, where their spread is the interval (see `combine`).
    """

    variable: str
    unit: str
    value: Floats
    valid_fraction: Floats
    low: Floats | None = None
    high: Floats | None = None
    total: Floats | None = None
    total_low: Floats | None = None
    total_high: Floats | None = None
    total_unit: str | None = None
    basis: tuple[Basis, ...] = ()
    valid_days: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    statistics: Mapping[str, Floats] = field(default_factory=dict)
    members: Floats | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is aggregated of a variable over N days or years: quanta [N], valid share [N], members' quanta [M, N]."""

    quanta: Floats
    valid_fraction: Floats
    members: Floats | None = None


def aggregate(
    v: Variable, numbers: Numbers, steps: Groups, over: Over, cover: Land, card: Card, level: float
) -> Values:
    """One variable over steps. The members are aggregated first, each by itself; their spread is taken last."""
    q, single = quantum(v.name), steps.first.size == numbers.quanta.size
    value = np.rint(_over(v, numbers.quanta, steps)) / q + 0.0  # no "-0.0"
    fraction, there = numbers.valid_fraction, (~np.isnan(numbers.quanta)).astype(np.int64)
    if not single:
        fraction = np.add.reduceat(fraction, steps.first) / steps.lengths
    # shares of a whole are sums of products: 0.9999999999 is whole
    fraction = np.where(fraction > 1 - 1e-9, 1.0, fraction)
    days = there if single else np.add.reduceat(there, steps.first)
    unit = _unit(v, over)
    low = high = None
    members: Floats | None = None
    basis: tuple[Basis, ...] = ()
    if numbers.members is not None:
        each = _over(v, numbers.members, steps) / q
        open_ones, basis = interval(card, v, value, each, steps.lengths, level, q)
        low, high = open_ones if open_ones is not None else (None, None)
        basis = basis if open_ones is not None else ()
        if any(b.method != "conformal" for b in basis):
            members = each
    if (v.over_time != "sum" and v.period != "static") or not unit.startswith(CARBON):
        return Values(v.name, unit, value, fraction, low, high, basis=basis, valid_days=days, members=members)
    tonnes = fraction * (cover.covered_m2 / 1e6)
    return Values(
        v.name,
        unit,
        value,
        fraction,
        low,
        high,
        value * tonnes,
        None if low is None else low * tonnes,
        None if high is None else high * tonnes,
        unit.replace(CARBON, "tC"),
        basis,
        days,
        members=members,
    )


def _over(v: Variable, values: Floats, steps: Groups) -> Floats:
    """Values [..., N] over steps [..., T], as the vocabulary says. A step with a missing value is missing."""
    if steps.first.size == values.shape[-1]:
        return values  # a step is a value
    if v.over_time == "last":
        return np.asarray(values[..., steps.first + steps.lengths - 1])
    sums = np.add.reduceat(values, steps.first, axis=-1)
    return np.asarray(sums if v.over_time == "sum" else sums / steps.lengths)


def _unit(v: Variable, over: Over) -> str:
    unit = v.unit_over(over)
    return unit.removesuffix(" yr-1") if over == "total" and v.over_time == "sum" else unit


@lru_cache(maxsize=128)
def quantum(name: str) -> float:
    """Quanta in a unit of a variable: what its area means are rounded to, a hundredth of its last digit."""
    return float(10 ** (variable(name).digits + 2))


def rounded(name: str, values: Floats) -> Floats:
    """Values in whole quanta."""
    return np.asarray(np.rint(values * quantum(name)))


def with_derived(parts: dict[str, Floats]) -> dict[str, Floats]:
    """reco = ra + rh and nee = reco - gpp beside their parts; exact where these are whole numbers."""
    if not set(PARTS) <= set(parts):
        return parts
    reco = parts["ra"] + parts["rh"]
    return {**parts, "reco": reco, "nee": reco - parts["gpp"]}
