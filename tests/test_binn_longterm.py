"""Soil carbon through cultivation and long-term experiments: what stays, what is lost, contrasts, declared inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fieldflux.app.binn.contrasts import interval, pairs_of
from fieldflux.app.binn.farming import ENOUGH, Crop, crop_litter, first_year, history_litter, native_litter
from fieldflux.app.binn.longterm import (
    MONTHS,
    Field,
    Parameters,
    Place,
    at_rest,
    cultivated,
    forcing_at,
    modelled_plots,
    places_of,
    read_fields,
    turnover,
)
from fieldflux.app.binn.longtermtables import contrast_rows, floors_of, groups_of, scores_of
from fieldflux.app.evaluate.soil import Plot
from fieldflux.models.crops import MAIZE, SOYBEAN
from fieldflux.models.processes.soilcarbon.layers import THICKNESS
from fieldflux.models.processes.soilcarbon.observe import stock
from fieldflux.models.processes.soilcarbon.parameters import clm5_defaults
from fieldflux.models.processes.soilcarbon.transient import run
from fieldflux.tiles.measurements.experiments import Experiment
from fieldflux.tiles.measurements.management import Season
from fieldflux.tiles.measurements.soilcarbon import SoilSeries
from hypothesis import given, settings
from hypothesis import strategies as st

CORN, SOY = MAIZE.cdl[0], SOYBEAN.cdl[0]
THICK = torch.tensor(THICKNESS, dtype=torch.float64)


def place(first: int, years: int = 3) -> Place:
    month = np.arange(12.0)[:, None]
    depth = np.linspace(0.0, 8.0, 20)
    wave = 10.0 + 13.0 * np.sin((month - 3.5) * np.pi / 6.0 - depth / 2.2) * np.exp(-depth / 2.2)
    climate = np.tile(wave, (years, 1, 1)), np.full((years, 12, 20), 0.45)
    return Place((0,), tuple(range(first, first + years)), -96.0, 10.0, climate, 10.0, 780.0)


def defaults(count: int) -> Parameters:
    p = clm5_defaults(torch.full((count,), 30.0, dtype=torch.float64))[None]
    return Parameters(p, p, "none", "published")


def test_the_native_soil_stays_until_it_is_farmed_and_then_loses() -> None:
    at = [place(1900), place(1900)]
    # the first is broken 40 years before its experiment, the second never
    after = cultivated(defaults(2), at, "history", [1860, 1900])[0]
    wild = np.stack([native_litter(p.longitude, p.temperature, p.rain) for p in at])
    climate = [(p.climate[0].mean(0), p.climate[1].mean(0)) for p in at]
    native = at_rest(defaults(2).crops[0], forcing_at(climate, wild, np.arange(2)), None, "published")
    before, now = stock(native, 0.0, 0.3), stock(after, 0.0, 0.3)
    # the rest of the year's mean, by months: the seasons' lag is a few parts in a thousand
    assert float(now[1] / before[1]) == pytest.approx(1.0, abs=5e-3)
    assert 0.3 < float(now[0] / before[0]) < 0.9
    # at rest under the crops of the time there is still less: the soil has not lost all of it in 40 years
    rest = cultivated(defaults(2), at, "equilibrium")[0]
    assert float(stock(rest, 0.0, 0.3)[0]) < float(now[0])


@settings(deadline=None, max_examples=8)
@given(st.sampled_from(["none", "low", "high"]), st.integers(1, 365), st.floats(0.0, 1.0))
def test_a_year_of_events_keeps_the_balance(intensity: str, sown: int, removed: float) -> None:
    litter = crop_litter(10.0, 2000, Crop(CORN, removed, 10.0, False))[None]
    forcing = forcing_at([(place(1900).climate[0][0], place(1900).climate[1][0])], litter, np.zeros(1, np.int64))
    p = defaults(1).crops[0]
    begun = at_rest(p, forcing, None, "published")
    each = torch.from_numpy(litter).expand(MONTHS, -1, -1)
    factors = turnover(intensity, sown, "none")  # type: ignore[arg-type]
    course = run(begun, p, forcing, MONTHS, steps_per_year=MONTHS, litter=each, factors=factors)
    gained = ((course.pools - begun) * THICK).sum((1, 2))
    assert torch.allclose(gained, (course.entered - course.respired).sum(0), rtol=0, atol=1e-8)
    assert float(course.entered.sum()) == pytest.approx(float(litter.sum()))


def test_tillage_that_is_in_the_parameters_does_not_count_twice() -> None:
    assert torch.equal(turnover("low", 120, "low"), torch.ones(12, 1, 7, 20, dtype=torch.float64))
    assert float(turnover("high", 120, "low").max()) > 1.0
    assert float(turnover("none", 120, "low").min()) < 1.0


@settings(deadline=None, max_examples=30)
@given(st.floats(0.0, 1.0), st.floats(0.0, 25.0), st.integers(1850, 2015), st.booleans())
def test_litter_of_crops(removed: float, nitrogen: float, year: int, rotation: bool) -> None:
    one = crop_litter(9.0, year, Crop(CORN, removed, nitrogen, rotation))
    assert one[0] == 0.0
    assert (one[1:] > 0.0).all()
    assert crop_litter(9.0, year, Crop(CORN, min(1.0, removed + 0.1), nitrogen, rotation)).sum() <= one.sum()
    assert crop_litter(9.0, year, Crop(CORN, removed, nitrogen + 1.0, rotation)).sum() >= one.sum()
    assert crop_litter(9.0, year, Crop(CORN, removed, nitrogen, rotation, 187.0)).sum() == pytest.approx(
        one.sum() + 187.0
    )
    assert (
        crop_litter(9.0, year, Crop(SOY, removed, nitrogen, rotation)).sum()
        < crop_litter(9.0, year, Crop(CORN, removed, ENOUGH, rotation)).sum()
    )


def test_what_was_before() -> None:
    assert native_litter(-96.0, 10.0, 780.0)[0] == 0.0
    assert native_litter(-83.0, 10.0, 950.0)[0] > 0.0
    assert first_year(-83.0) < first_year(-96.0) < 1890
    assert history_litter(10.0, 1944).sum() < 0.85 * history_litter(10.0, 1946).sum()
    with pytest.raises(ValueError, match="no rule"):
        crop_litter(9.0, 2000, Crop(36, 0.0, 0.0, False))


def field(name: str, tillage: float, removed: float, nitrogen: float, cover: bool = False) -> Field:
    season = Season(float(CORN), 120.0, 280.0, 0.0, removed, tillage)
    series = SoilSeries("Here", name, np.array([2000, 2010]), np.array([5000.0, 5100.0]))
    years = tuple(range(2000, 2011))
    plot = Experiment("Here", name, years, {}, dict.fromkeys(years, season), {}, series, nitrogen)
    return Field(plot, -96.0, 10.0, np.zeros(25), cover)


def test_pairs_differ_in_one_thing() -> None:
    fields = [
        field("till", 1.0, 0.0, 15.0), field("none", 0.0, 0.0, 15.0), field("bare", 0.0, 0.9, 15.0),
        field("poor", 0.0, 0.0, 0.0), field("green", 0.0, 0.0, 15.0, True),
    ]  # fmt: skip
    measured = {"till": 0.0, "none": 20.0, "bare": -10.0, "poor": 5.0, "green": 60.0}
    plots = [
        Plot("Here", n, 2000, 2010, 2, "maize", 15.0, v, float("nan"), np.array([v / 2])) for n, v in measured.items()
    ]
    found = {(p.factor, p.first, p.second): (p.measured, p.modelled) for p in pairs_of(fields, plots)}
    assert found == {
        ("tillage", "none", "till"): (20.0, 10.0),
        ("residue", "none", "bare"): (30.0, 15.0),
        ("nitrogen", "none", "poor"): (15.0, 7.5),
        ("cover crop", "green", "none"): (40.0, 20.0),
    }
    rows = contrast_rows("ours", "history", pairs_of(fields, plots))
    assert {r[0]: r[3] for r in rows} == {"tillage": 1, "residue": 1, "cover crop": 1, "nitrogen": 1, "rotation": 0}
    groups = groups_of(fields, plots)
    assert groups == {"all": [0, 1, 2, 3, 4], "without cover crops": [0, 1, 2, 3], "9 years or more": [0, 1, 2, 3, 4]}
    # plots, sites, rmse: half of the measured is modelled, so the error is half of that of no change
    ours, nothing = scores_of(plots), floors_of(plots)[0]
    assert ours[:2] == (5, 1)
    assert 2 * ours[2] == pytest.approx(nothing[5])  # type: ignore[operator]


def test_intervals_are_over_sites() -> None:
    draw = np.random.default_rng(0)
    values = np.repeat(draw.normal(5.0, 2.0, 12), 20)
    sites = [f"s{k}" for k in range(12) for _ in range(20)]
    low, high = interval(values, sites, lambda v: float(v.mean()))
    # 90 % of a mean of twelve sites, whatever the number of plots
    assert high - low == pytest.approx(2 * 1.645 * values.std() / np.sqrt(12), rel=0.15)
    assert np.isnan(interval(values[:20], sites[:20], lambda v: float(v.mean()))[0])


def test_real_experiments(data_dir: Path) -> None:
    fields, skipped = read_fields(data_dir)
    assert skipped
    assert sum(f.cover for f in fields) == 6
    some = [f for f in fields if f.plot.site == "SCharleston"]
    assert len(places_of(some)) == 1
    short = [replace(f, longitude=-96.0) for f in some]  # cultivated later: fewer years to run
    plots, begun = modelled_plots(short, None, "history", True)
    by_name = {p.treatment.removeprefix("SCharleston_"): p.mean for p in plots}
    assert by_name["CT"] < by_name["MT"] < by_name["NT"]
    assert all(1000 < b < 12000 for b in begun)
    assert scores_of(plots)[0] == len(some) == 3
