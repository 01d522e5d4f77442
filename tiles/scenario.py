"""What a polygon's soil does under other management: the model's answer for its cells, summed member by member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fieldflux.models.contract import Responds, Response, Scenario
from fieldflux.models.variables import variable
from numpy.typing import NDArray

from .aggregate import Numbers, Runs, Values, aggregate, quantum, rounded
from .cells import identical, narrow, taken
from .question import Source, Unanswerable
from .surface import CubeLike
from .zonal import Coverage

Floats = NDArray[np.float64]
CHANGES: Mapping[str, str] = {"soc_30": "soc_change_30", "soc_100": "soc_change_100"}
"""Variable of a stock, and that of its change since the start."""
PER_CELL_YEAR = 20
"""How many cell-years of a scenario are run in the time that one of daily fluxes takes."""


@dataclass(frozen=True, slots=True)
class Course:
    """A polygon's soil from its present state (year 0) on.

    values: stocks and changes over years 0 to Y, by name. entered, respired, stored: [Y] gC m-2 of each year, all of
    soil and litter: entered - respired = stored. flags: name -> share of the covered area. valid: share of the covered
    area with values.
    """

    values: Mapping[str, Values]
    entered: Floats
    respired: Floats
    stored: Floats
    valid: float
    flags: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Members:
    """Area means of a polygon's cells, member by member, from the present (year 0) on.

    stocks: name -> [M, Y + 1] gC m-2, changes since the start among them. entered, respired, stored: [M, Y]. flags and
    valid: as of a course.
    """

    stocks: Mapping[str, Floats]
    entered: Floats
    respired: Floats
    stored: Floats
    valid: float
    flags: Mapping[str, float] = field(default_factory=dict)


def members_of(model: Responds, cube: CubeLike, source: Source, cover: Coverage, scenario: Scenario) -> Members:
    """Run a scenario for a polygon's cells. Raises as `members_of_many`."""
    return members_of_many(model, cube, source, [cover], scenario)[0]


def members_of_many(
    model: Responds, cube: CubeLike, source: Source, covers: Sequence[Coverage], scenario: Scenario
) -> list[Members]:
    """Run a scenario for the cells of many polygons, all at once; alike cells are run once. cube: as one record.

    The same member of two scenarios has the same parameters, so that their difference is the scenarios' alone.
    Raises Unanswerable (over-limit) for more different cells and years than are run while a caller waits.
    """
    cells = np.concatenate([np.stack([cover.rows, cover.cols]) for cover in covers], axis=1)
    places, at = np.unique(cells, axis=1, return_inverse=True)
    forcing = narrow(cube.forcing(places[0], places[1], cube.years), model.needs)
    group, first = identical(forcing)
    work, allowed = len(first) * scenario.years, PER_CELL_YEAR * source.live_cell_years
    if work > allowed:
        raise Unanswerable(
            "over-limit",
            f"The scenario is of {len(first):,} different cells over {scenario.years} years, {work:,} cell-years; at "
            f"most {allowed:,} are run while you wait. Ask for a smaller area or fewer years.",
            limit="live_cell_years",
            given=work,
            allowed=allowed,
        )
    found = model.respond(taken(forcing, first), scenario)
    ends = np.cumsum([len(c.rows) for c in covers])[:-1]
    groups = np.split(group[at.ravel()], ends)
    return [_means(found, cover, mine) for cover, mine in zip(covers, groups, strict=True)]


def _means(found: Response, cover: Coverage, group: NDArray[np.integer[Any]]) -> Members:
    """Means over a polygon. group: [C] of each of its cells, which of those that were run is like it."""
    used, mine = np.unique(group, return_inverse=True)
    weight = np.bincount(mine, cover.fraction, len(used))
    stock = np.asarray(next(iter(found.stocks.values())))[:, used]
    there = np.asarray(np.isfinite(stock).all(axis=(0, 2)))
    weight_there = np.where(there, weight, 0.0)
    total = weight_there.sum()

    def mean(of_cells: NDArray[np.floating[Any]]) -> Floats:
        """[M, T] area means of [M, G, T]."""
        if total <= 0.0:
            return np.full((of_cells.shape[0], of_cells.shape[2]), np.nan)
        here = np.where(there[None, :, None], of_cells[:, used], 0.0)
        return np.asarray(np.einsum("mgt,g->mt", here, weight_there) / total)

    columns: dict[str, Floats] = {}
    for name, stocks in found.stocks.items():
        columns[name] = mean(np.asarray(stocks))
        if name in CHANGES:
            columns[CHANGES[name]] = columns[name] - columns[name][:, :1]
    return Members(
        columns,
        mean(np.asarray(found.entered)),
        mean(np.asarray(found.respired)),
        mean(np.asarray(found.stored)),
        float(total / cover.effective_cells),
        {n: float(weight[f[used]].sum() / cover.effective_cells) for n, f in found.flags.items() if f[used].any()},
    )


def course(
    model: Responds, cube: CubeLike, source: Source, cover: Coverage, scenario: Scenario, level: float, interval: bool
) -> Course:
    """Run a scenario for a polygon's cells, with intervals of the ensemble. Raises as `members_of`."""
    found = members_of(model, cube, source, cover, scenario)
    values = {}
    for name, members in found.stocks.items():
        steps = members.shape[1]
        numbers = Numbers(
            rounded(name, members.mean(0)),
            np.full(steps, found.valid),
            members * quantum(name) if interval and len(members) > 1 else None,
        )
        values[name] = aggregate(variable(name), numbers, Runs.each(steps), "year", cover, source.card, level)
    return Course(values, found.entered.mean(0), found.respired.mean(0), found.stored.mean(0), found.valid, found.flags)
