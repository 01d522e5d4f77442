"""Floors of county yields: trends, means, and regressions on the season's weather fitted on the training part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fieldflux.models.scores import score
from fieldflux.tiles.measurements import CountyRecord
from fieldflux.tiles.measurements.trend import FEWEST, WINDOW, line_before
from numpy.typing import NDArray

from .yieldsplit import TRAINING, UNSEEN, YieldSplit

Array = NDArray[np.float64]
Years = NDArray[np.int64]

COUNTY_TREND = "county trend"
STATE_TREND = "state trend"
MEAN = "training mean"
RIDGE = "ridge"
BOOSTING = "boosting"
SEEDS = 5
DESCRIBED: Mapping[str, str] = {
    COUNTY_TREND: f"straight line through the county's last {WINDOW} earlier reported years (at least {FEWEST}; else "
    "the state trend): in an unseen county it knows what the model does not.",
    STATE_TREND: f"straight line through the last {WINDOW} earlier years of the mean of the state's training counties "
    "but the scored one.",
    MEAN: "mean of the county's training years; of the state's training counties where it has none.",
    RIDGE: "ridge regression of the difference from the trend (the county's; in an unseen county the state's) on year, "
    "trend, latitude, soil carbon and the season's weather: degree days, hot days, rain by month, VPD of July and "
    "August, radiation.",
    BOOSTING: f"gradient boosting on the same, mean of {SEEDS} fits to resampled training rows.",
}


@dataclass(frozen=True, slots=True, eq=False)
class YieldTable:
    """Reported yields of one crop, one row a county and year. fips, state, part: [n]. year: [n]. observed: [n], t ha-1.

    weather: [n, index] of the season, in the order of `INDICES`. place: [n, 2] latitude and mean soil carbon, g kg-1,
    NaN where unknown.
    """

    crop: str
    fips: NDArray[np.str_]
    state: NDArray[np.str_]
    year: Years
    part: NDArray[np.str_]
    observed: Array
    weather: Array
    place: Array


@dataclass(frozen=True, slots=True, eq=False)
class YieldFloors:
    """values: floor -> [n], t ha-1, on the rows of a table; NaN where it is undefined or was fitted on the row itself.

    spread: (floor, part) -> standard deviation over fits of the RMSE of each.
    """

    values: Mapping[str, Array]
    spread: Mapping[tuple[str, str], float] = field(default_factory=dict)


# --- the season's weather --------------------------------------------------------------------------------

MONTHS = (4, 5, 6, 7, 8, 9)
INDICES = ("gdd", "hot_days", *(f"rain_{month}" for month in MONTHS), "vpd_78", "srad_678")
BASE, CAP, HOT = 8.0, 30.0, 32.0


def season_weather(record: CountyRecord, year: int) -> Array:
    """[index of INDICES] of one year: degree days above 8 degC, April to September, extremes capped at 30 degC; days of
    June to August above 32 degC; rain by month, mm; mean VPD of July and August, kPa; mean radiation of June to August.
    """
    days = record.days
    here = days.astype("datetime64[Y]").astype(np.int64) + 1970 == year
    month = (days[here].astype("datetime64[M]").astype(np.int64) % 12) + 1
    w = {name: values[here] for name, values in record.weather.items()}
    season, summer = np.isin(month, MONTHS), np.isin(month, (6, 7, 8))
    low, high = (np.clip(w[name], BASE, CAP) for name in ("tmin", "tmax"))
    rain = [float(w["precip"][month == m].sum()) for m in MONTHS]
    return np.array(
        [
            float(((low + high) / 2 - BASE)[season].sum()),
            float((w["tmax"][summer] > HOT).sum()),
            *rain,
            float(w["vpd"][np.isin(month, (7, 8))].mean()),
            float(w["srad"][summer].mean()),
        ]
    )


def tabulate(panel: Sequence[CountyRecord], split: YieldSplit, crop: str) -> YieldTable:
    """All reported yields of a crop in years with weather."""
    rows = [
        (record, year, float(value))
        for record in panel
        for year, value in zip(record.years, record.yields[crop], strict=True)
        if np.isfinite(value)
    ]
    return YieldTable(
        crop,
        np.array([r.fips for r, _, _ in rows], str),
        np.array([r.state for r, _, _ in rows], str),
        np.array([y for _, y, _ in rows], np.int64),
        np.array([split.part(r.fips, y) for r, y, _ in rows], str),
        np.array([v for _, _, v in rows], np.float64),
        np.array([season_weather(r, y) for r, y, _ in rows], np.float64).reshape(len(rows), len(INDICES)),
        np.array([_place(r) for r, _, _ in rows], np.float64).reshape(len(rows), 2),
    )


def _place(record: CountyRecord) -> tuple[float, float]:
    carbon = record.points.get("soc_content")
    return float(record.points["latitude"].mean()), float("nan") if carbon is None else float(carbon.mean())


# --- trends and means ------------------------------------------------------------------------------------


def county_trend(panel: Sequence[CountyRecord], table: YieldTable) -> Array:
    """[n] the line through the county's own earlier years; NaN with too few of them."""
    history = {r.fips: r.history[table.crop] for r in panel if table.crop in r.history}
    return np.array([line_before(int(y), *history[f]) for f, y in zip(table.fips, table.year, strict=True)])


