"""Crops: their codes in the Cropland Data Layer, and how harvested carbon becomes a market yield."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

LB_PER_KG = 2.2046226218
M2_PER_ACRE = 4046.8564224


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop that models know.

    cdl: its codes in the USDA Cropland Data Layer; the first is the one that Fieldflux writes.
    carbon: gC per g dry matter of what is harvested (maize and soybean grain: Verma et al. 2005, the Mead towers).
    moisture: water fraction of the harvest at market moisture (USDA NASS reports at it).
    bushel_lb: pounds in a bushel; None where the trade knows no bushel.
    """

    name: str
    cdl: tuple[int, ...]
    carbon: float
    moisture: float
    bushel_lb: float | None

    def t_ha(self, carbon_m2: float) -> float:
        """Market yield, t ha-1, of `carbon_m2` gC m-2 harvested."""
        return carbon_m2 * 0.01 / self.carbon / (1.0 - self.moisture)

    def carbon_m2(self, t_ha: float) -> float:
        """Harvested carbon, gC m-2, of a market yield in t ha-1: the inverse of `t_ha`."""
        return t_ha * 100.0 * self.carbon * (1.0 - self.moisture)

    def bu_ac(self, carbon_m2: float) -> float | None:
        """Market yield, bushels per acre, of `carbon_m2` gC m-2 harvested; None where there is no bushel."""
        if self.bushel_lb is None:
            return None
        kg_per_acre = self.t_ha(carbon_m2) * 0.1 * M2_PER_ACRE
        return kg_per_acre * LB_PER_KG / self.bushel_lb


MAIZE = Crop("maize", (1, 12, 13), 0.447, 0.155, 56.0)
SOYBEAN = Crop("soybean", (5,), 0.510, 0.13, 60.0)
WINTER_WHEAT = Crop("winter_wheat", (24, 22, 23, 27), 0.45, 0.135, 60.0)
ALFALFA = Crop("alfalfa", (36, 37, 176, 58), 0.45, 0.13, None)

CROPS: MappingProxyType[str, Crop] = MappingProxyType({c.name: c for c in (MAIZE, SOYBEAN, WINTER_WHEAT, ALFALFA)})
CROP_OF_CDL: MappingProxyType[int, Crop] = MappingProxyType({code: c for c in CROPS.values() for code in c.cdl})
