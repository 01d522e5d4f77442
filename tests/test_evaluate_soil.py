"""Soil carbon: trends by hand, a made-up experiment from files to scores, and the distribution over cells."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.evaluate.county import sample
from fieldflux.app.evaluate.distribution import distributions, drawn_soils, evaluate_distribution, share_explained
from fieldflux.app.evaluate.soil import Plot, agreement, evaluate_soil, mean_of_others, rows_of, trend
from fieldflux.app.evaluate.soilplots import plot_distribution, plot_soil
from fieldflux.models.card import Card, Domain
from fieldflux.models.contract import Forcing, Needs, Prediction, State
from fieldflux.tiles.cube import open_cube
from fieldflux.tiles.measurements.experiments import forcing_of, read_experiments
from fieldflux.tiles.measurements.panelsoil import NAMES, Soils
from fieldflux.tiles.sources import build
from scipy import stats

from .test_schedule import LAYER, SCHEDULE
from .toy_cube import build_toy
from .toy_model import ToyModel


class Steady:
    """Gains a fixed amount of carbon every year, more where residue is left; two members."""

    def __init__(self) -> None:
        self.needs = Needs(("tmean", "srad"), ("crop",), ("soc_content",), ("residue_removed", "tillage"))
        self.outputs, self.members = ("delta_soc",), 2
        self.histories: list[Forcing] = []
        self.card = Card(
            name="steady", version="1", title="", family="test", description="", weights_sha256="", members=2,
            needs_daily=self.needs.daily, needs_annual=self.needs.annual, needs_static=self.needs.static,
            outputs=self.outputs, domain=Domain(crops=(), climates="", years=""),
        )  # fmt: skip

    def initial_state(self, forcing: Forcing) -> State:
        self.histories.append(forcing)
        return State(forcing.start, {"nothing": np.zeros((2, forcing.cells, 1))})

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:
        years = tuple(y for y in forcing.years if y <= forcing.end.year)
        removed = forcing.annual.get("residue_removed", np.zeros((forcing.cells, len(years))))[:, : len(years)]
        change = np.array([-10.0, -20.0])[:, None, None] - 40.0 * removed[None]
        return Prediction(forcing.start, {}, years, {"delta_soc": change}, State(forcing.end, state.arrays))  # type: ignore[union-attr]


def quiet(fraction: float, doing: str) -> None:
    """Tell nobody."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two plots near a station, one a place without weather, one of another crop, one measured once."""
    management = tmp_path / "soc/lte_management/Here2"
    management.mkdir(parents=True)
    (management / "Here2_a.sch").write_text(SCHEDULE)
    (management / "here2_b.sch").write_text(SCHEDULE.replace("G75S", "G").replace("SIL", "G"))
    (management / "Here2_c.sch").write_text(SCHEDULE.replace("SYBN", "OAT1"))
    (management / "Here2_d.sch").write_text(SCHEDULE)
    (management / "soils.in").write_text(LAYER.format(top=0, bottom=30, density=1.25, fc=0.33))
    (tmp_path / "soc/lte_sites.csv").write_text("site,lat,lon\nHere2,41.0,-90.0\nFar,50.0,0.0\n")
    series = "site,Year,treatment,soc_g_m2\n"
    for year, a in ((1990, 6000), (1991, 6030), (1993, 6060)):
        series += f"Here2,{year},Here2_a,{a}\n"
    series += "Here2,1990,Here2_b,6000\nHere2,1993,Here2_b,5970\nHere2,1990,Here2_c,1\nHere2,1993,Here2_c,2\n"
    series += "Far,1990,Far_x,5000\nFar,2000,Far_x,5100\nHere2,1990,Here2_d,7\n"
    (tmp_path / "soc/lte_soc_timeseries.csv").write_text(series)
    days = np.arange(np.datetime64("1990-01-01"), np.datetime64("1995-01-01"))
    weather = "site,date,tmax_c,tmin_c,precip_mm\n" + "".join(f"Here_IL,{d},20,10,1.5\n" for d in days)
    (tmp_path / "weather").mkdir()
    (tmp_path / "weather/midwest_lte_sites_daily_tmax_tmin_precip.csv").write_text(weather)
    return tmp_path


def test_a_trend_and_its_error_are_those_of_a_regression() -> None:
    year, soc = np.array([1980, 1985, 1993, 2002]), np.array([5000.0, 5210.0, 5100.0, 5500.0])
    expected = stats.linregress(year, soc)
    assert trend(year, soc) == pytest.approx((expected.slope, expected.stderr))
    slope, error = trend(year[:2], soc[:2])
    assert slope == pytest.approx(42.0)
    assert np.isnan(error)


def test_other_sites_count_once_each() -> None:
    found = mean_of_others(["A", "A", "B", "C"], np.array([1.0, 3.0, 10.0, 20.0]))
    assert found == pytest.approx([15.0, 15.0, 11.0, 6.0])
    assert np.isnan(mean_of_others(["A", "A"], np.array([1.0, 2.0]))).all()


