"""The family of teachers: parameter sets around those that were calibrated."""

from __future__ import annotations

import numpy as np
from fieldflux.models.contract import Floats
from fieldflux.models.processes.agroecosystem.parameters import (
    CROP_NAMES,
    ETA_H,
    G_SEN,
    LEARNED,
    NAMES,
    bounds,
    to_unit,
)

# Constants of respiration and turnover. Those of the soil are one for all crops, and their factor too.
_OF_CROP = ("r_root", "r_stem", "r_grain", "k_root", "k_leaf", "f_met")
_OF_SOIL = ("k_lits", "k_act", "k_slow", "k_old", "e_l", "e_s", "q10_r")
_AT_MOST = {"f_met": 0.9, "e_l": 0.7, "e_s": 0.6}


def draw_teacher(
    rng: np.random.Generator,
    calibrated: Floats,
    warmth: float,
    scatter: float,
    eta_h_scatter: float,
    constants_scatter: float,
) -> Floats:
    """[crop, parameter] one teacher, from a calibrated table [member, crop, parameter].

    One member, moved by Gaussians of `scatter` in the logits of the learned bounds; crops that were never calibrated
    have their defaults there. eta_h is log-normal around 1, balance, since the calibrated one is that of one site.
    Constants of respiration and turnover get log-normal factors. warmth: heat of the place's summer over that of the
    calibration; growers choose varieties that ripen there, so the heat sum to senescence of maize and soybean goes with
    it.
    """
    table = calibrated[rng.integers(len(calibrated))].copy()
    crops, count = len(table), len(LEARNED)
    shared = np.array([q.shared for q in LEARNED])
    noise = rng.normal(0.0, scatter, (crops, count))
    noise = np.where(shared, noise[:1], noise)
    unit = np.clip(to_unit(table), 0.01, 0.99)
    moved = 1.0 / (1.0 + np.exp(-(np.log(unit / (1.0 - unit)) + noise)))
    low, high, log = bounds()
    safe = np.where(log, low, 1.0)
    logarithmic = safe * np.where(log, high / safe, 1.0) ** moved
    table[:, :count] = np.where(log, logarithmic, low + moved * (high - low))
    table[:, ETA_H] = np.clip(rng.lognormal(0.0, eta_h_scatter), low[ETA_H], high[ETA_H])
    for name in (*_OF_CROP, *_OF_SOIL):
        factor = rng.lognormal(0.0, constants_scatter, crops if name in _OF_CROP else 1)
        table[:, NAMES.index(name)] = np.minimum(table[:, NAMES.index(name)] * factor, _AT_MOST.get(name, np.inf))
    for crop in (CROP_NAMES.index("maize"), CROP_NAMES.index("soybean")):
        table[crop, G_SEN] = np.clip(table[crop, G_SEN] * warmth, low[G_SEN], high[G_SEN])
    return np.asarray(table)
