"""A field's harvest before its time; for the server and whoever calls it from Python."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from fieldflux.models.card import Card
from pydantic import ConfigDict, Field

from .answer import Question, made_from, question
from .ask import Ask
from .members import FIELD, Day, one_of
from .soil import PLACE, SoilAsk, card_for
from .workspace import Workspace

if TYPE_CHECKING:
    from fieldflux.tiles.forecast import CropForecast


class ForecastAsk(SoilAsk):
    """A polygon or a registered field, and the day on whose morning the forecast is made."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={**one_of(PLACE), "examples": [{"geometry": FIELD, "issue_day": "2020-07-01"}]},
    )

    issue_day: Day = Field(
        description="Weather before this day is the season's own; from it on, that of each earlier year of the cube."
    )


@dataclass(frozen=True, slots=True)
class ForecastQuestion:
    """A checked question: the yearly yield it is about, and the day of issue."""

    asked: Question
    issue_day: date

    @property
    def key(self) -> str:
        """The same for the same answer."""
        return hashlib.sha256(f"forecast {self.asked.key} {self.issue_day}".encode()).hexdigest()


def forecasts_harvests(card: Card) -> bool:
    """Whether a model was scored as a forecast: its card has intervals by days to harvest."""
    return "yield" in card.outputs and bool(card.recipe.get("forecast_intervals"))


def forecast_question(workspace: Workspace, ask: ForecastAsk, geometry: Any) -> ForecastQuestion:
    """Check a question. geometry: of the polygon or field. Raises Refused (unknown-model), and as `answer.question`."""
    card = card_for(workspace, ask.model, forecasts_harvests, "forecasts of harvests")
    asked = question(
        workspace,
        Ask(
            geometry=geometry,
            variables=("yield",),
            years=(ask.issue_day.year,),
            step="year",
            intervals=ask.intervals,
            level=ask.level,
            cube=ask.cube,
            model=card.id,
        ),
    )
    return ForecastQuestion(asked, ask.issue_day)


def forecast_of(workspace: Workspace, asked: ForecastQuestion) -> dict[str, Any]:
    """The answer: each crop's yield with its interval, what stands now, and what it rests on.

    Raises Unanswerable (invalid-dates, over-limit), MissingInputs, and what running raises.
    """
    from fieldflux.tiles.caveats import FLAGS, model_flag
    from fieldflux.tiles.forecast import forecast
    from fieldflux.tiles.question import cover_of

    one = asked.asked
    place, request = one.place, one.request
    cover = cover_of(request, one.source)
    found = forecast(
        workspace.model(place.card.id), place.cube, cover, asked.issue_day, request.level, one.source.live_cell_years
    )
    flags = [*cover.flags, *(["partly_valid"] if found.valid < 1 - 1e-9 else [])]
    flags += ["interval_not_calibrated"] if any(c.basis == "spread" for c in found.crops) else []
    flags += ["synthetic_inputs"] if place.cube.synthetic else []
    shares = {name: round(share, 6) for name, share in sorted(found.flags.items())}
    return {
        "issue_day": found.issue_day.isoformat(),
        "weather": {
            "known_until": date.fromordinal(found.issue_day.toordinal() - 1).isoformat(),
            "then": "that of each of these earlier years of the same cells, by day of the year",
            "years": list(found.weather_years),
        },
        "crops": [_crop(c, request.interval) for c in found.crops],
        "interval_level": request.level if request.interval else None,
        "area_ha": round(cover.geodesic_area_ha, 4),
        "cell_count": cover.cells,
        "valid_fraction": round(found.valid, 6),
        "flags": [*flags, *shares],
        "notes": [*(FLAGS[flag] for flag in flags), *(model_flag(name) for name in shares)],
        "model_flags": shares,
        **made_from(place),
    }


def _crop(c: CropForecast, interval: bool) -> dict[str, Any]:
    from fieldflux.models.crops import CROPS
    from fieldflux.models.variables import VARIABLES

    crop = CROPS[c.crop]
    low, high = (c.low, c.high) if interval else (None, None)

    def ends(factor: float) -> dict[str, float | None]:
        named = (("value", c.mean), ("low", low), ("high", high))
        return {name: None if v is None else round(v * factor, 4) for name, v in named}

    bushels = crop.bu_ac(1.0)
    said: dict[str, Any] = {
        "crop": c.crop,
        "cdl": c.cdl,
        "area_fraction": round(c.share, 6),
        "harvest": c.harvest.isoformat(),
        "days_to_harvest": c.days_to_harvest,
        "yield": {
            "gC m-2": ends(1.0),
            "t ha-1": ends(crop.t_ha(1.0)),
            **({} if bushels is None else {"bu ac-1": ends(bushels)}),
        },
        "moisture": crop.moisture,
        "interval_basis": {
            "method": c.basis,
            "rule_days_to_harvest": c.lead,
            "of": "left-out county years, whole years as groups"
            if c.basis == "conformal"
            else "members and earlier years",
        },
        "by_weather_year": [round(v * crop.t_ha(1.0), 4) for v in c.yields.mean(axis=0).tolist()],
        "now": {name: {"unit": VARIABLES[name].unit, "value": round(v, 4)} for name, v in c.now.items()},
    }
    return said
