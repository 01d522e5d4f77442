"""What every model promises: what it needs, what it gives, and one verb, `predict`.

A batch is some cells over consecutive local standard days of the real calendar. Weather rows are shared: thousands of
cells point at one. Arrays at this boundary are numpy; inside, a model uses torch, on whatever device it was loaded for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .card import Card
from .variables import VARIABLES

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Needs:
    """Inputs of a model, by name in the vocabulary, which also gives their units.

    daily, annual, static: without one of these the model does not run.
    optional: used where the cube has them; the model says in its card what it does without.
    """

    daily: tuple[str, ...]
    annual: tuple[str, ...]
    static: tuple[str, ...]
    optional: tuple[str, ...] = ()


class MissingInputs(ValueError):
    """A cube or a forcing lacks what a model needs."""


def check_inputs(
    model: str, needs: Needs, available: Mapping[str, str] | set[str] | frozenset[str], where: str
) -> None:
    """Raise MissingInputs, before any work, unless `available` holds all that `needs` names.

    available: names of the inputs there are; as a mapping, name -> unit, and then units are compared as well.
    where: what lacks them, in the sentence's words ("the cube 'adams'").
    """
    required = (*needs.daily, *needs.annual, *needs.static)
    missing = [name for name in required if name not in available]
    if missing:
        listed = ", ".join(f"{n} ({VARIABLES[n].long_name}, {VARIABLES[n].unit})" for n in missing)
        raise MissingInputs(
            f"Model '{model}' needs {listed}, which {where} does not have; it has: {', '.join(sorted(available))}. "
            f"Add the missing inputs to it, or choose a model that does without."
        )
    if isinstance(available, Mapping):
        for name in (*required, *needs.optional):
            if name in available and available[name] != VARIABLES[name].unit:
                raise MissingInputs(
                    f"Model '{model}' needs {name} in {VARIABLES[name].unit}, but {where} has it in "
                    f"{available[name]}. Convert it when the cube is built."
                )


@dataclass(frozen=True, slots=True)
class Forcing:
    """Inputs of a batch of C cells over D consecutive days, which touch Y calendar years.

    start: first day. years: the calendar years touched, in order, and where its annual inputs are known the one after
    them, in whose crop a winter crop's autumn belongs.
    daily: name -> [W, D] rows of weather. weather: [C], the row of each cell.
    annual: name -> [C, Y]. static: name -> [C].
    gpp_given: [G, D] given GPP, gC m-2 d-1, NaN where there is none; gpp_unit: [C, Y], its row for each cell and year,
    -1 where the model must make its own.
    """

    start: date
    years: tuple[int, ...]
    daily: Mapping[str, Floats]
    weather: Integers
    annual: Mapping[str, Floats]
    static: Mapping[str, Floats]
    gpp_given: Floats | None = None
    gpp_unit: Integers | None = None

    @property
    def cells(self) -> int:
        return int(self.weather.shape[0])

    @property
    def days(self) -> int:
        return int(next(iter(self.daily.values())).shape[1])

    @property
    def end(self) -> date:
        """Last day, included."""
        return self.start + timedelta(days=self.days - 1)

    def dates(self) -> NDArray[np.datetime64]:
        """[D] the days, datetime64[D]."""
        return np.datetime64(self.start, "D") + np.arange(self.days)

    def names(self) -> frozenset[str]:
        """Every input that is here."""
        extra = () if self.gpp_given is None else ("gpp_given",)
        return frozenset((*self.daily, *self.annual, *self.static, *extra))


@dataclass(frozen=True, slots=True)
class State:
    """A model's memory at the end of a day: name -> [member, cell, ...]. Only its own model reads it."""

    day: date
    arrays: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Outputs of a batch.

    daily: name -> [member, cell, day] float32. annual: name -> [member, cell, year] float32, for each calendar year of
    `years` that ends in the batch; of a model whose outputs are all static (see `variables.of_record`) they are here,
    with one year, the last, for the whole of the batch. state: the memory at the end of the last day.
    flags: name -> [cell] bool, what a reader should know ("crop_unknown", "soil_outside_domain", ...).
    """

    start: date
    daily: Mapping[str, Floats]
    years: tuple[int, ...]
    annual: Mapping[str, Floats]
    state: State
    flags: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


class Model(Protocol):
    """A trained model, ready to run."""

    @property
    def card(self) -> Card:
        """What is known about it."""
        ...

    @property
    def needs(self) -> Needs: ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Variables of the vocabulary that a prediction holds, daily and annual."""
        ...

    @property
    def members(self) -> int:
        """Size of the ensemble; 1 for a single model."""
        ...

    def initial_state(self, forcing: Forcing) -> State:
        """Spin up on `forcing` (whole years, the first of a record) to the state before its first day."""
        ...

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:
        """Run the batch. Without a state, from `initial_state(forcing)`.

        Raises MissingInputs; ValueError where the state's day is not the day before `forcing.start`.
        Cells with a missing (NaN) needed input, or a crop that the model does not know, come back NaN and flagged.
        """
        ...


Tillage: TypeAlias = Literal["none", "low", "high"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Management of the coming years, against the present one, which the model's state stands for.

    years: how many. tillage: of the years to come; None: as at present. residue_removed: share of the residue above
    ground that is taken; None: as at present. added_carbon: further input, gC m-2 yr-1, such as of a cover crop or of
    manure. tillage_now, residue_now: the present; None: what the forcing tells of its last years.
    """

    years: int
    tillage: Tillage | None = None
    residue_removed: float | None = None
    added_carbon: float = 0.0
    tillage_now: Tillage | None = None
    residue_now: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What a scenario makes of C cells. stocks: name -> [member, cell, year + 1] gC m-2, the present first.

    entered, respired, stored: [member, cell, year] gC m-2 that came into soil and litter in each year, left them as
    CO2, and stayed: entered - respired = stored, to rounding. flags: as of a prediction.
    """

    stocks: Mapping[str, Floats]
    entered: Floats
    respired: Floats
    stored: Floats
    flags: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


@runtime_checkable
class Responds(Protocol):
    """A model that can tell how soil carbon changes under other management; its card's `answers` tell which."""

    @property
    def needs(self) -> Needs: ...

    def respond(self, forcing: Forcing, scenario: Scenario) -> Response: ...
