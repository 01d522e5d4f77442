"""Daily rain from monthly means, where a tower measured none: a stochastic stand-in that says that it is one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .tables import Array
from .tower import Tower

# Two-state Markov occurrence with gamma amounts (Richardson 1981, Water Resour. Res. 17:182): mean wet-day amount of
# about 6 mm sets the number of wet days; persistence of wet spells and the gamma's shape are mid-latitude values.
WET_DAY_MM = 6.0
PERSISTENCE = 0.3
SHAPE = 0.75


def with_monthly_rain(tower: Tower, seed: int = 0) -> Tower:
    """The tower with daily rain drawn so that every month keeps its gridded mean (`monthly_precip`), exactly.

    Days of rain are a first-order Markov chain, amounts gamma distributed, both scaled to the month. The days on which
    it rains are invented: scores of single days after rain mean nothing, sums over weeks do. Days with measured rain
    are kept. A tower without monthly rain, or with daily rain throughout, comes back unchanged.
    """
    if tower.monthly_precip is None or np.isfinite(tower.forcing["precip"]).all():
        return tower
    rng = np.random.default_rng([seed, *tower.site.encode()])
    days = tower.dates()
    year = tower.year_of_day() - tower.years[0]
    month = days.astype("datetime64[M]").astype(np.int64) % 12
    rain = tower.forcing["precip"].copy()
    for y in range(len(tower.years)):
        for m in range(12):
            here = np.flatnonzero((year == y) & (month == m) & ~np.isfinite(rain))
            mean = tower.monthly_precip[y, m]
            if len(here) and np.isfinite(mean):
                rain[here] = _month(rng, len(here), float(mean))
    note = (
        f"Daily rain is invented from monthly means of a gridded product (seed {seed}): only its sums are information."
    )
    return replace(tower, forcing={**tower.forcing, "precip": rain}, missing=(*tower.missing, note))


def _month(rng: np.random.Generator, n: int, mean: float) -> Array:
    if mean <= 0:
        return np.zeros(n)
    share = float(np.clip(mean / WET_DAY_MM, 1.0 / n, 0.9))
    wet = np.zeros(n, bool)
    now = bool(rng.random() < share)
    for day in range(n):
        chance = share + PERSISTENCE * (1.0 - share) if now else share * (1.0 - PERSISTENCE)
        now = bool(rng.random() < chance)
        wet[day] = now
    if not wet.any():
        wet[rng.integers(n)] = True
    amounts = np.where(wet, rng.gamma(SHAPE, 1.0, n), 0.0)
    return np.asarray(amounts * (mean * n / amounts.sum()), np.float64)
