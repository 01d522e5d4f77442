"""A polygon's soil: its profile, and what other management would make of it; for the server and the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fieldflux.models.card import Card
from fieldflux.models.contract import Responds, Scenario
from fieldflux.models.variables import VARIABLES, of_record
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .answer import Question, as_answer, found_of, made_from, question
from .ask import Ask
from .members import FIELD, CubeId, Geometry, Intervals, Level, Number, Switch, Whole, check_one, one_of
from .problems import Refused
from .workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from fieldflux.tiles.aggregate import Values
    from numpy.typing import NDArray

COVER_CROP = 187.0
"""gC m-2 yr-1 that a winter cover crop adds to the soil's input: Poeplau and Don (2015), mean of 139 plots,
doi:10.1016/j.agee.2014.10.024."""
MOST_YEARS = 100
PLACE = ("geometry", "field")

Tillage = Literal["none", "low", "high"]


class SoilAsk(BaseModel):
    """A polygon or a registered field, and the cube and model that are meant."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={**one_of(PLACE), "examples": [{"geometry": FIELD}]}
    )

    geometry: Geometry = None
    field: str | None = Field(default=None, description="A registered field instead, by its id (`fld_…`).")
    intervals: Intervals = True
    level: Level = 0.9
    cube: CubeId = ""
    model: str = Field(
        default="", description="Model, as name or name/version; the first that can answer if empty.", max_length=100
    )

    @model_validator(mode="after")
    def _one(self) -> SoilAsk:
        check_one(self, PLACE)
        return self


class ScenarioAsk(SoilAsk):
    """The same, and the management of the coming years. What is not given stays as it is at present."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            **one_of(PLACE),
            "examples": [{"geometry": FIELD, "years": 20, "tillage": "none", "cover_crop": True}],
        },
    )

    years: Whole = Field(default=20, ge=1, le=MOST_YEARS, description="Years to come.")
    tillage: Tillage | None = Field(
        default=None, description="Tillage of the years to come: none, low (reduced) or high (ploughed)."
    )
    residue_removed: Number | None = Field(
        default=None, ge=0, le=1, description="Share of the residue above ground that is taken off the field."
    )
    added_carbon: Number = Field(
        default=0.0, ge=0, le=2000, description="Carbon brought in besides, gC m-2 yr-1 (manure, compost, more growth)."
    )
    cover_crop: Switch = Field(
        default=False,
        description=f"A winter cover crop every year: {COVER_CROP:g} gC m-2 yr-1 more input (Poeplau and Don 2015).",
    )
    tillage_now: Tillage | None = Field(default=None, description="Present tillage; that of the inputs if not given.")
    residue_now: Number | None = Field(
        default=None, ge=0, le=1, description="Share of the residue taken at present; that of the inputs if not given."
    )

    def scenario(self) -> Scenario:
        """As the model takes it."""
        added = self.added_carbon + (COVER_CROP if self.cover_crop else 0.0)
        return Scenario(self.years, self.tillage, self.residue_removed, added, self.tillage_now, self.residue_now)


@dataclass(frozen=True, slots=True)
class SoilQuestion:
    """A checked question: the series question below it, and what of the model's variables is wanted."""

    asked: Question
    scenario: Scenario | None = None

    @property
    def key(self) -> str:
        """The same for the same answer."""
        return hashlib.sha256(f"soil {self.asked.key} {self.scenario}".encode()).hexdigest()


def profile_question(workspace: Workspace, ask: SoilAsk, geometry: Any) -> SoilQuestion:
    """Check a question about a profile. geometry: of the polygon or field. Raises Refused, and as `answer.question`."""
    return SoilQuestion(_question(workspace, ask, geometry, has_layers, "a profile of soil carbon", all_of_them))


