"""Evaluation: floors by hand and against the data's own note, splits, and reports that a user's own folder gives."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.evaluate import as_csv, as_json, as_text, evaluate, to_scores
from fieldflux.app.evaluate import floors as fl
from fieldflux.app.evaluate.county import mean_without, trend_before, trend_without
from fieldflux.app.evaluate.evaluation import OutputNotWritten, UnknownPart
from fieldflux.app.evaluate.report import Report
from fieldflux.app.evaluate.split import BadSplit, splits, training_days
from fieldflux.app.evaluate.towers import modelled_years, observed_years
from fieldflux.models.card import Card, Domain
from fieldflux.models.contract import Forcing, Model, Needs, Prediction, State
from fieldflux.models.scores import score
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.measurements import Tower, read_county_gpp, read_towers, read_yields
from fieldflux.tiles.sources import build


class Light:
    """A whole model in a few lines: GPP a share of light, respiration one of warmth; each member a little brighter."""

    def __init__(self, train: object = None, members: int = 2) -> None:
        self.members = members
        self.needs = Needs(("tmean", "srad", "precip"), ("crop",), ("latitude",), ("gpp_given",))
        self.outputs = ("gpp", "reco", "nee", "yield")
        self.card = Card(
            name="light", version="1", title="a share of light", family="test", description="", weights_sha256="",
            members=members, needs_daily=self.needs.daily, needs_annual=self.needs.annual,
            needs_static=self.needs.static, outputs=self.outputs,
            domain=Domain(crops=("maize",), climates="", years=""), recipe={} if train is None else {"train": train},
        )  # fmt: skip

    def initial_state(self, forcing: Forcing) -> State:
        return self.memory(forcing, forcing.start - timedelta(days=1))

    def memory(self, forcing: Forcing, day: date) -> State:
        return State(day, {"nothing": np.zeros((self.members, forcing.cells, 1))})

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:  # noqa: ARG002
        brightness = 1.0 + 0.1 * np.arange(self.members)[:, None, None]
        warm = forcing.daily["tmean"][forcing.weather][None] > 10
        gpp = 0.4 * brightness * forcing.daily["srad"][forcing.weather][None] * warm
        if forcing.gpp_given is not None and forcing.gpp_unit is not None:
            unit = forcing.gpp_unit[:, 0]
            given = np.where((unit >= 0)[:, None], forcing.gpp_given[unit], np.nan)[None]
            gpp = np.where(np.isfinite(given), given, gpp)
        reco = np.broadcast_to(np.maximum(0.2 * forcing.daily["tmean"][forcing.weather][None], 0.3), gpp.shape)
        years = tuple(y for y in forcing.years if forcing.end >= date(y, 12, 31) and date(y, 1, 1) >= forcing.start)
        harvest = np.full((self.members, forcing.cells, len(years)), 450.0)
        return Prediction(
            forcing.start,
            {"gpp": gpp, "reco": reco, "nee": reco - gpp},
            years,
            {"yield": harvest},
            self.memory(forcing, forcing.end),
        )


class One:
    """Where the one model of a test comes from."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def card(self, model: str) -> Card:  # noqa: ARG002
        return self.model.card

    def load(self, model: str, device: str = "cpu") -> Model:  # noqa: ARG002
        return self.model


