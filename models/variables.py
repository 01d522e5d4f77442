"""The vocabulary: every variable that Fieldflux reads, computes, stores, serves or draws.

API, store, tiles, plots and documents take names, units, signs, ranges and colours from here; nothing restates them.
Carbon is gC per ground area. `nee` is positive to the atmosphere; `delta_soc` is positive when the soil gains.
`reco = ra + rh` and `nee = reco - gpp` hold exactly in every output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Period = Literal["day", "year", "static"]
Aggregation = Literal["sum", "mean", "last"]

CARBON_FLUX = "gC m-2 d-1"
CARBON_STOCK = "gC m-2"
CARBON_YEAR = "gC m-2 yr-1"
CO2_UP = "surface_upward_mass_flux_of_carbon_dioxide_expressed_as_carbon_due_to"


@dataclass(frozen=True, slots=True)
class Variable:
    """One term of the vocabulary.

    period: what one value stands for: a day, a calendar year, or the place itself: what is given of it, or what a model
    says of it under the climate of a cube's whole record (its "time" is then the record's last year).
    over_time: how days become months and years. A "sum" of a per-day rate loses its "d-1" (see `unit_over`).
    low, high: range of valid values; a value outside is a fault, not an outlier.
    shown: range of the colour map. A diverging palette is centred at zero.
    step: size of one count where the store packs the value in 16 bits.
    layer: of a layer of the soil's profile, its top and bottom in metres.
    """

    name: str
    long_name: str
    unit: str
    period: Period
    over_time: Aggregation
    low: float
    high: float
    sign: str = ""
    standard_name: str | None = None
    shown: tuple[float, float] = (0.0, 1.0)
    palette: str = "viridis"
    step: float | None = None
    digits: int = 3
    layer: tuple[float, float] | None = None

    def unit_over(self, period: Literal["day", "month", "year", "total"]) -> str:
        """Unit of this variable aggregated over a period.

        >>> VARIABLES["nee"].unit_over("year")
        'gC m-2'
        """
        if period == "day" or self.over_time != "sum" or self.period != "day":
            return self.unit
        return self.unit.removesuffix(" d-1")


# Tables, read by column.
# fmt: off
def _fluxes() -> list[Variable]:
    carbon = "to the atmosphere is positive"
    # One step for the five carbon fluxes: their identities then hold exactly between packed counts.
    step = 0.002
    return [
        Variable("gpp", "gross primary production", CARBON_FLUX, "day", "sum", 0, 60, "uptake is positive",
                 "gross_primary_productivity_of_biomass_expressed_as_carbon", (0, 25), "greens", step),
        Variable("ra", "autotrophic respiration", CARBON_FLUX, "day", "sum", 0, 40, carbon,
                 f"{CO2_UP}_plant_respiration", (0, 12), "heat", step),
        Variable("rh", "heterotrophic respiration", CARBON_FLUX, "day", "sum", 0, 25, carbon,
                 f"{CO2_UP}_heterotrophic_respiration", (0, 6), "heat", step),
        Variable("reco", "ecosystem respiration", CARBON_FLUX, "day", "sum", 0, 60, carbon,
                 None, (0, 15), "heat", step),
        Variable("nee", "net ecosystem exchange of CO2", CARBON_FLUX, "day", "sum", -60, 60, carbon,
                 None, (-12, 12), "balance", step),
    ]


def _water_and_energy() -> list[Variable]:
    return [
        Variable("et", "evapotranspiration", "mm d-1", "day", "sum", -2, 30, "to the atmosphere is positive",
                 "water_evapotranspiration_flux", (0, 8), "water", 0.001),
        Variable("transpiration", "transpiration", "mm d-1", "day", "sum", 0, 30, "to the atmosphere is positive",
                 "transpiration_flux", (0, 8), "water", 0.001),
        Variable("le", "latent heat flux", "W m-2", "day", "mean", -100, 600, "to the atmosphere is positive",
                 "surface_upward_latent_heat_flux", (0, 200), "water", 0.05),
        Variable("h", "sensible heat flux", "W m-2", "day", "mean", -400, 600, "to the atmosphere is positive",
                 "surface_upward_sensible_heat_flux", (-100, 200), "balance", 0.05),
        Variable("soil_moisture", "soil moisture of the upper metre", "m3 m-3", "day", "mean", 0, 0.9, "",
                 "volume_fraction_of_condensed_water_in_soil", (0.05, 0.45), "water", 0.0001),
        Variable("snow", "snow water equivalent", "mm", "day", "mean", 0, 3000, "",
                 "lwe_thickness_of_surface_snow_amount", (0, 80), "water", 0.1),
        Variable("runoff", "surface runoff and drainage", "mm d-1", "day", "sum", 0, 500, "out of the soil is positive",
                 "runoff_flux", (0, 20), "water", 0.02),
    ]


def _crop_and_soil() -> list[Variable]:
    return [
        Variable("lai", "leaf area index", "m2 m-2", "day", "mean", 0, 12, "",
                 "leaf_area_index", (0, 6), "greens", 0.0005),
        Variable("biomass", "carbon in living biomass above ground", CARBON_STOCK, "day", "last", 0, 4000, "",
                 None, (0, 900), "greens", 0.2),
        Variable("grain", "carbon in the grain of a standing crop", CARBON_STOCK, "day", "last", 0, 2500, "",
                 None, (0, 500), "greens", 0.2),
        Variable("stage", "development stage: 0 sown, 1 flowering, 2 mature", "1", "day", "last", 0, 2, "0 without a "
                 "crop", None, (0, 2), "viridis", 0.0001),
        Variable("water_stress", "water stress: share of the crop's demand for water that the soil cannot meet", "1",
                 "day", "mean", 0, 1, "1 is drought", None, (0, 0.6), "heat", 0.0001),
        Variable("soc", "organic carbon in soil and residue, 0-30 cm", CARBON_STOCK, "day", "last", 0, 60000, "",
                 "soil_mass_content_of_carbon", (3000, 12000), "soil", 2.0, 0),
        Variable("yield", "harvested carbon", CARBON_YEAR, "year", "sum", 0, 2500, "leaving the field is positive",
                 None, (0, 600), "greens"),
        Variable("residue", "crop residue carbon: GPP less Ra less yield", CARBON_YEAR, "year", "sum", -2000, 4000,
                 "staying on the field is positive", None, (0, 800), "soil"),
        Variable("delta_soc", "change of carbon in soil and residue over the year", CARBON_YEAR, "year", "sum",
                 -3000, 3000, "the soil's gain is positive", None, (-300, 300), "balance"),
    ]


def _soil_carbon() -> list[Variable]:
    """Of a soil at rest under the climate of a whole record: one value a place, for no day or year."""

    def stock(
        name: str, text: str, high: float, shown: tuple[float, float], layer: tuple[float, float] | None = None
    ) -> Variable:
        return Variable(name, f"organic carbon of the soil, {text}", CARBON_STOCK, "static", "mean", 0, high, "",
                        "soil_mass_content_of_carbon", shown, "soil", digits=0, layer=layer)

    return [
        stock("soc_30", "0-30 cm", 60000, (2000, 12000)),
        stock("soc_100", "0-100 cm", 150000, (4000, 22000)),
        stock("soc_0_5", "0-5 cm", 15000, (500, 3000), (0.0, 0.05)),
        stock("soc_5_15", "5-15 cm", 25000, (800, 5000), (0.05, 0.15)),
        stock("soc_15_30", "15-30 cm", 35000, (800, 5000), (0.15, 0.3)),
        stock("soc_30_60", "30-60 cm", 60000, (800, 6000), (0.3, 0.6)),
        stock("soc_60_100", "60-100 cm", 80000, (500, 6000), (0.6, 1.0)),
        Variable("soil_input_depth", "share of the litter input still below each further centimetre", "1", "static",
                 "mean", 0, 1, "1 is deep", None, (0.7, 1.0), "viridis"),
        Variable("soil_decomposition", "decomposition rate of soil carbon in warm, moist topsoil", "yr-1", "static",
                 "mean", 0, 1000, "", None, (0, 0.25), "heat"),
        Variable("soil_transfer", "share of decomposed carbon that becomes soil carbon, the rest is respired", "1",
                 "static", "mean", 0, 1, "", None, (0.4, 0.6), "greens"),
        Variable("soil_environment", "factor of warmth, water and depth on decomposition", "1", "static", "mean",
                 0, 100, "", None, (0, 0.1), "water"),
        Variable("soil_transport", "rate at which mixing moves carbon out of its layer", "yr-1", "static", "mean",
                 0, 1000, "", None, (0, 0.03), "viridis"),
        Variable("soil_litter_share", "share of decomposed litter that becomes soil carbon", "1", "static", "mean",
                 0, 1, "", None, (0.6, 0.9), "greens"),
        Variable("soil_residence", "residence time: carbon of soil and litter to 8.6 m by its yearly input", "yr",
                 "static", "mean", 0, 1e6, "", None, (0, 300), "viridis", digits=2),
        Variable("soc_change_30", "change of the soil's organic carbon since the start, 0-30 cm", CARBON_STOCK,
                 "static", "mean", -60000, 60000, "the soil's gain is positive", None, (-1000, 1000), "balance"),
        Variable("soc_change_100", "change of the soil's organic carbon since the start, 0-100 cm", CARBON_STOCK,
                 "static", "mean", -150000, 150000, "the soil's gain is positive", None, (-1500, 1500), "balance"),
    ]


def _weather() -> list[Variable]:
    return [
        Variable("tmean", "air temperature, mean", "degC", "day", "mean", -60, 55, standard_name="air_temperature"),
        Variable("tmin", "air temperature, lowest", "degC", "day", "mean", -70, 50, standard_name="air_temperature"),
        Variable("tmax", "air temperature, highest", "degC", "day", "mean", -55, 60, standard_name="air_temperature"),
        Variable("precip", "precipitation", "mm d-1", "day", "sum", 0, 600, standard_name="precipitation_flux"),
        Variable("srad", "shortwave radiation, downward", "MJ m-2 d-1", "day", "sum", 0, 45,
                 standard_name="surface_downwelling_shortwave_flux_in_air"),
        Variable("vpd", "vapour pressure deficit, day mean", "kPa", "day", "mean", 0, 10,
                 standard_name="water_vapor_saturation_deficit_in_air"),
        Variable("wind", "wind speed", "m s-1", "day", "mean", 0, 60, standard_name="wind_speed"),
        Variable("rnet", "net radiation", "MJ m-2 d-1", "day", "sum", -20, 35,
                 standard_name="surface_net_downward_radiative_flux"),
        Variable("co2", "CO2 in the air", "ppm", "day", "mean", 250, 800,
                 standard_name="mole_fraction_of_carbon_dioxide_in_air"),
        Variable("gpp_given", "gross primary production from a satellite product or a tower", CARBON_FLUX, "day",
                 "sum", 0, 60, "uptake is positive"),
        Variable("irrigation", "irrigation water", "mm d-1", "day", "sum", 0, 200),
    ]


def _place_and_management() -> list[Variable]:
    return [
        Variable("latitude", "latitude", "degrees_north", "static", "mean", -90, 90, standard_name="latitude"),
        Variable("elevation", "height above sea level", "m", "static", "mean", -430, 9000,
                 standard_name="surface_altitude"),
        Variable("bulk_density", "bulk density of the soil, 0-30 cm", "Mg m-3", "static", "mean", 0.05, 2.2),
        Variable("sand", "sand, 0-30 cm", "g kg-1", "static", "mean", 0, 1000),
        Variable("silt", "silt, 0-30 cm", "g kg-1", "static", "mean", 0, 1000),
        Variable("clay", "clay, 0-30 cm", "g kg-1", "static", "mean", 0, 1000),
        Variable("field_capacity", "water content at field capacity, 0-30 cm", "m3 m-3", "static", "mean", 0.01, 0.8),
        Variable("wilting_point", "water content at wilting point, 0-30 cm", "m3 m-3", "static", "mean", 0.002, 0.6),
        Variable("ksat", "saturated hydraulic conductivity, 0-30 cm", "mm h-1", "static", "mean", 0, 2000),
        Variable("soc_content", "soil organic carbon, 0-30 cm", "gC kg-1", "static", "mean", 0, 600),
        Variable("ph", "pH, 0-30 cm", "1", "static", "mean", 2, 11),
        Variable("cec", "cation exchange capacity, 0-30 cm", "cmol+ kg-1", "static", "mean", 0, 300),
        Variable("crop", "crop, as a code of the Cropland Data Layer", "1", "year", "last", 0, 255),
        Variable("sowing_doy", "day of year of sowing", "d", "year", "last", 1, 366),
        Variable("harvest_doy", "day of year of harvest", "d", "year", "last", 1, 366),
        Variable("irrigated", "irrigated: 1, rain-fed: 0", "1", "year", "last", 0, 1),
        Variable("residue_removed", "fraction of the residue above ground that is taken off the field", "1", "year",
                 "last", 0, 1),
        Variable("tillage", "soil disturbance: 0 none, 0.5 reduced, 1 ploughed", "1", "year", "last", 0, 1),
        Variable("yield_expected", "yield expected from earlier years", CARBON_YEAR, "year", "last", 0, 2500),
    ]

# fmt: on

VARIABLES: MappingProxyType[str, Variable] = MappingProxyType(
    {
        v.name: v
        for v in (
            *_fluxes(),
            *_water_and_energy(),
            *_crop_and_soil(),
            *_soil_carbon(),
            *_weather(),
            *_place_and_management(),
        )
    }
)


def of_record(outputs: Sequence[str]) -> bool:
    """Whether a model that gives these has no day and no year: all are values of the place itself.

    Such a model is given the whole record of a cube at once and says one thing of each cell.
    """
    return bool(outputs) and all(VARIABLES[name].period == "static" for name in outputs if name in VARIABLES)


class UnknownVariable(ValueError):
    """A name that the vocabulary does not hold."""


def variable(name: str) -> Variable:
    """The variable of that name.

    Raises UnknownVariable with the names that exist.
    """
    try:
        return VARIABLES[name]
    except KeyError:
        raise UnknownVariable(
            f"There is no variable '{name}'. The variables are: {', '.join(sorted(VARIABLES))}."
        ) from None
