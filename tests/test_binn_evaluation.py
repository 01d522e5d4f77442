"""What is told of a BINN: six processes at soils, curves of covariates, tables of comparisons, scores of its card."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.binn.cardscores import add_to_card, agreed, trends
from fieldflux.app.binn.compare import OURS, splits_of, table_of_scores, write_compared
from fieldflux.app.binn.evaluation import recipe_of
from fieldflux.app.binn.experiments import binn_experiment
from fieldflux.app.binn.explain import curves, curves_tables, plot_curves, plot_processes, processes_at, processes_table
from fieldflux.app.binn.heldout import HeldOut, floors_held_out
from fieldflux.app.binn.recovery import SENSITIVE, TASKS, Recovered, rows_of, write_recovered
from fieldflux.app.binn.sites import SoilTable, soil_table
from fieldflux.app.evaluate.evaluation import parts_for
from fieldflux.app.kgml.setting import BadExperiment
from fieldflux.models.checkpoint import read_card, read_checkpoint, write_checkpoint
from fieldflux.models.hybrids.binn.network import Ensemble, load_ensemble

from .conftest import ROOT

SHIPPED = ROOT / "models" / "checkpoints" / "binn-soil-carbon" / "1"


@pytest.fixture(scope="module")
def table(data_dir: Path) -> SoilTable:
    found = soil_table(data_dir, ("RaCA",))
    assert found is not None
    mineral = found.mineral()
    return mineral.where(np.arange(len(mineral)) % 8 == 0)


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return load_ensemble(SHIPPED)


def test_processes_of_real_soils(ensemble: Ensemble, table: SoilTable, tmp_path: Path) -> None:
    found = processes_at(ensemble, table)
    shape = (ensemble.members, len(table))
    assert all(values.shape == shape and np.isfinite(values).all() for values in found.values.values())
    for share in ("input_allocation", "transfer_efficiency", "environment", "litter_to_soil"):
        assert 0.0 < found.values[share].min() <= found.values[share].max() < 1.0
    by_use, each = processes_table(found, table)
    assert len(each.lines) == len(table)
    assert {line[2] for line in by_use.lines} <= set(table.soils.land_use.tolist())
    low, middle, high = by_use.lines[0][4:7]
    assert isinstance(low, float)
    assert isinstance(middle, float)
    assert isinstance(high, float)
    assert low <= middle <= high
    assert plot_processes(tmp_path, found, table) == ["processes.png"]


def test_curves_are_the_networks_own(ensemble: Ensemble, table: SoilTable, tmp_path: Path) -> None:
    found = curves(ensemble, table)
    assert [c.name for c in found] == [c.name for c in ensemble.covariates.numbers]
    clay = next(c for c in found if c.name == "clay")
    assert np.allclose(clay.log_stock.mean(1), 0.0, atol=1e-9)
    summary, each = curves_tables(found, ensemble.network.recipe.learned)
    assert len(each.lines) == len(found) * len(clay.at)
    moved = [line[4] for line in summary.lines]
    assert moved == sorted(moved, key=lambda v: -float(str(v)))
    assert plot_curves(tmp_path, found) == ["effects.png"]


def test_recipe_of_the_shipped_card_is_whole(ensemble: Ensemble) -> None:
    recipe = recipe_of(ensemble.card)
    assert recipe.network == ensemble.network.recipe
    assert recipe.fold_members >= 5
    assert parts_for("binn") == ("soils", "processes", "effects")
    assert "towers" in parts_for("kgml")


def test_comparison_is_written_and_goes_into_the_card(table: SoilTable, tmp_path: Path) -> None:
    splits = splits_of(table, (0, 1), 3)
    assert [kind for kind, _ in splits] == ["blocks", "blocks", "states"]
    draw = np.random.default_rng(0)
    made = []
    for kind, split in splits:
        stocks = np.column_stack([table.soils.stock_30, table.soils.stock_100])
        near = np.log(stocks)[None] + draw.normal(0, 0.3, (5, len(table), 1))
        made.append((kind, HeldOut(OURS, split, near, {"soc_30": 0.5, "soc_100": 0.5})))
        made += [
            (kind, one)
            for one in floors_held_out(table, split, {"mean": lambda _, y, at, __: np.full(len(at), y.mean())})
        ]
    files = write_compared(tmp_path, table_of_scores(made, table), ("A note.",))
    assert all(f.stat().st_size > 100 for f in files)
    rows = list(csv.DictReader((tmp_path / "binn-blocks.csv").open()))
    own = next(r for r in rows if r["method"] == OURS and r["stock"] == "soc_30" and r["split"] == "blocks")
    floor = next(r for r in rows if r["method"] == "mean" and r["stock"] == "soc_30" and r["split"] == "blocks")
    assert float(own["log_r2"]) > 0.8
    assert abs(float(floor["log_r2"])) < 0.1
    assert 0.8 < float(own["cover_90"]) < 1.0
    assert floor["cover_90"] == "nan"
    kept = read_checkpoint(SHIPPED)
    write_checkpoint(tmp_path / "copy", kept.card, kept.weights)
    count = add_to_card(tmp_path / "copy", files)
    once = read_card(tmp_path / "copy").scores
    again = add_to_card(tmp_path / "copy", files)
    card = read_card(tmp_path / "copy")
    assert count == again == 20
    assert card.scores == once  # the second time takes the place of the first
    mine = next(s for s in card.scores if s.split.startswith("experiment binn-blocks: blocks") and s.metric == "RMSE")
    assert mine.baseline["mean"] > mine.value


def test_recovery_is_written(tmp_path: Path) -> None:
    true = np.random.default_rng(0).uniform(size=(50, 4))
    results = [Recovered(TASKS[0], seed, true, true * [1, 1, 1, -1], 1.0) for seed in range(2)]
    rows = rows_of(results)
    assert [row[1] for row in rows] == list(SENSITIVE)
    assert [round(float(str(row[4])), 6) for row in rows] == [1, 1, 1, -1]
    assert all(f.exists() for f in write_recovered(tmp_path, results))


def test_an_unknown_experiment_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadExperiment, match="binn-recovery, binn-blocks"):
        binn_experiment("binn-nothing", tmp_path, tmp_path, tmp_path, ROOT / "models" / "recipes" / "binn.toml")


def test_trends_and_agreement_are_told_beside_what_is_simpler() -> None:
    head = ("which", "parameters", "start", "stock at start", "plots", "sites", "rmse", "bias")
    given = [
        ("all", "no change", "", "", "52", "8", "175", "-84"),
        ("all", "CLM5 defaults", "history", "measured", "52", "8", "151", "-47"),
        ("all", "CLM5 defaults", "history", "modelled", "52", "8", "154", "-48"),
        ("all", "BINN (8 members)", "history", "measured", "52", "8", "186", "-121"),
    ]
    rmse, bias = trends([dict(zip(head, row, strict=True)) for row in given])
    assert (rmse.value, rmse.n, rmse.baseline) == (186.0, 52, {"no change": 175.0, "CLM5 defaults": 151.0})
    assert (bias.metric, bias.value) == ("bias", -121.0)
    names = ("first", "second", "process", "r")
    pairs = [("BINN", "sampler", "mean", "0.5"), ("same", "sampler", "mean", "0.2"), ("same", "BINN", "mean", "0.1")]
    (r,) = agreed([dict(zip(names, pair, strict=True)) for pair in pairs], 33)
    assert (r.variable, r.value, r.n, r.baseline) == ("processes", 0.5, 33, {"same": 0.2})
