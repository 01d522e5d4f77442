"""Floors: what anybody gets without a model of plant and soil, on exactly the days that a model is scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fieldflux.models.crops import CROP_OF_CDL
from fieldflux.tiles.measurements import Tower
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CLIMATOLOGY = "climatology"
OTHER_FIELDS = "other fields"
RIDGE = "ridge"
BOOSTING = "boosting"
DESCRIBED: Mapping[str, str] = {
    CLIMATOLOGY: "mean of the training days by crop and day of year (+-7 days): of the tower itself where it was "
    "trained on, else of all training towers; of all crops where its crop was never trained on.",
    OTHER_FIELDS: "mean by crop and day of year of the other towers of the same place, all years, the scored ones "
    "included: it sees the same weather next door, so it is no forecast and no test of space.",
    RIDGE: "ridge regression on weather of the day, of the past 7, 30 and 90 days, degree days and season.",
    BOOSTING: "gradient boosting (histograms, 200 trees) on the same features as ridge. Where the tower's GPP is given "
    "to the model, it is a feature of both regressions too.",
}

HALF_WINDOW = 7
_DOYS = 366


def day_of_year(tower: Tower) -> NDArray[np.int64]:
    """[day] 1..366."""
    days = tower.dates()
    return np.asarray((days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1)


def other_fields(tower: Tower, towers: Sequence[Tower], variable: str) -> Array | None:
    """[day] mean by crop and day of year over the other towers of the tower's group; None where it stands alone."""
    others = [t for t in towers if t.group == tower.group and t.site != tower.site and variable in t.observed]
    if not others:
        return None
    table = _by_crop_and_day([(t, t.good[variable]) for t in others], variable, 0)
    return _look_up(table, tower)


def climatology(tower: Tower, towers: Sequence[Tower], training: Mapping[str, Mask], variable: str) -> Array | None:
    """[day] mean of the training days by crop and day of year; None where the variable was never trained on."""
    known = [(t, t.good[variable] & training[t.site]) for t in towers if variable in t.good]
    known = [(t, mask) for t, mask in known if mask.any()]
    if not known:
        return None
    out = np.full(tower.days, np.nan)
    own = [(t, mask) for t, mask in known if t.site == tower.site]
    for source in (own, known):
        if source:
            table = _by_crop_and_day(source, variable, HALF_WINDOW)
            out = np.where(np.isfinite(out), out, _look_up(table, tower))
    pooled = _by_crop_and_day(known, variable, HALF_WINDOW, pool=True)
    return np.where(np.isfinite(out), out, _look_up(pooled, tower, pool=True))


def _crop_keys(tower: Tower, pool: bool) -> NDArray[np.int64]:
    return np.zeros(tower.days, np.int64) if pool else np.nan_to_num(tower.crop_of_day(), nan=-1).astype(np.int64)


