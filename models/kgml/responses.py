"""Responses of a network: the mean output as one input changes, and the losses that keep them (L6, L7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import relu

from .inputs import Days
from .network import Carry, Outputs

TOLERANCE = 0.1  # of the mean response
SOC = "soc"

# z-grids of the closed variant's features; those of the paper's grids, thinned to five points
CLOSED_GRIDS: tuple[tuple[int, tuple[float, ...]], ...] = (
    (0, (-1.5, -0.75, 0.0, 0.75, 1.5)),  # srad
    (1, (-1.5, -0.75, 0.0, 0.75, 1.3)),  # tmean
    (2, (-1.5, -0.5, 0.5, 1.5, 2.5)),  # trange
    (3, (-1.0, 0.0, 1.0, 2.0, 3.0)),  # vpd
    (4, (-0.6, 0.5, 1.5, 2.5, 3.5)),  # rain
    (5, (-0.5, 0.25, 1.0, 2.0, 3.0)),  # gpp
    (16, (-3.0, -1.5, 0.0, 1.5, 2.5)),  # bulk density
    (17, (-3.0, -1.5, 0.0, 1.5, 3.0)),  # field capacity
    (18, (-2.0, -1.0, 0.0, 1.0, 2.5)),  # wilting point
    (19, (-2.0, -1.0, 0.0, 1.0, 1.8)),  # ksat
)
PAPER_SOC, PAPER_GPP, PAPER_YEAR = 16, 8, 9
# the paper's ranges of its 19 features, thinned to five points
PAPER_RANGES = (
    (-2.0, 2.0), (-3.5, 2.5), (-2.5, 5.0), (-1.5, 3.5), (-1.5, 7.0), (-2.0, 5.5), (-0.389, 10.0), (-1.0, 1.0),
    (-0.5, 5.0), (-1.638, 1.638), (-10.0, 2.0), (-0.75, 4.0), (-3.25, 1.25), (-4.5, 5.0), (-2.5, 3.0), (-0.75, 7.75),
    (-0.5, 5.0), (-3.25, 4.25), (-1.75, 3.5),
)  # fmt: skip
PAPER_GRIDS: tuple[tuple[int, tuple[float, ...]], ...] = tuple(
    (i, tuple(low + (high - low) * k / 4 for k in range(5))) for i, (low, high) in enumerate(PAPER_RANGES)
)
SLOPE_GRID = tuple(-0.5 + 0.55 * i for i in range(11))  # the paper's range of -0.5 to 5, thinned
YEAR_GRID = tuple(-1.6384 + 0.36409 * i for i in range(10))


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Cells and their memory, on which responses are looked at. gpp: the feature that is GPP, with its scale."""

    days: Days
    carry: Carry
    gpp: int
    gpp_mean: float
    gpp_sd: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A response that was kept: its feature's position, the cells of the whole curve, what GRU_Basis made of them."""

    feature: int
    days: Days
    carry: Carry
    h: Tensor
    points: int
    ra: Tensor
    rh: Tensor


def varied(probe: Probe, feature: int | str, grid: Sequence[float]) -> tuple[Days, dict[str, Tensor]]:
    """The probe's cells once for each value of the grid (z-scores; of "soc", the stock itself), value by value."""
    days, points = probe.days, len(grid)
    many = Days(
        *(getattr(days, name).repeat(points, *[1] * (getattr(days, name).dim() - 1)) for name in Days.__slots__)
    )
    value = torch.tensor(grid, dtype=days.x.dtype, device=days.x.device).repeat_interleave(days.cells)
    carry = {name: v.repeat(points, *[1] * (v.dim() - 1)) for name, v in probe.carry.items()}
    if isinstance(feature, str):
        return replace(many, soc=value), carry
    x = many.x.clone()
    x[..., feature] = value[:, None]
    if feature == probe.gpp:
        given = (probe.gpp_mean + probe.gpp_sd * value).clamp(min=0.0)
        return replace(many, x=x, gpp=given[:, None].expand_as(many.gpp)), carry
    return replace(many, x=x), carry


def means(values: Tensor, points: int) -> Tensor:
    """[points] mean over cells and days of [points x cells, ...]."""
    return values.reshape(points, -1).mean(1)


def falling(curve: Tensor) -> Tensor:
    """L6: how far a curve falls where it must not, in its own unit."""
    return relu(curve[:-1] - curve[1:]).sum()


def relative(curve: Tensor) -> Tensor:
    """A curve by its mean: its shape, whatever its level."""
    return curve / curve.mean().clamp(min=1e-3)


def outside_band(curve: Tensor, kept: Tensor, tolerance: float = TOLERANCE) -> Tensor:
    """L7: how far the shape of a curve leaves +-`tolerance` of the kept one's mean: a true band."""
    return relu((relative(curve) - relative(kept)).abs() - tolerance).mean()


def drift(out: Outputs, curve: Curve) -> Tensor:
    """L7 of one kept response, closed variant: Ra and Rh."""
    ra = outside_band(means(out.ra, curve.points), curve.ra)
    return ra + outside_band(means(out.rh, curve.points), curve.rh)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's, of two curves."""
    x, y = a - a.mean(), b - b.mean()
    product: Tensor = (x * y).sum() / (x.norm() * y.norm()).clamp(min=1e-6)
    return product


def paper_drift(out: Outputs, curve: Curve) -> Tensor:
    """L7 of one kept response, as published: correlations of at least 0.8, of soil features 0.9, of SOC R2 0.99."""
    ra, rh = means(out.ra, curve.points), means(out.rh, curve.points)
    floor = 0.9 if curve.feature > PAPER_YEAR else 0.8
    total = relu(floor - correlation(ra, curve.ra))
    if curve.feature == PAPER_SOC:
        return total + relu(0.99 - (1 - ((rh - curve.rh) ** 2).sum() / ((curve.rh - curve.rh.mean()) ** 2).sum()))
    return total + relu(floor - correlation(rh, curve.rh))
