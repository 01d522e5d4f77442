"""Where in the soil litter arrives: Jackson's rooting profile, cut off at the bedrock and made whole again."""

from __future__ import annotations

import torch
from torch import Tensor

from .inputs import SoilForcing
from .layers import BOTTOM, LAYERS, THICKNESS, TOP, table
from .parameters import BETA


def input_shares(parameters: Tensor, forcing: SoilForcing) -> Tensor:
    """[C, 20] shares of the litter by layer, which add up to 1; all in the first layer where the soil never thaws.

    Of an endless soil the share above depth z (cm) would be 1 - beta^z (Jackson et al. 1996, doi:10.1007/BF00333714).
    """
    per_metre = 100.0 * parameters[:, BETA, None].log()
    # the difference of two powers by expm1: for beta near 1 they agree in most digits
    shares = (table(TOP, parameters) * per_metre).exp() * -torch.expm1(table(THICKNESS, parameters) * per_metre)
    here = torch.arange(LAYERS, device=parameters.device) < forcing.layers[:, None]
    bottom = table(BOTTOM, parameters)[forcing.layers - 1][:, None]
    shares = torch.where(here, shares / -torch.expm1(bottom * per_metre), torch.zeros_like(shares))
    first = torch.zeros_like(shares)
    first[:, 0] = 1.0
    return torch.where(forcing.active_layer.to(parameters)[:, None] > 0.0, shares, first)