def scenario_question(workspace: Workspace, ask: ScenarioAsk, geometry: Any) -> SoilQuestion:
    """Check a question about a scenario. Raises the same."""
    asked = _question(workspace, ask, geometry, answers_soil, "the change of soil carbon under a scenario", stocks_of)
    return SoilQuestion(asked, ask.scenario())


def has_layers(card: Card) -> bool:
    """Whether a model gives the layers of a profile."""
    return any(VARIABLES[name].layer for name in card.outputs if name in VARIABLES)


def answers_soil(card: Card) -> bool:
    """Whether a model tells how soil carbon changes from its rest on."""
    return of_record(card.outputs) and bool(card.answers)


def all_of_them(card: Card) -> tuple[str, ...]:
    return card.outputs


def stocks_of(card: Card) -> tuple[str, ...]:
    return tuple(n for n in card.outputs if VARIABLES[n].unit == "gC m-2" and not VARIABLES[n].layer)


def profile(asked: SoilQuestion) -> dict[str, Any]:
    """The answer: layers with stocks and densities, stocks to depths, processes; what it rests on beside them."""
    found = found_of(asked.asked)
    body = as_answer(asked.asked.place, found)
    named = {name: VARIABLES[name] for name in found.annual}
    layers = sorted((v.layer, name) for name, v in named.items() if v.layer is not None)
    thick = [bottom - top for (top, bottom), _ in layers]
    columns = [_numbers(found.annual[name]) for _, name in layers]
    stock = {end: [column[end] for column in columns] for end in ("value", "low", "high")}
    density = {
        end: [None if v is None else round(v / d, 2) for v, d in zip(values, thick, strict=True)]
        for end, values in stock.items()
    }
    others = {name: {"long_name": v.long_name, **_told(found.annual[name])} for name, v in named.items() if not v.layer}
    dropped = ("time", "step", "first", "last", "units", "values", "intervals", "valid_fraction", "totals", "summary",
               "crops", "signs", "interval_basis", "days", "whole", "valid_days", "status", "statistics")  # fmt: skip
    return {
        "depth": {
            "unit": "m",
            "top": [top for (top, _), _ in layers],
            "bottom": [bottom for (_, bottom), _ in layers],
            "variables": [name for _, name in layers],
        },
        "stock": {"unit": "gC m-2", **stock},
        "density": {"unit": "gC m-3", **density},
        "stocks": {name: of for name, of in others.items() if of["unit"] == "gC m-2"},
        "processes": {name: of for name, of in others.items() if of["unit"] != "gC m-2"},
        **{name: value for name, value in body.items() if name not in dropped},
    }


def course_of(workspace: Workspace, asked: SoilQuestion) -> dict[str, Any]:
    """The answer to a scenario: stocks and changes from year 0, the present, on; carbon that entered and left.

    Raises Refused (unknown-model), Unanswerable (over-limit), and what running raises.
    """
    from fieldflux.tiles.bounds import logarithm_of
    from fieldflux.tiles.caveats import FLAGS, model_flag
    from fieldflux.tiles.question import cover_of
    from fieldflux.tiles.scenario import course

    one, scenario = asked.asked, asked.scenario
    assert scenario is not None
    place, request = one.place, one.request
    model = workspace.model(place.card.id)
    if not isinstance(model, Responds):
        raise Refused("unknown-model", f"The model '{place.card.id}' answers no scenarios of soil carbon.")
    cover = cover_of(request, one.source)
    found = course(model, place.cube, one.source, cover, scenario, request.level, request.interval)
    flags = [*cover.flags, "whole_record", *(["partly_valid"] if found.valid < 1 - 1e-9 else [])]
    flags += ["interval_not_calibrated"] if request.interval and place.card.members > 1 else []
    flags += ["middle_value"] if any(logarithm_of(name) in place.card.intervals for name in found.values) else []
    flags += ["synthetic_inputs"] if place.cube.synthetic else []
    shares = {name: round(share, 6) for name, share in sorted(found.flags.items())}
    return {
        "year": list(range(scenario.years + 1)),
        "columns": {name: {"long_name": VARIABLES[name].long_name, **_columns(v)} for name, v in found.values.items()},
        "balance": {
            "unit": "gC m-2 yr-1",
            "of": "all carbon in soil and litter, to 8.6 m; entered - respired = stored",
            "entered": found.entered.round(4),
            "respired": found.respired.round(4),
            "stored": found.stored.round(4),
        },
        "scenario": {
            "years": scenario.years,
            "tillage": scenario.tillage,
            "residue_removed": scenario.residue_removed,
            "added_carbon": scenario.added_carbon,
            "tillage_now": scenario.tillage_now,
            "residue_now": scenario.residue_now,
        },
        "against": "the present management, under which the soil is taken to rest: without a change nothing moves",
        "interval_level": request.level if request.interval else None,
        "area_ha": round(cover.geodesic_area_ha, 4),
        "covered_ha": round(cover.covered_m2 / 1e4, 4),
        "coverage": round(cover.covered_fraction, 6),
        "cell_count": cover.cells,
        "valid_fraction": round(found.valid, 6),
        "record": list(place.cube.record),
        "flags": [*flags, *shares],
        "notes": [*(FLAGS[flag] for flag in flags), *(model_flag(name) for name in shares)],
        "model_flags": shares,
        **made_from(place),
    }


