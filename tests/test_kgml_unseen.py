"""Towers that folds left out: files read back, scores and floors by hand, rules and coverage by hand."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.evaluate.yieldfloors import YieldFloors, YieldTable
from fieldflux.app.evaluate.yields import YieldPoints
from fieldflux.app.kgml.clock import Clock
from fieldflux.app.kgml.coverage import Evidence, coverage_of, coverage_table, own_groups, rule_of, scores_of
from fieldflux.app.kgml.folds import NOT_IN_DOMAIN, Unseen, daily_part, read_folds, yearly_part
from fieldflux.app.kgml.recipe import KgmlRecipe
from fieldflux.app.kgml.training import PLAIN, SECONDS, train_networks
from fieldflux.app.kgml.unseen import interval_rules, unseen, write_unseen, yield_residuals
from fieldflux.app.kgml.unseenfloors import training_masks
from fieldflux.app.kgml.unseenrows import unseen_rows
from fieldflux.models.crops import CROPS
from fieldflux.models.intervals import Residuals
from fieldflux.models.kgml.recipe import NetworkRecipe, Stage, Stages
from fieldflux.models.registry import Registry
from fieldflux.tiles.measurements import read_towers

SITES = {"XX-A1": ("A", 1.0), "XX-A2": ("A", 1.0), "XX-B": ("B", 3.0), "XX-C": ("C", 5.0)}  # group, reco
FIRST, YEARS = date(2001, 1, 1), (2001, 2002)
DAYS = 730
GPP = 2.0
ERRORS = (0.5, 1.5)  # of the two members in reco: 1.0 in the mean


@pytest.fixture(scope="module")
def recipe() -> KgmlRecipe:
    return KgmlRecipe(
        family="kgml", name="made-up", version="1", members=2, fold_members=2, folds=(("A",), ("B", "C")),
        train=dict.fromkeys(SITES, (2001,)), validation={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fields of maize in three places, with the same weather, GPP 2 and a constant Reco each."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "flux").mkdir()
    soil = "bulk_density,field_capacity,wilting_point,ksat,soc_content"
    sites = "".join(f"{s},41,-96,{g},1.4,0.3,0.15,20,15\n" for s, (g, _) in SITES.items())
    (folder / "flux" / "own_sites.csv").write_text(f"site,latitude,longitude,group,{soil}\n{sites}")
    years = "".join(f"{s},{y},1,130,280,{'100' if s == 'XX-A1' else ''}\n" for s in SITES for y in YEARS)
    (folder / "flux" / "own_years.csv").write_text(f"site,year,crop,sowing_doy,harvest_doy,yield\n{years}")
    lines = ["site,date,tmean,tmin,tmax,precip,srad,vpd,nee,gpp,reco"]
    for site, (_, reco) in SITES.items():
        for k in range(DAYS):
            t = 10 - 15 * np.cos(2 * np.pi * (k % 365) / 365)
            weather = f"{t:.2f},{t - 6:.2f},{t + 6:.2f},{8 if k % 4 == 0 else 0},{t + 10:.2f},0.8"
            lines.append(f"{site},{FIRST + timedelta(k)},{weather},{reco - GPP},{GPP},{reco}")
    (folder / "flux" / "own_daily.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, recipe: KgmlRecipe) -> Path:
    """What two members would have written: Reco too high by 0.5 and 1.5, and own GPP in 2001 alone."""
    folder = tmp_path_factory.mktemp("work")
    for m, error in enumerate(ERRORS):
        (folder / f"member-{m}").mkdir()
        for k, groups in enumerate(recipe.folds):
            arrays: dict[str, np.ndarray] = {}  # type: ignore[type-arg]
            for site, (group, reco) in SITES.items():
                if group in groups:
                    for source in ("given", "own"):
                        name = f"{site} {source}"
                        gpp = np.full((1, DAYS), GPP, np.float32)
                        if source == "own":
                            gpp[:, 365:] = 0.0
                        ra = np.full((1, DAYS), reco - 0.25 + error, np.float32)
                        rh = np.full((1, DAYS), 0.25, np.float32)
                        arrays |= {f"{name}|gpp": gpp, f"{name}|ra": ra, f"{name}|rh": rh, f"{name}|nee": ra + rh - gpp}
                        arrays |= {f"{name}|harvest": np.array([[90.0, 0.0]], np.float32)}
                        arrays[f"{name}|start"] = np.array("2001-01-01")
            np.savez_compressed(folder / f"member-{m}" / f"fold-{k}.npz", **arrays)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def found(work: Path, recipe: KgmlRecipe, data: Path) -> tuple[Unseen, ...]:
    return read_folds(work, recipe, data)


def one_of(found: tuple[Unseen, ...], site: str, source: str) -> Unseen:
    return next(one for one in found if (one.site, one.source) == (site, source))


def test_folds_are_read_and_close(found: tuple[Unseen, ...]) -> None:
    assert [(one.site, one.source) for one in found] == [(s, k) for s in SITES for k in ("given", "own")]
    given = one_of(found, "XX-B", "given")
    assert (given.group, given.fold, given.start, given.years) == ("B", 1, FIRST, YEARS)
    assert given.gpp.shape == given.ra.shape == given.reco.shape == (2, DAYS)
    np.testing.assert_array_equal(given.reco, given.ra + given.rh)
    np.testing.assert_array_equal(given.nee, given.reco - given.gpp)
    np.testing.assert_allclose(given.reco[:, 0], 3.0 + np.array(ERRORS))


def test_a_year_that_the_process_model_did_not_run_is_missing(found: tuple[Unseen, ...]) -> None:
    own = one_of(found, "XX-A1", "own")
    assert np.isfinite(own.nee[:, :365]).all()
    assert np.isnan(own.nee[:, 365:]).all()
    np.testing.assert_array_equal(np.isnan(own.harvest), [[False, True]] * 2)
    assert np.isfinite(one_of(found, "XX-A1", "given").nee).all()


def test_a_training_makes_the_floors_folds_too_and_goes_on(
    recipe: KgmlRecipe, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members, folds and the plain networks of the same folds by one call; another one makes what is not there."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stages = Stages(towers=Stage(epochs=1), county_yields=Stage(epochs=0), harvest=Stage(epochs=0))
    network = NetworkRecipe(hidden=8, pretrained=False, stages=stages)
    checked = dict.fromkeys(SITES, (2002,))
    own = recipe.model_copy(update={"network": network, "validation": checked, "folds": (("A",),)})
    floor = own.model_copy(
        update={"network": network.model_copy(update={"variant": "plain", "knowledge": False}), "name": "floor"}
    )
    said: list[float] = []
    train_networks(own, data, tmp_path, 1, lambda fraction, _: said.append(fraction), floor)
    assert said == sorted(said)
    assert said[-1] == 1.0
    by_us, by_plain = read_folds(tmp_path, own, data), read_folds(tmp_path / PLAIN, floor, data)
    assert [(one.site, one.source, one.fold) for one in by_us] == [(p.site, p.source, p.fold) for p in by_plain]
    assert all(one.nee.shape == (2, DAYS) for one in by_plain)
    np.testing.assert_array_equal(by_us[0].nee, by_us[0].reco - by_us[0].gpp)
    assert np.abs(by_plain[0].nee - (by_plain[0].reco - by_plain[0].gpp)).max() > 1e-3
    rows = unseen_rows(by_us, own, data, lambda *_: None, by_plain)
    assert any("plain network" in row.floors for row in rows)

    taken = Clock(tmp_path / SECONDS).seconds()
    assert list(taken) == ["steps 1 and 2", "steps 3 and 4", "step 5 and harvest", "folds", "plain network"]
    kept, gone = tmp_path / PLAIN / "member-0" / "fold-0.pt", tmp_path / PLAIN / "member-1" / "pretrained.pt"
    made = kept.stat().st_mtime_ns
    gone.unlink()
    train_networks(own, data, tmp_path, 1, plain=floor)
    again = Clock(tmp_path / SECONDS).seconds()
    assert gone.exists()
    assert kept.stat().st_mtime_ns == made
    assert [name for name in taken if again[name] > taken[name]] == ["plain network"]


def test_a_fold_that_is_not_done_is_said(work: Path, recipe: KgmlRecipe, data: Path) -> None:
    with pytest.raises(ValueError, match=r"member-2/fold-0\.npz is not there\. Resume"):
        read_folds(work, recipe.model_copy(update={"fold_members": 3}), data)


def test_training_masks_leave_the_group_out(recipe: KgmlRecipe, data: Path) -> None:
    masks = training_masks(read_towers(data), recipe, frozenset({"A"}))
    assert {site: int(mask.sum()) for site, mask in masks.items()} == {"XX-A1": 0, "XX-A2": 0, "XX-B": 365, "XX-C": 365}


def test_rows_by_hand(found: tuple[Unseen, ...], recipe: KgmlRecipe, data: Path) -> None:
    rows = unseen_rows(found, recipe, data)
    days = {(r.gpp, r.variable, r.place): r for r in rows if r.step == "day"}
    a1 = days["given", "reco", "XX-A1"]
    assert a1.split == "unseen tower"
    assert (a1.scores.n, days["own", "reco", "XX-A1"].scores.n) == (730, 365)
    assert a1.scores.rmse == pytest.approx(1.0, abs=1e-6)
    assert a1.spread == pytest.approx(np.std(ERRORS, ddof=1))
    # the others of A's fold are B and C: 3 and 5; of B's and C's fold the two of A: 1
    assert a1.floors["climatology"].rmse == pytest.approx(3.0, abs=1e-6)
    assert days["own", "nee", "XX-C"].floors["climatology"].bias == pytest.approx(-4.0, abs=1e-6)
    assert {"climatology", "ridge", "boosting", "process model"} == set(a1.floors)
    # all weather is alike, so that nothing but the mean of the others can be learned
    assert days["given", "reco", "XX-C"].floors["boosting"].bias == pytest.approx(-4.0, abs=1e-3)
    assert days["given", "reco", "A, 2 towers pooled"].scores.n == 1460
    everything = days["given", "reco", "4 towers of 3 groups pooled"].scores
    assert everything.observed == pytest.approx(2.5)
    assert everything.nse == pytest.approx(1 - 1 / 2.75, abs=1e-6)  # errors 1; variance of 1, 1, 3, 5
    assert days["given", "reco", "median of 4 towers"].floors["climatology"].rmse == pytest.approx(3.0, abs=1e-6)
    years = {(r.gpp, r.variable, r.place): r for r in rows if r.step == "year"}
    assert years["given", "nee", "4 towers of 3 groups pooled"].scores.bias == pytest.approx(365.0, abs=1e-3)
    assert years["own", "nee", "4 towers of 3 groups pooled"].scores.n == 4


def test_days_and_years_beside_measurements(found: tuple[Unseen, ...], data: Path) -> None:
    tower = next(t for t in read_towers(data) if t.site == "XX-B")
    own, given = one_of(found, "XX-B", "own"), one_of(found, "XX-B", "given")
    part = daily_part(own, tower, "nee")
    assert part is not None
    assert part.members.shape == (2, 365)
    year = yearly_part(given, tower, "nee")
    assert year is not None
    np.testing.assert_allclose(year.observed, [365.0, 365.0])
    np.testing.assert_allclose(year.members, 365 * (1 + np.array(ERRORS)[:, None] * [1, 1]), rtol=1e-6)


def four_groups() -> Evidence:
    """Errors 0.5, 1.5, ... 15.5, mean 8, in each of four groups, around a prediction of 0 that members agree on."""
    group = np.repeat(["a", "b", "c", "d"], 16)
    members = np.tile([[1e-9], [-1e-9]], (1, 64))
    return Evidence("nee", "day", "own", Residuals(group, np.tile(np.arange(0.5, 16.0), 4), members), "four")


def test_rules_with_and_without_the_correction() -> None:
    plain, firm = rule_of(four_groups(), promised=False), rule_of(four_groups(), promised=True)
    assert plain.floor_constant == pytest.approx(8.0)
    assert {level: 8 * q for level, q in plain.quantiles.items()} == {0.5: 7.5, 0.8: 12.5, 0.9: 14.5, 0.95: 15.5}
    # one group more, of any errors: the shares 0.625 and 1 of the four, then the largest
    assert {level: 8 * q for level, q in firm.quantiles.items()} == {0.5: 9.5, 0.8: 15.5, 0.9: 15.5, 0.95: 15.5}
    assert "no promise" in plain.data
    assert "4 groups are too few" in firm.data


def test_coverage_by_hand() -> None:
    (plain,) = coverage_of([four_groups()], {"a"}, promised=())
    assert {level: 16 * c.share for level, c in plain.covered.items()} == {0.5: 8, 0.8: 13, 0.9: 15, 0.95: 16}
    assert 16 * plain.own[0.9] == 15
    assert plain.covered[0.9].mean_width == pytest.approx(29.0)
    (firm,) = coverage_of([four_groups()], promised=("day",))
    # three others: the share 2/3 of them, then all
    assert {level: 16 * c.share for level, c in firm.covered.items()} == {0.5: 11, 0.8: 16, 0.9: 16, 0.95: 16}
    assert [c.promised for c in firm.covered.values()] == [True, False, False, False]
    table = coverage_table([plain, firm])
    judged = [line[-1] for line in table.lines if line[table.columns.index("level")] == "90 %"]
    assert judged == ["yes", "no"]
    scores = scores_of([plain, firm])
    assert scores[2].metric == "coverage of the 90 % interval, day"
    assert scores[2].split.endswith("without the correction for few groups")
    assert scores[6].split.endswith("too few groups for this level: the largest score")


def test_interval_rules(found: tuple[Unseen, ...], data: Path) -> None:
    counties = Residuals(np.array(["1", "1", "2"]), np.array([300.0, 310.0, 250.0]), np.full((2, 3), 280.0))
    rules = interval_rules(found, data, counties)
    assert set(rules) == {"nee", "reco", "gpp", "delta_soc", "yield", "ra", "rh"}
    assert set(rules["nee"]) == {"day", "month", "year"}
    assert (rules["nee"]["day"].groups, rules["nee"]["day"].n) == (3, 4 * 365)
    assert rules["nee"]["month"].n == 4 * 12
    assert rules["nee"]["year"].n == 4
    assert rules["ra"]["day"].data.startswith("ra is never measured alone")
    assert rules["ra"]["day"].quantiles == rules["reco"]["day"].quantiles
    # harvests were weighed in one place alone; elsewhere their error is drawn from the counties
    assert rules["delta_soc"]["year"].groups == 3
    assert "drawn from unseen counties" in rules["delta_soc"]["year"].data
    assert "delta_soc" not in interval_rules(found, data)
    given = interval_rules(found, data, pool="given")
    assert given["nee"]["day"].n == 4 * 730
    assert "gpp" not in given
    assert own_groups(found) == {"A", "B", "C"}


def test_yields_of_unseen_counties() -> None:
    part = np.array(["unseen county", "unseen county", "training", "unseen county"])
    nothing = np.zeros((4, 0))
    table = YieldTable("maize", np.array(["1", "2", "3", "4"]), np.array(["IA"] * 4), np.full(4, 2018), part,
                       np.array([10.0, 8.0, 9.0, 7.0]), nothing, nothing)  # fmt: skip
    trained = np.array([False, False, False, True])
    points = [YieldPoints(table, "own", np.full((2, 4), 9.0), trained, YieldFloors({}, {}))]
    residuals = yield_residuals(points)
    assert residuals is not None
    assert residuals.group.tolist() == ["1", "2"]
    np.testing.assert_allclose(residuals.observed, [CROPS["maize"].carbon_m2(10.0), CROPS["maize"].carbon_m2(8.0)])
    assert yield_residuals(points, "given") is None


def test_files(found: tuple[Unseen, ...], recipe: KgmlRecipe, data: Path, tmp_path: Path) -> None:
    result = unseen(found, recipe, data, None)
    report = write_unseen(tmp_path, "made-up/1", result, found, data)
    text = (tmp_path / "unseen.txt").read_text()
    assert "Coverage of intervals at unseen groups" in text
    assert "Towers, by day: the model makes its own GPP" in text
    assert {p.name for p in tmp_path.iterdir()} >= {"unseen_scores.csv", "coverage.csv", "coverage.png", *report.files}


def test_towers_outside_the_domain_are_those_that_the_model_flags(data_dir: Path) -> None:
    """By the soil that the cards call their domain; rice and orchards besides, which no model runs."""
    low, high = Registry().card("kgml-ag-carbon").domain.ranges["soc_content"]
    outside = {t.site for t in read_towers(data_dir) if not low <= t.static.get("soc_content", low) <= high}
    assert outside | {"US-Lin"} == set(NOT_IN_DOMAIN)