def test_an_experiment_is_read_with_all_that_was_declared(folder: Path) -> None:
    (a, b), skipped = read_experiments(folder)
    assert (a.treatment, b.treatment, a.years) == ("Here2_a", "Here2_b", (1990, 1991, 1992, 1993))
    assert a.static["soc_content"] == pytest.approx(6000 / (1.25 * 300))
    assert a.static["latitude"] == 41.0
    assert a.daily["tmean"][0] == 15.0
    assert len(a.daily["srad"]) == 1461
    # FAO-56 example: e(20) = 2.338, e(10) = 1.228 kPa; the dew point is the lowest temperature
    assert a.daily["vpd"][0] == pytest.approx((2.338 + 1.228) / 2 - 1.228, abs=0.001)
    assert a.daily["co2"][0] == pytest.approx(353.6, abs=0.6)  # mean of the marine means of 1989 and 1990
    forcing = forcing_of([a, b])
    assert forcing.start == date(1990, 1, 1)
    assert forcing.annual["crop"].tolist() == [[1, 5, 1, 5]] * 2
    assert forcing.annual["residue_removed"] == pytest.approx(np.array([[0.75, 0, 0.75, 0], [0, 0, 0, 0]]))
    assert "Soil carbon of Far (1 plot): this folder holds no daily weather of the place." in skipped
    assert "Soil carbon of Here2 (1 plot): OAT1 in 1991 is not a crop of the models." in skipped
    assert "Soil carbon of Here2 (1 plot): it was measured once, which gives no trend." in skipped


def test_modelled_trends_are_scored_beside_measured_ones(folder: Path, tmp_path: Path) -> None:
    model = Steady()
    found = evaluate_soil(model, folder, quiet)
    a, b = found.plots
    # a: residue taken in two of four years; b: never
    assert a.modelled == pytest.approx([-10 - 40 * 0.375, -20 - 40 * 0.375])
    assert b.modelled == pytest.approx([-10, -20])
    assert a.measured == pytest.approx(stats.linregress([1990, 1991, 1993], [6000, 6030, 6060]).slope)
    assert b.measured == pytest.approx(-10.0)
    assert (a.agrees, b.agrees) == (False, None)
    (row,) = found.rows
    assert row.scores.n == 2
    assert row.scores.bias == pytest.approx((-30 - a.measured - 15 + 10) / 2)
    assert row.floors["no change"].rmse == pytest.approx(np.sqrt((a.measured**2 + 100) / 2))
    assert "sign agrees in 1 of 2" in row.note
    assert "within two standard errors 0 of the 1" in row.note
    assert found.tables[0].lines[1][:5] == ("Here2", "b", "1990-1993", "maize + soybean", 5.2)
    assert plot_soil(tmp_path, found) == ["soil_experiments.png"]
    # before the experiment all plots were farmed alike
    (history,) = model.histories
    assert (history.annual["residue_removed"] == 0).all()
    assert (history.annual["tillage"] == 1).all()


def test_rows_hold_sites_and_differences_within_them() -> None:
    def plot(site: str, measured: float, modelled: float, error: float = 10.0) -> Plot:
        return Plot(site, "", 1990, 2000, 4, "maize", 10.0, measured, error, np.array([modelled]))

    plots = [plot("A", 10, 0), plot("A", 30, 10), plot("B", -20, -15), plot("C", 5, -40, float("nan"))]
    whole, sites = rows_of(plots)
    assert (whole.scores.n, sites.scores.n) == (4, 3)
    assert sites.scores.bias == pytest.approx(((5 - 20) + 5 - 45) / 3)
    assert agreement(plots).startswith("sign agrees in 2 of 4; within two standard errors 3 of the 3")  # 0 has no sign
    (*_, apart) = rows_of([*plots, plot("B", 0, 15)])
    assert apart.place == "plots less their site's mean"
    # A: -10, 10 measured, -5, 5 modelled; B: -10, 10 and -15, 15
    assert apart.scores.rmse == pytest.approx(5.0)
    assert apart.floors["no difference"].rmse == pytest.approx(10.0)


def test_a_folder_without_experiments_and_a_model_without_soil_say_so(tmp_path: Path) -> None:
    assert evaluate_soil(Steady(), tmp_path, quiet).skipped == (
        "Soil carbon: no soc/lte_soc_timeseries.csv in this folder.",
    )
    blind = Steady()
    blind.outputs = ("nee",)
    assert "does not give delta_soc" in evaluate_soil(blind, tmp_path, quiet).skipped[0]


