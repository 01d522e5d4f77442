"""How a BINN is built and trained: typed, saved with the checkpoint."""

from __future__ import annotations

from typing import Literal

from fieldflux.models.processes.soilcarbon.parameters import NAMES
from pydantic import BaseModel, ConfigDict, Field, field_validator

Encoder = Literal["mlp", "additive"]
Bound = Literal["sigmoid", "hard"]
Loss = Literal["smooth-l1", "log"]
Scale = Literal["linear", "log"]
Cap = Literal["published", "smooth"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkRecipe(_Part):
    """The network. encoder: "mlp" (dense layers) or "additive" (one curve per covariate and parameter, summed).

    bound: how an output becomes a value within its range: the published sigmoid with a learned temperature, or a
    straight line cut at the range's ends. cap: of the water scalar. learned: parameters that the network gives; the
    others are prescribed. scale: whether ranges are gone through evenly, as published, or those of times, lengths and
    small shares by factors, so that an effect on them is one on the logarithm of stocks. coordinates: longitude and
    latitude as inputs (they let it memorise places).
    """

    encoder: Encoder = "additive"
    bound: Bound = "hard"
    cap: Cap = "smooth"
    scale: Scale = "log"
    hidden: tuple[int, ...] = (128, 128, 128)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of the dense layers."""
    embedding: int = Field(default=5, ge=1)
    """Width of the embedding of the flags in the dense network."""
    knots: int = Field(default=8, ge=4, le=60)
    """Cubic B-splines per covariate of the additive encoder."""
    coordinates: bool = False
    learned: tuple[str, ...] = NAMES

    @field_validator("learned")
    @classmethod
    def _known(cls, learned: tuple[str, ...]) -> tuple[str, ...]:
        other = [name for name in learned if name not in NAMES]
        if other or not learned or len(set(learned)) < len(learned):
            raise ValueError(f"learned names parameters, each once, of {', '.join(NAMES)}; given: {list(learned)}.")
        return learned


class TrainingRecipe(_Part):
    """How it is trained: AdamW on batches of soils.

    loss: "smooth-l1" of gC m-3 at the layers' middles, as published, or "log": Huber's loss of logarithms of stocks and
    layers, in units of `scatter`. schedule: the rate is constant, or rises and falls once. patience: epochs without
    gain on the check soils after which a network stops (its best weights are kept); 0: all epochs, the last weights.
    center, violation, smooth, sparse: weights of the penalties: published 100 x (cosh(10 (p - 0.5)) - 1); outputs
    beyond their range; second differences of the additive encoder's curves; their size.
    """

    loss: Loss = "log"
    epochs: int = Field(default=40, ge=1)
    batch: int = Field(default=128, ge=2)
    rate: float = Field(default=1e-2, gt=0)
    decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "once"] = "once"
    patience: int = Field(default=0, ge=0)
    scatter: float = Field(default=0.5, gt=0)
    clip: float = Field(default=1.0, ge=0)
    """Greatest norm of a network's gradient; 0: none."""
    layers: float = Field(default=0.25, ge=0)
    """Weight of a soil's layers beside its stocks, in the loss of logarithms."""
    center: float = Field(default=0.0, ge=0)
    violation: float = Field(default=10.0, ge=0)
    smooth: float = Field(default=0.01, ge=0)
    sparse: float = Field(default=0.0, ge=0)
