"""What a statement is asked for: land, a period or two scenarios, a use, a ruleset, and what is known of errors."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, TypeAlias

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
_RING = [[-93.66, 42.03], [-93.65, 42.03], [-93.65, 42.036], [-93.66, 42.036], [-93.66, 42.03]]
_FIELD: Any = {"type": "Polygon", "coordinates": [_RING]}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Practice(_Part):
    """Management of the coming years; what is not given stays as it is at present."""

    tillage: Tillage | None = Field(default=None, description="none, low (reduced) or high (ploughed).")
    residue_removed: float | None = Field(
        default=None, ge=0, le=1, description="Share of the residue above ground that is taken off the field."
    )
    added_carbon: float = Field(
        default=0.0, ge=0, le=2000, description="Carbon brought in besides, gC m-2 yr-1 (manure, compost, more growth)."
    )
    cover_crop: bool = Field(
        default=False, description=f"A winter cover crop: {COVER_CROP:g} gC m-2 yr-1 more input (Poeplau and Don 2015)."
    )


class Scenarios(_Part):
    """Two courses of the coming years, under the same soil, climate and parameters of the model."""

    years: int = Field(default=20, ge=1, le=MOST_YEARS, description="Years to come.")
    baseline: Practice = Field(default=Practice(), description="What would be done without the project.")
    project: Practice = Field(description="What is done in the project.", examples=[{"tillage": "none"}])
    tillage_now: Tillage | None = Field(
        default=None, description="Present tillage; that of the inputs if not given. The soil rests under it."
    )
    residue_now: float | None = Field(default=None, ge=0, le=1, description="Share of the residue taken at present.")
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

    fields: float = Field(default=1.0, ge=0, le=1, description="Share of the error that all fields have in common.")
    years: float = Field(default=1.0, ge=0, le=1, description="Between the error of a year and that of the next.")
    scenarios: float = Field(default=0.0, ge=0, le=1, description="Between baseline and project of a field (Eq 61).")
    near: float = Field(
        default=0.0, ge=0, le=1, description="Share of the rest that near fields have in common, exp(-km / range_km)."
    )
    range_km: float = Field(default=25.0, gt=0, le=2000, description="How far near is.")

    def correlation(self) -> Correlation:
        return Correlation(self.fields, self.years, self.scenarios, self.near, self.range_km)


class Sampling(_Part):
    """What soil samples or points of quantification add (Eq 62); the service has none of them."""

    variance_tco2e2: float = Field(ge=0, le=1e18, description="Sampling variance of the total, tCO2e squared.")
    df: int = Field(ge=1, le=10**6, description="Degrees of freedom of the sampling design, for t of Eq 74.")


class StatementAsk(_Part):
    """A statement about one polygon, many, or registered fields: over a period of the record, or of two scenarios."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "geometry": _FIELD,
                    "scenario": {"years": 20, "baseline": {"tillage": "high"}, "project": {"tillage": "none"}},
                },
                {"geometry": _FIELD, "years": [2019, 2020, 2021], "model": "kgml-ag-carbon"},
            ]
        },
    )

    geometry: dict[str, Any] | None = Field(
        default=None, description="GeoJSON Polygon or MultiPolygon, or a Feature of one; WGS 84 [longitude, latitude]."
    )
    features: dict[str, Any] | tuple[dict[str, Any], ...] | None = Field(
        default=None, description="Many instead: a GeoJSON FeatureCollection, or an array of Features."
    )
    fields: tuple[str, ...] | None = Field(
        default=None, description="Registered fields instead, by their ids (`fld_…`), with their current outlines."
    )
    years: tuple[int, ...] | None = Field(
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
    level: float = Field(default=0.9, gt=0, lt=1, description="Level of the intervals.")
    correlation: Errors = Field(default=Errors(), description="How errors hang together.")
    sampling: Sampling | None = Field(default=None, description="Sampling variance, where you have it.")
    supersedes: str | None = Field(
        default=None, max_length=60, description="Id of the statement that this one corrects; it stays as it is."
    )
    reason: Reason | None = Field(default=None, description="Why it is corrected; needed with `supersedes`.")
    cube: str = Field(default="", max_length=100, description="Cube, by its id; the default one if empty.")
    model: str = Field(
        default="", max_length=100, description="Model, as name or name/version; the first that can answer if empty."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> StatementAsk:
        land = [name for name in ("geometry", "features", "fields") if getattr(self, name) is not None]
        if len(land) != 1:
            raise ValueError(
                f"give one of `geometry`, `features` and `fields`; given: {' and '.join(land) or 'none of them'}"
            )
        if (self.years is None) == (self.scenario is None):
            raise ValueError("give either `years` of the record, or a `scenario` with baseline and project")
        if (self.supersedes is None) != (self.reason is None):
            raise ValueError("give `supersedes` and `reason` together")
        return self


def period_of(years: tuple[int, ...]) -> tuple[date, date]:
    """First and last day of calendar years."""
    return date(min(years), 1, 1), date(max(years), 12, 31)
