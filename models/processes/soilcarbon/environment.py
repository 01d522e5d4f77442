"""How much a soil's climate and depth slow decomposition: factors on the turnover rates, one per layer.

Of a month m and a layer: xi = Q10^((T - 25) / 10) · min(1, w W) · O, for litter times N as well; of a year their mean
over the months, and over all times exp(-z / efolding). Freezing needs no case of its own: in CLM5 the factor below
0 degC is the same formula.

The published cap min(1, w W) has no gradient in w once it is reached, which w up to 5 does in every moist soil. The
`smooth` cap is the lower branch of 0.99 y² - (1 + x) y + x = 0 with x = w W (a non-rectangular hyperbola): 0 at 0,
below 1 everywhere, at most 0.09 under the published cap, and it always has a slope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .inputs import SoilForcing, rows
from .layers import NODE, table
from .parameters import EFOLDING, Q10, W_SCALING
from .threads import in_threads

Cap = Literal["published", "smooth"]
CURVE = 0.99  # of the smooth cap: 1 would be the published one
REFERENCE = 25.0  # degC at which the temperature factor is 1


@dataclass(frozen=True, slots=True)
class Modifiers:
    """Factors on turnover, [C, 20] each, 1 = as fast as in warm, moist topsoil. soil: also of coarse wood."""

    soil: Tensor
    litter: Tensor


def modifiers(parameters: Tensor, forcing: SoilForcing, cap: Cap = "published") -> Modifiers:
    """Mean factors of the year (of the months in `forcing`), with depth. parameters: [C, 21] physical.

    Differentiable with respect to the parameters; on other devices, and where the climate wants a gradient, with
    respect to the climate as well.
    """
    depth = torch.exp(-table(NODE, parameters) / parameters[:, EFOLDING, None])
    soil, litter = climate_factors(parameters[:, Q10].log(), parameters[:, W_SCALING], forcing, cap)
    return Modifiers(soil * depth, litter * depth if litter is not soil else soil * depth)


def climate_factors(log_q10: Tensor, scaling: Tensor, forcing: SoilForcing, cap: Cap) -> tuple[Tensor, Tensor]:
    """([C, 20], [C, 20]) mean over the months of the factors of soil and litter without depth."""
    climate = (forcing.temperature, forcing.water, forcing.oxygen, forcing.nitrogen)
    if log_q10.device.type == "cpu" and not any(v is not None and v.requires_grad for v in climate):
        both = cast(Tensor, _Climate.apply(log_q10, scaling, forcing, cap))  # type: ignore[no-untyped-call]
        return both[:, 0], both[:, 0] if forcing.nitrogen is None else both[:, 1]
    return climate_factors_torch(log_q10, scaling, forcing, cap)


def climate_factors_torch(log_q10: Tensor, scaling: Tensor, forcing: SoilForcing, cap: Cap) -> tuple[Tensor, Tensor]:
    """The same in torch, on any device."""
    warmth = (rows(forcing.temperature, forcing.row) - REFERENCE) * 0.1
    factor = torch.exp(log_q10[:, None, None] * warmth) * capped(
        scaling[:, None, None] * rows(forcing.water, forcing.row), cap
    )
    if forcing.oxygen is not None:
        factor = factor * rows(forcing.oxygen, forcing.row)
    soil = factor.mean(1)
    return soil, soil if forcing.nitrogen is None else (factor * rows(forcing.nitrogen, forcing.row)).mean(1)


def capped(x: Tensor, cap: Cap) -> Tensor:
    """min(1, x) as published, or the smooth one; x not negative."""
    if cap == "published":
        return x.clamp(max=1.0)
    total = 1.0 + x
    return 2.0 * x / (total + ((total * total) - (4.0 * CURVE) * x).sqrt())


class _Climate(torch.autograd.Function):
    """log_q10 [C], scaling [C] -> [C, 2, 20] (or [C, 1, 20] without nitrogen), by the compiled kernel."""

    @staticmethod
    def forward(ctx: Any, log_q10: Tensor, scaling: Tensor, forcing: SoilForcing, cap: Cap) -> Tensor:
        from .kernels import climate

        run: Callable[..., None] = climate

        kinds = 1 if forcing.nitrogen is None else 2
        slopes_wanted = any(ctx.needs_input_grad)
        cells, like = log_q10.shape[0], log_q10.detach().double()
        mean = like.new_empty(cells, kinds, forcing.temperature.shape[2])
        slopes = like.new_empty(cells if slopes_wanted else 0, 2 * kinds, mean.shape[2])
        nothing = like.new_empty(0, 0, 0)
        row = torch.arange(cells) if forcing.row is None else forcing.row
        if cells and not 0 <= int(row.min()) <= int(row.max()) < forcing.temperature.shape[0]:
            raise ValueError(
                f"row runs from {int(row.min())} to {int(row.max())}, but there are {forcing.temperature.shape[0]} "
                f"climate rows, from 0 on."
            )
        arguments = [
            (v.double() if v.is_floating_point() else v).detach().contiguous().numpy()
            for v in (
                like, scaling, forcing.temperature, forcing.water,
                nothing if forcing.oxygen is None else forcing.oxygen,
                nothing if forcing.nitrogen is None else forcing.nitrogen, row, mean, slopes,
            )
        ]  # fmt: skip
        in_threads(lambda low, high: run(*arguments, CURVE if cap == "smooth" else 1.0, low, high), cells)
        ctx.save_for_backward(slopes.to(log_q10))
        return mean.to(log_q10)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        kinds = given.shape[1]
        return (
            (slopes[:, :kinds] * given).sum((1, 2)),
            (slopes[:, kinds:] * given).sum((1, 2)),
            None,
            None,
        )
