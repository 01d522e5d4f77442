"""The numbers of a statement: changes of soil carbon of each field and of all, tonnes of carbon, with their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.app.problems import Refused, problem_of
from fieldflux.models.card import Card
from fieldflux.models.variables import VARIABLES
from numpy.typing import NDArray

from .asked import Scenarios, StatementAsk
from .evidence import CHANGE, skill_of
from .land import Parcel, refused
from .uncertainty import Correlation, of_difference, of_members, over_fields, over_years

if TYPE_CHECKING:
    from fieldflux.app.workspace import Place, Workspace
    from fieldflux.tiles.question import Source
    from fieldflux.tiles.zonal import Coverage

Floats = NDArray[np.float64]
Z90 = 1.6448536269514722
"""Half a 90 % interval in standard errors."""
PATIENCE = 5
"""How many times as many cell-years are run as for a scenario on the map: seconds for a thousand fields."""


class NotYet(ValueError):
    """The store lacks values that are too many to be computed while the caller waits. asked, chunks: what to queue."""

    code = "not-computed-yet"

    def __init__(self, detail: str, asked: Any, chunks: Sequence[tuple[int, int, int]]) -> None:
        super().__init__(detail)
        self.members: Mapping[str, object] = {}
        self.asked, self.chunks = asked, chunks


@dataclass(frozen=True, slots=True)
class Figures:
    """A field's account, tonnes of carbon; positive: the soil gains.

    gain: of the period, or of the project over the baseline. baseline, project: change of each since now; stock: now.
    errors: [Y] standard errors of each year that data tell of, of one course; members: [M] the gain by each member, or
    empty. notes: flag -> sentence. shares: flag of the model -> share of the covered area. yields: tonnes of carbon
    harvested, by year.
    """

    parcel: Parcel
    gain: float
    errors: Floats
    members: Floats
    area_ha: float
    covered_ha: float
    coverage: float
    cells: int
    valid: float
    flags: tuple[str, ...]
    notes: Mapping[str, str]
    shares: Mapping[str, float]
    baseline: float | None = None
    project: float | None = None
    stock: float | None = None
    yields: Sequence[Mapping[str, Any]] = ()
    crops: Sequence[Mapping[str, Any]] = ()

    def error(self, correlation: Correlation) -> float:
        """Standard error of the gain."""
        return float(np.hypot(self.told(correlation), of_members(self.members)))

    def told(self, correlation: Correlation) -> float:
        """Its part that measurements tell of; of a difference, with the errors of both scenarios (Eq 60-61)."""
        error = over_years(self.errors, correlation.years)
        return error if self.project is None else of_difference(error, correlation.scenarios)


@dataclass(frozen=True, slots=True)
class Account:
    """All fields of a statement. variable: what changed. basis: sentences on what the errors rest on."""

    place: Place
    fields: tuple[Figures, ...]
    variable: str
    basis: tuple[str, ...]
    origin: tuple[str, ...]
    snapshot: str | None
    changed: tuple[str, ...] = ()

    @property
    def gain(self) -> float:
        return float(sum(f.gain for f in self.fields))

    @property
    def yields(self) -> bool:
        """Whether every field has yields."""
        return all(f.yields for f in self.fields)

    def error(self, correlation: Correlation) -> float:
        """Standard error of the sum: members are summed first; what measurements tell of, by the correlation."""
        told = np.array([f.told(correlation) for f in self.fields])
        places = np.array([f.parcel.place for f in self.fields])
        return float(np.hypot(over_fields(told, places, correlation), of_members(self.members)))

    def printed_error(self, correlation: Correlation) -> float:
        """The same as Eq 64 has it: fields independent of each other."""
        return float(np.sqrt(sum(f.error(correlation) ** 2 for f in self.fields)))

    @property
    def members(self) -> Floats:
        """[M] the sum by each member."""
        return np.sum([f.members for f in self.fields], axis=0) if self.fields[0].members.size else np.empty(0)


def account(workspace: Workspace, ask: StatementAsk, found: Sequence[Parcel]) -> Account:
    """Work out a statement's numbers. Raises Refused, NotYet, and what series and scenarios raise."""
    from .period import of_period

    return _scenarios(workspace, ask, found, ask.scenario) if ask.scenario else of_period(workspace, ask, found)


def card_of(workspace: Workspace, ask: StatementAsk) -> Card:
    """The card of the model that is meant. Raises Refused (unknown-model), UnknownModel."""
    from fieldflux.app.soil import answers_soil, card_for

    if ask.scenario is not None:
        return card_for(workspace, ask.model, answers_soil, "the change of soil carbon under a scenario")
    card = workspace.card(ask.model) if ask.model else workspace.place(ask.cube, "").card
    if CHANGE not in card.outputs:
        raise Refused("unknown-model", f"The model '{card.id}' does not give {VARIABLES[CHANGE].long_name}.")
    return card


# Two scenarios


