"""What training makes small: the distance to measurements, and penalties that keep parameters within their ranges."""

from __future__ import annotations

import torch
from torch import Tensor

from .encoders import Additive
from .lessons import STOCKS
from .network import REACH, Binn
from .recipe import TrainingRecipe

LEAST = 1e-3  # gC m-3, so that a layer without simulated carbon has a logarithm


def distance(predicted: Tensor, value: Tensor, recipe: TrainingRecipe) -> Tensor:
    """[K] mean loss of each network: predicted, value [K, B, S] gC m-3, value NaN where nothing was measured."""
    known = torch.isfinite(value)
    if recipe.loss == "smooth-l1":
        # at the layers' middles, as published; stocks are sums of the same layers
        known = known.clone()
        known[..., : len(STOCKS)] = False
        each = torch.nn.functional.smooth_l1_loss(predicted, value.nan_to_num(), reduction="none")
        weight = known.to(each)
    else:
        error = (predicted.clamp(min=LEAST).log() - value.nan_to_num(1.0).log()) / recipe.scatter
        each = torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=2.0)
        weight = known.to(each)
        layers = known[..., len(STOCKS) :].sum(-1, keepdim=True).clamp(min=1)
        # a soil cut into many layers is not more evidence
        weight = torch.cat((weight[..., : len(STOCKS)], recipe.layers * weight[..., len(STOCKS) :] / layers), -1)
    return (torch.where(known, each, torch.zeros_like(each)) * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-9)


def penalty(network: Binn, outputs: Tensor, unit: Tensor, recipe: TrainingRecipe) -> Tensor:
    """[K] of each network: outputs, unit [K, B, P]."""
    total = outputs.new_zeros(outputs.shape[0])
    if recipe.center:
        total = total + recipe.center * (torch.cosh(10.0 * (unit - 0.5)) - 1.0).mean((1, 2))
    if recipe.violation and network.theta is None:
        # beyond the range's end the parameter no longer moves: this pulls the output back to where it does
        total = total + recipe.violation * (outputs.abs() - REACH).clamp(min=0.0).mean((1, 2))
    if isinstance(network.encoder, Additive):
        if recipe.smooth:
            total = total + recipe.smooth * network.encoder.roughness()
        if recipe.sparse:
            total = total + recipe.sparse * network.encoder.size()
    return total
