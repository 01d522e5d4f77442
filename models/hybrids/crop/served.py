"""What the served crop model asks of a cube and gives, and the crops that it grows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fieldflux.models import crops as market
from fieldflux.models.contract import Needs
from fieldflux.models.processes.lintul5 import crops as lintul

FAMILY = "crop"
NEEDS = Needs(
    daily=("tmin", "tmax", "precip", "srad", "vpd"),
    annual=("crop", "sowing_doy", "harvest_doy"),
    static=("latitude", "bulk_density", "field_capacity", "wilting_point"),
    optional=("co2", "irrigation", "elevation", "irrigated", "yield_expected"),
)
DAILY = ("biomass", "grain", "lai", "stage", "water_stress")
ANNUAL = ("yield",)
OUTPUTS = (*DAILY, *ANNUAL)
ANSWERS = ("crop", "sowing_doy", "harvest_doy", "irrigated")
CARBON = 0.45
"""gC per g dry matter of leaves and stems; grain has its crop's own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A crop that the model grows.

    crop: its tables in LINTUL5. market: how its grain is sold. autumn: whether it is sown in the year before harvest.
    begins: day of the year on which its season's memory begins; from it on, soil water and weather are followed.
    moist: soil water on that day, as a share of what plants can use. sowing: usual day of year. yields: mean and
    standard deviation of what is expected, t ha-1 at market moisture, by which the network's input is scaled.
    """

    crop: lintul.Crop
    market: market.Crop
    autumn: bool
    begins: int
    moist: float
    sowing: float
    yields: tuple[float, float]

    @property
    def name(self) -> str:
        return self.market.name


KINDS: tuple[Kind, ...] = (
    # European varieties flower and ripen weeks too early in the Corn Belt, where maize is in silk in mid-July: the
    # ranges are laid around later ones
    Kind(
        replace(lintul.MAIZE, name="maize_us", tsum1=900.0, tsum2=950.0), market.MAIZE, False, 1, 1.0, 125.0,
        (11.0, 2.0),
    ),
    Kind(
        replace(lintul.SOYBEAN, name="soybean_us", tsum1=455.0, tsum2=1000.0), market.SOYBEAN, False, 1, 1.0, 140.0,
        (3.6, 0.6),
    ),
    Kind(lintul.WINTER_WHEAT_AUTUMN, market.WINTER_WHEAT, True, 213, 0.5, 275.0, (4.5, 1.0)),
)  # fmt: skip
"""Maize, soybean and winter wheat. A winter crop's memory begins on 1 August (day 213) of the year before."""


MAIZE, SOYBEAN, WHEAT = KINDS


def kind_named(name: str) -> Kind:
    """The crop of that name. Raises KeyError."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise KeyError(f"The model grows no {name!r}. It grows: {', '.join(k.name for k in KINDS)}.")