def test_the_experiments_of_the_data_are_read(data_dir: Path) -> None:
    plots, skipped = read_experiments(data_dir)
    if not plots:
        pytest.skip("no long-term experiments in this folder")
    assert len(plots) == 46
    assert {p.site for p in plots} == {
        "Brookings", "Hoytville", "Ithaca2", "IthacaNE", "Mead2", "Rosemount", "SCharleston", "Wooster",
    }  # fmt: skip
    assert any("SORG" in sentence for sentence in skipped)
    one = next(p for p in plots if p.treatment == "Mead2_csb_0N")
    assert (one.years[0], one.years[-1], one.nitrogen) == (1984, 2002, 0.0)
    assert (one.daily["tmax"][0], one.daily["tmin"][0], one.daily["precip"][0]) == (-0.43, -5.8, 11.0)
    assert one.seasons[1985].crop == 5.0
    assert all(len(p.daily["srad"]) == len(p.daily["tmean"]) and p.daily["vpd"].min() >= 0 for p in plots)


# --- distribution ----------------------------------------------------------------------------------------


def test_a_distribution_is_in_percent_of_the_stock_members_first() -> None:
    stock = np.array([1000.0, 2000.0])
    change = np.array([[[10.0, -2.0], [4.0, 30.0]], [[0.0, -8.0], [0.0, np.nan]]])
    crops = np.array([[1, 5], [1, 1]])
    everything, maize, soybean, means = distributions(change, stock, crops, "own")
    assert everything.percent == pytest.approx([0.5, -0.5, 0.1])
    assert maize.percent == pytest.approx([0.5, 0.1])
    assert maize.carbon == pytest.approx((10 + 4 + 0 + 0) / 4)
    assert soybean.percent == pytest.approx([-0.5])
    assert (everything.within, soybean.within) == (100.0, 100.0)
    # the second cell lacks a year
    assert means.percent == pytest.approx([0.0])
    assert means.spread == pytest.approx(np.std([0.4, -0.4], ddof=1))


def test_variance_is_explained_only_where_enough_varies() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    noise = rng.normal(size=200)
    assert share_explained(3 * x[:, 0] + noise, x) == pytest.approx(0.9, abs=0.03)
    assert share_explained(noise, np.ones((200, 3))) is None
    assert share_explained(noise, np.repeat([[0.0], [1.0]], 100, axis=0)) is None


def test_surveyed_soils_are_whole_units_drawn_by_area() -> None:
    def soils(values: list[float], weight: list[float]) -> Soils:
        return Soils(np.outer(values, np.ones(len(NAMES))), np.array(weight))

    found = drawn_soils({"a": soils([1.0, 2.0], [3.0, 1.0]), "b": soils([0.0, 5.0], [50.0, 50.0])}, 8000)
    assert set(found) == set(NAMES)
    assert all((found[name] == found["sand"]).all() for name in NAMES)
    share = {value: float((found["sand"] == value).mean()) for value in (0.0, 1.0, 2.0, 5.0)}
    # a unit without soil carbon is none; the others weigh 0.75, 0.25 and 0.5
    assert share == pytest.approx({0.0: 0.0, 1.0: 0.5, 2.0: 1 / 6, 5.0: 1 / 3}, abs=0.02)


def test_a_cube_without_bulk_density_has_no_stock(tmp_path: Path) -> None:
    found = evaluate_distribution(ToyModel(), build_toy(tmp_path / "toy.zarr"), quiet)
    assert found.skipped == ("Distribution of delta_soc: the cube 'toy' has no bulk_density, so no stock.",)


def test_the_distribution_over_a_county_is_that_of_its_stock(data_dir: Path, tmp_path: Path) -> None:
    cube = open_cube(build("adams", tmp_path / "adams.zarr", data_dir))
    found = evaluate_distribution(Steady(), cube, quiet)
    rows, cols = sample(cube)
    static = cube.forcing(rows[:1], cols[:1], cube.years).static
    stock = float(static["soc_content"][0] * static["bulk_density"][0] * 300)
    by = {(p.what, p.crop): p for p in found.parts}
    assert {p.run for p in found.parts} == {"own GPP"}
    assert by["single years", "maize"].percent == pytest.approx(-15.0 / stock * 100, rel=1e-5)
    assert len(by["mean of all years", "all"].percent) == len(rows)
    assert by["mean of all years", "all"].spread == pytest.approx(np.std([-10, -20], ddof=1) / stock * 100, rel=1e-5)
    assert "86 %" in found.tables[0].title
    (unit,) = drawn_soils({"a": Soils(np.full((1, len(NAMES)), 2.0), np.ones(1))}, 1)["clay"]
    other = evaluate_distribution(Steady(), cube, quiet, {"a": Soils(np.full((1, len(NAMES)), unit), np.ones(1))})
    (*_, means) = other.parts
    assert means.run == "own GPP, surveyed soils"
    assert means.percent == pytest.approx(-15.0 / (2 * 2 * 300) * 100)
    assert plot_distribution(tmp_path, found) == ["delta_soc_distribution.png"]
