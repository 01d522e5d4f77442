"""What a day's weather alone decides: light, thermal times, Penman's evaporation. Equations written once, see `step`.

Goudriaan's radiation and day length, Penman's evaporation of soil and canopy as in SIMPLACE and WOFOST (mbar, J, mm).
Nothing here depends on the crop's state, so that it is computed once for all cells that share a weather record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .crops import Crop, Table
from .operations import Operations, held, ramp

# given: degC, degC, MJ m-2 d-1, mm, kPa, m s-1, mm, g m-2, ppm; then J m-2 d-1 above the air, hours, mbar K-1
GIVEN = ("t_min", "t_max", "radiation", "rain", "vapour", "wind", "irrigation", "nitrogen", "co2",
         "above", "photoperiod", "psychrometric")  # fmt: skip
COLUMN = ("emerge", "develop_early", "develop", "vernal", "juvenile", "light", "leaf_death", "heat", "etc",
          "co2_demand",           "es0", "rain", "irrigation", "nitrogen")  # fmt: skip
(EMERGE, DEVELOP_EARLY, DEVELOP, VERNAL, JUVENILE, LIGHT, LEAF_DEATH, HEAT, ETC, CO2_DEMAND, ES0, RAIN, IRRIGATION,
 NITROGEN) = range(len(COLUMN))  # fmt: skip

DEMAND_BY_CO2: Table = ((40.0, 1.05), (360.0, 1.0), (720.0, 0.95), (1000.0, 0.92), (2000.0, 0.92))
HOT = 34.0  # degC from which heat hastens the death of leaves
RECOVERED = 0.7  # share of fertiliser nitrogen that reaches the mineral pool
VAPORISATION = 2.45e6  # J kg-1


def build_weather(crop: Crop) -> Callable[[Operations, Sequence[Any]], list[Any]]:
    """The function (operations, the values of GIVEN) -> the values of COLUMN."""

    def weather(o: Operations, given: Sequence[Any]) -> list[Any]:
        t_min, t_max, radiation, rain, vapour, wind, irrigation, nitrogen, co2, above, photoperiod, gamma = given
        t = 0.5 * (t_min + t_max)
        day = t_max - 0.25 * (t_max - t_min)

        reached = o.least(0.8 * above, radiation * 1e6)
        clear = held(o, (reached / above - 0.20) * (1.0 / 0.56), 0.0, 1.0)
        par = 0.5e-6 * reached
        efficiency = (
            ramp(o, crop.by_day_temperature, day)
            * ramp(o, crop.by_least_temperature, t_min)
            * ramp(o, crop.by_co2, co2)
        )

        wind_factor = 0.54 + 0.35 * held(o, 0.25 * (t_max - t_min - 12.0), 0.0, 1.0)
        warm = t + 239.0
        saturated = 6.11 * o.exp(17.4 * t / warm)
        actual = o.least(10.0 * vapour, saturated)
        slope = 239.0 * 17.4 * saturated / (warm * warm)
        kelvin = t + 273.0
        square = kelvin * kelvin
        longwave = 4.9e-3 * square * square * (0.56 - 0.079 * o.sqrt(o.most(actual, 0.0))) * (0.1 + 0.9 * clear)
        dryness = 0.26 * (saturated - actual)
        both = slope + gamma
        soil_wind, leaf_wind = dryness * (0.5 + wind_factor * wind), dryness * (1.0 + wind_factor * wind)
        of_soil = (slope * (reached * 0.85 - longwave) * (1.0 / VAPORISATION) + gamma * soil_wind) / both
        of_canopy = (slope * (reached * 0.75 - longwave) * (1.0 / VAPORISATION) + gamma * leaf_wind) / both
        demand = o.most(of_canopy, 0.0) * ramp(o, DEMAND_BY_CO2, co2)

        develop = o.most(ramp(o, crop.development, t), 0.0)
        early = develop * ramp(o, crop.photoperiod, photoperiod)
        emerge = held(o, t - crop.t_base_emergence, 0.0, crop.t_cap_emergence - crop.t_base_emergence)
        heat = o.where(o.less(t_max, HOT), 1.0, 0.5 * (t_max - HOT) + 3.0)
        return [
            emerge, early, develop, ramp(o, crop.vernal, t), o.most(t - crop.t_base_juvenile, 0.0), par * efficiency,
            ramp(o, crop.death_of_leaves, t), heat, demand, o.most(1.1 - 0.0003 * co2, 0.0), o.most(of_soil, 0.0),
            rain, irrigation, RECOVERED * nitrogen,
        ]  # fmt: skip

    return weather
