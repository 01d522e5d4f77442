"""Many polygons' days made into steps at once: their days are laid one behind the other, as if they were one long time.

Every number is that of the polygon alone: a step never reaches from one polygon to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from fieldflux.models.card import Card
from fieldflux.models.variables import variable
from numpy.typing import NDArray

from .aggregate import Floats, Groups, Numbers, Over, Runs, Values, aggregate
from .bounds import Basis
from .question import SeriesRequest, has_members, read_groups
from .reading import Held, Names, numbers_of
from .steps import Steps
from .sums import DailySums
from .zonal import Coverage

Ready: TypeAlias = Mapping[str, tuple[Values, Values]]
"""Daily variable -> its values over the steps, and over all the days asked for."""

AT_ONCE = 128
"""Polygons whose days are laid behind each other: 20 MB for a year of an ensemble of five."""


@dataclass(frozen=True, slots=True)
class _Land:
    """The covered area, m2, of each step [P x T]."""

    covered_m2: Floats


def ready_together(
    covers: Sequence[Coverage], held: Mapping[str, Held], daily: Sequence[str], request: SeriesRequest, card: Card
) -> dict[str, Ready]:
    """By key of polygon what `series` makes of its daily sums, of those polygons whose sums are all held."""
    groups = read_groups(tuple(daily), card)
    if not groups:
        return {}
    with_members = request.interval and card.members > 1
    whole = [c for c in covers if all((y, g, False) in held.get(c.key, ()) for y in request.years for g in groups)]
    found: dict[str, Ready] = {}
    for k in range(0, len(whole), AT_ONCE):
        some = whole[k : k + AT_ONCE]
        found |= _ready(some, [held[c.key] for c in some], groups, daily, request, card, with_members)
    return found


def _ready(
    covers: Sequence[Coverage],
    held: Sequence[Held],
    groups: Sequence[Names],
    daily: Sequence[str],
    request: SeriesRequest,
    card: Card,
    with_members: bool,
) -> dict[str, Ready]:
    many, days = len(covers), request.days
    effective = np.repeat([c.effective_cells for c in covers], days)
    numbers: dict[str, Numbers] = {}
    for group in groups:
        mean = _laid(held, request.years, group, False)[0]
        each = _laid(held, request.years, group, True) if with_members and has_members(group, card) else None
        numbers |= numbers_of(group, mean, each, effective)
    steps = Steps.of(request.step, request.first, request.last)
    over: Over = {"day": "day", "year": "year", "period": "total"}.get(request.step, "month")  # type: ignore[assignment]
    found: list[dict[str, tuple[Values, Values]]] = [{} for _ in covers]
    for name in daily:
        values = _aggregated(name, numbers[name], steps, over, covers, days, card, request.level)
        # Of the whole period there is one figure, under both names.
        total = (
            values
            if request.step == "period"
            else _aggregated(name, numbers[name], Runs.together(days), "total", covers, days, card, request.level)
        )
        for p in range(many):
            found[p][name] = values[p], total[p]
    return {cover.key: of for cover, of in zip(covers, found, strict=True)}


def _laid(held: Sequence[Held], years: Sequence[int], group: Names, of_members: bool) -> list[DailySums]:
    """Sums over the days of all polygons, one behind the other: of the mean, or of each member."""
    parts = [of[year, group, of_members] for of in held for year in years]
    return [
        DailySums(np.concatenate([p.sums for p in each], axis=1), np.concatenate([p.weight for p in each]))
        for each in zip(*parts, strict=True)
    ]


def _aggregated(
    name: str,
    numbers: Numbers,
    steps: Groups,
    over: Over,
    covers: Sequence[Coverage],
    days: int,
    card: Card,
    level: float,
) -> list[Values]:
    """One variable over steps, of each polygon."""
    many, n = len(covers), steps.first.size
    behind = Runs((steps.first[None, :] + days * np.arange(many)[:, None]).reshape(-1), np.tile(steps.lengths, many))
    land = _Land(np.repeat([c.covered_m2 for c in covers], n))
    found = aggregate(variable(name), numbers, behind, over, land, card, level)
    basis = tuple(replace(b, steps=b.steps // many) for b in found.basis)
    widths = [False] * many
    if found.low is not None and found.high is not None:
        widths = _with_width(found.low.reshape(many, n), found.high.reshape(many, n)).tolist()
    return [_part(found, slice(p * n, (p + 1) * n), widths[p], basis) for p in range(many)]


def _part(values: Values, of: slice, widths: bool, basis: tuple[Basis, ...]) -> Values:
    def cut(array: Floats | None) -> Floats | None:
        return None if array is None else array[of]

    return Values(
        values.variable,
        values.unit,
        values.value[of],
        values.valid_fraction[of],
        cut(values.low) if widths else None,
        cut(values.high) if widths else None,
        cut(values.total),
        cut(values.total_low) if widths else None,
        cut(values.total_high) if widths else None,
        values.total_unit,
        basis if widths else (),
        values.valid_days[of],
        members=None if values.members is None or not widths else values.members[:, of],
    )


def _with_width(low: Floats, high: Floats) -> NDArray[np.bool_]:
    """[P] of ends [P, T], as `bounds.ends` has it of one: nothing is promised where no step has any width."""
    known = ~np.isnan(low)
    return np.asarray(~known.any(axis=1) | ((low != high) & known).any(axis=1))