def _by_crop_and_day(
    sources: Sequence[tuple[Tower, Mask]], variable: str, half_window: int, pool: bool = False
) -> dict[int, Array]:
    total: dict[int, Array] = {}
    count: dict[int, Array] = {}
    for tower, mask in sources:
        keys, doy = _crop_keys(tower, pool), day_of_year(tower)
        for key in np.unique(keys[mask]):
            chosen = mask & (keys == key)
            index = doy[chosen] - 1
            total.setdefault(int(key), np.zeros(_DOYS))
            count.setdefault(int(key), np.zeros(_DOYS))
            np.add.at(total[int(key)], index, tower.observed[variable][chosen])
            np.add.at(count[int(key)], index, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {key: _window(total[key], half_window) / _window(count[key], half_window) for key in total}


def _window(values: Array, half: int) -> Array:
    """Circular sum over +-half days."""
    return np.asarray(sum(np.roll(values, shift) for shift in range(-half, half + 1)), np.float64)


def _look_up(table: Mapping[int, Array], tower: Tower, pool: bool = False) -> Array:
    keys, doy = _crop_keys(tower, pool), day_of_year(tower)
    out = np.full(tower.days, np.nan)
    for key, values in table.items():
        here = keys == key
        out[here] = values[doy[here] - 1]
    return out


# --- regressions -----------------------------------------------------------------------------------------

WEATHER = ("tmean", "tmin", "tmax", "srad", "vpd")
LAGGED = ("tmean", "srad", "vpd")
LAGS = (7, 30, 90)
CROP_NAMES = ("maize", "soybean", "winter_wheat", "alfalfa")


def features(tower: Tower, given_gpp: bool) -> Array:
    """[day, feature]: weather and its past means, season, crop and irrigation; with measured GPP where it is given."""
    doy = day_of_year(tower)
    angle = np.asarray(2 * np.pi * doy / 365.25, np.float64)
    columns = [tower.forcing[name] for name in WEATHER]
    columns += [_past_mean(tower.forcing[name], lag) for name in LAGGED for lag in LAGS]
    warmth = np.maximum(tower.forcing["tmean"] - 8.0, 0.0)
    since = _days_since_sowing(tower, doy)
    columns += [np.sin(angle), np.cos(angle), since, _degree_days(warmth, since)]
    names = [CROP_OF_CDL[int(c)].name if np.isfinite(c) and int(c) in CROP_OF_CDL else "" for c in tower.annual["crop"]]
    of_day = tower.year_of_day() - tower.years[0]
    columns += [np.array([float(name == crop) for name in names])[of_day] for crop in CROP_NAMES]
    columns.append(np.nan_to_num(tower.annual["irrigated"])[of_day])
    if given_gpp:
        columns += [tower.observed["gpp"], _past_mean(tower.observed["gpp"], 7)]
    return np.column_stack(columns)


def _past_mean(values: Array, days: int) -> Array:
    """Mean of the day and the days before it, `days` in all; of fewer where the record starts or lacks some."""
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(known)])
    first = np.maximum(np.arange(len(values)) + 1 - days, 0)
    last = np.arange(len(values)) + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total[last] - total[first]) / (count[last] - count[first]), np.float64)


def _days_since_sowing(tower: Tower, doy: NDArray[np.int64]) -> Array:
    """Days since sowing while the year's crop stands, 0 before sowing and after harvest."""
    of_day = tower.year_of_day() - tower.years[0]
    sown, cut = (np.nan_to_num(tower.annual[name], nan=400.0) for name in ("sowing_doy", "harvest_doy"))
    start = np.where(sown > cut, sown - 365.0, sown)[of_day]
    standing = (doy >= start) & (doy <= cut[of_day])
    return np.where(standing, doy - start, 0.0)


def _degree_days(warmth: Array, since: Array) -> Array:
    """Degree days above 8 degC since sowing; 0 where nothing stands."""
    out = np.zeros(len(warmth))
    for day in range(1, len(warmth)):
        if since[day] > 0:
            out[day] = out[day - 1] + np.nan_to_num(warmth[day])
    return out


@dataclass(frozen=True, slots=True)
class Regressions:
    """Ridge and boosting of one variable, trained on the training days; `predict` gives [day] by floor name."""

    fitted: Mapping[str, Any]
    given_gpp: bool

    def predict(self, tower: Tower) -> dict[str, Array]:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        if self.given_gpp and "gpp" not in tower.observed:
            return {}
        x = features(tower, self.given_gpp)
        with threadpool_limits(1):
            return {name: np.asarray(model.predict(x), np.float64) for name, model in self.fitted.items()}


def regressions(
    towers: Sequence[Tower], training: Mapping[str, Mask], variable: str, given_gpp: bool
) -> Regressions | None:
    """Fit on exactly the days that the model was trained on; None where the variable was never trained on."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    xs, ys = [], []
    for tower in towers:
        if variable not in tower.good or (given_gpp and "gpp" not in tower.observed):
            continue
        mask = tower.good[variable] & training[tower.site]
        if mask.any():
            xs.append(features(tower, given_gpp)[mask])
            ys.append(tower.observed[variable][mask])
    if not xs or sum(map(len, ys)) < 100:
        return None
    x, y = np.concatenate(xs), np.concatenate(ys)
    ridge = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
    boosting = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=40, l2_regularization=1.0, random_state=0
    )
    # More threads than idle cores make the histograms many times slower, not faster.
    with threadpool_limits(1):
        return Regressions({RIDGE: ridge.fit(x, y), BOOSTING: boosting.fit(x, y)}, given_gpp)
