"""The served hybrid crop model: seasons across the calendar, causality, learning, its checkpoint, forecasts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from fieldflux.app.client import Client
from fieldflux.app.crop.trainrecipe import read_train_recipe
from fieldflux.app.settings import Settings
from fieldflux.models.contract import Forcing
from fieldflux.models.crops import CROPS
from fieldflux.models.hybrids.crop.forecast import rule_at
from fieldflux.models.hybrids.crop.learn import Fields, Training, Yields, fit, yields_of
from fieldflux.models.hybrids.crop.model import HybridCrop
from fieldflux.models.hybrids.crop.seasonnet import SeasonNetwork, grow
from fieldflux.models.hybrids.crop.served import DAILY, KINDS, kind_named
from fieldflux.models.registry import Registry
from fieldflux.tiles.cube import open_cube
from hypothesis import given, settings
from hypothesis import strategies as st

from .commands import fieldflux, refusal
from .serving import serving, square
from .small_cube import WINDOW, build_small
from .small_forcing import ALFALFA, MAIZE, SOYBEAN, WHEAT, small_forcing
from .small_season import county_part

ROOT = Path(__file__).parent.parent
CROPS_OF = [[MAIZE, SOYBEAN, WHEAT], [WHEAT, WHEAT, MAIZE], [MAIZE, WHEAT, SOYBEAN], [ALFALFA, MAIZE, MAIZE]]


@pytest.fixture(scope="module")
def model() -> HybridCrop:
    found = Registry().load("hybrid-crop")
    assert isinstance(found, HybridCrop)
    return found


def part_of(f: Forcing, first: int, last: int) -> Forcing:
    """Days first..last (last excluded) of a forcing, with the year after them where it is known."""
    start, end = f.start + timedelta(days=first), f.start + timedelta(days=last - 1)
    years = tuple(y for y in f.years if start.year <= y <= end.year + 1)
    at = [f.years.index(y) for y in years]
    return replace(
        f, start=start, years=years, daily={n: v[:, first:last] for n, v in f.daily.items()},
        annual={n: np.asarray(v)[:, at] for n, v in f.annual.items()},
    )  # fmt: skip


@settings(max_examples=6, deadline=None)
@given(cuts=st.sets(st.integers(1, 1095), min_size=1, max_size=3))
def test_a_record_in_parts_is_the_record(model: HybridCrop, cuts: set[int]) -> None:
    forcing = small_forcing(CROPS_OF)
    whole = model.predict(forcing)
    state, daily, yields = model.initial_state(forcing), [], []
    edges = sorted({0, *cuts, forcing.days})
    for first, last in pairwise(edges):
        found = model.predict(part_of(forcing, first, last), state)
        state = found.state
        daily.append(found.daily)
        yields.append(found.annual["yield"])
    for name in DAILY:
        joined = np.concatenate([d[name] for d in daily], axis=2)
        np.testing.assert_allclose(joined, whole.daily[name], rtol=1e-4, atol=1e-3, err_msg=name)
    np.testing.assert_allclose(np.concatenate(yields, axis=2), whole.annual["yield"], rtol=1e-4)


def test_winter_wheat_is_sown_in_autumn_and_ripens_in_summer(model: HybridCrop) -> None:
    forcing = small_forcing([[WHEAT, WHEAT, MAIZE]])
    found = model.predict(forcing)
    stage = np.median(found.daily["stage"][:, 0], axis=0)
    dates = forcing.dates()

    def at(day: str) -> float:
        return float(stage[int((np.datetime64(day) - dates[0]).astype(int))])

    # sown on 2 October, up before winter, held back by it, in flower in spring; cut on 9 July
    assert at("2019-09-30") == 0.0
    assert 0.0 < at("2019-12-31") < 0.3
    assert at("2019-12-31") <= at("2020-01-01") < 0.3
    flowering = dates[np.argmax(stage[365:] >= 1.0) + 365]
    assert np.datetime64("2020-04-15") < flowering < np.datetime64("2020-06-20")
    assert at("2020-07-08") > 1.5
    assert at("2020-07-10") == 0.0
    # the first season's autumn lies before the record: it stands on the first day all the same
    assert 0.0 < stage[0] < 0.3
    assert (found.annual["yield"][:, 0] > 50.0).all()
    # no wheat stands in the autumn before maize
    assert np.nanmax(found.daily["biomass"][:, 0, 730 - 90 : 731]) == 0.0


def test_what_it_says_of_a_day_uses_no_later_day(model: HybridCrop) -> None:
    forcing = small_forcing([[MAIZE, WHEAT], [SOYBEAN, WHEAT]])
    other = {n: v.copy() for n, v in forcing.daily.items()}
    known = 200
    other["precip"][:, known:] = 0.0
    other["tmax"][:, known:] += 4.0
    one, two = model.initial_state(forcing), replace(forcing, daily=other)
    first, second = model.predict(forcing, one), model.predict(two, one)
    for name in DAILY:
        np.testing.assert_array_equal(first.daily[name][..., :known], second.daily[name][..., :known])
    assert not np.array_equal(first.annual["yield"], second.annual["yield"])


def test_what_is_missing_is_told(model: HybridCrop) -> None:
    forcing = small_forcing([[MAIZE, MAIZE], [ALFALFA, ALFALFA], [SOYBEAN, SOYBEAN]])
    static = {n: np.array(v) for n, v in forcing.static.items()}
    static["field_capacity"][2] = np.nan
    found = model.predict(replace(forcing, static=static))
    assert found.flags["crop_unknown"].tolist() == [False, True, False]
    assert found.flags["soil_missing"].tolist() == [False, False, True]
    assert found.flags["assumed_yield_expected"].tolist() == [True, False, True]
    assert np.isfinite(found.annual["yield"][:, 0]).all()
    assert np.isnan(found.annual["yield"][:, 1:]).all()
    daily = {n: v.copy() for n, v in forcing.daily.items()}
    daily["srad"][0, 100] = np.nan
    lost = model.predict(replace(forcing, daily=daily), model.initial_state(forcing))
    assert lost.flags["weather_missing"].all()
    assert np.isnan(lost.annual["yield"][:, 0, 0]).all()
    with pytest.raises(ValueError, match="whole year"):
        model.initial_state(part_of(forcing, 0, 300))
    with pytest.raises(ValueError, match="must start on"):
        model.predict(part_of(forcing, 10, 400), model.initial_state(forcing))


def test_an_autumn_that_is_not_in_the_record_is_assumed_and_told(model: HybridCrop) -> None:
    forcing = small_forcing([[MAIZE, WHEAT]])
    blind = replace(forcing, annual={n: np.where(np.arange(2) == 1, np.nan, v) for n, v in forcing.annual.items()})
    autumn = model.predict(part_of(blind, 0, 365))
    found = model.predict(part_of(forcing, 365, forcing.days), autumn.state)
    assert found.flags["assumed_sowing"].all()
    assert np.isfinite(found.annual["yield"]).all()


def test_irrigation_ends_drought_and_expected_yields_set_the_level(model: HybridCrop) -> None:
    dry = small_forcing([[MAIZE, MAIZE]])
    dry = replace(dry, daily={**dry.daily, "precip": 0.3 * dry.daily["precip"]})
    wet = replace(dry, annual={**dry.annual, "irrigated": np.ones((1, 2))})
    rain_fed, watered = model.predict(dry), model.predict(wet)
    assert np.nanmax(watered.daily["water_stress"]) < 1e-4
    assert np.nanmax(rain_fed.daily["water_stress"]) > 0.2
    assert watered.daily["biomass"].max() > rain_fed.daily["biomass"].max()
    level = CROPS["maize"].carbon_m2(11.0)
    told = replace(dry, annual={**dry.annual, "yield_expected": np.full((1, 2), level)})
    found = model.predict(told).annual["yield"]
    # the season moves the yield off what is expected, by less than its grain moves
    assert (np.abs(np.log(found / level)) < 0.4).all()


@pytest.mark.parametrize("crop", [k.name for k in KINDS])
def test_training_learns_yields_and_courses_through_lintul5(crop: str) -> None:
    kind = kind_named(crop)
    part = county_part(kind, 24, seed=3)
    torch.manual_seed(0)
    truth, network = SeasonNetwork(kind, 4, 4), SeasonNetwork(kind, 4, 4)
    with torch.no_grad():
        truth.place[2].bias.copy_(0.5 * torch.randn(16))
        unit = torch.arange(24)
        made = yields_of([truth], Yields(part, unit, torch.zeros(24)))[0][0]
        course = grow([truth], part).course
    lessons = Yields(part, unit, made)
    seen = course["lai"][0].clone()
    seen[:, torch.arange(365) % 15 != 0] = torch.nan
    told = fit(
        network, Training(rounds=12, batch=8, rate=1e-2, hold=0.0, light=0.1, ripe=0.0), lessons, lessons,
        Fields(part.only(torch.arange(4)), {"lai": seen[:4]}), seed=1,
    )  # fmt: skip
    assert min(told) < 0.85 * told[0]
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())


def test_the_checkpoint_says_what_it_saw_and_how_good_it_is(model: HybridCrop) -> None:
    card = model.card
    recipe = read_train_recipe(ROOT / "models" / "recipes" / "hybrid-crop.toml")
    assert (card.name, card.members) == (recipe.name, recipe.members)
    assert card.recipe["training"] == recipe.training.model_dump(mode="json")
    held = [s for s in card.scores if s.metric == "rmse" and s.variable == "yield"]
    for said in ("held-out years: all counties, maize", "unseen county", "forecast issued 1 July"):
        scores = [s for s in held if s.split.startswith(said)]
        assert scores
        assert all("county trend" in s.baseline for s in scores)
    for s in held:
        if s.split.startswith("unseen county"):
            assert {"LINTUL5", "LINTUL5 calibrated", "ridge", "boosting", "kgml-ag-carbon"} <= set(s.baseline)
    assert {"yield", "biomass", "grain", "lai"} <= set(card.intervals)
    # no rule is narrower for a forecast that is issued earlier
    rules = [rule_at(card, days) for days in (20, 75, 140)]
    assert [r[0] for r in rules if r is not None] == [30, 90, 150]
    assert rule_at(card, 0) is None
    assert (rule_at(card, 400) or (0,))[0] == 150


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    build_small(folder / "cubes" / "small.zarr", years=3)
    return folder


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(Settings(home=home, model="hybrid-crop", demo=False)) as http:
        yield http


def test_a_field_over_http(client: httpx.Client, tmp_path: Path) -> None:
    cube = build_small(tmp_path / "small.zarr", years=1)
    field = square(cube, WINDOW.row0 + 1, WINDOW.col0 + 1, 2, 2)
    flux = Client(str(client.base_url))
    found = flux.series(field, years=[2020], variables=list(DAILY), step="day").to_pandas()
    assert len(found) == 366
    for name in ("biomass", "grain", "lai"):
        standing = found[found[name] > 0.5]
        assert len(standing) > 20
        assert (standing[f"{name}_low"] < standing[name]).all()
        assert (standing[name] < standing[f"{name}_high"]).all()
    june, october = (flux.forecast(field, day) for day in (date(2021, 6, 1), "2021-11-01"))
    early, late = june["crops"][0], october["crops"][0]
    assert early["days_to_harvest"] > 100
    assert late["days_to_harvest"] <= 0
    assert june["weather"]["years"] == [2019, 2020]
    for crop in (early, late):
        ends = crop["yield"]["t ha-1"]
        assert 0 <= ends["low"] < ends["value"] < ends["high"]
        assert crop["interval_basis"]["method"] == "conformal"
    assert len(set(early["by_weather_year"])) == 2
    assert len(set(late["by_weather_year"])) == 1
    # what the forecast of after the harvest says is the yield of the series
    year = flux.series(field, years=[2021], variables=["yield"], step="year").to_pandas()
    assert float(year["yield"].iloc[0]) == pytest.approx(
        sum(c["yield"]["gC m-2"]["value"] * c["area_fraction"] for c in october["crops"]), rel=2e-3
    )


def test_the_command_line_forecasts_as_the_server_does(client: httpx.Client, home: Path) -> None:
    path = home / "field.geojson"
    shape = square(open_cube(home / "cubes" / "small.zarr"), WINDOW.row0 + 1, WINDOW.col0 + 1, 2, 2)
    path.write_text(json.dumps(shape))
    printed = json.loads(fieldflux("forecast", path, "2021-07-01", "--level", "0.8", home=home).stdout)
    ask = {"geometry": shape, "issue_day": "2021-07-01", "level": 0.8}
    assert printed == client.post("/v1/forecast", json=ask).json()
    assert printed["interval_level"] == 0.8
    assert "July" in fieldflux("forecast", path, "July", home=home, code=2).stderr
    assert "earlier year" in refusal(fieldflux("forecast", path, "2019-06-01", home=home, code=2))


@pytest.mark.parametrize(
    ("day", "status", "said"),
    [("2019-06-01", 422, "earlier year"), ("2030-06-01", 422, "2019"), ("someday", 422, "issue_day")],
)
def test_wrong_days_are_told(client: httpx.Client, tmp_path: Path, day: str, status: int, said: str) -> None:
    cube = build_small(tmp_path / "small.zarr", years=1)
    ask = {"geometry": square(cube, WINDOW.row0, WINDOW.col0), "issue_day": day}
    found = client.post("/v1/forecast", json=ask)
    assert found.status_code == status, found.text
    assert found.headers["content-type"].startswith("application/problem+json")
    assert said in found.text
