"""A small made-up forcing for tests of models: a Midwestern year of smooth weather with random rain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from fieldflux.models.contract import Forcing

MAIZE, SOYBEAN, WHEAT, ALFALFA, RICE = 1, 5, 24, 36, 3
CALENDAR = {MAIZE: (125, 285), SOYBEAN: (135, 275), WHEAT: (275, 190), ALFALFA: (1, 366), RICE: (120, 260)}


def small_forcing(
    crops: Sequence[Sequence[int]],
    first_year: int = 2019,
    days: int | None = None,
    seed: int = 0,
    irrigated: float = 0.0,
) -> Forcing:
    """Cells with the given crop codes, [cell][year], all on one weather row; `days` defaults to whole years."""
    years = len(crops[0])
    start = date(first_year, 1, 1)
    length = (date(first_year + years, 1, 1) - start).days if days is None else days
    rng = np.random.default_rng(seed)
    day = np.arange(length)
    angle = 2 * np.pi * (day - 105) / 365.25
    tmean = 10 + 15 * np.sin(angle) + rng.normal(0, 2.5, length)
    rain = np.where(rng.random(length) < 0.3, rng.gamma(0.8, 10, length), 0.0)
    srad = np.clip(14 + 9 * np.sin(angle + 0.25) - 4 * (rain > 0) + rng.normal(0, 2, length), 1, 31)
    daily = {
        "tmean": tmean,
        "tmin": tmean - 6,
        "tmax": tmean + 6,
        "precip": rain,
        "srad": srad,
        "vpd": np.clip(0.25 + 0.03 * tmean + 0.02 * srad, 0.02, 4),
    }
    cells = len(crops)
    table = np.array(crops, dtype=np.float64)
    soils = {
        "latitude": 42.0,
        "bulk_density": 1.35,
        "field_capacity": 0.32,
        "wilting_point": 0.16,
        "ksat": 12.0,
        "soc_content": 22.0,
    }
    return Forcing(
        start=start,
        years=tuple(range(first_year, first_year + years)),
        daily={name: values[None].astype(np.float32) for name, values in daily.items()},
        weather=np.zeros(cells, dtype=np.int64),
        annual={
            "crop": table,
            "sowing_doy": np.vectorize(lambda c: CALENDAR[int(c)][0])(table).astype(np.float64),
            "harvest_doy": np.vectorize(lambda c: CALENDAR[int(c)][1])(table).astype(np.float64),
            "irrigated": np.full(table.shape, irrigated),
            "residue_removed": np.zeros(table.shape),
            "tillage": np.full(table.shape, 0.5),
        },
        static={name: np.full(cells, value) for name, value in soils.items()},
    )
