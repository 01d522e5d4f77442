"""What a field was before an experiment and what its crops leave: declared, with sources, and the same at every place.

None of it was fitted to the experiments. Yields follow the county's mean of recent years back in time by the trend of
the United States; where an experiment's plot had less nitrogen than maize takes up, it yields less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from fieldflux.models.crops import MAIZE, SOYBEAN
from fieldflux.models.processes.soilcarbon.litter import CARBON, EXUDED, GRAIN, MOISTURE, QUALITY, ROOT, SHOOT, miami
from numpy.typing import NDArray

Array = NDArray[np.float64]

# West of it prairie was broken, east of it forest cleared (potential vegetation: Kuchler 1964), degrees.
PRAIRIE_WEST_OF = -90.0
# By longitude (degrees) the year of first cultivation (Ramankutty and Foley 1999; Waisanen and Bliss 2002).
SETTLED = ((-100.0, -95.0, -90.0, -80.0), (1885.0, 1875.0, 1860.0, 1820.0))
# US mean maize yield, bushels per acre (USDA NASS): flat until 1936, then rising.
MAIZE_TREND = ((1936.0, 1955.0, 2013.0), (26.0, 42.0, 158.0))
BUSHELS = 0.0628  # t ha-1 of maize
RECENT_YEAR = 2013.0  # middle of the years that a county's mean yield is of
# Straw was fodder and bedding as long as there were horses: share taken off, until that year.
FODDER, TRACTORS = 0.5, 1945
FOREST_WOOD = 0.3  # of a forest's litter
GRAZED = 0.9  # share of a prairie's growth that stays
# Soybean yields by those of maize (44 and 158 bushels per acre at 60 and 56 lb), moisture, and its shares of carbon:
# grain, shoot, root, exudates (Bolinder et al. 2007, table 3).
SOY_PER_MAIZE, SOY_MOISTURE = 0.30, 0.13
SOY = (0.304, 0.455, 0.146, 0.095)
# Maize without fertiliser yields that share of the fertilised, every year and after soybean; enough nitrogen, gN m-2.
UNFERTILISED, AFTER_SOY, ENOUGH = 0.5, 0.75, 15.0
COVER_CROP = 187.0  # gC m-2 yr-1, mean input of a winter cover crop (Poeplau and Don 2015)


@dataclass(frozen=True, slots=True)
class Crop:
    """A year's crop of one field: which (CDL code), share of straw taken, nitrogen of maize years (gN m-2), whether
    soybean is in the rotation, gC m-2 of a cover crop."""

    crop: int
    removed: float
    nitrogen: float
    rotation: bool
    cover: float = 0.0


def native_litter(longitude: float, temperature: float, precipitation: float) -> Array:
    """[4] gC m-2 yr-1 of coarse wood, metabolic, cellulose and lignin litter before cultivation. degC, mm yr-1."""
    growth = float(miami(np.array([temperature]), np.array([precipitation]))[0])
    prairie = longitude < PRAIRIE_WEST_OF
    wood = 0.0 if prairie else FOREST_WOOD
    total = growth * GRAZED if prairie else growth
    return np.array([total * wood, *(total * (1.0 - wood) * q for q in QUALITY)])


def first_year(longitude: float) -> int:
    """Of cultivation.

    >>> first_year(-96.5)
    1878
    """
    return round(float(np.interp(longitude, *SETTLED)))


def maize_yield(county: float, year: float) -> float:
    """t ha-1 of a year, from the county's mean of 2008 to 2018 (NaN: the United States').

    >>> round(maize_yield(float("nan"), 1900), 2), round(maize_yield(12.0, 2013), 2)
    (1.63, 12.0)
    """
    trend = float(np.interp(year, *MAIZE_TREND)) * BUSHELS
    return trend if np.isnan(county) else county * trend / (float(MAIZE_TREND[1][-1]) * BUSHELS)


def crop_litter(county: float, year: float, crop: Crop) -> Array:
    """[4] gC m-2 yr-1 that a crop year leaves: straw that stays, roots, exudates, cover crop.

    Raises ValueError for a crop other than maize and soybean.
    """
    maize = maize_yield(county, year)
    if crop.crop in MAIZE.cdl:
        least = AFTER_SOY if crop.rotation else UNFERTILISED
        maize *= least + (1.0 - least) * min(1.0, crop.nitrogen / ENOUGH)
        grain = maize * 100.0 * (1.0 - MOISTURE) * CARBON
        shares = (GRAIN, SHOOT, ROOT, EXUDED)
    elif crop.crop in SOYBEAN.cdl:
        grain = maize * SOY_PER_MAIZE * 100.0 * (1.0 - SOY_MOISTURE) * CARBON
        shares = SOY
    else:
        raise ValueError(f"The crop {crop.crop} has no rule for what it leaves: maize and soybean do.")
    left = grain / shares[0] * (shares[1] * (1.0 - crop.removed) + shares[2] + shares[3]) + crop.cover
    return np.array([0.0, *(left * q for q in QUALITY)])


def history_litter(county: float, year: float) -> Array:
    """[4] gC m-2 yr-1 in a year before the experiment: maize, of whose straw half was taken in the time of horses."""
    return crop_litter(county, year, Crop(MAIZE.cdl[0], FODDER if year < TRACTORS else 0.0, ENOUGH, False))


ASSUMED = (
    f"Before cultivation: prairie west of {-PRAIRIE_WEST_OF:g} W, forest east of it, at rest, with the Miami model's "
    "growth as litter.",
    "First cultivated (by longitude, Ramankutty and Foley 1999): 1885 at 100 W, 1875 at 95 W, 1860 at 90 W, 1820 at "
    "80 W; from then on maize, ploughed every spring, to the experiment's first measurement.",
    "Yields: the county's mean of 2008 to 2018 (USDA NASS), back in time by the trend of the United States (26 bushels "
    f"per acre until 1936, 42 in 1955, 158 in 2013). Until {TRACTORS} half of the straw was taken.",
    f"Maize without fertiliser yields {UNFERTILISED:g} of the fertilised ({AFTER_SOY:g} in rotation with soybean), in "
    f"proportion up to {ENOUGH:g} gN m-2 in a maize year. A cover crop adds {COVER_CROP:g} gC m-2 yr-1.",
    "Tillage: CLM5's factors on turnover to 26 cm, by month after sowing. Climate: the station's months.",
)
