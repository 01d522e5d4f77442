"""What the network is told of a place: names, units, order, scaling, the range in training. Kept in the card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

EDGES = (0.005, 0.995)  # quantiles of the training soils within which a number is believed


class Covariate(BaseModel):
    """One column. A number is scaled as (value - center) / scale and held within low..high, its range in training; of
    flags (0 or 1) at most one is set, as of land uses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    unit: str
    kind: Literal["number", "flag"] = "number"
    center: float = 0.0
    scale: float = Field(default=1.0, gt=0)
    low: float = 0.0
    high: float = 1.0


class Covariates(BaseModel):
    """The columns of a matrix [C, F], in their order: first the numbers, then the flags."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Covariate, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def numbers(self) -> tuple[Covariate, ...]:
        return tuple(c for c in self.columns if c.kind == "number")

    @property
    def flags(self) -> tuple[Covariate, ...]:
        return tuple(c for c in self.columns if c.kind == "flag")

    def scaled(self, x: Tensor) -> Tensor:
        """[..., F] of values [..., F] in their units: numbers in standard deviations within their range, flags as they
        are. NaN stays NaN. Raises ValueError for another number of columns."""
        self._check(x)
        center, scale, low, high = (
            torch.tensor([getattr(c, of) for c in self.columns], dtype=x.dtype, device=x.device)
            for of in ("center", "scale", "low", "high")
        )
        return (torch.minimum(torch.maximum(x, low), high) - center) / scale

    def outside(self, x: Tensor, slack: float = 0.1) -> Tensor:
        """[...] whether a place [..., F] is outside the domain: a number beyond its range by more than `slack` of the
        range's width, or a value missing."""
        self._check(x)
        low = torch.tensor([c.low for c in self.columns], dtype=x.dtype, device=x.device)
        high = torch.tensor([c.high for c in self.columns], dtype=x.dtype, device=x.device)
        away = slack * (high - low)
        return ~((x >= low - away) & (x <= high + away)).all(-1)

    def _check(self, x: Tensor) -> None:
        if x.shape[-1] != len(self.columns):
            raise ValueError(
                f"The covariates have {x.shape[-1]} columns, but must have these {len(self.columns)}, in this order: "
                f"{', '.join(self.names)}."
            )


def describe(names: Sequence[str], units: Sequence[str], flags: Sequence[str], x: Tensor) -> Covariates:
    """The columns as they are at the training soils x [N, F]; `flags` names those that are 0 or 1.

    Raises ValueError where a value is missing, and for a flag before a number.
    """
    if not bool(torch.isfinite(x).all()):
        lacking = [name for name, column in zip(names, x.unbind(1), strict=True) if not column.isfinite().all()]
        raise ValueError(f"Covariates of training soils have no gaps, but {', '.join(lacking)} are missing for some.")
    found: list[Covariate] = []
    for name, unit, column in zip(names, units, x.unbind(1), strict=True):
        if name in flags:
            found.append(Covariate(name=name, unit=unit, kind="flag"))
            continue
        if found and found[-1].kind == "flag":
            raise ValueError(f"The number '{name}' comes after flags: give the numbers first.")
        low, high = torch.quantile(column, torch.tensor(EDGES, dtype=column.dtype)).tolist()
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
        spread = float(column.std()) or 1.0
        found.append(
            Covariate(name=name, unit=unit, center=float(column.mean()), scale=spread, low=float(low), high=float(high))
        )
    return Covariates(columns=tuple(found))
