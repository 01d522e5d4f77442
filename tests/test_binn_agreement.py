"""Agreement of processes between ways to estimate them, and the experiment with the sampler from end to end."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.binn.agreement import BINN, CALMED, PRODA, SAME, SAMPLER, agreements, correlation, partial
from fieldflux.app.binn.recipe import read_binn_recipe
from fieldflux.app.binn.sampler import PROCESSES, Budget
from fieldflux.app.binn.siteruntables import sampler_experiment
from fieldflux.models.hybrids.binn.network import load_ensemble
from fieldflux.models.registry import SHIPPED

RECIPES = Path(__file__).parents[1] / "models" / "recipes"


def test_agreement_beyond_what_climate_explains() -> None:
    draw = np.random.default_rng(3)
    climate, own, noise = draw.normal(size=(3, 400, len(PROCESSES)))
    processes = {
        SAMPLER: climate + 0.5 * own, BINN: climate + 0.5 * noise, CALMED: climate, PRODA: climate + 0.5 * own,
        SAME: climate,
    }  # fmt: skip
    found = {(a.first, a.second, a.process): a for a in agreements(processes, 0)}
    shared = found[BINN, SAMPLER, "mean"]
    # variances 1 and 0.25 of which only the climate's is shared
    assert shared.r == pytest.approx(0.8, abs=0.03)
    assert shared.low < shared.r < shared.high
    assert shared.beyond == pytest.approx(0.0, abs=0.06)
    assert found[PRODA, SAMPLER, "mean"].r == pytest.approx(1.0)
    assert found[PRODA, SAMPLER, "mean"].beyond == pytest.approx(1.0)
    assert found[SAME, SAMPLER, PROCESSES[0]].r == pytest.approx(2 / 5**0.5, abs=0.05)


def test_what_does_not_vary_has_no_correlation() -> None:
    x = np.arange(5.0)
    assert np.isnan(correlation(x, np.full(5, 0.7)))
    # an estimate without climate in it: nothing is taken out
    assert partial(x, 2 * x, np.full(5, 0.7)) == pytest.approx(1.0)


def test_the_experiment(data_dir: Path, tmp_path: Path) -> None:
    recipe = read_binn_recipe(RECIPES / "binn.toml")
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 1})})
    tiny = Budget(ensembles=2, walkers=42, burn=2, keep=6)
    ensemble = load_ensemble(SHIPPED / "binn-soil-carbon" / "1")
    made = sampler_experiment(
        data_dir, tmp_path / "work", tmp_path / "out", ensemble, recipe, lambda *_: None, soils=7, budget=tiny
    )
    text = next(p for p in made if p.suffix == ".txt").read_text()
    assert "7 mineral soils" in text
    assert "of 7. Greatest R-hat" in text
    with (tmp_path / "out" / "binn_sampler_agreement.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * (len(PROCESSES) + 1)
    assert {r["process"] for r in rows} == {*PROCESSES, "mean"}
    with (tmp_path / "out" / "binn_sampler_soils.csv").open() as file:
        soils = list(csv.DictReader(file))
    assert len(soils) == 7
    assert all(float(r["cpu_seconds"]) > 0 and 0.5 < float(r["input_allocation_binn"]) < 1 for r in soils)
