"""A year's climate in the soil from yearly statistics of a county: air by month, temperature and water by layer.

What follows from the months is the model's own, see `models.processes.soilcarbon.climate`.
"""

from __future__ import annotations

import numpy as np
from fieldflux.models.processes.soilcarbon.climate import COLD, MIDDLES, QUARTER, WARM, WARMEST, Air, Array, demand
from fieldflux.tiles.atmosphere import extraterrestrial


def monthly_air(
    latitude: Array,
    mean: Array,
    warm_quarter: Array,
    cold_quarter: Array,
    diurnal_range: Array,
    rain: Array,
    warm_rain: Array,
    cold_rain: Array,
) -> Air:
    """Months from yearly statistics, each [place]: degC, degC of the warmest and coldest quarter, K, mm yr-1, mm.

    Temperature is a cosine with its peak in late July whose quarters have the given difference. Rain is even within
    quarters: the warmest (June to August), the coldest (December to February), and what they leave, half to spring and
    half to autumn. Demand is Hargreaves and Samani's (1985; FAO-56 eq. 52), none in frost. North of the tropics
    only.
    """
    wave = np.cos(2 * np.pi * (MIDDLES - WARMEST) / 365.0)
    temperature = mean[:, None] + (warm_quarter - cold_quarter)[:, None] / (2 * QUARTER) * wave
    share = np.repeat(np.clip(rain - warm_rain - cold_rain, 0.0, None)[:, None] / 6.0, 12, axis=1)
    share[:, WARM], share[:, COLD] = warm_rain[:, None] / 3.0, cold_rain[:, None] / 3.0
    days = np.datetime64("2001-01-01") + (MIDDLES - 1).astype(np.int64)
    return Air(temperature, share, demand(extraterrestrial(latitude, days), temperature, diurnal_range))
