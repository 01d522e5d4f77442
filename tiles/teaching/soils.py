"""Soils of a teaching set: texture, then water and carbon that go with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The teacher's domain, and what keeps it in motion.
BOUNDS = {
    "bulk_density": (0.95, 1.75),
    "field_capacity": (0.10, 0.48),
    "wilting_point": (0.03, 0.35),
    "ksat": (0.5, 250.0),
    "soc_content": (3.0, 60.0),
}
WIDE = 0.25  # share of soils of any texture; the others are those of the Corn Belt


def sample_soils(rng: np.random.Generator, n: int) -> dict[str, Array]:
    """[n] each: sand, silt, clay (g kg-1), field_capacity, wilting_point (m3 m-3), ksat (mm h-1), bulk_density
    (Mg m-3) and soc_content (gC kg-1), of 0-30 cm.

    Texture is drawn around silt loam and silty clay loam, a quarter of it anywhere. Water constants follow Saxton and
    Rawls (2006, Soil Sci. Soc. Am. J. 70:1569) with a scatter, field capacity 0.03 lower, so that means and spreads are
    near those of the 10335 soils of Liu et al. (2024).
    """
    wide = rng.random(n) < WIDE
    sand_belt = np.clip(rng.lognormal(np.log(0.085), 0.85, n), 0.01, 0.75)
    clay_belt = np.clip(rng.normal(0.26, 0.07, n), 0.08, 0.45)
    anywhere = rng.dirichlet([1.4, 1.6, 1.0], n)  # sand, silt, clay
    sand = np.where(wide, np.clip(anywhere[:, 0], 0.02, 0.85), sand_belt)
    clay = np.where(wide, np.clip(anywhere[:, 2], 0.05, 0.55), clay_belt)
    whole = np.maximum(sand + clay, 0.98) / 0.98  # some silt is left
    sand, clay = sand / whole, clay / whole

    soc = rng.lognormal(np.log(15.0) + 0.6 * (clay - 0.25), 0.5, n)
    low, high = BOUNDS["soc_content"]
    soc = np.clip(soc, low, high)
    humus = np.clip(0.1724 * soc, 0.3, 8.0)  # %, van Bemmelen
    capacity, wilting, saturated = _saxton_rawls(sand, clay, humus)
    capacity = capacity - 0.03 + rng.normal(0, 0.025, n)
    wilting = wilting + 0.01 + rng.normal(0, 0.02, n)
    slope = np.log(1500.0 / 33.0) / np.log(np.maximum(capacity / np.maximum(wilting, 0.03), 1.2))
    ksat = 1930.0 * np.maximum(saturated - capacity, 0.02) ** (3.0 - 1.0 / slope) * rng.lognormal(0.0, 0.65, n)
    density = 1.50 - 0.007 * soc + rng.normal(0, 0.09, n)
    soil = {
        "bulk_density": density,
        "field_capacity": capacity,
        "wilting_point": wilting,
        "ksat": ksat,
        "soc_content": soc,
    }
    soil = {name: np.clip(values, *BOUNDS[name]) for name, values in soil.items()}
    # the least that plants can take: 0.05 of the volume
    soil["wilting_point"] = np.minimum(soil["wilting_point"], soil["field_capacity"] - 0.05)
    return soil | {"sand": 1000 * sand, "clay": 1000 * clay, "silt": 1000 * (1 - sand - clay)}


def _saxton_rawls(s: Array, c: Array, om: Array) -> tuple[Array, Array, Array]:
    """Field capacity, wilting point and saturation, m3 m-3, of sand and clay (fractions) and organic matter (%)."""
    dry = -0.024 * s + 0.487 * c + 0.006 * om + 0.005 * s * om - 0.013 * c * om + 0.068 * s * c + 0.031
    wilting = dry + 0.14 * dry - 0.02
    wet = -0.251 * s + 0.195 * c + 0.011 * om + 0.006 * s * om - 0.027 * c * om + 0.452 * s * c + 0.299
    capacity = wet + 1.283 * wet**2 - 0.374 * wet - 0.015
    free = 0.278 * s + 0.034 * c + 0.022 * om - 0.018 * s * om - 0.027 * c * om - 0.584 * s * c + 0.078
    free = free + 0.636 * free - 0.107
    return capacity, wilting, capacity + free - 0.097 * s + 0.043
