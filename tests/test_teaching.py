"""Teaching sets: what goes in, what comes out, and that it is the teacher's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.cli import app
from fieldflux.models.processes.agroecosystem.inputs import AUTUMN, derive_seasons
from fieldflux.models.processes.agroecosystem.model import NEEDS, Agroecosystem
from fieldflux.models.processes.agroecosystem.parameters import LEARNED, NAMES, bounds
from fieldflux.models.registry import Registry
from fieldflux.tiles.cubefile import days_of
from fieldflux.tiles.teaching import (
    BadTeaching,
    Teaching,
    TeachingRecipe,
    TeachingStopped,
    open_teaching,
    read_recipe,
    teach_with,
)
from fieldflux.tiles.teaching.seasons import CORN, HAY, SOY, WHEAT, sample_kinds, sample_seasons
from fieldflux.tiles.teaching.soils import BOUNDS, sample_soils
from fieldflux.tiles.teaching.teachers import draw_teacher
from fieldflux.tiles.teaching.weather import LEAP_DAY, Source, read_sources, source_of
from typer.testing import CliRunner

from .conftest import ROOT
from .small_forcing import small_forcing

YEARS = (2003, 2006)  # 2004 is a leap year
RECIPE = TeachingRecipe(seed=5, runs=26, years=YEARS, per_teacher=12, also=("soil_moisture",))


def made_up(name: str, first: int, years: int, seed: int, elsewhere: bool = False) -> Source:
    forcing = small_forcing([[CORN] * years], first_year=first, seed=seed)
    daily = {n: v[0].astype(np.float64) for n, v in forcing.daily.items()}
    return source_of(name, name, 41.0 + seed, forcing.dates(), daily, elsewhere=elsewhere)


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    # "b" has no leap year
    return [made_up("a", 2015, 5, 1), made_up("b", 2017, 3, 2), made_up("c", 2010, 4, 3, elsewhere=True)]


@pytest.fixture(scope="module")
def teaching(sources: list[Source], tmp_path_factory: pytest.TempPathFactory) -> Teaching:
    return teach_with(RECIPE, sources, tmp_path_factory.mktemp("teaching") / "set")


def test_a_set_closes_and_holds_what_the_recipe_asked_for(teaching: Teaching) -> None:
    runs = np.arange(teaching.runs)
    assert teaching.years == (2003, 2004, 2005, 2006)
    assert teaching.runs == RECIPE.runs == len(teaching.sources)
    assert teaching.source_names == ("a", "b", "c")
    for year in teaching.years:
        days = 366 if year == 2004 else 365
        targets = teaching.targets(runs, year)
        assert set(targets) == {"gpp", "ra", "rh", "soil_moisture", "yield", "residue"}
        assert targets["gpp"].shape == (26, days)
        assert targets["gpp"].dtype == np.float32
        balance = (targets["gpp"] - targets["ra"]).sum(axis=1, dtype=np.float64) - targets["yield"]
        # half-precision days: 5e-4 of each, of either sign
        np.testing.assert_allclose(targets["residue"], balance, atol=0.5)
        assert all((targets[name] >= 0).all() for name in ("gpp", "ra", "rh"))


def test_forcings_are_complete_and_give_the_teachers_gpp(teaching: Teaching) -> None:
    runs = np.array([3, 17, 4, 25])
    for year in teaching.years:
        forcing = teaching.forcing(runs, year)
        assert forcing.start.year == year
        assert forcing.days == (366 if year == 2004 else 365)
        assert forcing.years == (year, year + 1)
        assert forcing.names() >= {*NEEDS.daily, *NEEDS.annual, *NEEDS.static, "co2", "gpp_given", "irrigated"}
        assert forcing.gpp_given is not None
        assert forcing.gpp_unit is not None
        np.testing.assert_array_equal(forcing.gpp_given[forcing.gpp_unit[:, 0]], teaching.targets(runs, year)["gpp"])
        for k, run in enumerate(runs):
            record = teaching.record(np.array([run]))
            first = (forcing.start - record.start).days
            for name in NEEDS.daily:
                whole = record.daily[name][0, first : first + forcing.days]
                np.testing.assert_array_equal(forcing.daily[name][forcing.weather[k]], whole)
    with pytest.raises(BadTeaching, match="2003 to 2006; asked for: 2007"):
        teaching.forcing(runs, 2007)


def test_weather_rows_are_shared_and_annual_inputs_reach_into_the_year_after(teaching: Teaching) -> None:
    runs = np.arange(teaching.runs)
    assert teaching.forcing(runs, 2003).daily["tmean"].shape[0] <= 12 < teaching.runs
    both = teaching.forcing(runs, 2003).annual["crop"]
    np.testing.assert_array_equal(both[:, 1], teaching.forcing(runs, 2004).annual["crop"][:, 0])
    last = teaching.forcing(runs, 2006).annual["sowing_doy"]
    np.testing.assert_array_equal(last[:, 0], last[:, 1])


def test_the_teachers_run_gives_the_same_again(sources: list[Source], teaching: Teaching, tmp_path: Path) -> None:
    """The stored fluxes are those of a model with the stored parameters on the forcing that is read back."""
    stopped = iter([False, True])
    with pytest.raises(TeachingStopped, match="after 1 of 3 chunks"):
        teach_with(RECIPE, sources, tmp_path / "set", cancelled=lambda: next(stopped))
    with np.load(tmp_path / "set" / "chunks" / "00000.npz") as chunk:
        tables, number = chunk["teachers"], chunk["teacher"]
    own = np.flatnonzero(number == number[0])
    again = Agroecosystem(Registry().card("agroecosystem"), tables[:1]).predict(teaching.record(own))
    first = 365  # 2004
    for name in ("gpp", "ra", "rh"):
        stored = teaching.targets(own, 2004)[name]
        np.testing.assert_allclose(stored, again.daily[name][0, :, first : first + 366], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(teaching.targets(own, 2004)["yield"], again.annual["yield"][0, :, 1], rtol=1e-3)


def test_a_stopped_set_goes_on_and_is_the_same(sources: list[Source], teaching: Teaching, tmp_path: Path) -> None:
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) > 2

    folder, told = tmp_path / "set", []
    with pytest.raises(TeachingStopped, match="same command goes on"):
        teach_with(RECIPE, sources, folder, cancelled=after_two)
    with pytest.raises(BadTeaching, match="not finished"):
        open_teaching(folder)
    written = (folder / "chunks" / "00001.npz").stat().st_mtime_ns
    again = teach_with(RECIPE, sources, folder, lambda done, said: told.append((done, said)))
    assert (folder / "chunks" / "00001.npz").stat().st_mtime_ns == written
    assert told[-1] == (1.0, "running the teachers: 26 of 26 runs")
    runs = np.arange(26)
    for year in (2003, 2006):
        for name, values in teaching.targets(runs, year).items():
            np.testing.assert_array_equal(values, again.targets(runs, year)[name])
    np.testing.assert_array_equal(teaching.inputs.rows, again.inputs.rows)


def test_another_recipe_or_weather_is_refused(sources: list[Source], tmp_path: Path) -> None:
    small = TeachingRecipe(seed=1, runs=2, years=(2003, 2003), per_teacher=2)
    folder = tmp_path / "set"
    teach_with(small, sources, folder)
    with pytest.raises(BadTeaching, match="another recipe"):
        teach_with(small.model_copy(update={"seed": 2}), sources, folder)
    with pytest.raises(BadTeaching, match="other weather"):
        teach_with(small, sources[:2], folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(BadTeaching, match="not empty"):
        teach_with(small, sources, tmp_path / "mine")
    with pytest.raises(BadTeaching, match="no teaching set"):
        open_teaching(tmp_path / "mine")


def test_impossible_limits_end_in_a_sentence_with_the_reasons(sources: list[Source], tmp_path: Path) -> None:
    recipe = TeachingRecipe(runs=3, years=(2003, 2003), tries=2, limits={"gpp": (9000.0, 9999.0)})
    with pytest.raises(BadTeaching, match=r"After 2 teachers chunk 0 has only 0 of 3 runs .*gpp 6"):
        teach_with(recipe, sources, tmp_path / "set")


def test_a_split_holds_out_whole_places(teaching: Teaching) -> None:
    train, validation, test = teaching.split(seed=1)
    together = np.concatenate([train, validation, test])
    np.testing.assert_array_equal(np.sort(together), np.arange(teaching.runs))
    assert len(train) > 0
    assert len(test) > 0
    assert not set(teaching.sources[test]) & set(teaching.sources[np.concatenate([train, validation])])
    assert not set(teaching.teacher[train]) & set(teaching.teacher[validation])
    assert all(np.array_equal(a, b) for a, b in zip(teaching.split(seed=1), (train, validation, test), strict=True))


def test_leap_years_come_from_leap_years_or_repeat_28_february(teaching: Teaching, sources: list[Source]) -> None:
    by_name = dict(zip(teaching.source_names, sources, strict=True))
    for run in range(teaching.runs):
        source = by_name[teaching.source_names[teaching.sources[run]]]
        tmean = teaching.record(np.array([run])).daily["tmean"][0]
        leap = tmean[365 : 365 + 366]
        drawn = [k for k in range(len(source.years)) if np.array_equal(source.values[0, k], leap)]
        assert len(drawn) == 1
        if source.name == "b":
            assert leap[LEAP_DAY] == leap[LEAP_DAY - 1]
        else:
            assert source.years[drawn[0]] % 4 == 0
        without = np.delete(source.values[0], LEAP_DAY, axis=1)
        assert any(np.array_equal(row, tmean[:365]) for row in without)


def test_calendars_are_possible_and_teach_every_crop() -> None:
    rng = np.random.default_rng(0)
    shares = TeachingRecipe().rotations
    kinds = sample_kinds(rng, shares, 600)
    annual = sample_seasons(rng, kinds, np.full(600, 0.25), 18)
    crop, sow, cut = annual["crop"], annual["sowing_doy"], annual["harvest_doy"]
    assert set(np.unique(crop)) == {CORN, SOY, WHEAT, HAY}
    summer = (crop == CORN) | (crop == SOY)
    assert sow[summer].min() >= 105
    assert sow[summer].max() <= 161
    assert cut[summer].min() >= 258
    assert cut[summer].max() <= 324
    assert ((cut - sow)[summer] >= 90).all()
    wheat = crop == WHEAT
    assert (sow[wheat] > cut[wheat]).all()
    after_summer = summer[:, :-1] & wheat[:, 1:]
    assert after_summer.any()
    assert (sow[:, 1:][after_summer] > cut[:, :-1][after_summer]).all()
    assert np.isfinite(sow).all()
    assert 0.18 < annual["irrigated"].mean() < 0.32
    assert 0.0 < (annual["residue_removed"] > 0).mean() < 0.3
    assert annual["residue_removed"].max() <= 0.7
    assert set(np.unique(annual["tillage"])) == {0.0, 0.5, 1.0}
    np.testing.assert_array_equal(crop[kinds == "corn_soy"][:, 0], CORN)
    np.testing.assert_array_equal(crop[kinds == "soy_corn"][:, 1], CORN)


def test_the_model_reads_the_calendars_as_they_are_meant(teaching: Teaching) -> None:
    record = teaching.record(np.arange(teaching.runs))
    seasons = derive_seasons(record)
    assert (seasons.crop >= 0).all()
    wheat = np.isin(np.asarray(record.annual["crop"]), [WHEAT])
    assert (seasons.sow[wheat] > AUTUMN).all()


def test_soils_are_joint_and_within_the_domain() -> None:
    soil = sample_soils(np.random.default_rng(0), 4000)
    for name, (low, high) in BOUNDS.items():
        assert soil[name].min() >= low
        assert soil[name].max() <= high
    np.testing.assert_allclose(soil["sand"] + soil["silt"] + soil["clay"], 1000.0)
    assert soil["silt"].min() > 0
    assert (soil["field_capacity"] - soil["wilting_point"]).min() > 0.04
    assert np.corrcoef(soil["clay"], soil["wilting_point"])[0, 1] > 0.7
    assert np.median(soil["ksat"][soil["sand"] > 650]) > 3 * np.median(soil["ksat"])
    # near the means of the paper's soils
    assert abs(soil["field_capacity"].mean() - 0.299) < 0.03
    assert abs(soil["wilting_point"].mean() - 0.165) < 0.03
    assert abs(soil["soc_content"].mean() - 17.1) < 2.0
    assert abs(soil["bulk_density"].mean() - 1.385) < 0.05


def test_teachers_differ_within_bounds_and_share_the_soil() -> None:
    model = Registry().load("agroecosystem")
    assert isinstance(model, Agroecosystem)
    rng = np.random.default_rng(1)
    drawn = np.stack([draw_teacher(rng, model.table, 1.0, 0.35, 0.3, 0.15) for _ in range(40)])
    low, high, _ = bounds()
    learned = drawn[..., : len(LEARNED)]
    assert (learned >= low).all()
    assert (learned <= high).all()
    assert (learned.std(axis=0) > 0).all()
    shared = [k for k, q in enumerate(LEARNED) if q.shared] + [NAMES.index("k_slow"), NAMES.index("e_s")]
    np.testing.assert_array_equal(drawn[:, 0, shared], drawn[:, 2, shared])
    eta_h = drawn[:, 0, NAMES.index("eta_h")]
    assert 0.85 < np.exp(np.log(eta_h).mean()) < 1.15
    same = draw_teacher(rng, model.table[:1], 1.0, 0.0, 0.0, 0.0)
    k = NAMES.index("eps")
    np.testing.assert_allclose(same[0, k], model.table[0, 0, k], rtol=1e-6)


def test_one_teacher_is_the_same_in_every_chunk(sources: list[Source], tmp_path: Path) -> None:
    """The shipped recipe of one teacher; only the heat sum to senescence goes with the place."""
    shipped = read_recipe(ROOT / "models" / "recipes" / "teaching-one.toml")
    recipe = shipped.model_copy(update={"runs": 12, "years": (2003, 2004), "per_teacher": 4})
    made = teach_with(recipe, sources, tmp_path / "one")
    tables = [np.load(path)["teachers"] for path in sorted((tmp_path / "one" / "chunks").glob("*.npz"))]
    every = np.concatenate(tables)
    assert made.runs == 12
    assert len(every) >= 3
    apart = np.ptp(every, axis=0).max(axis=0) > 1e-9
    assert {name for name, differs in zip(NAMES, apart, strict=True) if differs} <= {"g_sen"}
    with pytest.raises(BadTeaching, match="member is 99"):
        teach_with(recipe.model_copy(update={"member": 99}), sources, tmp_path / "none")


def test_recipes_are_read_and_faults_are_named(tmp_path: Path) -> None:
    shipped = read_recipe(ROOT / "models" / "recipes" / "teaching.toml")
    assert (shipped.runs, shipped.years) == (10335, (2001, 2018))
    path = tmp_path / "recipe.toml"
    for text, told in (
        ("[teaching]\nruns = 0", "runs"),
        ("[teaching]\nyears = [2005, 2001]", "rising"),
        ("[teaching]\nrotations = {wheat = 0.5}", "sum to 1"),
        ("[other]\nruns = 1", r"one table, \[teaching\]"),
        ("[teaching", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(BadTeaching, match=told):
            read_recipe(path)


def test_real_weather_has_whole_years_of_plausible_drivers(data_dir: Path) -> None:
    sources = read_sources(data_dir)
    names = {s.name for s in sources}
    assert {"county-17001", "county-17019", "county-19169", "tower-US-Ne1", "tower-BE-Lon"} <= names
    assert {"experiment-Ithaca_NE", "experiment-SouthCharleston_OH"} <= names
    assert sum(name.startswith("county-19") for name in names) == 36
    # the panel's readers mind the faults of the files: here a year with 40 % too much radiation is left out
    assert max(next(s.years for s in sources if s.name == "county-19169")) == 2019
    for source in sources:
        tmean, tmin, tmax, precip, srad, vpd = source.values
        assert np.isfinite(source.values).all(), source.name
        assert ((tmin <= tmean) & (tmean <= tmax)).all(), source.name
        assert precip.min() >= 0, source.name
        assert 8 < srad.mean() < 22, source.name
        assert srad.max() < 45, source.name
        assert 0 <= vpd.min() < vpd.max() < 9, source.name


def test_the_command_makes_a_set(data_dir: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text("[teaching]\nruns = 6\nyears = [2011, 2012]\nper_teacher = 3\n")
    out = tmp_path / "set"
    result = CliRunner().invoke(app, ["teach", str(recipe), "--data", str(data_dir), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert open_teaching(out).targets(np.arange(6), 2012)["rh"].shape == (6, len(days_of([2012])))
    about = json.loads((out / "about.json").read_text())
    assert len(about["sources"]) > 40