def _scenarios(workspace: Workspace, ask: StatementAsk, found: Sequence[Parcel], asked: Scenarios) -> Account:
    from fieldflux.app.answer import asked_of
    from fieldflux.app.ask import About
    from fieldflux.app.soil import stocks_of
    from fieldflux.models.contract import Responds
    from fieldflux.tiles.bounds import logarithm_of
    from fieldflux.tiles.caveats import FLAGS, model_flag
    from fieldflux.tiles.scenario import CHANGES, members_of_many

    card = card_of(workspace, ask)
    about = About(variables=stocks_of(card), step="year", cube=ask.cube, model=card.id)
    place, asked_source, _ = asked_of(workspace, about)
    source = replace(asked_source, live_cell_years=PATIENCE * asked_source.live_cell_years)
    model = workspace.model(card.id)
    if not isinstance(model, Responds):
        raise Refused("unknown-model", f"The model '{card.id}' answers no scenarios of soil carbon.")
    changed, error = asked.changed(), skill_of(card).error
    stock = f"soc_{asked.depth_cm}"
    variable = CHANGES[stock]
    # A difference of nothing has no error.
    of_year = error if changed and error is not None else 0.0
    accounts: list[Figures] = []
    covers, rejected = _covers(ask, found, source)
    runs = [
        members_of_many(model, place.cube, source, [cover for _, cover in covers], asked.of(practice))
        for practice in (asked.baseline, asked.project)
        if not rejected
    ]
    for (parcel, cover), base, project in zip(covers, *runs, strict=True) if runs else ():
        tonnes = cover.covered_m2 * base.valid / 1e6
        by_member = (project.stocks[variable][:, -1] - base.stocks[variable][:, -1]) * tonnes
        if not np.isfinite(by_member).all():
            rejected.append(without(parcel, f"no cell of it has a value of {VARIABLES[variable].long_name}"))
            continue
        flags = [*cover.flags, "whole_record", *(["partly_valid"] if base.valid < 1 - 1e-9 else [])]
        flags += ["middle_value"] if logarithm_of(stock) in card.intervals else []
        flags += ["synthetic_inputs"] if place.cube.synthetic else []
        shares = {**base.flags, **project.flags}
        accounts.append(
            Figures(
                parcel,
                float(by_member.mean()),
                np.full(asked.years, of_year * tonnes),
                by_member,
                cover.geodesic_area_ha,
                cover.covered_m2 / 1e4,
                cover.covered_fraction,
                cover.cells,
                base.valid,
                tuple(flags),
                {flag: FLAGS[flag] for flag in flags} | {name: model_flag(name) for name in sorted(shares)},
                {name: round(share, 6) for name, share in sorted(shares.items())},
                float(base.stocks[variable][:, -1].mean() * tonnes),
                float(project.stocks[variable][:, -1].mean() * tonnes),
                float(base.stocks[stock][:, 0].mean() * tonnes),
            )
        )
    if rejected:
        raise refused(rejected)
    spread = f"The spread of {card.members} members, each with the same parameters in both scenarios (Eq 65-69)."
    return Account(
        place,
        tuple(accounts),
        variable,
        (spread, *_of_card(card, changed)),
        ("computed for this statement from the cube",),
        None,
        tuple(changed),
    )


def _covers(
    ask: StatementAsk, found: Sequence[Parcel], source: Source
) -> tuple[list[tuple[Parcel, Coverage]], list[dict[str, Any]]]:
    """What each field covers, and what is wrong with those that cover nothing. Raises BadGeometry for one alone."""
    from fieldflux.tiles.zonal import Coverage, coverages

    cube = source.cube
    shapes = [parcel.shape for parcel in found]
    looked = coverages(
        shapes, cube.grid, cube.window, source.mask(), limits=source.limits, memory=source.memory, place=cube.hash
    )
    covers, rejected = [], []
    for parcel, cover in zip(found, looked, strict=True):
        if isinstance(cover, Coverage):
            covers.append((parcel, cover))
            continue
        problem = problem_of(cover)
        if problem is None or ask.geometry is not None:
            raise cover
        rejected.append({"index": parcel.index, "id": parcel.id, "problem": problem.body(at(parcel))})
    return covers, rejected


def _of_card(card: Card, changed: Sequence[str]) -> tuple[str, ...]:
    skill = skill_of(card)
    if not changed:
        return ("The scenarios are the same: their difference is nothing, without error.",)
    if skill.error is None:
        return ("No error against measurements: the card has none, so the standard error is too small.",)
    return (
        f"{skill.error:.4g} gC m-2 yr-1 of each scenario, the largest RMSE of yearly change on the card "
        f"({skill.split}); of their difference by Eq 60-61.",
    )


def at(parcel: Parcel) -> str:
    return f"#/features/{parcel.index}"


def without(parcel: Parcel, why: str) -> dict[str, Any]:
    problem = {"type": "/problems/rejected-fields", "detail": f"The field {parcel.index + 1} cannot be counted: {why}."}
    return {"index": parcel.index, "id": parcel.id, "problem": problem}
