"""From a forcing to what the step reads: derived weather, soil water constants, crop seasons. Plain numpy, float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from fieldflux.models.contract import Floats, Forcing, Integers
from fieldflux.models.crops import CROP_OF_CDL
from numpy.typing import NDArray

from .parameters import CROP_NAMES
from .step import SOIL, WEATHER

STEFAN_BOLTZMANN = 4.903e-9  # MJ K-4 m-2 d-1
ALBEDO = 0.23  # FAO-56, grass reference
PSI_RATIO = float(np.log(1500.0 / 33.0))  # suctions of wilting point and field capacity, Saxton & Rawls 2006
MIN_SOIL = {"bulk_density": 0.4, "field_capacity": 0.05, "wilting_point": 0.01}


def saturation_pressure(t: Floats) -> Floats:
    """Saturation vapour pressure, kPa, over water at `t` degC (FAO-56, eq. 11)."""
    return np.asarray(0.6108 * np.exp(17.27 * t / (t + 237.3)))


def extraterrestrial(latitude: Floats, doy: Integers) -> Floats:
    """Radiation above the atmosphere, MJ m-2 d-1, [W, D]; latitude [W] in degrees, day of year [D]; FAO-56 eq. 21."""
    phi, declination, sunset = _sun(latitude, doy)
    distance = 1.0 + 0.033 * np.cos(2.0 * np.pi * doy[None, :] / 365.0)
    day = sunset * np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.sin(sunset)
    return np.asarray(24.0 * 60.0 / np.pi * 0.0820 * distance * day)


def day_length(latitude: Floats, doy: Integers) -> Floats:
    """Hours from sunrise to sunset, [W, D]; FAO-56 eq. 34."""
    return np.asarray(24.0 / np.pi * _sun(latitude, doy)[2])


def _sun(latitude: Floats, doy: Integers) -> tuple[Floats, Floats, Floats]:
    """Latitude [W, 1], declination [1, D] and hour angle of the sunset [W, D], radians; FAO-56 eqs 24, 25."""
    phi = np.radians(latitude)[:, None]
    declination = 0.409 * np.sin(2.0 * np.pi * doy[None, :] / 365.0 - 1.39)
    return phi, declination, np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1.0, 1.0))


def derive_weather(daily: Mapping[str, Floats], latitude: Floats, elevation: Floats, doy: Integers) -> Floats:
    """[W, D, len(WEATHER)] what the step reads of the weather, from rows [W, D] in the vocabulary's units.

    Net radiation is `rnet` where it is measured, else FAO-56 eqs 38-40 with albedo 0.23. Day temperature is
    0.45 (tmax - tmean) above the mean (Running & Coughlan 1988). PET per MJ follows Lu et al. 2005 (Priestley-Taylor).
    CO2 is relative to 400 ppm. Irrigation and GPP are NaN where the step makes its own.
    """
    t, tmin, tmax, sw = daily["tmean"], daily["tmin"], daily["tmax"], daily["srad"]
    shape = t.shape
    pressure_mean = 0.5 * (saturation_pressure(tmax) + saturation_pressure(tmin))
    actual = np.maximum(pressure_mean - daily["vpd"], 0.02)
    t_day = t + 0.45 * (tmax - t)
    vpd_day = np.maximum(saturation_pressure(t_day) - actual, 0.0)

    top = extraterrestrial(latitude, doy)
    clear = np.maximum((0.75 + 2e-5 * elevation[:, None]) * top, 0.1)
    sky = 1.35 * np.clip(sw / clear, 0.3, 1.0) - 0.35
    warmth = 0.5 * ((tmax + 273.16) ** 4 + (tmin + 273.16) ** 4)
    longwave = STEFAN_BOLTZMANN * warmth * (0.34 - 0.14 * np.sqrt(actual)) * sky
    estimated = (1.0 - ALBEDO) * sw - longwave
    rnet = daily.get("rnet")
    rn = estimated if rnet is None else np.where(np.isnan(rnet), estimated, rnet)

    delta = 0.2 * (0.00738 * t + 0.8072) ** 7 - 0.000116
    pressure = 101.29 - 0.01055 * elevation[:, None]
    lam = 2.501 - 0.002361 * t
    gamma = 0.001013 * pressure / (0.622 * lam)
    columns = {
        "t": t,
        "t_min": tmin,
        "t_day": t_day,
        "sw": sw,
        "cloud": np.clip(1.0 - sw / np.maximum(0.78 * top, 0.1), 0.0, 1.0),
        "rn": rn,
        "vpd_day": vpd_day,
        "precip": daily["precip"],
        "co2": daily["co2"] / 400.0 if "co2" in daily else np.full(shape, 1.0),
        "pet_mj": 1.26 * delta / (delta + gamma) / lam,
        "lam": lam,
        "day_length": day_length(latitude, doy),
        "irrigation": daily.get("irrigation", np.full(shape, np.nan)),
        "gpp": np.full(shape, np.nan),
    }
    return np.stack([np.broadcast_to(columns[name], shape) for name in WEATHER], axis=-1).astype(np.float64)


def derive_soil(static: Mapping[str, Floats]) -> Floats:
    """[C, len(SOIL)] saturation, field capacity, wilting point (m3 m-3), retention exponent, capillary conductivity.

    Saturation is 1 - bulk density / 2.65, at least 0.02 above field capacity. The exponent is Saxton & Rawls' B from
    field capacity and wilting point; conductivity at field capacity is Ksat (fc / sat) ** (3 + 2 B), mm d-1.
    """
    fc = np.asarray(static["field_capacity"], dtype=np.float64)
    wp = np.minimum(np.asarray(static["wilting_point"], dtype=np.float64), 0.9 * fc)
    sat = np.maximum(1.0 - np.asarray(static["bulk_density"], dtype=np.float64) / 2.65, fc + 0.02)
    b = PSI_RATIO / np.log(fc / wp)
    k_cap = 24.0 * np.asarray(static["ksat"], dtype=np.float64) * (fc / sat) ** (3.0 + 2.0 * b)
    columns = {"th_s": sat, "th_fc": fc, "th_wp": wp, "b": b, "k_cap": k_cap}
    return np.stack([columns[name] for name in SOIL], axis=-1)


def soc_stock(static: Mapping[str, Floats]) -> Floats:
    """Soil organic carbon of 0-30 cm, gC m-2, [C]: content (g kg-1) x bulk density (Mg m-3) x 300 mm."""
    return np.asarray(static["soc_content"], dtype=np.float64) * static["bulk_density"] * 300.0


@dataclass(frozen=True, slots=True)
class Seasons:
    """Crop seasons of C cells in the Y years of a forcing; a season belongs to the year of its harvest.

    crop: index in CROP_NAMES, -1 unknown (then the year's outputs are missing). sow, harvest: day of year; sow is 0
    where the stand goes on; a sowing in the autumn before is 1000 + its day of year. switch: last day of year on which
    the year's own season counts; from the next day on it is the following year's. All [C, Y].
    """

    crop: NDArray[np.int64]
    sow: NDArray[np.int64]
    harvest: NDArray[np.int64]
    switch: NDArray[np.int64]
    irrigated: Floats
    removed: Floats
    tillage: Floats


AUTUMN = 1000
PERENNIAL_CROP = CROP_NAMES.index("alfalfa")


def derive_seasons(forcing: Forcing) -> Seasons:
    """Seasons from the forcing's annual inputs. Irrigation, residue removal and tillage are 0 where not given."""
    annual = forcing.annual
    crop = crop_index(np.asarray(annual["crop"]))
    cells, years = crop.shape
    with np.errstate(invalid="ignore"):
        sow = np.nan_to_num(np.asarray(annual["sowing_doy"], dtype=np.float64)).astype(np.int64)
        harvest = np.nan_to_num(np.asarray(annual["harvest_doy"], dtype=np.float64)).astype(np.int64)
    perennial = crop == PERENNIAL_CROP
    undated = (sow < 1) | (harvest < 1)
    crop = np.where(undated & ~perennial, -1, crop)
    before = np.concatenate([perennial[:, :1], perennial[:, :-1]], axis=1)
    harvest = np.where(perennial, 0, harvest)
    # a perennial is sown only where it follows another crop
    sow = np.where(perennial, np.where(before, 0, np.clip(sow, 1, 366)), sow)
    autumn = ~perennial & (sow > harvest)
    sow = np.where(autumn, AUTUMN + sow, sow)
    following = np.concatenate([sow[:, 1:], np.zeros((cells, 1), dtype=np.int64)], axis=1)
    sown_before = following > AUTUMN
    own_end = np.where(perennial | (crop < 0), 400, harvest)
    switch = np.where(sown_before, np.minimum(own_end, following - AUTUMN - 1), own_end)
    if years:
        switch[:, -1] = 400

    def optional(name: str) -> Floats:
        return np.nan_to_num(np.asarray(annual[name], dtype=np.float64)) if name in annual else np.zeros(crop.shape)

    return Seasons(crop, sow, harvest, switch, optional("irrigated"), optional("residue_removed"), optional("tillage"))


def crop_index(cdl: NDArray[np.generic]) -> NDArray[np.int64]:
    """Index in CROP_NAMES of codes of the Cropland Data Layer; -1 for any other."""
    table = np.full(257, -1, dtype=np.int64)
    for code, crop in CROP_OF_CDL.items():
        table[code] = CROP_NAMES.index(crop.name)
    numbers = np.asarray(cdl, dtype=np.float64)
    codes = np.where(np.isfinite(numbers) & (numbers >= 0) & (numbers <= 255), numbers, 256).astype(np.int64)
    return table[codes]
