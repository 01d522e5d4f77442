"""Made-up county years of one crop, as the networks are trained on."""

from __future__ import annotations

import numpy as np
import torch
from fieldflux.models.hybrids.crop.drive import Part, soil_of, statics_of
from fieldflux.models.hybrids.crop.served import Kind


def county_part(kind: Kind, count: int, seed: int = 0) -> Part:
    """`count` seasons of 365 days from the season's beginning on, one cell each, expected yields unknown in half."""
    rng = np.random.default_rng(seed)
    day = (kind.begins - 1 + np.arange(365)) % 365 + 1.0
    angle = 2 * np.pi * (day - 105) / 365.25
    warmth = rng.normal(0, 1.5, (count, 1))
    tmean = 11 + warmth + 14 * np.sin(angle) + rng.normal(0, 2.5, (count, 365))
    rain = np.where(rng.random((count, 365)) < 0.3, rng.gamma(0.8, 9, (count, 365)), 0.0)
    srad = np.clip(14 + 9 * np.sin(angle + 0.25) - 4 * (rain > 0), 1, 31)
    daily = {
        "tmin": tmean - 6, "tmax": tmean + 6, "precip": rain, "srad": srad,
        "vpd": np.clip(0.25 + 0.03 * tmean + 0.02 * srad, 0.02, 4),
    }  # fmt: skip
    static = {
        "latitude": rng.uniform(39, 44, count), "bulk_density": np.full(count, 1.35),
        "field_capacity": rng.uniform(0.27, 0.36, count), "wilting_point": rng.uniform(0.12, 0.19, count),
    }  # fmt: skip
    sowing = np.full(count, kind.sowing)
    expected = np.where(np.arange(count) % 2 == 0, np.nan, kind.yields[0])
    reap = 330 if kind.autumn else 285
    return Part(
        kind, daily, static["latitude"], np.zeros(count), day, 0, torch.arange(count),
        torch.full((count,), int(kind.sowing) - kind.begins), torch.full((count,), reap),
        statics_of(kind, static, sowing, np.full(count, 2010.0), expected), soil_of(kind, static),
        torch.from_numpy(expected.astype(np.float32)),
    )  # fmt: skip
