"""What a farmer does to the soil-carbon balance: tillage quickens decomposition, taken residue is litter that is not.

Tillage: factors of CLM5 (Graham et al. 2021) on the turnover of litter, active, and slow and passive carbon, in three
spells of days after planting, down to the depth of the plough.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .layers import BOTTOM, POOLS, TOP

Intensity = Literal["none", "low", "high"]
SPELLS = ((0, 15), (15, 45), (45, 75))  # days after planting
PLOUGH = 0.26  # m
YEAR = 365
# by intensity and spell: litter; active carbon; slow and passive carbon
FACTORS: dict[Intensity, tuple[tuple[float, float, float], ...]] = {
    "none": ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "low": ((1.5, 1.0, 3.0), (1.5, 1.0, 1.6), (1.1, 1.0, 1.3)),
    "high": ((1.8, 1.2, 4.8), (1.5, 1.0, 3.5), (1.1, 1.0, 2.5)),
}


def tillage(intensity: Intensity, planting_day: Tensor, steps: int, depth: float = PLOUGH) -> Tensor:
    """[steps, C, 7, 20] factors on turnover in each step of a year of equal steps, means over its days.

    planting_day: [C] day of the year, 1..365; a spell that passes the year's end goes on at its start. A layer that
    the plough reaches in part gets that part. Coarse wood is not changed. Raises ValueError outside these ranges.
    """
    if intensity not in FACTORS:
        raise ValueError(f"The tillage is '{intensity}', but must be one of {', '.join(FACTORS)}.")
    if steps < 1 or steps > YEAR:
        raise ValueError(f"The year has {steps} steps, but must have 1 to {YEAR}.")
    if not bool(((planting_day >= 1) & (planting_day <= YEAR)).all()):
        raise ValueError(
            f"Planting days run from {planting_day.min().item()} to {planting_day.max().item()}, but must be days of "
            f"the year, 1 to {YEAR}."
        )
    days = torch.arange(YEAR, device=planting_day.device)
    after = (days[:, None] - (planting_day.long() - 1)) % YEAR  # [day, C]
    daily = torch.ones(*after.shape, len(POOLS), dtype=torch.float64, device=after.device)
    for (first, end), (litter, active, old) in zip(SPELLS, FACTORS[intensity], strict=True):
        factors = torch.tensor((1.0, litter, litter, litter, active, old, old), dtype=torch.float64)
        daily[(after >= first) & (after < end)] = factors.to(after.device)
    # a day that lies in two steps counts in each by its part
    edges = torch.arange(steps + 1, dtype=torch.float64, device=after.device) * (YEAR / steps)
    part = (torch.minimum(edges[1:, None], days + 1.0) - torch.maximum(edges[:-1, None], days)).clamp(min=0.0)
    mean = torch.einsum("sd,dcp->scp", part * (steps / YEAR), daily)
    reached = torch.tensor(
        [min(1.0, max(0.0, (depth - a) / (b - a))) for a, b in zip(TOP, BOTTOM, strict=True)],
        dtype=torch.float64, device=after.device,
    )  # fmt: skip
    return 1.0 + (mean[..., None] - 1.0) * reached


def without_residue(litter: Tensor, above_ground: Tensor, removed: Tensor) -> Tensor:
    """[..., 4] litter input when a share of what lies above ground is taken off the field.

    litter: [..., 4]. above_ground: [...] share of the litter that falls above ground; removed: [...] share of that
    which is taken; both 0..1, else ValueError.
    """
    for name, share in (("above_ground", above_ground), ("removed", removed)):
        if not bool(((share >= 0.0) & (share <= 1.0)).all()):
            raise ValueError(
                f"{name} runs from {share.min().item():g} to {share.max().item():g}, but must be a share, 0 to 1."
            )
    return litter * (1.0 - above_ground * removed)[..., None]
