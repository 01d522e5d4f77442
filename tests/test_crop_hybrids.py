"""The hybrid crop models learn on a truth that is known; the experiments write what they say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from fieldflux.app.crop.experiments import MODELS, Trial, attempt, crop_experiment, trials_of
from fieldflux.app.crop.recipe import BadCropRecipe, CropRecipe, read_crop_recipe
from fieldflux.app.crop.twin import PLACES as THREE
from fieldflux.app.crop.twin import noisy, twin, weather_of
from fieldflux.models.hybrids.crop.networks import Course, OneForAll, ParameterNetwork, residual
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import MAIZE

from .conftest import ROOT

SMALL = 'crop = "maize"\nyears = 9\ntrained = 7\nseeds = 1\nrounds = 2\nnoise = [0.0, 3.0]\n'


def test_networks_start_at_the_crops_own_parameters() -> None:
    drawn = twin("maize", 8, 0.0, 1)
    own = torch.tensor(p_.defaults(MAIZE)[: len(p_.LEARNED)])
    low, high = p_.ranges(MAIZE)
    for network in (ParameterNetwork(MAIZE), OneForAll(MAIZE)):
        with torch.no_grad():
            made = network(drawn.seasons.features, drawn.seasons.statics)
        assert made.shape == (len(p_.LEARNED), 24)
        # what sits on the end of its range is moved 2 % inwards, where it has a gradient
        assert bool(((made - own[:, None]).abs() <= 0.021 * (high - low)[:, None]).all())


def test_the_hybrid_learns_what_the_process_model_does_not_know() -> None:
    # one draw of the truth, with enough seasons; on draws with fewer the calibrated model wins
    scores = attempt(CropRecipe(years=20, trained=14, seeds=1, rounds=15), Trial(0.0, 1.0, None, 0))
    assert set(scores) == set(MODELS)
    rmse = {model: score["rmse"] for model, score in scores.items()}
    assert rmse["LSTM to LINTUL5"] < rmse["LINTUL5 calibrated"] < rmse["LINTUL5"] < rmse["LSTM"]
    assert scores["LSTM to LINTUL5"]["falls"] == 0.0


def test_noise_keeps_weather_possible_and_is_in_training_only() -> None:
    g = torch.Generator().manual_seed(0)
    clean = weather_of(THREE, 4, g)
    spoilt = noisy(clean, 3.0, g)
    assert float(spoilt["rain"].min()) >= 0.0
    assert bool((spoilt["t_min"] <= spoilt["t_max"]).all())
    off = (spoilt["wind"] - clean["wind"]).std() / clean["wind"].std()
    assert float(off) == pytest.approx(0.3, abs=0.05)
    quiet, loud = twin("maize", 8, 0.0, 3), twin("maize", 8, 2.0, 3)
    assert torch.equal(quiet.truth, loud.truth)
    seen = ~torch.isnan(loud.seasons.biomass)
    error = (loud.seasons.biomass - loud.truth)[seen].std() / loud.truth.max()
    assert float(error) == pytest.approx(0.1, rel=0.1)


def test_the_residual_is_nought_where_growth_is_what_light_gives() -> None:
    lai, use, drought = torch.full((2, 6), 3.0), torch.full((2, 6), 2.5), torch.full((2, 6), 0.8)
    radiation = torch.full((2, 6), 20.0)
    daily = 2.5 * 10.0 * (1.0 - torch.exp(torch.tensor(-0.6 * 3.0))) * 0.8
    biomass = 5.0 * daily * torch.arange(1, 7).expand(2, 6)
    assert float(residual(Course(biomass, lai, use, drought), radiation, 0.6)) == pytest.approx(0.0, abs=1e-8)
    assert float(residual(Course(2.0 * biomass, lai, use, drought), radiation, 0.6)) > 0.1
    with pytest.raises(ValueError, match="no leaf area"):
        residual(Course(biomass), radiation, 0.6)


def test_an_experiment_writes_its_table_and_goes_on_from_its_trials(tmp_path: Path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(SMALL)
    told: list[float] = []
    work, out = tmp_path / "work", tmp_path / "out"
    made = crop_experiment("crop-noise", work, out, recipe, False, lambda done, _: told.append(done))
    assert [path.suffix for path in made] == [".txt", ".csv", ".png"]
    with made[1].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == [*MODELS, *MODELS]
    assert told == [0.5, 1.0]
    kept = sorted((tmp_path / "work").rglob("*.json"))
    assert len(kept) == 2
    stamps = [path.stat().st_mtime_ns for path in kept]
    crop_experiment("crop-noise", work, out, recipe, False, lambda *_: None)
    assert [path.stat().st_mtime_ns for path in kept] == stamps


def test_recipes_and_names_are_checked(tmp_path: Path) -> None:
    whole = read_crop_recipe(ROOT / "models" / "recipes" / "crop-twin.toml")
    assert len(list(trials_of("crop-scarcity", whole))) == 60
    bad = tmp_path / "bad.toml"
    bad.write_text("years = 8\ntrained = 8\n")
    with pytest.raises(BadCropRecipe, match="none is left to test"):
        read_crop_recipe(bad)
    with pytest.raises(BadCropRecipe, match="There is no experiment"):
        crop_experiment("crop-hail", tmp_path, tmp_path, bad, False, lambda *_: None)
