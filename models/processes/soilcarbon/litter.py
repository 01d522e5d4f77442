"""Carbon that enters soils as litter each year, by land use: from the county's maize, or from a proxy of climate."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CARBON = 0.45  # gC per g of dry matter
MOISTURE = 0.155  # of maize grain at market
# Shares of a maize plant's yearly carbon: Bolinder et al. (2007), Agric. Ecosyst. Environ. 118:29, table 3.
GRAIN, SHOOT, ROOT, EXUDED = 0.386, 0.387, 0.138, 0.089
# Metabolic, cellulose, lignin: CLM5's leaves and fine roots.
QUALITY = (0.25, 0.50, 0.25)
# Declared, not measured: share of the yearly growth that returns to the soil (grazing animals breathe the rest), and
# share of the return that is coarse wood (forests: stems and branches are a quarter to a third of growth).
RETURNED: Mapping[str, float] = MappingProxyType({"pasture": 0.8, "grassland": 0.9})
WOODY: Mapping[str, float] = MappingProxyType({"forest": 0.3, "plantation": 0.3, "orchard": 0.2})


def miami(temperature: Array, precipitation: Array) -> Array:
    """Net primary production, gC m-2 yr-1, from the year's mean, degC, and sum, mm: the Miami model (Lieth 1975).

    >>> miami(np.array([10.0]), np.array([800.0])).round().tolist()
    [556.0]
    """
    warm = 3000.0 / (1.0 + np.exp(1.315 - 0.119 * temperature))
    wet = 3000.0 * (1.0 - np.exp(-0.000664 * precipitation))
    return np.asarray(CARBON * np.minimum(warm, wet), np.float64)


def maize_return(yield_t_ha: Array) -> Array:
    """gC m-2 yr-1 left by maize with all residue, roots and exudates, from its yield, t ha-1 at 15.5 % moisture.

    >>> maize_return(np.array([10.0])).round(1).tolist()
    [604.9]
    """
    grain = yield_t_ha * 100.0 * (1.0 - MOISTURE) * CARBON
    return np.asarray(grain * (SHOOT + ROOT + EXUDED) / GRAIN, np.float64)


def litter(land_use: NDArray[np.str_], production: Array, corn_yield: Array) -> tuple[Array, NDArray[np.str_]]:
    """[n, 4] gC m-2 yr-1 of coarse wood, metabolic, cellulose and lignin litter; [n] where it is from, in words.

    Cropland has the county's maize every year (other crops of a rotation leave less), or, where maize has no yield, the
    proxy less a grain harvest. Other uses have the proxy times what returns.
    """
    crop = land_use == "cropland"
    by_yield = crop & np.isfinite(corn_yield)
    returned = np.array([RETURNED.get(str(use), 1.0) for use in land_use])
    total = np.where(crop, production * (1.0 - GRAIN), production * returned)
    total = np.where(by_yield, maize_return(np.nan_to_num(corn_yield)), total)
    wood = np.array([WOODY.get(str(use), 0.0) for use in land_use])
    pools = np.column_stack([total * wood, *(total * (1.0 - wood) * share for share in QUALITY)])
    return pools, np.where(by_yield, "county maize yield", "Miami model")
