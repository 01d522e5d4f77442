"""Questions: what may be asked of a polygon, of which source; and what is refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

import numpy as np
from fieldflux.models.card import Card
from fieldflux.models.contract import Model
from fieldflux.models.variables import variable
from numpy.typing import NDArray

from .bounds import check_level
from .layout import CROP_DAYS
from .lru import Lru
from .spatial import Statistic
from .steps import Step
from .store import Store
from .surface import CubeLike
from .zonal import Coverage, Limits, Shape, coverage

LEVEL = 0.90
"""Level of an interval where no other is asked for."""
PARTS = ("gpp", "ra", "rh")
DERIVED = ("reco", "nee")
FLUXES = (*PARTS, *DERIVED)


class Unanswerable(ValueError):
    """A question that cannot be answered as it stands.

    code: "invalid-dates", "unknown-variable", "over-limit" or "not-computed-yet". members: what a program may want to
    know. `chunks`, with "not-computed-yet": (year, chunk row, chunk column) that would have to be computed.
    """

    def __init__(
        self, code: str, sentence: str, chunks: tuple[tuple[int, int, int], ...] = (), **members: object
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.chunks = chunks
        self.members = members


class Inputs(CubeLike, Protocol):
    """What a series asks of a cube."""

    def crops(self, year: int) -> NDArray[np.int16]: ...


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """A question: which land, which days (both included), which variables, at which step; intervals at which level.

    statistics: what is wanted over the cells beside the mean (see `spatial`).
    record: first and last day of the whole record, where what is asked is said of that; it is kept as the year of its
    end, which the days are then of.
    """

    geometry: Mapping[str, Any] | Shape | Any
    first: date
    last: date
    variables: tuple[str, ...] = ("gpp", "reco", "nee")
    step: Step = "day"
    interval: bool = True
    level: float = LEVEL
    statistics: tuple[Statistic, ...] = ()
    record: tuple[date, date] | None = None

    @property
    def years(self) -> tuple[int, ...]:
        """The calendar years touched."""
        return tuple(range(self.first.year, self.last.year + 1))

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where answers come from: a cube, a model's card and, where there are any, its store and the model itself.

    model: loads the model; called only when cells have to be run. memory: keeps coverages and sums.
    live_cell_years: most cells x years that are run while a caller waits. cell_days: most that are read.
    """

    cube: Inputs
    card: Card
    store: Store | None = None
    model: Callable[[], Model] | None = None
    memory: Lru = field(default_factory=lambda: Lru(32 << 20))
    limits: Limits = field(default_factory=Limits)
    live_cell_years: int = 2_000
    cell_days: int = 400_000_000

    def mask(self) -> NDArray[np.bool_]:
        """[rows, cols] of the cube's window: cells that have inputs."""
        cube = self.cube
        return self.memory.get(("mask", cube.hash), cube.mask, lambda a: int(a.nbytes))


def cover_of(request: SeriesRequest, source: Source) -> Coverage:
    """The cells that a question is about. Raises BadGeometry."""
    cube = source.cube
    return coverage(
        request.geometry,
        cube.grid,
        cube.window,
        source.mask(),
        limits=source.limits,
        memory=source.memory,
        place=cube.hash,
    )


def check_request(request: SeriesRequest, source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Daily variables of a question, and those with one value a year or for the whole record.

    Raises UnknownVariable, UncalibratedLevel, Unanswerable."""
    years = source.cube.years
    if request.last < request.first:
        raise Unanswerable(
            "invalid-dates",
            f"The last day, {request.last}, lies before the first, {request.first}. Exchange them.",
        )
    if request.first.year < years[0] or request.last.year > years[-1]:
        raise Unanswerable(
            "invalid-dates",
            f"The days {request.first} to {request.last} are not all in the inputs, which cover {years[0]}-01-01 to "
            f"{years[-1]}-12-31. Choose days in that time.",
            allowed=[f"{years[0]}-01-01", f"{years[-1]}-12-31"],
        )
    names = tuple(dict.fromkeys(request.variables))
    if not names:
        raise Unanswerable(
            "unknown-variable", f"No variable is asked for. There are: {', '.join(source.card.outputs)}."
        )
    for name in names:
        variable(name)
        if name not in source.card.outputs:
            raise Unanswerable(
                "unknown-variable",
                f"The model '{source.card.id}' gives no '{name}'; it gives: {', '.join(source.card.outputs)}.",
            )
    if request.interval:
        check_level(source.card, names, request.level)
    return (
        tuple(n for n in names if variable(n).period == "day"),
        tuple(n for n in names if variable(n).period != "day"),
    )


def check_size(request: SeriesRequest, source: Source, cells: int, daily: Sequence[str]) -> None:
    """Raise Unanswerable (over-limit) where more would be read of so many cells than the source allows."""
    given = cells * request.days * max(len(read_names(daily, source.card)), 1)
    if given > source.cell_days:
        raise Unanswerable(
            "over-limit",
            f"The question needs {given:,} values ({cells:,} cells x {request.days:,} days x variables); at most "
            f"{source.cell_days:,} are read at once. Ask for a smaller area, fewer days or fewer variables.",
            limit="cell_days",
            given=given,
            allowed=source.cell_days,
        )


def read_names(daily: Sequence[str], card: Card) -> tuple[str, ...]:
    """What is read for some daily variables: where the model gives the parts of nee, it is made of these."""
    fluxes = set(daily) & set(FLUXES)
    if not set(PARTS) <= set(card.outputs) or (len(fluxes) < 2 and not fluxes & set(DERIVED)):
        return tuple(daily)
    return (*PARTS, *(n for n in daily if n not in FLUXES))


def read_groups(daily: Sequence[str], card: Card) -> tuple[tuple[str, ...], ...]:
    """The same, in groups of variables that are valid together: the three parts of nee, others alone."""
    names = read_names(daily, card)
    together = set(PARTS) <= set(names)
    return ((PARTS,) if together else ()) + tuple((n,) for n in names if not together or n not in PARTS)


def has_members(group: Sequence[str], card: Card) -> bool:
    """Whether the store keeps days of each member of these variables."""
    kept = PARTS if set(PARTS) & set(card.outputs) else CROP_DAYS
    return card.members > 1 and set(group) <= set(kept)
