"""The model card: what is known about a checkpoint, kept beside its weights as `card.json`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

STEPS = ("day", "month", "year")
"""Steps of aggregation that an interval can be calibrated for."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataUsed(_Part):
    """A data set that training or evaluation read."""

    name: str
    source: str
    licence: str
    sha256: str | None = None
    used_for: str = "training"


class Score(_Part):
    """One measured number, with all that it needs to mean something.

    split: which days or sites, and that they were not trained on. baseline: name -> the floor's value on the same days.
    spread: standard deviation over seeds or members, where there is one.
    """

    variable: str
    metric: str
    value: float
    unit: str
    split: str
    data: str
    n: int
    spread: float | None = None
    baseline: dict[str, float] = Field(default_factory=dict)


class Former(_Part):
    """Scores that an earlier training of the model had and that were not made again with the card's weights."""

    weights_sha256: str
    scores: tuple[Score, ...]


class Domain(_Part):
    """Where the model may be believed."""

    crops: tuple[str, ...]
    climates: str
    years: str
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)


class Between(_Part):
    """How alike the errors of two places are in the same year, by their distance (see `correlation.fit_between`).

    from_km: where classes of distance begin, ascending; the last has no end. correlation: what is taken in each, the
    upper end of what was measured; nearer than the first class nothing was, and errors are taken to be the same.
    measured: the estimate itself. pairs, years: how many of each it rests on. data: what these are, in words.
    levels: of the intervals for which sums of left-out years lay inside at least as often as they should; at others,
    errors are taken to be the same.
    """

    from_km: tuple[float, ...] = Field(min_length=1)
    correlation: tuple[float, ...]
    measured: tuple[float, ...]
    pairs: tuple[int, ...]
    years: tuple[int, ...]
    levels: tuple[float, ...] = ()
    data: str = ""

    @model_validator(mode="after")
    def _classes(self) -> Between:
        count = len(self.from_km)
        if any(len(of) != count for of in (self.correlation, self.measured, self.pairs, self.years)):
            raise ValueError(
                f"Each of the {count} classes of distance has a correlation, an estimate, pairs and years."
            )
        if list(self.from_km) != sorted(set(self.from_km)) or self.from_km[0] < 0:
            raise ValueError(f"Classes of distance begin farther and farther away, km; given: {list(self.from_km)}.")
        if not all(1 >= a >= b >= 0 for a, b in zip((1.0, *self.correlation), self.correlation, strict=False)):
            raise ValueError(
                f"Correlations lie between 0 and 1 and do not rise with the distance; given: {list(self.correlation)}."
            )
        return self

    def at(self, km: NDArray[np.float64]) -> NDArray[np.float64]:
        """The correlation at distances, km."""
        return np.asarray(np.array([1.0, *self.correlation])[np.searchsorted(self.from_km, km, "right")])


class IntervalRule(_Part):
    """How wide the interval of one variable at one step is, from the errors at held-out groups (see `intervals`).

    The half width at a level is quantiles[level] * sqrt(spread^2 + floor^2), with the members' standard deviation as
    spread and floor = floor_constant + floor_slope * |prediction|, in the unit of the variable summed over the step.
    quantiles: level (0.9 for 90 %) -> factor, not falling with the level.
    groups, n: held-out groups (sites) and pairs that it was fitted to. data: what these are, in words.
    zero_is_sure: where all members give exactly nothing there is nothing, and no width: no crop stands, so it has no
    leaves. Not for fluxes, which members can agree in and be wrong.
    between: how alike the errors of two places are; None where it was not measured, and they are taken to be the same.
    """

    floor_constant: float = Field(ge=0, allow_inf_nan=False)
    floor_slope: float = Field(ge=0, allow_inf_nan=False)
    quantiles: dict[float, float] = Field(min_length=1)
    groups: int = Field(ge=1)
    n: int = Field(ge=1)
    data: str = ""
    zero_is_sure: bool = False
    between: Between | None = None

    @field_validator("quantiles")
    @classmethod
    def _ordered(cls, quantiles: dict[float, float]) -> dict[float, float]:
        ordered = dict(sorted(quantiles.items()))
        factors = list(ordered.values())
        if not all(0 < level < 1 for level in ordered):
            raise ValueError(f"Levels of an interval lie between 0 and 1, as in 0.9; given: {list(ordered)}.")
        if not all(0 <= factor < float("inf") for factor in factors) or factors != sorted(factors):
            raise ValueError(
                f"Factors of an interval are finite, at least 0, and do not fall with the level; given: {ordered}."
            )
        return ordered

    def reaches(self, level: float) -> bool:
        """Whether there are groups enough for the level: 9 for 90 %, 19 for 95 %.

        With fewer, the factor is the largest score that any group had, and nothing is promised.
        """
        return level * (self.groups + 1) <= self.groups + 1e-9


class Card(_Part):
    """Everything that a reader of a model's numbers should be able to look up."""

    name: str
    version: str
    title: str
    family: str
    description: str
    weights_sha256: str
    members: int = Field(ge=1)
    needs_daily: tuple[str, ...]
    needs_annual: tuple[str, ...]
    needs_static: tuple[str, ...]
    optional: tuple[str, ...] = ()
    outputs: tuple[str, ...]
    answers: tuple[str, ...] = ()
    """Management changes that move its inputs, so that a scenario can be asked of it."""
    domain: Domain
    interval: dict[str, float] = Field(default_factory=dict)
    """Factor on the ensemble's spread, per variable, from held-out data; empty where there is none."""
    intervals: dict[str, dict[str, IntervalRule]] = Field(default_factory=dict)
    """Calibrated intervals: variable -> step ("day", "month" or "year") -> rule. They go before `interval`."""
    data: tuple[DataUsed, ...] = ()
    splits: dict[str, str] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    former: tuple[Former, ...] = ()
    """Scores of weights before these, the newest first, for whoever compares; they say nothing of these."""
    known_faults: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    made: str = ""
    commit: str = ""

    @field_validator("intervals")
    @classmethod
    def _known_steps(cls, intervals: dict[str, dict[str, IntervalRule]]) -> dict[str, dict[str, IntervalRule]]:
        for name, rules in intervals.items():
            for step in rules:
                if step not in STEPS:
                    raise ValueError(
                        f"Intervals of {name} are given for the step '{step}'; steps are day, month, year."
                    )
        return intervals

    @property
    def id(self) -> str:
        """Name and version, as in a URL: "agroecosystem/1"."""
        return f"{self.name}/{self.version}"
