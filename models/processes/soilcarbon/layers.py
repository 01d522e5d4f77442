"""The twenty soil layers and seven carbon pools of CLM5's soil-carbon model. Depths in metres, downwards positive."""

from __future__ import annotations

import torch
from torch import Tensor

# fmt: off
THICKNESS = (0.02, 0.04, 0.06, 0.08, 0.12, 0.16, 0.20, 0.24, 0.28, 0.32,
             0.36, 0.40, 0.44, 0.54, 0.64, 0.74, 0.84, 0.94, 1.04, 1.14)
NODE = (0.01, 0.04, 0.09, 0.16, 0.26, 0.40, 0.58, 0.80, 1.06, 1.36,
        1.70, 2.08, 2.50, 2.99, 3.58, 4.27, 5.06, 5.95, 6.94, 8.03)
BOTTOM = (0.02, 0.06, 0.12, 0.20, 0.32, 0.48, 0.68, 0.92, 1.20, 1.52,
          1.88, 2.28, 2.72, 3.26, 3.90, 4.64, 5.48, 6.42, 7.46, 8.60)
# fmt: on
LAYERS = len(THICKNESS)
TOP = (0.0, *BOTTOM[:-1])

POOLS = ("cwd", "metabolic", "cellulose", "lignin", "active", "slow", "passive")
CWD, METABOLIC, CELLULOSE, LIGNIN, ACTIVE, SLOW, PASSIVE = range(len(POOLS))
LITTER_INPUTS = POOLS[:4]


def table(values: tuple[float, ...], like: Tensor) -> Tensor:
    """A row of this module as a tensor of `like`'s kind and device."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def layer_at(depth: float) -> int:
    """Index of the layer that holds `depth` (m); the last one for more than 8.6 m. Raises ValueError below 0."""
    if depth < 0.0:
        raise ValueError(f"The depth is {depth} m, but must be 0 or more: depths count downwards from the surface.")
    return next((j for j in range(LAYERS) if depth <= BOTTOM[j]), LAYERS - 1)
