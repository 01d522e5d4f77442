"""Weather that is derived from other weather, by published relations, and the CO2 of the air.

FAO-56 is Allen, Pereira, Raes and Smith (1998), Crop evapotranspiration, FAO Irrigation and Drainage Paper 56.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Global annual mean CO2, ppm, of marine surface sites: NOAA Global Monitoring Laboratory, co2_annmean_gl (version with
# 2024 as its last year; doi:10.15138/9n0h-zh07).
CO2_GLOBAL: MappingProxyType[int, float] = MappingProxyType(
    dict(
        enumerate(
            (
                *(336.86, 338.91, 340.11, 340.85, 342.53, 344.07, 345.54, 346.97, 348.68, 351.16, 352.79),
                *(354.06, 355.40, 356.09, 356.83, 358.33, 360.18, 361.93, 363.04, 365.70, 367.79, 368.96),
                *(370.57, 372.58, 375.14, 376.95, 378.98, 381.16, 382.90, 385.02, 386.50, 388.75, 390.62),
                *(392.65, 395.40, 397.34, 399.65, 403.07, 405.21, 407.62, 410.07, 412.44, 414.70, 417.08),
                *(419.37, 422.80),
            ),
            start=1979,
        )
    )
)
CO2_SOURCE = "NOAA GML global annual mean CO2 (co2_annmean_gl), linear between mid-years"

# Hargreaves and Samani (1982): radiation over extraterrestrial radiation = K_RS * sqrt(tmax - tmin); FAO-56 eq. 50,
# with the coefficient for places in the interior of a continent.
K_RS = 0.16


def saturation_pressure(celsius: ArrayLike) -> Floats:
    """Saturation vapour pressure over water, kPa (FAO-56 eq. 11).

    >>> round(float(saturation_pressure(20.0)), 3)
    2.338
    """
    t = np.asarray(celsius, float)
    return np.asarray(0.6108 * np.exp(17.27 * t / (t + 237.3)), np.float64)


def mean_saturation_pressure(tmin: ArrayLike, tmax: ArrayLike) -> Floats:
    """Saturation vapour pressure of a day, kPa: mean of those at its extremes (FAO-56 eq. 12)."""
    return np.asarray((saturation_pressure(tmin) + saturation_pressure(tmax)) / 2, np.float64)


def vpd_from_humidity(tmin: ArrayLike, tmax: ArrayLike, relative_humidity: ArrayLike) -> Floats:
    """Vapour pressure deficit of a day, kPa, from its extremes, degC, and relative humidity, % (FAO-56 eq. 12, 19)."""
    rh = np.clip(np.asarray(relative_humidity, float), 0, 100)
    return np.asarray(mean_saturation_pressure(tmin, tmax) * (1 - rh / 100), np.float64)


def vpd_from_pressure(tmin: ArrayLike, tmax: ArrayLike, vapour_pressure: ArrayLike) -> Floats:
    """Vapour pressure deficit of a day, kPa, from its extremes, degC, and vapour pressure, kPa; at least 0."""
    deficit = mean_saturation_pressure(tmin, tmax) - np.asarray(vapour_pressure, float)
    return np.asarray(np.maximum(deficit, 0.0), np.float64)


def extraterrestrial(latitude: ArrayLike, days: NDArray[np.datetime64]) -> Floats:
    """Radiation above the atmosphere, MJ m-2 d-1, [..., D] for latitudes [...] and days [D] (FAO-56 eq. 21-25)."""
    doy = (days - days.astype("datetime64[Y]")).astype(int) + 1
    lat = np.radians(np.asarray(latitude, float))[..., None]
    angle = 2 * np.pi * doy / 365
    declination = 0.409 * np.sin(angle - 1.39)
    sunset = np.arccos(np.clip(-np.tan(lat) * np.tan(declination), -1, 1))
    distance = 1 + 0.033 * np.cos(angle)
    daily = sunset * np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.sin(sunset)
    return np.asarray(24 * 60 / np.pi * 0.0820 * distance * daily, np.float64)


def range_from_radiation(srad: ArrayLike, above: ArrayLike) -> Floats:
    """Estimate of a day's range of temperature, K, from its radiation and that above the atmosphere, MJ m-2 d-1.

    Hargreaves and Samani (1982) solved for the range, kept within 2 to 22 K: clear days are wide, overcast ones narrow.
    """
    clearness = np.asarray(srad, float) / np.asarray(above, float)
    return np.asarray(np.clip((clearness / K_RS) ** 2, 2.0, 22.0), np.float64)


def radiation_from_range(tmin: ArrayLike, tmax: ArrayLike, above: ArrayLike) -> Floats:
    """Estimate of radiation, MJ m-2 d-1, from a day's extremes, degC (Hargreaves and Samani 1982; FAO-56 eq. 50).

    Kept at or below the clear sky's 0.75 of `above` (FAO-56 eq. 37 at sea level).
    """
    spread = np.maximum(np.asarray(tmax, float) - np.asarray(tmin, float), 0.0)
    ra = np.asarray(above, float)
    return np.asarray(np.minimum(K_RS * np.sqrt(spread) * ra, 0.75 * ra), np.float64)


def co2_of(days: NDArray[np.datetime64]) -> Floats | None:
    """CO2 of the air on each day, ppm: global annual means, linear between mid-years; None outside 1979-2024."""
    years: Any = days.astype("datetime64[Y]").astype(int) + 1970
    if years.min() < min(CO2_GLOBAL) or years.max() > max(CO2_GLOBAL):
        return None
    known = np.array(sorted(CO2_GLOBAL))
    start = days.astype("datetime64[Y]")
    length = ((start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")).astype(int)
    fraction = ((days - start.astype("datetime64[D]")).astype(int) + 0.5) / length
    daily = np.interp(years + fraction, known + 0.5, [CO2_GLOBAL[int(y)] for y in known])
    return np.asarray(daily, np.float64)
