"""Encoders: from scaled covariates to one unbounded number per parameter, for K networks at once.

K networks of one kind (members, folds) lie in one stack of weights [K, ...] and never see each other: one solve for all
of them costs less than K small ones. Inputs are [K, B, F], the places of each network's own batch.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from .covariates import Covariates

SLOPE = 0.3  # of LeakyReLU below 0, as published
MOMENTUM, TINY = 0.1, 1e-5  # of the batch norm
FREQUENCIES = 16
RADII = (1e-6, 360.0)  # degrees, of the grid-cell encoder
PLACE = 128


class Dense(nn.Module):
    """The published network: dense layers with batch norm and leaky ReLUs; flags go through an embedding.

    Of flags, the one that is set chooses a row of unit length of the embedding; none set is a row of its own. Places
    (longitude, latitude in degrees), where used, go through waves of 16 geometric lengths and a layer of 128.
    """

    def __init__(
        self, covariates: Covariates, outputs: int, hidden: tuple[int, ...], embedding: int, coordinates: bool,
        dropout: float, stack: int, draw: Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        self.numbers, self.kinds, self.dropout = len(covariates.numbers), len(covariates.flags), dropout
        wide = self.numbers + (embedding if self.kinds else 0) + (PLACE if coordinates else 0)
        sizes = (wide, *hidden, outputs)
        self.weights = nn.ParameterList(_xavier(stack, a, b, draw) for a, b in pairwise(sizes))
        self.shifts = nn.ParameterList(torch.zeros(stack, 1, b) for b in sizes[1:])
        self.gains = nn.ParameterList(torch.ones(stack, 1, b) for b in hidden)
        self.offsets = nn.ParameterList(torch.zeros(stack, 1, b) for b in hidden)
        for i, b in enumerate(hidden):
            self.register_buffer(f"mean_{i}", torch.zeros(stack, 1, b))
            self.register_buffer(f"variance_{i}", torch.ones(stack, 1, b))
        self.table = nn.Parameter(torch.randn(stack, self.kinds + 1, embedding, generator=draw)) if self.kinds else None
        self.place = (
            nn.ParameterList((_xavier(stack, 4 * FREQUENCIES, PLACE, draw), torch.zeros(stack, 1, PLACE)))
            if coordinates
            else None
        )
        self.noise = draw

    def forward(self, x: Tensor, place: Tensor | None = None) -> Tensor:
        """[K, B, P] of scaled covariates x [K, B, F] and places [K, B, 2]."""
        parts = [x[..., : self.numbers]]
        if self.table is not None:
            flags = x[..., self.numbers :]
            kind = torch.where(flags.amax(-1) > 0.5, flags.argmax(-1), self.kinds)
            rows = nn.functional.normalize(self.table, dim=-1)
            parts.append(torch.gather(rows, 1, kind[..., None].expand(*kind.shape, rows.shape[-1])))
        if self.place is not None:
            if place is None:
                raise ValueError("This network wants the places' longitude and latitude as well: give them.")
            parts.append(torch.relu(torch.baddbmm(self.place[1], waves(place), self.place[0])))
        h = torch.cat(parts, -1)
        for i, (weight, shift) in enumerate(zip(self.weights, self.shifts, strict=True)):
            h = torch.baddbmm(shift, h, weight)
            if i < len(self.gains):
                h = nn.functional.leaky_relu(self._normed(h, i), SLOPE)
                if self.training and self.dropout:
                    kept = torch.rand(h.shape, generator=self.noise, dtype=h.dtype) > self.dropout
                    h = h * kept.to(h) / (1.0 - self.dropout)
        return h

    def _normed(self, h: Tensor, i: int) -> Tensor:
        mean, variance = getattr(self, f"mean_{i}"), getattr(self, f"variance_{i}")
        if self.training:
            now, var = h.mean(1, keepdim=True), h.var(1, unbiased=False, keepdim=True)
            with torch.no_grad():
                mean.lerp_(now, MOMENTUM)
                variance.lerp_(var * (h.shape[1] / (h.shape[1] - 1)), MOMENTUM)
            mean, variance = now, var
        normed: Tensor = (h - mean) * torch.rsqrt(variance + TINY) * self.gains[i] + self.offsets[i]
        return normed


class Additive(nn.Module):
    """One smooth curve per covariate and parameter, summed: what a covariate does can be drawn, and nothing else is.

    A curve is a cubic B-spline over the covariate's range in training, level beyond it; a flag adds a number. After
    ScIReN's Kolmogorov-Arnold encoder of one layer.
    """

    edges: Tensor

    def __init__(self, covariates: Covariates, outputs: int, knots: int, stack: int, draw: Generator) -> None:
        super().__init__()
        self.numbers, self.knots = len(covariates.numbers), knots
        ends = [((c.low - c.center) / c.scale, (c.high - c.center) / c.scale) for c in covariates.numbers]
        self.register_buffer("edges", torch.tensor(ends, dtype=torch.float64).reshape(-1, 2), persistent=False)
        self.curves = nn.Parameter(0.05 * torch.randn(stack, self.numbers, knots, outputs, generator=draw))
        self.steps = nn.Parameter(0.05 * torch.randn(stack, len(covariates.flags), outputs, generator=draw))
        self.level = nn.Parameter(torch.zeros(stack, 1, outputs))

    def forward(self, x: Tensor, _: Tensor | None = None) -> Tensor:
        """[K, B, P] of scaled covariates x [K, B, F]; places play no part."""
        basis = self.basis(x)
        return self.level + torch.bmm(basis.flatten(2), self.curves.flatten(1, 2)) + torch.bmm(
            x[..., self.numbers :], self.steps
        )  # fmt: skip

    def basis(self, x: Tensor) -> Tensor:
        """[..., N, G] of each number x [..., F] the values of the G cubic B-splines over its range; they sum to 1."""
        low, high = self.edges.to(x).unbind(1)
        spans = self.knots - 3
        at = ((x[..., : self.numbers] - low) / (high - low)).clamp(0.0, 1.0) * spans
        knot = torch.arange(self.knots, dtype=x.dtype, device=x.device) - 1.0
        return _bump(at[..., None] - knot)

    def effects(self, x: Tensor) -> Tensor:
        """[K, B, F, P] what each covariate adds to each output; with `level` they sum to the output."""
        curves = torch.einsum("kbng,kngp->kbnp", self.basis(x), self.curves)
        return torch.cat((curves, x[..., self.numbers :, None] * self.steps[:, None]), 2)

    def roughness(self) -> Tensor:
        """[K] mean square of the second differences of the curves."""
        return self.curves.diff(n=2, dim=2).square().mean((1, 2, 3)) if self.numbers else self.curves.new_zeros(1)

    def size(self) -> Tensor:
        """[K] mean over covariates and parameters of the curves' root mean square about their mean, and the steps'."""
        about = self.curves - self.curves.mean(2, keepdim=True)
        curve = (about.square().mean(2) + 1e-6).sqrt()
        return torch.cat((curve, (self.steps.square() + 1e-6).sqrt()), 1).mean((1, 2))


def waves(place: Tensor) -> Tensor:
    """[..., 64] sines and cosines of degrees [..., 2] at geometric lengths from RADII's largest to its smallest."""
    step = math.log(RADII[1] / RADII[0]) / (FREQUENCIES - 1)
    k = torch.arange(FREQUENCIES, dtype=place.dtype, device=place.device)
    # single precision cannot count waves of a micro-degree: the phase is taken in float64
    angle = place.double()[..., None] / (RADII[0] * torch.exp(k.double() * step))
    return torch.cat((angle.sin(), angle.cos()), -1).flatten(-2).to(place.dtype)


def _bump(t: Tensor) -> Tensor:
    """The cubic B-spline about 0 with knots one apart, which ends at -2 and 2."""
    a = t.abs()
    inner = 2.0 / 3.0 - a * a * (1.0 - 0.5 * a)
    return torch.where(a < 1.0, inner, (2.0 - a).clamp(min=0.0).pow(3) / 6.0)


def _xavier(stack: int, a: int, b: int, draw: Generator) -> nn.Parameter:
    bound = math.sqrt(6.0 / (a + b))
    return nn.Parameter((2.0 * torch.rand(stack, a, b, generator=draw) - 1.0) * bound)
