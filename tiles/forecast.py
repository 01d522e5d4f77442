"""A harvest before its time: the season's own weather up to a day, then that of each earlier year of the same place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
from fieldflux.models.contract import Forcing, Model, State, check_inputs
from fieldflux.models.crops import CROP_OF_CDL
from fieldflux.models.hybrids.crop.forecast import rule_at
from fieldflux.models.intervals import half_width
from numpy.typing import NDArray

from .cells import advance, identical, narrow, start, taken
from .layout import days_in
from .question import Unanswerable
from .surface import CubeLike
from .zonal import Coverage

Floats = NDArray[np.float64]
MOST_YEARS = 15
SHOWN = ("biomass", "grain", "lai", "stage", "water_stress")
"""What is told of the crop on the last day whose weather is known, where the model gives it."""


@dataclass(frozen=True, slots=True)
class CropForecast:
    """One crop of a polygon. share: of the covered area. yields: [member, earlier year] gC m-2, area means. mean, low,
    high: of them, gC m-2; None where there is no interval. basis: "conformal", with `lead` the days to harvest that its
    rule is of, or "spread". days_to_harvest: from the day of issue; 0 or less: it is harvested, or is by now."""

    cdl: int
    crop: str
    share: float
    yields: Floats
    mean: float
    low: float | None
    high: float | None
    basis: str
    lead: int | None
    days_to_harvest: int
    harvest: date
    now: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forecast:
    """A polygon's harvests of a year. weather_years: the earlier years whose weather stands in for what is to come.
    flags: name -> share of the covered area. valid: share of it with a yield."""

    issue_day: date
    weather_years: tuple[int, ...]
    crops: tuple[CropForecast, ...]
    valid: float
    flags: Mapping[str, float] = field(default_factory=dict)


def forecast(
    model: Model, cube: CubeLike, cover: Coverage, issue: date, level: float, live_cell_years: int
) -> Forecast:
    """The yields of the year of `issue`, as seen on its morning: no weather of that day or after it is read.

    Members and earlier years are taken together: each member is continued with the weather of each year. Raises
    MissingInputs; Unanswerable (invalid-dates, over-limit).
    """
    check_inputs(model.card.id, model.needs, cube.available(), f"the cube '{cube.id}'")
    year = issue.year
    earlier = tuple(y for y in cube.years if y < year)[-MOST_YEARS:]
    if year not in cube.years or not earlier:
        raise Unanswerable(
            "invalid-dates",
            f"A forecast issued on {issue} needs inputs of {year} up to that day and of an earlier year; the cube "
            f"'{cube.id}' has {cube.years[0]} to {cube.years[-1]}. Choose a day in {cube.years[0] + 1} to "
            f"{cube.years[-1]}, or a cube with more years.",
        )
    work = cover.cells * (year - cube.years[0] + 1 + len(earlier))
    if work > live_cell_years:
        raise Unanswerable(
            "over-limit",
            f"The forecast is of {cover.cells:,} cells over {work // cover.cells} years of weather, {work:,} "
            f"cell-years; at most {live_cell_years:,} are run while you wait. Ask for a smaller area.",
            limit="live_cell_years",
            given=work,
            allowed=live_cell_years,
        )
    state = advance(model, cube, cover.rows, cover.cols, start(model, cube, cover.rows, cover.cols), year - 1)
    whole = narrow(cube.forcing(cover.rows, cover.cols, [year]), model.needs)
    group, first = identical(whole, state.group)
    forcing = taken(whole, first)
    memory = State(state.day, {n: a[:, state.group[first]] for n, a in state.arrays.items()})
    known = (issue - date(year, 1, 1)).days
    flags: dict[str, NDArray[np.bool_]] = {}
    now: Mapping[str, Floats] = {}
    if known:
        so_far = model.predict(_days(forcing, slice(0, known)), memory)
        memory, flags = so_far.state, dict(so_far.flags)
        now = {n: np.asarray(so_far.daily[n][:, :, -1], np.float64) for n in SHOWN if n in so_far.daily}
    yields = []
    for other in earlier:
        theirs = taken(narrow(cube.forcing(cover.rows, cover.cols, [other]), model.needs), first)
        rest = model.predict(_continued(forcing, theirs, known, days_in(year)), memory)
        yields.append(np.asarray(rest.annual["yield"][:, :, -1], np.float64))
        for name, flag in rest.flags.items():
            flags[name] = flags.get(name, np.zeros(len(first), bool)) | flag
    weight = np.bincount(group, cover.fraction, len(first)).astype(np.float64)
    crops = _crops(model, forcing, np.stack(yields, axis=1), weight, issue, level, now)
    total = float(weight.sum())
    return Forecast(
        issue,
        earlier,
        crops,
        sum(c.share for c in crops),
        {name: float(weight[flag].sum()) / total for name, flag in flags.items() if flag.any()},
    )


def _days(forcing: Forcing, days: slice) -> Forcing:
    """Some days of a year's forcing from its first on."""
    return replace(forcing, daily={n: a[:, days] for n, a in forcing.daily.items()}, gpp_given=None, gpp_unit=None)


def _continued(forcing: Forcing, theirs: Forcing, known: int, length: int) -> Forcing:
    """The rest of the year with another year's weather, by day of the year; the last day twice where it is shorter."""
    at = np.arange(known, length)
    return replace(
        forcing,
        start=date.fromordinal(forcing.start.toordinal() + known),
        daily={n: a[:, np.minimum(at, a.shape[1] - 1)] for n, a in theirs.daily.items()},
        gpp_given=None,
        gpp_unit=None,
    )


def _crops(
    model: Model, forcing: Forcing, yields: Floats, weight: Floats, issue: date, level: float, now: Mapping[str, Floats]
) -> tuple[CropForecast, ...]:
    """yields: [member, earlier year, cell]."""
    codes = np.asarray(forcing.annual["crop"])[:, 0]
    reap = np.asarray(forcing.annual["harvest_doy"], np.float64)[:, 0]
    total = float(weight.sum())
    found = []
    for code in np.unique(codes[np.isfinite(codes)]).astype(int).tolist():
        here = (codes == code) & np.isfinite(yields).all(axis=(0, 1))
        area = float(weight[here].sum())
        if code not in CROP_OF_CDL or area <= 0.0:
            continue
        of_crop = np.einsum("myc,c->my", yields[:, :, here], weight[here]) / area
        doy = round(float(np.average(reap[here], weights=weight[here])))
        harvest = date.fromordinal(date(issue.year, 1, 1).toordinal() + doy - 1)
        left = (harvest - issue).days
        mean, spread = float(of_crop.mean()), float(of_crop.std(ddof=1)) if of_crop.size > 1 else 0.0
        rule = rule_at(model.card, left)
        ends: tuple[float | None, float | None] = (None, None)
        settled = model.card.intervals.get("yield", {}).get("year") if rule is None else rule[1]
        if settled is not None and level in settled.quantiles:
            half = float(half_width(settled, np.array(mean), np.array(spread), level))
            ends = max(0.0, mean - half), mean + half
        elif of_crop.size > 1:
            low, high = np.quantile(of_crop, [0.5 - level / 2, 0.5 + level / 2]).tolist()
            ends = low, high
        shown = {n: float(np.average(v.mean(axis=0)[here], weights=weight[here])) for n, v in now.items()}
        found.append(
            CropForecast(
                code, CROP_OF_CDL[code].name, area / total, of_crop, mean, *ends,
                "spread" if settled is None or level not in settled.quantiles else "conformal",
                rule[0] if rule is not None else None, left, harvest, shown,
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda c: -c.share))
