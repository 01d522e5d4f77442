"""Soil columns for the tests of the soil-carbon model: made-up climates, parameters from ranges and their corners."""

from __future__ import annotations

import torch
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.parameters import COUNT, from_unit
from torch import Tensor

REAL = torch.float64


def climate(cells: int, seed: int, rows: int | None = None) -> SoilForcing:
    """Seasonal temperatures that fade with depth, water, all litters, bedrock anywhere, thawed soils and frozen."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=draw, dtype=REAL)

    count = rows or cells
    month = torch.arange(12, dtype=REAL)[:, None]
    depth = torch.linspace(0.0, 8.0, 20, dtype=REAL)
    wave = torch.sin((month - 3.5) * torch.pi / 6.0 - depth) * torch.exp(-depth)
    return SoilForcing(
        temperature=uniform(-2.0, 24.0, count, 1, 1) + uniform(2.0, 16.0, count, 1, 1) * wave,
        water=uniform(0.05, 1.0, count, 12, 20),
        litter=uniform(0.0, 300.0, cells, 4),
        bedrock=torch.randint(2, 25, (cells,), generator=draw),
        active_layer=uniform(0.2, 5.0, cells),
        oxygen=uniform(0.2, 1.0, count, 12, 20),
        nitrogen=uniform(0.3, 1.0, count, 12, 20),
        row=None if rows is None else torch.randint(0, rows, (cells,), generator=draw),
    )


def drawn(cells: int, seed: int) -> Tensor:
    """[C, 21] physical parameters, evenly from BINN's ranges."""
    return from_unit(torch.rand(cells, COUNT, generator=torch.Generator().manual_seed(seed), dtype=REAL))


def corners(cells: int, seed: int) -> Tensor:
    """[C, 21] parameters each at the least or greatest value of BINN's range."""
    draw = torch.Generator().manual_seed(seed)
    return from_unit(torch.randint(0, 2, (cells, COUNT), generator=draw).to(REAL))