def state_trend(panel: Sequence[CountyRecord], split: YieldSplit, table: YieldTable) -> Array:
    """[n] the line through the earlier years of the mean of the state's counties that are neither held out nor the
    row's own; NaN with too few years.
    """
    out = np.full(len(table.year), np.nan)
    for fips in np.unique(table.fips):
        rows = np.flatnonzero(table.fips == fips)
        state = table.state[rows[0]]
        known = [
            r.history[table.crop]
            for r in panel
            if r.state == state and r.fips != fips and r.fips in split.years and table.crop in r.history
        ]
        if known:
            years, means = _mean_by_year(known)
            out[rows] = [line_before(int(y), years, means) for y in table.year[rows]]
    return out


def _mean_by_year(series: Sequence[tuple[Years, Array]]) -> tuple[Years, Array]:
    year, value = (np.concatenate([s[k] for s in series]) for k in (0, 1))
    years, which = np.unique(year, return_inverse=True)
    return years, np.bincount(which, value) / np.bincount(which)


def training_mean(table: YieldTable) -> Array:
    """[n] mean of the county's training rows, or of the state's, or of all; a training row knows itself: NaN."""
    training = table.part == TRAINING
    out = np.full(len(table.year), np.nan)
    for i in np.flatnonzero(~training):
        for alike in (table.fips == table.fips[i], table.state == table.state[i], np.ones(len(out), bool)):
            if (alike & training).any():
                out[i] = table.observed[alike & training].mean()
                break
    return out


# --- regressions -----------------------------------------------------------------------------------------


def floors_of(panel: Sequence[CountyRecord], split: YieldSplit, table: YieldTable) -> YieldFloors:
    """Every floor on every row of a table. Regressions and means are NaN on training rows, which they have seen."""
    state = state_trend(panel, split, table)
    own = county_trend(panel, table)
    county = np.where(np.isfinite(own), own, state)
    values = {COUNTY_TREND: county, STATE_TREND: state, MEAN: training_mean(table)}
    unseen, training = table.part == UNSEEN, table.part == TRAINING
    fits: dict[str, Array] = {}
    for base, rows in ((county, ~unseen & ~training), (state, unseen)):
        for name, predicted in _regressions(table, base, rows).items():
            fits.setdefault(name, np.full((len(predicted), len(table.year)), np.nan))[:, rows] = predicted
    values |= {name: members.mean(axis=0) for name, members in fits.items()}
    spread = {
        (name, part): float(np.std([score(m, table.observed, table.part == part).rmse for m in members], ddof=1))
        for name, members in fits.items()
        if len(members) > 1
        for part in np.unique(table.part[~training]).tolist()
    }
    return YieldFloors(values, spread)


def _regressions(table: YieldTable, base: Array, rows: NDArray[np.bool_]) -> dict[str, Array]:
    """Floor -> [fit, row] on `rows`: the base and a regression, fitted on training rows, of the difference from it."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    fitted = (table.part == TRAINING) & np.isfinite(base)
    if fitted.sum() < 20 or not rows.any():
        return {}
    x = np.column_stack([table.weather, table.place, table.year, base])
    x = x[:, np.isfinite(x[fitted]).all(axis=0)]
    y = (table.observed - base)[fitted]
    # A row without a base stays NaN through it; ridge only must not meet a NaN.
    x_new = np.where(np.isfinite(x[rows]), x[rows], x[fitted].mean(axis=0))
    with threadpool_limits(1):
        ridge = _ridge(x[fitted], y, table.year[fitted]).predict(x_new)[None]
        boosting = _boosting(x[fitted], y, x_new)
    return {RIDGE: base[rows] + ridge, BOOSTING: base[rows] + boosting}


def _ridge(x: Array, y: Array, year: Years) -> Any:
    """Its penalty is chosen on left-out years: counties of one year share their weather, so that a left-out row would
    be known from its neighbours.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = list(GroupKFold(min(5, len(np.unique(year)))).split(x, y, year))
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11), cv=folds)).fit(x, y)


def _boosting(x: Array, y: Array, x_new: Array) -> Array:
    from sklearn.ensemble import HistGradientBoostingRegressor

    out = []
    for seed in range(SEEDS):
        rows = np.random.default_rng(seed).integers(0, len(y), len(y))
        model = HistGradientBoostingRegressor(
            max_iter=100, learning_rate=0.05, max_leaf_nodes=6, min_samples_leaf=8, l2_regularization=1.0
        )
        out.append(model.fit(x[rows], y[rows]).predict(x_new))
    return np.array(out)
