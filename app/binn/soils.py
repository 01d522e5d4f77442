"""Measured soils as what a BINN learns from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from fieldflux.models.hybrids.binn.covariates import Covariates, describe
from fieldflux.models.hybrids.binn.lessons import Lessons, Where, observations
from torch import Tensor

from .sites import USES, SoilTable, forcing_of

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "mean_temperature": "degC", "precipitation": "mm yr-1", "clay": "g kg-1", "sand": "g kg-1",
        "bulk_density": "Mg m-3", "wilting_point": "m3 m-3", "ph": "1", "cec": "cmol kg-1",
        "production": "gC m-2 yr-1", "temperature_sd": "K", "diurnal_range": "K",
        "warm_quarter_precipitation": "mm", "aridity": "1", "field_capacity": "m3 m-3", "gravel": "1",
        "elevation": "m", "slope": "degree", "irrigated": "1", "corn_yield": "t ha-1",
    }
)  # fmt: skip


def covariates_of(table: SoilTable) -> Covariates:
    """The columns as they are at these soils."""
    units = [UNITS.get(name, "1") for name in table.names]
    return describe(table.names, units, USES, torch.from_numpy(table.x))


def lessons_of(table: SoilTable, where: Where = "mean", prescribed: Tensor | None = None) -> Lessons:
    """Covariates, forcing and measurements of the soils. where: as of `lessons.observations`."""
    s = table.soils
    of = torch.from_numpy
    return Lessons(
        x=of(table.x),
        place=torch.stack((of(s.longitude), of(s.latitude)), 1),
        forcing=forcing_of(table).tensors(),
        observed=observations(
            (of(s.stock_30), of(s.stock_100)), of(s.owner), of(s.top), of(s.bottom), of(s.density), where
        ),
        prescribed=prescribed,
    )
