"""County yields: floors by hand on a made-up panel, splits that share nothing, and a model scored in the right unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.evaluate.report import TRAINED, Row
from fieldflux.app.evaluate.split import BadSplit
from fieldflux.app.evaluate.yieldfloors import (
    COUNTY_TREND,
    INDICES,
    RIDGE,
    county_trend,
    floors_of,
    season_weather,
    state_trend,
    tabulate,
    training_mean,
)
from fieldflux.app.evaluate.yieldplot import plot_yields
from fieldflux.app.evaluate.yields import NOT_TRAINED, evaluate_yields
from fieldflux.app.evaluate.yieldsplit import (
    HELD_OUT_YEARS,
    TRAINING,
    UNSEEN,
    YieldRecipe,
    YieldSplit,
    split_yields,
    trained_years,
)
from fieldflux.models.card import Card, Domain
from fieldflux.models.contract import Forcing, MissingInputs, Needs, Prediction, State
from fieldflux.models.crops import CROPS
from fieldflux.tiles.cubefile import days_of
from fieldflux.tiles.measurements import CountyRecord, read_panel

RECIPE = YieldRecipe(seed=1, short_counties=1, counties=("17009",), short_years=(2018,), long_years=(2015, 2016))
LONG, SHORT = tuple(range(1990, 2017)), (2016, 2017, 2018)


def county(fips: str, years: tuple[int, ...], slope: float = 0.1, wet: float = 0.0) -> CountyRecord:
    """Weather by chance, seeded by the county; yields rise by `slope` a year and by `wet` per mm of July rain."""
    days = days_of(list(years))
    rng = np.random.default_rng(int(fips))
    weather = {"tmin": np.full(days.size, 12.0), "tmax": np.full(days.size, 26.0), "tmean": np.full(days.size, 19.0)}
    weather |= {"precip": rng.gamma(0.5, 6.0, days.size), "srad": np.full(days.size, 20.0), "vpd": np.ones(days.size)}
    state = {"17": "Illinois", "19": "Iowa"}[fips[:2]]
    past = np.arange(1960, years[0])
    month = days.astype("datetime64[M]").astype(int) % 12
    year = days.astype("datetime64[Y]").astype(int) + 1970
    july = np.array([weather["precip"][(month == 6) & (year == y)].sum() for y in years])
    maize = 5.0 + slope * (np.array(years) - 1960) + wet * (july - 93.0)
    soybean = np.full(len(years), np.nan)
    history = {"maize": (np.append(past, years), np.append(5.0 + slope * (past - 1960), maize))}
    return CountyRecord(
        fips=fips, name=fips, state=state, longitude=-90.0, years=years, weather=weather,
        points={"latitude": np.full(2, 40.0)}, yields={"maize": maize, "soybean": soybean}, history=history,
        gpp={c: np.full(days.size, 4.0) for c in ("maize", "soybean")} if fips == "17001" else None,
        sowing={c: np.full(len(years), 126.0) for c in ("maize", "soybean")},
        harvest={c: np.full(len(years), 290.0) for c in ("maize", "soybean")}, sources=(), notes=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> tuple[CountyRecord, ...]:
    short = [county(f"190{k:02d}", SHORT, 0.1 + 0.01 * k) for k in (1, 3, 5)]
    return (county("17001", LONG), county("17009", LONG, 0.05), *short)


@pytest.fixture(scope="module")
def split(panel: tuple[CountyRecord, ...]) -> YieldSplit:
    return split_yields(panel, RECIPE)


# --- the split -------------------------------------------------------------------------------------------


def test_each_county_and_year_is_in_one_part_and_the_seed_decides(
    panel: tuple[CountyRecord, ...], split: YieldSplit
) -> None:
    assert len(split.counties) == 2
    assert "17009" in split.counties
    assert split == split_yields(panel, RECIPE)
    drawn = {next(iter(split_yields(panel, replace(RECIPE, seed=s)).counties - {"17009"})) for s in range(20)}
    assert drawn == {"19001", "19003", "19005"}
    train = split.train_counties(panel)
    assert set(train) == {r.fips for r in panel} - split.counties
    assert train["17001"] == list(range(1990, 2015))
    assert all(years == [2016, 2017] for fips, years in train.items() if fips[:2] == "19")
    for one in panel:
        for year in one.years:
            held = split.part(one.fips, year)
            assert (held == UNSEEN) == (one.fips in split.counties)
            assert (held == TRAINING) == (year in train.get(one.fips, ()))
    assert split.part("55001", 2000) == UNSEEN


def test_the_real_split_holds_out_counties_and_years_that_have_yields(data_dir: Path) -> None:
    panel = read_panel(data_dir)
    split = split_yields(panel)
    for crop in ("maize", "soybean"):
        table = tabulate(panel, split, crop)
        counts = {part: int((table.part == part).sum()) for part in (TRAINING, HELD_OUT_YEARS, UNSEEN)}
        assert min(counts.values()) > 25, counts
        assert len(table.year) == len({*zip(table.fips.tolist(), table.year.tolist(), strict=True)})
    assert "17001" in split.train_counties(panel)
    assert "17003" in split.counties


# --- floors ----------------------------------------------------------------------------------------------


def test_trends_and_means_by_hand(panel: tuple[CountyRecord, ...], split: YieldSplit) -> None:
    table = tabulate(panel, split, "maize")
    slopes = {r.fips: 0.1 if r.fips == "17001" else 0.05 if r.fips == "17009" else 0.1 + 0.01 * int(r.fips[3:])
              for r in panel}  # fmt: skip
    exact = np.array([5 + slopes[f] * (y - 1960) for f, y in zip(table.fips, table.year, strict=True)])
    np.testing.assert_allclose(county_trend(panel, table), exact)
    state = state_trend(panel, split, table)
    # Adams' only neighbour is held out; the held-out one's is Adams.
    assert np.isnan(state[table.fips == "17001"]).all()
    np.testing.assert_allclose(state[table.fips == "17009"], 5 + 0.1 * (table.year[table.fips == "17009"] - 1960))
    held = next(iter(split.counties - {"17009"}))
    others = [slopes[f] for f in ("19001", "19003", "19005") if f != held]
    mine = table.fips == held
    np.testing.assert_allclose(state[mine], 5 + np.mean(others) * (table.year[mine] - 1960))
    mean = training_mean(table)
    assert mean[(table.fips == "17001") & (table.year == 2016)] == pytest.approx(
        5 + 0.1 * (np.mean(range(1990, 2015)) - 1960)
    )
    assert mean[mine] == pytest.approx(5 + np.mean(others) * 56.5)
    assert np.isnan(mean[table.part == TRAINING]).all()


def test_season_weather_by_hand() -> None:
    one = county("19001", (2016, 2017))
    hot = {**one.weather, "tmax": np.where(one.days == np.datetime64("2017-07-04"), 40.0, 26.0)}
    found = dict(zip(INDICES, season_weather(replace(one, weather=hot), 2017), strict=True))
    assert found["gdd"] == pytest.approx(183 * 11.0 + 2.0)
    assert found["hot_days"] == 1
    june = (one.days >= np.datetime64("2017-06-01")) & (one.days < np.datetime64("2017-07-01"))
    assert found["rain_6"] == pytest.approx(one.weather["precip"][june].sum())
    assert (found["vpd_78"], found["srad_678"]) == pytest.approx((1.0, 20.0))


def test_regressions_learn_rain_and_never_see_what_is_held_out() -> None:
    panel = [county(f"170{k:02d}", LONG, wet=0.02) for k in (1, 3, 5)]
    split = split_yields(panel, replace(RECIPE, counties=("17005",)))
    table = tabulate(panel, split, "maize")
    floors = floors_of(panel, split, table)
    for part in (HELD_OUT_YEARS, UNSEEN):
        here = table.part == part
        error = {name: np.abs(values - table.observed)[here].mean() for name, values in floors.values.items()}
        assert error[RIDGE] < 0.5 * error[COUNTY_TREND]
        assert floors.spread["boosting", part] > 0
    changed = np.where(table.part == TRAINING, table.observed, 77.0)
    again = floors_of(panel, split, replace(table, observed=changed))
    for name, values in floors.values.items():
        np.testing.assert_array_equal(values, again.values[name])
    assert np.isnan(floors.values[RIDGE][table.part == TRAINING]).all()


def test_a_row_without_a_trend_has_no_regression_either() -> None:
    panel = [county(fips, LONG, wet=0.02) for fips in ("17001", "17003", "19001")]
    split = split_yields(panel, replace(RECIPE, counties=("19001",)))
    table = tabulate(panel, split, "maize")
    ridge = floors_of(panel, split, table).values[RIDGE]
    assert np.isnan(ridge[table.fips == "19001"]).all()
    assert np.isfinite(ridge[table.part == HELD_OUT_YEARS]).all()


# --- a model ---------------------------------------------------------------------------------------------


class Steady:
    """Harvests 400 gC m-2 of maize and 150 of soybean, each member 10 % more; with given GPP half of its sum."""

    def __init__(self, train: object = None, daily: tuple[str, ...] = ("tmean",)) -> None:
        self.members = 2
        self.needs = Needs(daily, ("crop",), ("latitude",), ("gpp_given",))
        self.outputs = ("gpp", "yield")
        self.card = Card(
            name="steady", version="1", title="steady", family="test", description="", weights_sha256="", members=2,
            needs_daily=daily, needs_annual=("crop",), needs_static=("latitude",), outputs=self.outputs,
            domain=Domain(crops=("maize",), climates="", years=""),
            recipe={} if train is None else {"train_counties": train},
        )  # fmt: skip

    def initial_state(self, forcing: Forcing) -> State:
        raise NotImplementedError

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:  # noqa: ARG002
        harvest = np.where(forcing.annual["crop"] == 1, 400.0, 150.0)
        if forcing.gpp_given is not None and forcing.gpp_unit is not None:
            harvest = 0.5 * forcing.gpp_given[forcing.gpp_unit, :365].sum(axis=2)
        both = np.stack([harvest, 1.1 * harvest])
        return Prediction(forcing.start, {}, forcing.years, {"yield": both}, State(forcing.end, {}))


def run(model: Steady, panel: tuple[CountyRecord, ...]) -> dict[tuple[str, str, str], Row]:
    found = evaluate_yields(model, Path("nowhere"), lambda *_: None, RECIPE, panel)
    return {(row.gpp, row.split, row.place): row for row in found.rows}


def test_harvested_carbon_is_scored_in_tonnes_at_market_moisture(panel: tuple[CountyRecord, ...]) -> None:
    rows = run(Steady(), panel)
    row = rows["own", UNSEEN, "17009, Illinois"]
    expected = 400.0 * 0.01 / 0.447 / (1 - 0.155) * 1.05
    assert row.scores.n == len(LONG)
    assert row.scores.bias == pytest.approx(expected - np.mean([5 + 0.05 * (y - 1960) for y in LONG]))
    assert row.floors[COUNTY_TREND].rmse == pytest.approx(0.0, abs=1e-9)
    assert row.spread is not None
    assert (row.unit, row.crop, row.part) == ("t ha-1", "maize", "yields")
    given = rows["given", NOT_TRAINED, "17001, Illinois"]
    assert given.scores.bias + given.scores.observed == pytest.approx(CROPS["maize"].t_ha(730.0 * 1.05))


def test_what_a_card_was_trained_on_is_marked_so(panel: tuple[CountyRecord, ...], split: YieldSplit) -> None:
    train = {fips: list(years) for fips, years in split.train_counties(panel).items()}
    rows = run(Steady(train), panel)
    assert ("own", TRAINED, "17001, Illinois") in rows
    assert not any(name == NOT_TRAINED for _, name, _ in rows)
    assert rows["own", UNSEEN, "17009, Illinois"].held_out
    cheat = run(Steady({**train, "17009": [2000, 2001, 2002]}), panel)
    assert not cheat["own", f"{TRAINED}, {UNSEEN} of the floors", "17009, Illinois"].held_out
    assert cheat["own", UNSEEN, "17009, Illinois"].scores.n == len(LONG) - 3
    assert trained_years(Steady({"1001": [2000]}).card) == {"01001": {2000}}
    with pytest.raises(BadSplit, match="FIPS code"):
        trained_years(Steady([17001]).card)


def test_tables_and_plot_hold_every_county_and_year(panel: tuple[CountyRecord, ...], tmp_path: Path) -> None:
    found = evaluate_yields(Steady(), tmp_path, lambda *_: None, RECIPE, panel)
    by_county = next(table for table in found.tables if table.name == "yields_by_county")
    assert len(by_county.lines) == 2 * len(LONG) + 3 * len(SHORT) + len(LONG)
    assert all(len(line) == len(by_county.columns) for line in by_county.lines)
    sums = next(table for table in found.tables if table.name == "yield_sums")
    assert [line[0] for line in sums.lines] == [0.5, 0.8, 0.9, 0.95]
    for _, independent, measured, common, years, n, pairs in sums.lines:
        assert 0 <= independent <= measured <= common <= 1  # type: ignore[operator]
        assert 2 <= years <= n < pairs  # type: ignore[operator]
    assert plot_yields(tmp_path, found) == ["yields.png"]
    assert (tmp_path / "yields.png").stat().st_size > 5000


def test_a_folder_without_counties_and_a_model_that_needs_more_are_said_in_words(
    panel: tuple[CountyRecord, ...], tmp_path: Path
) -> None:
    assert "no county" in evaluate_yields(Steady(), tmp_path, lambda *_: None).skipped[0]
    with pytest.raises(MissingInputs, match="the panel of counties"):
        run(Steady(daily=("tmean", "rnet")), panel)
