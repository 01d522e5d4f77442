"""Soils that were dug and measured once, with their places: carbon by layer and to 0.3 and 1 m."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .tables import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

LAND_USES = (
    "cropland", "reserve", "pasture", "grassland", "forest", "wetland", "orchard", "plantation", "desert",
)  # fmt: skip
# Organic soil material (Soil Taxonomy): 12 to 18 % of organic carbon by mass, as there is clay; the lower bound.
ORGANIC = 120.0
# Where only stocks are known: 300 Mg ha-1 in 0-30 cm is 12 % of carbon at 0.83 Mg m-3.
ORGANIC_STOCK = 30000.0
LIGHTEST, HEAVIEST = 0.05, 2.2
# gC m-3: plant matter alone, 500 gC kg-1, packed to 0.4 Mg m-3.
DENSEST = 2.0e5
GAP = 0.011  # m; a layer or a gap thinner than this does not spoil a stock


@dataclass(frozen=True, slots=True, eq=False)
class SoilSites:
    """n soils with m layers in all, from one source or several. Missing numbers are NaN, missing words "".

    dataset, site, source, licence: [n] words. latitude, longitude: [n] degrees, WGS84. exact: [n] whether the place is
    the pit's (True) or blurred, a town's or a county's. land_use: [n] of LAND_USES. history: [n] "native",
    "agriculture", "restored" or "". pair: [n] soils with one word are compared with each other. year: [n] of sampling.
    soil_depth: [n] m, where the soil ends above 1 m; NaN where it goes on or is not known. stock_30, stock_100: [n]
    organic carbon of 0-0.3 and 0-1 m, gC m-2, to the soil's end where it ends above; only from layers without gaps.
    organic: [n] whether the soil is organic (120 gC kg-1 or more, or 30 kgC m-2 or more, within 0.3 m).

    owner: [m] index of the soil, rising. top, bottom: [m] m, downwards. density: [m] organic carbon, gC m-3 of soil
    with its stones. soc: [m] gC kg-1 of fine earth. bulk_density: [m] Mg m-3. sand, clay: [m] g kg-1.
    notes: what was found faulty and what was done, in sentences.
    """

    dataset: NDArray[np.str_]
    site: NDArray[np.str_]
    source: NDArray[np.str_]
    licence: NDArray[np.str_]
    latitude: Array
    longitude: Array
    exact: NDArray[np.bool_]
    land_use: NDArray[np.str_]
    history: NDArray[np.str_]
    pair: NDArray[np.str_]
    year: Array
    soil_depth: Array
    stock_30: Array
    stock_100: Array
    organic: NDArray[np.bool_]
    owner: NDArray[np.int64]
    top: Array
    bottom: Array
    density: Array
    soc: Array
    bulk_density: Array
    sand: Array
    clay: Array
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.site)

    def where(self, kept: NDArray[np.bool_]) -> SoilSites:
        """The soils chosen by a mask [n], with their layers."""
        place = np.cumsum(kept) - 1
        layers = kept[self.owner]
        out: dict[str, Any] = {name: getattr(self, name)[kept] for name in OF_SOILS}
        out |= {name: getattr(self, name)[layers] for name in OF_LAYERS}
        return SoilSites(**out, owner=place[self.owner[layers]], notes=self.notes)


OF_LAYERS = ("top", "bottom", "density", "soc", "bulk_density", "sand", "clay")
OF_SOILS = tuple(f.name for f in fields(SoilSites) if f.name not in (*OF_LAYERS, "owner", "notes"))


def together(sets: Sequence[SoilSites]) -> SoilSites:
    """Several as one, in their order. Raises ValueError without any."""
    if not sets:
        raise ValueError("No soils were given to put together: give at least one set.")
    first = np.cumsum([0, *(len(s) for s in sets[:-1])])
    out: dict[str, Any] = {n: np.concatenate([getattr(s, n) for s in sets]) for n in (*OF_SOILS, *OF_LAYERS)}
    owner = np.concatenate([s.owner + k for s, k in zip(sets, first, strict=True)])
    return SoilSites(**out, owner=owner, notes=tuple(dict.fromkeys(note for s in sets for note in s.notes)))


def stock_to(depth: float, count: int, owner: NDArray[np.int64], top: Array, bottom: Array, density: Array) -> Array:
    """[count] carbon from the surface to `depth` (m), gC m-2; NaN where measured layers overlap or leave a gap.

    A layer that goes deeper counts by its share of thickness: density is taken for even within a layer.

    >>> owner = np.array([0, 0])
    >>> stock_to(0.3, 1, owner, np.array([0, 0.2]), np.array([0.2, 0.4]), np.array([20e3, 10e3])).tolist()
    [5000.0]
    """
    known = np.isfinite(density) & np.isfinite(top) & np.isfinite(bottom)
    order = np.lexsort((top, owner))
    order = order[known[order]]
    o, t, b, d = owner[order], top[order], bottom[order], density[order]
    inside = np.clip(np.minimum(b, depth) - np.clip(t, 0.0, None), 0.0, None)
    covered = np.bincount(o, inside, count)
    stock = np.bincount(o, d * inside, count)
    doubled = (o[1:] == o[:-1]) & (t[1:] < b[:-1] - 1e-6) & (t[1:] < depth)
    bad = np.bincount(o[1:][doubled], minlength=count) > 0
    return np.where((np.abs(covered - depth) <= GAP) & ~bad, stock, np.nan)


def is_organic(
    count: int, stock_30: Array, owner: NDArray[np.int64], top: Array, bottom: Array, soc: Array
) -> NDArray[np.bool_]:
    """[count] whether half or more of what is known of 0-0.3 m is organic, or the stock an organic soil's."""
    inside = np.where(np.isfinite(soc), np.clip(np.minimum(bottom, 0.3) - top, 0.0, None), 0.0)
    rich = np.bincount(owner, np.where(np.nan_to_num(soc) >= ORGANIC, inside, 0.0), count)
    known = np.bincount(owner, inside, count)
    by_soc = (known > 0) & (rich >= 0.5 * known)
    return by_soc | (np.nan_to_num(stock_30) > ORGANIC_STOCK)


def carbon_density(soc: Array, bulk_density: Array, stones: Array) -> Array:
    """gC m-3 of soil from gC kg-1 of fine earth, Mg m-3 and the volume share of stones (0 where they are not known).

    >>> carbon_density(np.array([20.0]), np.array([1.5]), np.array([0.1])).tolist()
    [27000.0]
    """
    return soc * bulk_density * 1000.0 * (1.0 - np.nan_to_num(stones))
