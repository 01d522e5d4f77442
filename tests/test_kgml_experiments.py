"""Experiments with the network: samples, networks that see no GPP, scores, and that a broken-off one goes on."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fieldflux.app.kgml import trials
from fieldflux.app.kgml.ablation import ablation_trials, write_ablation
from fieldflux.app.kgml.budget import ALL, ARMS, KGML, PURE_ML, QUICK, Arm, Budget, Trial
from fieldflux.app.kgml.experiments import BadExperiment, experiment, weights_given
from fieldflux.app.kgml.recipe import KgmlRecipe
from fieldflux.app.kgml.setting import Setting
from fieldflux.app.kgml.small_samples import small_sample_trials, write_small_samples
from fieldflux.app.kgml.sums import Sums, sums_of, total
from fieldflux.app.kgml.synthetic_test import AGAIN, CLIMATOLOGY, FAMILY, synthetic_test
from fieldflux.app.kgml.tables import sums_in
from fieldflux.app.kgml.trials import Grounds, attempt, held_groups, network_of, prepare
from fieldflux.models.kgml.inputs import GPP, closed_days
from fieldflux.models.kgml.lessons import Lesson, lesson
from fieldflux.models.kgml.recipe import NetworkRecipe
from fieldflux.tiles.teaching import Teaching, TeachingRecipe, teach_with

from .small_forcing import MAIZE, SOYBEAN, small_forcing
from .test_teaching import made_up

BASE = NetworkRecipe(hidden=16)
YEARS = (2003, 2004, 2005)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teaching") / "set"
    sources = [made_up("a", 2015, 5, 1), made_up("b", 2017, 3, 2), made_up("c", 2010, 4, 3, elsewhere=True)]
    teach_with(TeachingRecipe(seed=5, runs=24, years=(2003, 2006), per_teacher=8, scatter=0.1), sources, path)
    return path


@pytest.fixture(scope="module")
def taught(folder: Path) -> Teaching:
    from fieldflux.tiles.teaching import open_teaching

    return open_teaching(folder)


def place(name: str, group: str, seed: int, yields: bool = False) -> Lesson:
    """A made-up place whose respiration is a share of its GPP."""
    forcing = small_forcing([[MAIZE, SOYBEAN, MAIZE], [SOYBEAN, MAIZE, SOYBEAN]], first_year=YEARS[0], seed=seed)
    gpp = np.broadcast_to(np.clip(forcing.daily["tmean"] / 2, 0, None), (2, forcing.days)).astype(np.float64)
    seen = {"reco": 1.0 + 0.6 * gpp[0], "nee": 1.0 - 0.4 * gpp[0]}
    harvest = {y: np.array([400.0, 150.0] if y % 2 else [150.0, 400.0]) for y in YEARS} if yields else None
    return lesson(name, group, forcing, gpp, np.ones_like(gpp), "closed", (), None if yields else seen, harvest)


@pytest.fixture(scope="module")
def grounds(taught: Teaching) -> Grounds:
    train, validation, _ = taught.split(1)
    towers = tuple(place(f"T{k} given", f"G{k}", k) for k in range(4))
    counties = tuple(place(f"1900{k}", f"1900{k}", k, yields=True) for k in range(4))
    learn = {one.name: YEARS[:2] for one in (*towers, *counties)}
    check = {one.name: YEARS[2:] for one in (*towers, *counties)}
    folds = (("G0",), ("G1",), ("G2",), ("G3",))
    return Grounds(taught, train, validation, towers, counties, learn, check, folds, frozenset({"19000"}))


def test_scores_add_up() -> None:
    rng = np.random.default_rng(0)
    seen, said = rng.normal(size=100), rng.normal(size=100)
    seen[3] = np.nan
    whole = total([sums_of(seen[:40], said[:40]), sums_of(seen[40:], said[40:])])
    kept = ~np.isnan(seen)
    error = said[kept] - seen[kept]
    assert whole.n == 99
    assert whole.rmse == pytest.approx(np.sqrt((error**2).mean()))
    assert whole.bias == pytest.approx(error.mean())
    assert whole.r2 == pytest.approx(1 - (error**2).sum() / ((seen[kept] - seen[kept].mean()) ** 2).sum())
    assert np.isnan(Sums().r2)


def test_there_are_16_models_and_samples_grow() -> None:
    assert len({arm.name for arm in ARMS}) == 16
    budget = Budget()
    assert len(ablation_trials(budget)) == 16 * 2 * (3 + 2)
    assert {t.arm for t in small_sample_trials(budget)} == {KGML, PURE_ML}
    epochs = [arm.recipe(budget, BASE).stages.towers.epochs for arm in (KGML, PURE_ML)]
    assert epochs[1] == 2 * epochs[0]


@pytest.mark.parametrize("structure", [True, False])
def test_a_blind_network_does_not_see_gpp(structure: bool) -> None:
    arm = Arm(gpp=False, structure=structure)
    network = network_of(arm, arm.recipe(QUICK, BASE), 0).eval()
    forcing = small_forcing([[MAIZE] * 2])
    said = []
    for level in (1.0, 9.0):
        gpp = np.full((1, forcing.days), level)
        with torch.no_grad():
            said.append(network(closed_days(forcing, gpp, np.ones_like(gpp), 2019))[0])
    for name in ("ra", "rh", "nee", "harvest"):
        torch.testing.assert_close(getattr(said[0], name), getattr(said[1], name))
    assert GPP == 5


def test_the_held_out_groups_take_turns(grounds: Grounds) -> None:
    budget = Budget(hold=2)
    held = [held_groups(grounds, budget, k) for k in range(2)]
    assert held == [{"G0", "G2"}, {"G1", "G3"}]


def test_small_samples_and_ablation(grounds: Grounds, tmp_path: Path) -> None:
    setting = Setting(KgmlRecipe(family="kgml", name="x", version="1", train={}, validation={}), QUICK, tmp_path,
                      tmp_path, tmp_path)  # fmt: skip
    few = [
        Trial(part, arm, ALL, 0)
        for part in ("towers", "counties")
        for arm in (KGML, Arm(gpp=False), Arm(knowledge=False))
    ]
    chosen = list(dict.fromkeys([*small_sample_trials(QUICK), *few]))
    results = {}
    for trial in chosen:
        weights, result = tmp_path / f"{trial.arm.name}.pt", tmp_path / f"{trial.name}.json"
        if trial.arm.pretrained:
            prepare(trial.arm, grounds, QUICK, BASE, weights)
        attempt(trial, grounds, QUICK, BASE, weights, result)
        results[trial] = json.loads(result.read_text())
    assert setting.budget == QUICK

    towers = results[Trial("towers", KGML, ALL, 0)]
    held = held_groups(grounds, QUICK, 0)
    assert {row["group"] for row in towers["rows"]} == held
    assert not held & set(towers["drawn"])
    assert len(results[Trial("towers", KGML, 0, 0)]["drawn"]) == 0
    one = results[Trial("towers", KGML, 1, 0)]["drawn"]
    assert one == results[Trial("towers", PURE_ML, 1, 0)]["drawn"]
    assert one[0] == towers["drawn"][0]
    assert sums_in(towers, "balance", "given").bias < 1e-5
    assert sums_in(results[Trial("towers", PURE_ML, ALL, 0)], "balance", "given").bias > 0.1
    counties = results[Trial("counties", KGML, ALL, 0)]
    assert {row["place"] for row in counties["rows"]} == {"19000"}
    # two crops, three years, one county; maize of 400 gC m-2 is 10 t ha-1
    assert sums_in(counties, "yield of maize", "own").n == 3
    assert 8 < sums_in(counties, "yield of maize", "own").observed / 3 < 12

    kept = (tmp_path / f"{few[0].name}.json").stat().st_mtime_ns
    attempt(few[0], grounds, QUICK, BASE, tmp_path / "none.pt", tmp_path / f"{few[0].name}.json")
    assert (tmp_path / f"{few[0].name}.json").stat().st_mtime_ns == kept

    small = [results[t] for t in small_sample_trials(QUICK)]
    paths = write_small_samples(tmp_path, small, {"KGML": KGML.name, "pure ML": PURE_ML.name})
    assert [p.name for p in paths] == ["small-samples.csv", "small-samples.txt", "small-samples.png"]
    with paths[0].open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"KGML", "pure ML"}
    assert all(p.stat().st_size > 0 for p in write_ablation(tmp_path, [results[t] for t in few]))


def test_synthetic(folder: Path, tmp_path: Path) -> None:
    recipe = KgmlRecipe(family="kgml", name="x", version="1", network=BASE, train={}, validation={})
    setting = Setting(recipe, QUICK, tmp_path, folder, tmp_path / "work")
    setting.kept.mkdir(parents=True)
    said: list[str] = []
    paths = synthetic_test(setting, {}, tmp_path, 1, lambda _, text: said.append(text))
    with paths[0].open() as file:
        rows = {(r["model"], r["split"], r["crops"], r["variable"]): r for r in csv.DictReader(file)}
    assert {key[0] for key in rows} == {"closed", "paper", "plain", CLIMATOLOGY, FAMILY, AGAIN}
    own = {name: float(rows[AGAIN, "unseen places", "all", name]["r2"]) for name in ("ra", "rh")}
    assert own["ra"] > 0.99
    assert own["rh"] > 0.5
    assert float(rows[FAMILY, "unseen places", "all", "nee"]["r2"]) > float(
        rows[CLIMATOLOGY, "unseen places", "all", "nee"]["r2"]
    )
    assert float(rows["closed", "unseen places", "all", "balance"]["bias"]) < 1e-5
    said.clear()
    assert all(path.stat().st_size > 0 for path in paths)
    synthetic_test(setting, {}, tmp_path, 1, lambda _, text: said.append(text))
    assert said == []

    # two members of a training: the mean of twice the same network is that network
    work = tmp_path / "training"
    for member in ("member-0", "member-1"):
        (work / member).mkdir(parents=True)
        shutil.copy(setting.kept / "synthetic-closed.pt", work / member / "synthetic.pt")
    given = weights_given([f"closed={work}"])
    paths = synthetic_test(setting, given, tmp_path, 1, lambda _, text: said.append(text))
    assert said == ["synthetic test: 1 of 1"]
    with paths[0].open() as file:
        again = {(r["model"], r["split"], r["crops"], r["variable"]): r for r in csv.DictReader(file)}
    key = ("closed", "unseen places", "all", "rh")
    assert float(again[key]["r2"]) == pytest.approx(float(rows[key]["r2"]), abs=2e-3)
    with pytest.raises(BadExperiment, match="are not those of the paper variant"):
        synthetic_test(setting, {"paper": given["closed"]}, tmp_path, 1, lambda *_: None)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(BadExperiment, match="Choose one of: small-samples"):
        experiment("taste", tmp_path, tmp_path, tmp_path, tmp_path / "r.toml", tmp_path, lambda *_: None)
    with pytest.raises(BadExperiment, match="VARIANT=PATH"):
        weights_given(["closed"])
    (tmp_path / "w.pt").touch()
    assert weights_given([f"closed={tmp_path / 'w.pt'}"]) == {"closed": (tmp_path / "w.pt",)}
    with pytest.raises(BadExperiment, match="steps 1 and 2"):
        weights_given([f"paper={tmp_path}"])


def test_real_places(data_dir: Path) -> None:
    """Towers that the recipe trains on, and counties whose held-out ones learn nothing."""
    from fieldflux.app.kgml.setting import process_of
    from fieldflux.app.kgml.training import read_kgml_recipe
    from fieldflux.tiles.measurements import read_towers
    from fieldflux.tiles.measurements.panel import read_panel

    from .conftest import ROOT

    recipe = read_kgml_recipe(ROOT / "models" / "recipes" / "kgml-ag-carbon.toml")
    process = process_of(recipe)
    some = [tower for tower in read_towers(data_dir) if tower.site in ("DK-Fou", "DE-RuS", "US-Twt")]
    lessons, learn, check = trials.tower_grounds(some, process, recipe)
    assert {one.name.split()[0] for one in lessons} <= {"DK-Fou", "DE-RuS"}
    assert all(not set(learn[one.name]) & set(check[one.name]) for one in lessons)
    panel = [one for one in read_panel(data_dir) if len(one.years) < 10][:6]
    counties, years, _, unseen = trials.county_grounds(panel, process, recipe, replace_points(QUICK, 1))
    assert counties
    for one in counties:
        assert torch.isnan(one.days[one.years[-1]].expected).all()
        assert bool(years[one.name]) != (one.group in unseen)
        assert one.days[one.years[0]].cells == (2 if one.group not in unseen else one.days[one.years[0]].cells)


def replace_points(budget: Budget, points: int) -> Budget:
    return budget.model_copy(update={"points": points})
