"""What a training of a network is made of: typed, saved with the checkpoint."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Variant = Literal["closed", "paper", "plain"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stage(_Part):
    """One of the five steps. rate is multiplied by `decay` every `every` epochs; `patience` epochs without gain end it.

    runs: synthetic runs drawn for an epoch (0: all of them). batch: runs or site-years of one update. span: calendar
    years that a batch of runs passes through, after two years of spin-up (18: the paper's).
    """

    epochs: int = Field(ge=0)
    rate: float = Field(default=1e-3, gt=0)
    decay: float = Field(default=0.5, gt=0, le=1)
    every: int = Field(default=20, ge=1)
    patience: int = Field(default=10, ge=1)
    batch: int = Field(default=128, ge=1)
    runs: int = Field(default=0, ge=0)
    span: int = Field(default=18, ge=1)


class Stages(_Part):
    """The five steps of Liu et al. 2024, table 1; the numbers are the paper's."""

    yield_and_ra: Stage = Stage(epochs=1000, every=100, patience=100, batch=500)
    fluxes: Stage = Stage(epochs=80, every=20, patience=10, batch=500)
    county_yields: Stage = Stage(epochs=40, every=10, patience=10, batch=128)
    fluxes_again: Stage = Stage(epochs=40, every=10, patience=5, batch=500)
    towers: Stage = Stage(epochs=120, rate=1e-3, decay=0.6, every=30, patience=30, batch=32)
    harvest: Stage = Stage(epochs=90, rate=5e-2, decay=0.5, every=30, patience=90, batch=512)
    """Not the paper's: the closed variant's yields once more, after the fluxes."""


class Pace(_Part):
    """Self-paced learning: samples whose squared error is below a threshold count; it grows every epoch."""

    start: float = Field(default=0.1, gt=0)
    growth: float = Field(default=1.3, gt=1)


class NetworkRecipe(_Part):
    """One network and how it is trained. The switches are the four of the paper's ablation."""

    variant: Variant = "closed"
    hidden: int = Field(default=32, ge=8, le=256)
    """Width of the GRUs of the closed and the plain variant; the paper's is 64."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    gpp: bool = True
    """GPP is an input; without it the features hold its mean (the closed variant needs it for its balance as well)."""
    pretrained: bool = True
    knowledge: bool = True
    """The knowledge-guided losses and the five steps; without: plain squared errors, all weights at once."""
    undated: float = Field(default=0.1, ge=0, lt=1)
    """Share of synthetic runs whose crop and dates are hidden, so that a field of unknown crop can be run."""
    noisy: float = Field(default=0.25, ge=0, lt=1)
    """Share of synthetic runs whose GPP input is wrong, as a model's own is."""
    stages: Stages = Stages()
    pace: Pace = Pace()
    mixed: bool = False
    """bfloat16 on a GPU."""
    band: float = Field(default=1.0, ge=0)
    """Weight of the band that keeps the pre-trained responses."""
