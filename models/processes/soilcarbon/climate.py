"""A year's climate in the soil: temperature and water by layer, from the air by month.

Everything is [place, 12] or [place, 12, layer]. Sources are named where a formula stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIDDLES = np.array([16, 46, 75, 106, 136, 167, 197, 228, 259, 289, 320, 350], np.int64)
DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.float64)
WARMEST = 203.0  # day of year, northern mid-latitudes: a month after the solstice
WARM, COLD = (5, 6, 7), (11, 0, 1)
# The mean of a cosine's quarter around its peak is sin(pi/4)/(pi/4) of the amplitude.
QUARTER = float(np.sin(np.pi / 4) / (np.pi / 4))
# m2 s-1: mineral soil at middling water, Campbell and Norman (1998), Environmental Biophysics, table 8.2: 4 to 7e-7.
DIFFUSIVITY = 5.0e-7
# K by which the year's mean soil is warmer than the air: USDA Soil Taxonomy (1999), chapter 4.
WARMER = 1.0
FIELD_CAPACITY, WILTING, DRIEST, WETTEST = -33.0, -1500.0, -2000.0, -2.0  # kPa
ROOTS = 0.961  # beta of crops, Jackson et al. (1996), Oecologia 108:389
MELT = 2.5  # mm K-1 d-1
STEPS = 6  # of a month
YEARS = 5  # run before the year that counts


@dataclass(frozen=True, slots=True, eq=False)
class Air:
    """[place, 12]. temperature: degC. precipitation, demand (potential evapotranspiration): mm month-1."""

    temperature: Array
    precipitation: Array
    demand: Array


def demand(above: Array, temperature: Array, diurnal_range: Array) -> Array:
    """[place, 12] potential evapotranspiration, mm month-1, none in frost: Hargreaves and Samani (1985; FAO-56 eq. 52).

    above: [place, 12] radiation above the atmosphere, MJ m-2 d-1. temperature: [place, 12] degC. diurnal_range: K,
    [place] of the year or [place, 12].
    """
    spread = np.sqrt(diurnal_range if diurnal_range.ndim == 2 else diurnal_range[:, None])
    daily = 0.0023 * (above / 2.45) * np.clip(temperature + 17.8, 0.0, None) * spread
    return np.where(temperature < 0.0, 0.0, daily * DAYS)


def soil_temperature(mean: Array, warm_quarter: Array, cold_quarter: Array, depth: Array) -> Array:
    """[place, 12, layer] degC: the year's wave, damped and late with depth, m (Carslaw and Jaeger 1959, 2.6).

    The wave at the surface is the air's: snow and canopy, which flatten it, are not counted.
    """
    omega = 2 * np.pi / (365.0 * 86400.0)
    damping = np.sqrt(2.0 * DIFFUSIVITY / omega)
    half = (warm_quarter - cold_quarter) / (2 * QUARTER)
    phase = 2 * np.pi * (MIDDLES - WARMEST)[:, None] / 365.0 - depth[None, :] / damping
    return np.asarray(
        (mean + WARMER)[:, None, None] + half[:, None, None] * np.exp(-depth / damping) * np.cos(phase)[None]
    )


@dataclass(frozen=True, slots=True, eq=False)
class Retention:
    """Water in a soil by suction, [place] each: Cosby et al. (1984), as CLM5 has it for mineral soils.

    porosity: m3 m-3. entry: kPa, negative. slope: Clapp and Hornberger's b.
    """

    porosity: Array
    entry: Array
    slope: Array

    def content(self, suction: float) -> Array:
        """[place] m3 m-3 at a matric potential, kPa (negative)."""
        return np.asarray(self.porosity * np.minimum(1.0, (suction / self.entry) ** (-1.0 / self.slope)))

    def potential(self, content: Array) -> Array:
        """[place, ...] kPa at a water content, m3 m-3."""
        more = (slice(None), *(None,) * (content.ndim - 1))
        wet = np.clip(content / self.porosity[more], 1e-3, 1.0)
        return np.asarray(self.entry[more] * wet ** -self.slope[more])


def retention(sand: Array, clay: Array) -> Retention:
    """From sand and clay, g kg-1."""
    s, c = sand / 10.0, clay / 10.0
    return Retention(0.489 - 0.00126 * s, -0.0098 * 10.0 ** (1.88 - 0.0131 * s) * 10.0, 2.91 + 0.159 * c)


def water_scalar(potential: Array) -> Array:
    """CLM's W scalar, 0 at -2 MPa to 1 at -2 kPa: ln(driest/psi) / ln(driest/wettest) (Andren and Paustian 1987)."""
    return np.asarray(np.clip(np.log(DRIEST / potential) / np.log(DRIEST / WETTEST), 0.0, 1.0))


def soil_water(air: Air, soil: Retention, thickness: Array) -> Array:
    """[place, 12, layer] m3 m-3 of the months of a year after five like it.

    A cascade of buckets: rain and melt fill layers to field capacity from above and leave below; roots (beta 0.961)
    take the demand where there is water, less below half of what plants can take (FAO-56's p of 0.5). No layer is
    wetter than field capacity, so W stays below about 0.6; no upward flow, no irrigation, no water table.
    """
    fc, wp = soil.content(FIELD_CAPACITY)[:, None] * thickness, soil.content(WILTING)[:, None] * thickness
    bottom = 100.0 * np.cumsum(thickness)
    roots = ROOTS ** (bottom - 100.0 * thickness) - ROOTS**bottom
    fc, wp, roots = fc * 1000.0, wp * 1000.0, roots / roots.sum()
    water, snow = (fc + wp) / 2, np.zeros(len(fc))
    out = np.zeros((len(fc), 12, len(thickness)))
    for year in range(YEARS + 1):
        for month in range(12):
            warm = air.temperature[:, month]
            rain, demand = air.precipitation[:, month] / STEPS, air.demand[:, month] / STEPS
            melting = MELT * np.clip(warm, 0.0, None) * DAYS[month] / STEPS
            for _ in range(STEPS):
                snow = snow + np.where(warm < 0.0, rain, 0.0)
                melt = np.minimum(snow, melting)
                snow = snow - melt
                water = _fill(water, fc, np.where(warm < 0.0, 0.0, rain) + melt)
                stress = np.clip((water - wp) / (0.5 * (fc - wp)), 0.0, 1.0)
                water = water - np.minimum(demand[:, None] * roots * stress, np.clip(water - wp, 0.0, None))
                if year == YEARS:
                    out[:, month] += water / STEPS
    return np.asarray(out / (1000.0 * thickness))


def _fill(water: Array, capacity: Array, entering: Array) -> Array:
    """Layers filled from above, mm; what the lowest cannot hold leaves."""
    room = np.clip(capacity - water, 0.0, None)
    above = np.cumsum(room, axis=1) - room
    return water + np.clip(entering[:, None] - above, 0.0, room)