def _question(
    workspace: Workspace,
    ask: SoilAsk,
    geometry: Any,
    fits: Callable[[Card], bool],
    what: str,
    variables: Callable[[Card], tuple[str, ...]],
) -> Question:
    card = card_for(workspace, ask.model, fits, what)
    return question(
        workspace,
        Ask(
            geometry=geometry,
            variables=variables(card),
            step="year",
            intervals=ask.intervals,
            level=ask.level,
            cube=ask.cube,
            model=card.id,
        ),
    )


def card_for(workspace: Workspace, named: str, fits: Callable[[Card], bool], what: str) -> Card:
    """The card of the model that is named, or of the first that fits. Raises Refused (unknown-model)."""
    able = [card for card in workspace.registry.cards() if fits(card)]
    if not named and able:
        return able[-1]
    card = workspace.card(named) if named else None
    if card is None or not fits(card):
        listed = ", ".join(card.id for card in able) or "none"
        said = f"The model '{card.id}' does not give {what}" if card else f"No model here gives {what}"
        raise Refused("unknown-model", f"{said}. Models that do: {listed}.", allowed=[c.id for c in able])
    return card


def _numbers(v: Values) -> dict[str, float | None]:
    return {"value": _one(v.value), "low": _one(v.low), "high": _one(v.high)}


def _told(v: Values) -> dict[str, Any]:
    from fieldflux.tiles.bounds import as_plain

    said: dict[str, Any] = {"unit": v.unit, **_numbers(v)}
    if v.basis:
        said["interval_basis"] = as_plain(v.basis)
    if v.total is not None:
        ends = {"value": v.total, "low": v.total_low, "high": v.total_high}
        said["total"] = {"unit": v.total_unit, **{end: _one(of, 6) for end, of in ends.items()}}
    return said


def _columns(v: Values) -> dict[str, Any]:
    from fieldflux.tiles.bounds import as_plain

    said: dict[str, Any] = {"unit": v.unit, "value": v.value, "low": v.low, "high": v.high}
    said["interval_basis"] = as_plain(v.basis)
    if v.total is not None:
        ends: Mapping[str, NDArray[np.float64] | None] = {"value": v.total, "low": v.total_low, "high": v.total_high}
        said["total"] = {
            "unit": v.total_unit,
            **{end: None if of is None else of.round(6) for end, of in ends.items()},
        }
    return said


def _one(values: NDArray[np.float64] | None, digits: int = 9) -> float | None:
    if values is None or not abs(float(values[0])) < float("inf"):
        return None
    return round(float(values[0]), digits)
