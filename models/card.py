"""The model card: what is known about a checkpoint, kept beside its weights as `card.json`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


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


class Domain(_Part):
    """Where the model may be believed."""

    crops: tuple[str, ...]
    climates: str
    years: str
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)


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
    data: tuple[DataUsed, ...] = ()
    splits: dict[str, str] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    known_faults: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    made: str = ""
    commit: str = ""

    @property
    def id(self) -> str:
        """Name and version, as in a URL: "agroecosystem/1"."""
        return f"{self.name}/{self.version}"
