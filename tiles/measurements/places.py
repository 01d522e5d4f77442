"""What is declared, not measured, about the towers: soils by texture class and crop calendars, with their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Texture:
    """Typical hydraulic values of a texture class: Saxton & Rawls (2006), Soil Sci. Soc. Am. J. 70:1569, table 3.

    sand, clay: g kg-1. wilting_point, field_capacity: m3 m-3. ksat: mm h-1. bulk_density: Mg m-3.
    """

    sand: float
    clay: float
    wilting_point: float
    field_capacity: float
    ksat: float
    bulk_density: float


TEXTURES: Mapping[str, Texture] = MappingProxyType(
    {
        "sandy loam": Texture(650, 100, 0.08, 0.18, 50.3, 1.46),
        "loam": Texture(400, 200, 0.14, 0.28, 15.5, 1.43),
        "silt loam": Texture(200, 150, 0.11, 0.31, 16.1, 1.38),
        "clay loam": Texture(300, 350, 0.22, 0.36, 4.3, 1.39),
        "silty clay loam": Texture(100, 350, 0.22, 0.38, 5.7, 1.30),
        "silty clay": Texture(100, 450, 0.27, 0.41, 3.7, 1.26),
        "clay": Texture(250, 500, 0.30, 0.42, 1.1, 1.33),
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """A tower's place. texture: class of the topsoil. soc: gC kg-1, 0-30 cm. soil_from: where these come from."""

    title: str
    group: str
    texture: str
    soc: float
    soil_from: str
    elevation: float | None = None
    cover: str = ""


_TYPICAL = "declared typical of the place, not measured: the folder of measurements holds no soil for this tower"
_DELTA = f"{_TYPICAL}; drained Delta peat with mineral topsoil, its carbon far above the texture class's"

PLACES: Mapping[str, Place] = MappingProxyType(
    {
        "US-Ne1": Place("Mead 1, irrigated continuous maize", "Mead", "silty clay loam", 9.92, "site file", 361.0),
        "US-Ne2": Place("Mead 2, irrigated maize-soybean", "Mead", "silty clay loam", 10.16, "site file", 362.0),
        "US-Ne3": Place("Mead 3, rain-fed maize-soybean", "Mead", "silty clay loam", 10.54, "site file", 362.0),
        "US-Bi1": Place("Bouldin Island alfalfa", "Delta", "clay loam", 50.0, _DELTA, -3.0, "alfalfa"),
        "US-Tw3": Place("Twitchell Island alfalfa", "Delta", "clay loam", 80.0, _DELTA, -4.0, "alfalfa"),
        "US-Tw2": Place("Twitchell Island maize", "Delta", "clay loam", 80.0, _DELTA, -4.0, "maize"),
        "US-Twt": Place("Twitchell Island rice", "Delta", "clay loam", 80.0, _DELTA, -4.0, "rice"),
        "US-Lin": Place("Lindcove orange orchard", "US-Lin", "loam", 8.0, _TYPICAL, None, "orchard"),
        "US-ARM": Place("ARM Southern Great Plains, main field", "US-ARM", "silty clay loam", 12.0, _TYPICAL, 314.0),
        "BE-Lon": Place("Lonzée", "BE-Lon", "silt loam", 12.0, _TYPICAL, 167.0),
        "CH-Oe2": Place("Oensingen crop", "CH-Oe2", "silty clay", 20.0, _TYPICAL, 452.0),
        "DE-Geb": Place("Gebesee", "DE-Geb", "silty clay loam", 20.0, _TYPICAL, 162.0),
        "DE-RuS": Place("Selhausen Jülich", "Selhausen", "silt loam", 11.0, _TYPICAL, 103.0),
        "DE-Seh": Place("Selhausen", "Selhausen", "silt loam", 11.0, _TYPICAL, 103.0),
        "DK-Fou": Place("Foulum", "DK-Fou", "sandy loam", 18.0, _TYPICAL, 51.0),
        "FI-Jok": Place("Jokioinen", "FI-Jok", "clay", 25.0, _TYPICAL, 109.0),
        "FR-Gri": Place("Grignon", "FR-Gri", "silt loam", 15.0, _TYPICAL, 125.0),
        "IT-BCi": Place("Borgo Cioffi", "IT-BCi", "clay", 15.0, _TYPICAL, 20.0),
        "IT-CA2": Place("Castel d'Asso 2", "IT-CA2", "clay loam", 11.0, _TYPICAL, 200.0),
    }
)

# Measured at the towers: us-ne_SiteInformation.md. Its column "SC", 0.39-0.41 m3 m-3, is taken for field capacity: the
# value is that of a silty clay loam at field capacity (0.38) and far below its saturation (0.51).
MEAD_SOIL: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "US-Ne1": {"clay": 342.5, "sand": 105.4, "field_capacity": 0.39, "wilting_point": 0.22, "soc_content": 9.92},
        "US-Ne2": {"clay": 303.5, "sand": 118.4, "field_capacity": 0.41, "wilting_point": 0.26, "soc_content": 10.16},
        "US-Ne3": {"clay": 349.6, "sand": 83.2, "field_capacity": 0.39, "wilting_point": 0.23, "soc_content": 10.54},
    }
)

# (sowing, harvest) as (month, day), and grain, t ha-1: the years that us-ne_SiteInformation.md documents.
MEAD_SEASONS: Mapping[tuple[str, int], tuple[tuple[int, int], tuple[int, int], float]] = MappingProxyType(
    {
        ("US-Ne2", 2001): ((5, 11), (10, 22), 13.41),
        ("US-Ne2", 2002): ((5, 20), (10, 7), 3.99),
        ("US-Ne2", 2003): ((5, 14), (10, 23), 14.00),
        ("US-Ne2", 2010): ((4, 19), (9, 21), 4.68),
        ("US-Ne3", 2001): ((5, 14), (10, 29), 8.72),
        ("US-Ne3", 2002): ((5, 20), (10, 9), 3.32),
        ("US-Ne3", 2003): ((5, 13), (10, 13), 7.72),
        ("US-Ne3", 2010): ((5, 19), (10, 6), 4.14),
    }
)
# Soybean years without dates: the documented ones (2002, 2010) all fall on 19-20 May and 6-9 October.
MEAD_SOYBEAN = ((5, 20), (10, 7))

# Crops of the management records -> Cropland Data Layer codes. Mixtures and catch crops have none.
CDL: Mapping[str, int] = MappingProxyType(
    {
        "maize": 1, "silage_maize": 1, "soybean": 5, "rice": 3, "sunflower": 6, "peppermint": 14, "barley": 21,
        "spring_barley": 21, "winter_barley": 21, "durum_wheat": 22, "wheat": 24, "winter_wheat": 24, "soft_wheat": 24,
        "rapeseed": 31, "winter_rapeseed": 31, "mustard": 35, "alfalfa": 36, "alfafa": 36, "beet": 41, "sugar_beet": 41,
        "field_bean": 42, "green_bean_flageolet": 42, "potato": 43, "potatoe": 43, "orchard": 212, "triticale": 205,
    }
)  # fmt: skip