def own_folder(folder: Path, noise: float = 0.5) -> Path:
    """Two towers of one's own over two years, with fluxes that light and warmth make, and noise."""
    rng = np.random.default_rng(1)
    rows = ["site,date,tmean,tmin,tmax,precip,srad,vpd,wind,nee,gpp,reco,nee_qc"]
    for k, site in enumerate(("North", "South")):
        for day in np.arange("2018-01-01", "2020-01-01", dtype="datetime64[D]"):
            doy = int((day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(int))
            t = 10 + k - 13 * math.cos(2 * math.pi * doy / 365) + rng.normal()
            light = 14 - 9 * math.cos(2 * math.pi * doy / 365) + rng.normal()
            gpp = 0.5 * light * (t > 10) + noise * rng.normal()
            reco = max(0.25 * t, 0.3)
            weather = f"{t:.3f},{t - 5:.3f},{t + 5:.3f},2,{light:.3f},0.8,3"
            rows.append(f"{site},{day},{weather},{reco - gpp:.4f},{gpp:.4f},{reco:.4f},1")
    (folder / "flux").mkdir(parents=True)
    (folder / "flux/own_sites.csv").write_text("site,latitude,longitude\nNorth,45,-93\nSouth,38,-93\n")
    (folder / "flux/own_daily.csv").write_text("\n".join(rows) + "\n")
    years = [f"{s},{y},1,130,280,{450 + y - 2018}" for s in ("North", "South") for y in (2018, 2019)]
    (folder / "flux/own_years.csv").write_text(
        "site,year,crop,sowing_doy,harvest_doy,yield\n" + "\n".join(years) + "\n"
    )
    return folder


# --- floors ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mead(data_dir: Path) -> list[Tower]:
    return [tower for tower in read_towers(data_dir) if tower.group == "Mead"]


# The data's own note gives these floors; it was made with the year 2012 as well, which is left out of the folder that
# we read: a drought year, hard for a climatology. Ours are therefore the same or slightly lower in error.
NOTED = {
    ("nee", "US-Ne1"): (0.80, 2.18), ("nee", "US-Ne2"): (0.81, 2.07), ("nee", "US-Ne3"): (0.84, 1.60),
    ("gpp", "US-Ne1"): (0.91, None), ("gpp", "US-Ne2"): (0.91, None), ("gpp", "US-Ne3"): (0.91, None),
    ("reco", "US-Ne1"): (0.88, None), ("reco", "US-Ne2"): (0.90, None), ("reco", "US-Ne3"): (0.86, None),
}  # fmt: skip
MEASURED = {"US-Ne1": (0.806, 2.11), "US-Ne2": (0.830, 1.87), "US-Ne3": (0.844, 1.56)}


@pytest.mark.parametrize(("variable", "site"), NOTED)
def test_the_floor_of_the_other_fields_is_that_of_the_datas_note(mead: list[Tower], variable: str, site: str) -> None:
    tower = next(t for t in mead if t.site == site)
    floor = fl.other_fields(tower, mead, variable)
    assert floor is not None
    found = score(floor, tower.observed[variable], tower.good[variable])
    nse, rmse = NOTED[variable, site]
    assert found.nse == pytest.approx(nse, abs=0.021)
    if rmse is not None:
        assert rmse - 0.21 <= found.rmse <= rmse + 0.01
        assert (round(found.nse, 3), round(found.rmse, 2)) == MEASURED[site]


def test_a_climatology_is_the_mean_of_the_window_of_the_training_days(tmp_path: Path) -> None:
    north, south = read_towers(own_folder(tmp_path))
    training = {"North": north.year_of_day() == 2018, "South": np.zeros(south.days, bool)}
    floor = fl.climatology(north, [north, south], training, "nee")
    assert floor is not None
    # 10 July 2019 is day 191: the training days 184 to 198 of 2018, which begin at index 183
    day = (date(2019, 7, 10) - north.start).days
    assert floor[day] == pytest.approx(north.observed["nee"][183:198].mean())
    # 3 January: the window reaches over the turn of the year, from day 362 to day 10 (2018 has no day 366)
    wrapped = np.concatenate([north.observed["nee"][:10], north.observed["nee"][361:365]])
    assert floor[365 + 2] == pytest.approx(wrapped.mean(), rel=1e-9)
    # a tower that was never trained on gets the same crop's days of those that were
    other = fl.climatology(south, [north, south], training, "nee")
    assert other is not None
    assert other[day] == pytest.approx(floor[day])


def test_regressions_learn_from_the_training_days_alone(tmp_path: Path) -> None:
    towers = read_towers(own_folder(tmp_path))
    training = {"North": towers[0].year_of_day() == 2018, "South": np.zeros(towers[1].days, bool)}
    spoiled = [
        replace(t, observed={n: np.where(training[t.site], v, 99.0) for n, v in t.observed.items()}) for t in towers
    ]
    plain, other = (fl.regressions(t, training, "nee", given_gpp=False) for t in (towers, spoiled))
    assert plain is not None
    assert other is not None
    held = towers[0].year_of_day() == 2019
    for name, values in plain.predict(towers[0]).items():
        assert np.array_equal(values, other.predict(towers[0])[name])
        assert score(values, towers[0].observed["nee"], held).nse > 0.6
    assert fl.regressions(towers, training, "le", given_gpp=False) is None


def test_features_look_back_and_never_ahead(tmp_path: Path) -> None:
    (tower, _) = read_towers(own_folder(tmp_path))
    cut = 200
    changed = {n: np.concatenate([v[:cut], v[cut:] + 5]) for n, v in tower.forcing.items() if n in fl.WEATHER}
    later = replace(tower, forcing={**tower.forcing, **changed})
    assert np.array_equal(fl.features(tower, False)[:cut], fl.features(later, False)[:cut])
    assert not np.array_equal(fl.features(tower, False)[cut], fl.features(later, False)[cut])


def test_trend_and_mean_leave_the_scored_year_out() -> None:
    years = np.array([2000, 2001, 2003, 2004])
    line = np.array([1.0, 2.0, 4.0, 5.0])
    assert trend_without(years, line) == pytest.approx(line)
    outlier = line + np.array([0, 0, 9.0, 0])
    assert trend_without(years, outlier)[2] == pytest.approx(4.0)
    assert mean_without(line) == pytest.approx([11 / 3, 10 / 3, 8 / 3, 7 / 3])


# --- splits ----------------------------------------------------------------------------------------------


def test_days_are_split_as_the_card_says(mead: list[Tower]) -> None:
    model = Light(train={"US-Ne1": [2003, 2005], "US-Ne2": ["2004-06-01/2004-06-30"]})
    training = training_days(model.card, mead)
    assert training is not None
    assert [int(training[t.site].sum()) for t in mead] == [730, 30, 0]
    ne1, ne2, ne3 = mead
    of_ne1 = splits(ne1, training, mead)
    assert set(np.unique(ne1.year_of_day()[of_ne1["trained on"]])) == {2003, 2005}
    assert (of_ne1["trained on"] ^ of_ne1["held-out years"]).all()
    assert list(splits(ne3, training, mead)) == ["unseen tower, seen place"]
    alone = replace(ne3, group="elsewhere")
    assert list(splits(alone, training, [ne1, ne2, alone])) == ["unseen tower"]
    assert training_days(Light().card, mead) is None
    assert list(splits(ne1, None, mead)) == ["split unknown"]


@pytest.mark.parametrize("train", [["US-Ne1"], {"US-Ne1": 2003}, {"US-Ne1": ["in 2003"]}])
def test_a_card_that_hides_its_split_is_refused(mead: list[Tower], train: object) -> None:
    with pytest.raises(BadSplit, match=r"must give its training days as recipe\.train"):
        training_days(Light(train=train).card, mead)


# --- the whole -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, out: Path) -> tuple[Report, Path]:
    folder = own_folder(tmp_path_factory.mktemp("mine"))
    seen: list[float] = []
    model = Light(train={"North": [2018]})
    found = evaluate("light", folder, out, registry=One(model), progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    return found, folder


def test_a_users_own_folder_is_scored_by_the_same_command(report: tuple[Report, Path]) -> None:
    found, folder = report
    north, south = read_towers(folder)
    (row,) = found.select(place="North", variable="gpp", split="held-out years", gpp="own")
    held = north.year_of_day() == 2019
    model = 0.4 * 1.05 * north.forcing["srad"] * (north.forcing["tmean"] > 10)
    by_hand = score(model, north.observed["gpp"], held)
    assert row.scores.n == 365
    assert row.scores.rmse == pytest.approx(by_hand.rmse, rel=1e-5)
    assert row.scores.bias == pytest.approx(by_hand.bias, rel=1e-4)
    assert set(row.floors) == {"climatology", "ridge", "boosting"}
    assert {floor.n for floor in row.floors.values()} == {365}
    assert row.spread is not None
    assert found.select(place="South", variable="nee", split="unseen tower", gpp="own")[0].scores.n == south.days


def test_given_gpp_is_apart_from_own_and_makes_nee_as_good_as_reco(report: tuple[Report, Path]) -> None:
    found, _ = report
    (nee,) = found.select(place="North", variable="nee", split="held-out years", gpp="given")
    (reco,) = found.select(place="North", variable="reco", split="held-out years", gpp="given")
    # with the measured GPP handed over, the error of NEE is that of Reco, but for negative GPP, which is handed as 0
    assert nee.scores.rmse == pytest.approx(reco.scores.rmse, rel=0.1)
    (own,) = found.select(place="North", variable="nee", split="held-out years", gpp="own")
    assert nee.scores.r2 > own.scores.r2
    assert not found.select(variable="gpp", gpp="given")
    assert "NEE is partly an identity" in as_text(found)


def test_years_are_sums_with_weighed_yields(report: tuple[Report, Path]) -> None:
    north, _south = read_towers(report[1])
    assert observed_years(north, "nee")[0] == pytest.approx(north.observed["nee"][:365].sum())
    assert observed_years(north, "delta_soc")[1] == pytest.approx(-north.observed["nee"][365:].sum() - 451)
    short = replace(north, observed={**north.observed, "nee": np.where(np.arange(730) < 20, np.nan, 1.0)})
    assert np.isnan(observed_years(short, "nee")[0])
    from fieldflux.app.evaluate.runs import run_tower

    run = run_tower(Light(), north, given_gpp=False)
    assert modelled_years(north, run, "yield").tolist() == [[450.0, 450.0]] * 2
    assert modelled_years(north, run, "gpp")[0, 0] == pytest.approx(run.daily["gpp"][0, :365].sum())


def test_tables_say_the_same_in_text_json_and_csv(report: tuple[Report, Path]) -> None:
    found, _ = report
    whole = json.loads(as_json(found))
    lines = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert len(whole["rows"]) == len(lines) == len(found.rows)
    for row, line, plain in zip(found.rows, lines, whole["rows"], strict=True):
        assert float(line["rmse"]) == pytest.approx(row.scores.rmse, rel=1e-5)
        assert plain["scores"]["n"] == row.scores.n
        for name, floor in row.floors.items():
            assert float(line[f"{name.replace(' ', '_')}_rmse"]) == pytest.approx(floor.rmse, rel=1e-5)
    text = as_text(found)
    assert "held-out years" in text
    assert "Not scored" in text
    soil = next(what for what in found.unknown if what.startswith("Soil not measured"))
    assert found.unknown[soil] == ("North", "South")
    assert soil in text
    assert "NaN" not in as_json(found)


def test_plots_are_pictures_and_files_are_where_the_report_says(report: tuple[Report, Path], out: Path) -> None:
    found, _ = report
    plots = {"tower_North.png", "tower_South.png", "skill.png"}
    responses = {"responses.png", "responses.csv", "response_checks.csv", "response_summary.csv"}
    assert set(found.files) == {"report.txt", "report.json", "scores.csv"} | plots | responses
    for name in found.files:
        blob = (out / name).read_bytes()
        assert blob
        if name.endswith(".png"):
            assert blob.startswith(b"\x89PNG")


def test_scores_for_the_card_are_held_out_ones_with_their_floors(report: tuple[Report, Path]) -> None:
    found, _ = report
    scores = to_scores(found)
    assert scores
    assert not any(s.split.startswith("trained on") for s in scores)
    (one,) = (
        s
        for s in scores
        if (s.variable, s.metric) == ("nee", "rmse") and s.split == "held-out years: North, own GPP, by day"
    )
    (row,) = found.select(place="North", variable="nee", split="held-out years", gpp="own")
    assert one.value == round(row.scores.rmse, 4)
    assert (one.n, one.data, one.unit) == (365, "North", "gC m-2 d-1")
    assert one.baseline["climatology"] == round(row.floors["climatology"].rmse, 4)
    units = {s.unit for s in scores if s.metric == "nse"}
    assert units == {"1"}


@pytest.fixture(scope="module")
def county(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Cube]:
    cube = open_cube(build("adams", tmp_path_factory.mktemp("cube") / "adams.zarr", data_dir))
    out = tmp_path_factory.mktemp("county")
    found = evaluate("light", data_dir, out, only=["county"], registry=One(Light()), cube=cube)
    assert (out / "county.png").read_bytes().startswith(b"\x89PNG")
    return found, cube


def test_a_countys_gpp_is_the_models_own_beside_the_satellites(county: tuple[Report, Cube], data_dir: Path) -> None:
    found, cube = county
    (row,) = found.select(part="county", variable="gpp", crop="soybean")
    # all cells share one weather: the model's GPP of a year is 0.4 x 1.05 x the radiation of its days above 10 degC
    r, c = np.argwhere(cube.mask())[0]
    forcing = cube.forcing([r + cube.window.row0], [c + cube.window.col0], cube.years)
    year = forcing.dates().astype("datetime64[Y]").astype(int) + 1970
    light = 0.42 * forcing.daily["srad"][0].astype(float) * (forcing.daily["tmean"][0] > 10)
    modelled = np.array([light[year == y].sum() for y in cube.years])
    satellite = next(g for g in read_county_gpp(data_dir, 17001) if g.crop == "soybean")
    by_hand = score(modelled, satellite.total)
    assert row.scores.n == 21
    assert row.scores.rmse == pytest.approx(by_hand.rmse, rel=1e-4)
    assert row.scores.bias == pytest.approx(by_hand.bias, rel=1e-3)
    assert not found.select(part="county", variable="gpp", gpp="given")


def test_a_countys_yield_is_at_market_moisture_beside_its_trends(county: tuple[Report, Cube], data_dir: Path) -> None:
    found, _ = county
    usda = next(y for y in read_yields(data_dir, 17001) if y.crop == "maize")
    span = (usda.year >= 2000) & (usda.year <= 2020)
    (row,) = found.select(part="county", variable="yield", crop="maize", gpp="own")
    # 450 gC m-2 of grain with 44.7 % carbon in dry matter and 15.5 % water: 4.5 / 0.447 / 0.845 t ha-1
    assert row.scores.bias == pytest.approx(4.5 / 0.447 / 0.845 - usda.t_ha[span].mean(), abs=1e-4)
    assert row.split == "unseen county"
    assert set(row.floors) == {"linear trend", "earlier trend", "mean of other years"}
    early = usda.year < 2012
    line = np.polynomial.Polynomial.fit(usda.year[early], usda.t_ha[early], 1)
    assert trend_before(np.array([2012]), usda.year, usda.t_ha)[0] == pytest.approx(line(2012))
    assert len(to_scores(found)) == 18


def test_an_empty_folder_gives_a_report_that_says_so(tmp_path: Path) -> None:
    found = evaluate("light", tmp_path / "nothing", tmp_path / "out", registry=One(Light()))
    assert found.rows == ()
    assert any("no file of towers" in reason for reason in found.skipped)
    assert any("Soil carbon" in reason for reason in found.skipped)
    assert (tmp_path / "out/report.txt").exists()


def test_an_unknown_part_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UnknownPart, match="The parts are: towers, county, soil"):
        evaluate("light", tmp_path, tmp_path / "out", only=["weather"], registry=One(Light()))
    assert not (tmp_path / "out").exists()


def test_a_model_that_needs_more_than_a_tower_has_is_skipped_with_a_sentence(tmp_path: Path) -> None:
    class Thirsty(Light):
        def __init__(self) -> None:
            super().__init__(train={"North": [2018]})
            self.needs = replace(self.needs, daily=(*self.needs.daily, "irrigation"))

    folder = own_folder(tmp_path / "data")
    found = evaluate("light", folder, tmp_path / "out", only=["towers"], registry=One(Thirsty()))
    assert not found.rows
    assert any("needs irrigation" in reason and "North" in reason for reason in found.skipped)


def test_a_place_that_cannot_be_written_is_known_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, not a folder")
    seen: list[str] = []
    with pytest.raises(OutputNotWritten, match="out: File exists"):
        evaluate(
            "light", tmp_path, tmp_path / "out", registry=One(Light()), progress=lambda _, doing: seen.append(doing)
        )
    assert seen == ["loading the model"]
