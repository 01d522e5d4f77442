"""What a statement is asked for: land, a period or two scenarios, a use, a ruleset, and what is known of errors."""

from __future__ import annotations

from datetime import date
from typing import Literal, TypeAlias

from fieldflux.app.ask import LAND
from fieldflux.app.members import (
    FIELD,
    CubeId,
    Features,
    FieldIds,
    Geometry,
    Level,
    ModelId,
    Number,
    Switch,
    Whole,
    Years,
    check_one,
    one_of,
)
from fieldflux.app.soil import COVER_CROP, MOST_YEARS, Tillage
from fieldflux.models.contract import Scenario
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .rulesets import DEFAULT
from .uncertainty import Correlation

Use: TypeAlias = Literal["planning", "inventory", "grower_payment", "credit_component"]
Reason: TypeAlias = Literal[
    "input_correction",
    "event_correction",
    "geometry_change",
    "model_defect",
    "model_upgrade",
    "true_up",
    "ruleset_change",
]


SPAN = ("years", "scenario")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Practice(_Part):
    """Management of the coming years; what is not given stays as it is at present."""

    tillage: Tillage | None = Field(default=None, description="none, low (reduced) or high (ploughed).")
    residue_removed: Number | None = Field(
        default=None, ge=0, le=1, description="Share of the residue above ground that is taken off the field."
    )
    added_carbon: Number = Field(
        default=0.0, ge=0, le=2000, description="Carbon brought in besides, gC m-2 yr-1 (manure, compost, more growth)."
    )
    cover_crop: Switch = Field(
        default=False, description=f"A winter cover crop: {COVER_CROP:g} gC m-2 yr-1 more input (Poeplau and Don 2015)."
    )


class Scenarios(_Part):
    """Two courses of the coming years, under the same soil, climate and parameters of the model."""

    years: Whole = Field(default=20, ge=1, le=MOST_YEARS, description="Years to come.")
    baseline: Practice = Field(default=Practice(), description="What would be done without the project.")
    project: Practice = Field(description="What is done in the project.", examples=[{"tillage": "none"}])
    tillage_now: Tillage | None = Field(
        default=None, description="Present tillage; that of the inputs if not given. The soil rests under it."
    )
    residue_now: Number | None = Field(default=None, ge=0, le=1, description="Share of the residue taken at present.")
    depth_cm: Literal[30, 100] = Field(default=30, description="Depth of the stock that counts, cm.")

    def of(self, practice: Practice) -> Scenario:
        """As the model takes it."""
        added = practice.added_carbon + (COVER_CROP if practice.cover_crop else 0.0)
        return Scenario(
            self.years, practice.tillage, practice.residue_removed, added, self.tillage_now, self.residue_now
        )

    def changed(self) -> list[str]:
        """The practices in which the two differ."""
        one, other = self.baseline.model_dump(), self.project.model_dump()
        return [name for name in one if one[name] != other[name]]


class Errors(_Part):
    """Correlations of the model's errors. They cannot be told from the data here, so what is taken by itself is the
    cautious end; the statement also tells what other values would give."""

    fields: Number = Field(default=1.0, ge=0, le=1, description="Share of the error that all fields have in common.")
    years: Number = Field(default=1.0, ge=0, le=1, description="Between the error of a year and that of the next.")
    scenarios: Number = Field(default=0.0, ge=0, le=1, description="Between baseline and project of a field (Eq 61).")
    near: Number = Field(
        default=0.0, ge=0, le=1, description="Share of the rest that near fields have in common, exp(-km / range_km)."
    )
    range_km: Number = Field(default=25.0, gt=0, le=2000, description="How far near is.")

    def correlation(self) -> Correlation:
        return Correlation(self.fields, self.years, self.scenarios, self.near, self.range_km)


class Sampling(_Part):
    """What soil samples or points of quantification add (Eq 62); the service has none of them."""

    variance_tco2e2: Number = Field(ge=0, le=1e18, description="Sampling variance of the total, tCO2e squared.")
    df: Whole = Field(ge=1, le=10**6, description="Degrees of freedom of the sampling design, for t of Eq 74.")


class StatementAsk(_Part):
    """A statement about one polygon, many, or registered fields: over a period of the record, or of two scenarios."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "allOf": [one_of(LAND), one_of(SPAN)],
            "examples": [
                {
                    "geometry": FIELD,
                    "scenario": {"years": 20, "baseline": {"tillage": "high"}, "project": {"tillage": "none"}},
                },
                {"geometry": FIELD, "years": [2019, 2020, 2021], "model": "kgml-ag-carbon"},
            ],
        },
    )

    geometry: Geometry = None
    features: Features = None
    fields: FieldIds = None
    years: Years | None = Field(
        default=None, description="Consecutive calendar years of the record, for the change over them.", max_length=100
    )
    scenario: Scenarios | None = Field(default=None, description="Or two scenarios of the years to come.")
    use_class: Use = Field(
        default="planning",
        description="What the statement may be used for. `inventory` needs measured inputs, `grower_payment` also a "
        "model with skill, `credit_component` also a validated effect of each practice: without, it is refused.",
    )
    name: str = Field(default="", max_length=200, description="A name of your own.")
    ruleset: str = Field(default=DEFAULT, max_length=100, description="Ruleset; GET /v1/statements/rulesets has all.")
    level: Level = 0.9
    correlation: Errors = Field(default=Errors(), description="How errors hang together.")
    sampling: Sampling | None = Field(default=None, description="Sampling variance, where you have it.")
    supersedes: str | None = Field(
        default=None, max_length=60, description="Id of the statement that this one corrects; it stays as it is."
    )
    reason: Reason | None = Field(default=None, description="Why it is corrected; needed with `supersedes`.")
    cube: CubeId = ""
    model: ModelId = Field(
        default="", description="Model, as name or name/version; the first that can answer if empty."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> StatementAsk:
        check_one(self, LAND)
        check_one(self, SPAN)
        if (self.supersedes is None) != (self.reason is None):
            raise ValueError("give `supersedes` and `reason` together")
        return self


def period_of(years: tuple[int, ...]) -> tuple[date, date]:
    """First and last day of calendar years."""
    return date(min(years), 1, 1), date(max(years), 12, 31)
