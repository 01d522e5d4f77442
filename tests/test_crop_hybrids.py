"""The hybrid crop models learn on a truth that is known; the experiments write what they say."""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fieldflux.app.crop.experiments import crop_experiment, trials_of
from fieldflux.app.crop.noise import KINDS, Noise, errors, measured, recorded
from fieldflux.app.crop.places import CHANNELS, PLACES, draw, weather_of
from fieldflux.app.crop.recipe import BadCropRecipe, CropRecipe, Training, read_crop_recipe
from fieldflux.app.crop.trials import MODELS, Trial, split, trained
from fieldflux.app.crop.trials import scores as scores_of
from fieldflux.app.crop.twin import Twin, grow, spoilt
from fieldflux.app.crop.twincard import add_to_card, scores_of_table
from fieldflux.models.checkpoint import read_checkpoint
from fieldflux.models.hybrids.crop.fit import default_process
from fieldflux.models.hybrids.crop.networks import Course, OneForAll, ParameterNetwork, residual
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import MAIZE

from .conftest import ROOT

SMALL = """
years = 8
trained = 6
seeds = 1
levels = [0.0, 3.0]
kinds = ["both"]
training = { "LINTUL5 calibrated" = { steps = 2 }, "LSTM" = { steps = 2 }, "LSTM pre-trained" = { steps = 2 }, \
"LSTM with physics" = { steps = 2 }, "LSTM to LINTUL5" = { steps = 2 } }
"""
NOWHERE = Path("nowhere")


def twin(years: int, noise: Noise, seed: int) -> Twin:
    return spoilt(grow("maize", years, seed, "lintul5", NOWHERE), noise, years - 2, seed)


def test_networks_start_at_the_crops_own_parameters() -> None:
    drawn = twin(8, Noise(), 1).seasons
    own = torch.tensor(p_.defaults(MAIZE)[: len(p_.LEARNED)])
    low, high = p_.ranges(MAIZE)
    for network in (ParameterNetwork(MAIZE, features=drawn.features.shape[2]), OneForAll(MAIZE)):
        with torch.no_grad():
            made = network(drawn.features, drawn.statics)
        assert made.shape == (len(p_.LEARNED), 24)
        # what sits on the end of its range is moved 2 % inwards, where it has a gradient
        assert bool(((made - own[:, None]).abs() <= 0.021 * (high - low)[:, None]).all())


def test_the_hybrid_learns_what_the_process_model_does_not_know() -> None:
    recipe = CropRecipe(years=24, trained=18, seeds=1)
    drawn = spoilt(grow("maize", 24, 0, "lintul5", NOWHERE), Noise(), 18, 0)
    parts = split(drawn, Trial(Noise(), 1.0, None, 0))
    plan = Training(rate=1e-2, steps=60)
    hybrid, _ = trained(recipe, drawn, parts, "LSTM to LINTUL5", plan, 0)
    network, _ = trained(recipe, drawn, parts, "LSTM", plan, 0)
    found = [scores_of(predict, drawn, parts.test) for predict in (hybrid, default_process(MAIZE), network)]
    rmse = [score["rmse"] for score in found]
    assert rmse == sorted(rmse)
    assert rmse[0] < 0.7 * rmse[1]
    assert found[0]["falls"] == found[0]["unsown"] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_noise_spoils_what_it_says_and_keeps_weather_possible(kind: str) -> None:
    noise = Noise(kind, 3.0)  # type: ignore[arg-type]
    drawn = draw("maize", 8, 5)
    known = drawn.year < 6
    seen = recorded(drawn.weather, noise, known, drawn.place, 1)
    assert float(seen.weather["rain"].min()) >= 0.0
    assert bool((seen.weather["t_min"] <= seen.weather["t_max"]).all())
    off = (seen.weather["t_min"] - drawn.weather["t_min"]).std() / drawn.weather["t_min"].std()
    truth = torch.linspace(0.0, 2000.0, 44).expand(24, 44)
    told = measured(truth, 5, noise, 2)
    assert bool((told[:, :5] == 0.0).all())
    error = (told - truth)[:, 5:]
    error = error[~torch.isnan(error)]
    if kind == "gaps":
        assert float(seen.present.mean()) == pytest.approx(0.7, abs=0.06)
        gone = seen.present == 0.0
        assert bool((seen.weather["wind"] == drawn.weather["wind"])[~gone].all())
        assert all(bool(torch.isfinite(seen.weather[name]).all()) for name in CHANNELS)
        assert float((~torch.isnan(told[:, 5:])).float().mean()) == pytest.approx(1.0 / 12.0, abs=0.03)
        assert float(error.abs().max()) == 0.0
    else:
        assert bool((seen.present == 1.0).all())
        spread = float(error.std()) / 2000.0
        assert (off > 0.2) == (kind != "targets")
        assert (spread > 0.09) == (kind != "inputs")


def test_heavy_tails_have_the_same_spread_and_more_outliers() -> None:
    draws = {k: errors(Noise(k, 1.0), (400_000,), torch.Generator().manual_seed(3)) for k in ("both", "heavy")}  # type: ignore[arg-type]
    assert float(draws["both"].std()) == pytest.approx(1.0, abs=0.01)
    assert float(draws["heavy"].std()) == pytest.approx(1.0, abs=0.15)  # its fourth moment does not exist
    far = {k: float((v.abs() > 4.0).float().mean()) for k, v in draws.items()}
    assert far["heavy"] > 20.0 * far["both"]


def test_the_truth_is_the_same_under_any_noise_and_levels_share_their_draws() -> None:
    quiet, loud, louder = (twin(8, Noise("both", level), 3) for level in (0.0, 1.0, 2.0))
    assert torch.equal(quiet.truth.biomass, louder.truth.biomass)
    once, twice = (t.seasons.biomass - quiet.truth.biomass for t in (loud, louder))
    seen = ~torch.isnan(once)
    assert torch.allclose(2.0 * once[seen], twice[seen], atol=1e-2)


def test_the_unseen_place_and_the_test_years_are_not_trained_on() -> None:
    drawn = twin(8, Noise("both", 1.0), 2)
    place, year = drawn.truth.drawn.place, drawn.truth.drawn.year
    later = split(drawn, Trial(Noise("both", 1.0), 0.25, None, 4))
    assert bool((year[later.test] >= 6).all())
    used = torch.cat([later.training, later.validation])
    assert bool((year[torch.cat([used, later.weather])] < 6).all())
    assert len(used) == round(0.25 * 18)
    assert int(year[later.validation].min()) >= int(year[later.training].max())
    away = split(drawn, Trial(Noise("both", 1.0), 1.0, 1, 4))
    assert bool((place[away.test] == 1).all())
    assert bool((place[torch.cat([away.training, away.validation, away.weather])] != 1).all())


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
    assert {row["behind_hybrid"] for row in rows if row["model"] == "LSTM to LINTUL5"} == {"0"}
    assert "1 seeds" in made[0].read_text()
    kept = sorted((tmp_path / "work").rglob("*.json"))
    assert len(kept) == 2
    stamps = [path.stat().st_mtime_ns for path in kept]
    crop_experiment("crop-noise", work, out, recipe, False, lambda *_: None)
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    scores = scores_of_table(made[1])
    assert len(scores) == 4
    assert set(scores[0].baseline) == set(MODELS) - {"LSTM to LINTUL5"}
    assert scores[0].n == 6
    card = tmp_path / "card"
    shutil.copytree(ROOT / "models" / "checkpoints" / "binn-soil-carbon" / "1", card)
    before = len(read_checkpoint(card).card.scores)
    assert add_to_card(card, made) == add_to_card(card, made) == 4
    after = read_checkpoint(card).card.scores
    assert len(after) == before + 4
    assert after[-1] == scores[-1]
    # of more seeds they take the place of those of fewer
    made[1].write_text(made[1].read_text().replace("LSTM to LINTUL5,1,", "LSTM to LINTUL5,9,"))
    add_to_card(card, made)
    assert len(read_checkpoint(card).card.scores) == before + 4
    assert read_checkpoint(card).card.scores[-1].split.endswith("mean of 9 seeds")


def test_the_card_says_what_the_tables_of_the_twins_say() -> None:
    folder = ROOT / "models" / "checkpoints" / "hybrid-crop" / "1"
    said = {s for s in map(repr, read_checkpoint(folder).card.scores) if re.search(r"experiment crop-(?!fields)", s)}
    tables = sorted((folder / "twins").glob("*.csv"))
    assert len(tables) == 6
    assert said == {repr(s) for table in tables for s in scores_of_table(table)}


def test_a_season_of_wofost_is_kept_and_grows_like_a_crop(tmp_path: Path) -> None:
    pytest.importorskip("pcse", reason="pcse comes with the extra `peers`")
    from fieldflux.app.crop.wofost import NoWofost, wofost_biomass

    whole = draw("maize", 2, 7)
    one = replace(whole, weather={k: v[:1] if v.dim() == 2 else v for k, v in whole.weather.items()})
    kept, told = tmp_path / "wofost.npz", list[float]()
    biomass, stage = wofost_biomass("maize", one, kept, told.append)
    assert told == [1.0]
    assert float(biomass[0, : one.sow - 1].max()) == 0.0
    assert 500.0 < float(biomass.max()) < 3500.0
    assert float(stage[0, -1]) == pytest.approx(2.0, abs=0.05)
    assert bool((torch.from_numpy(stage[0]).diff() >= 0.0).all())
    again, _ = wofost_biomass("maize", one, kept, told.append)
    assert told == [1.0]
    assert (again == biomass).all()
    with pytest.raises(NoWofost, match="no WOFOST truth of soybean"):
        wofost_biomass("soybean", one, kept, told.append)


def test_recipes_and_names_are_checked(tmp_path: Path) -> None:
    whole = read_crop_recipe(ROOT / "models" / "recipes" / "crop-twin.toml")
    assert len(list(trials_of("crop-scarcity", whole))) == 6 * whole.seeds
    assert len(list(trials_of("crop-noise", whole))) == 20 * whole.seeds
    assert len(list(trials_of("crop-transfer", whole))) == len(PLACES) * whole.seeds
    assert read_crop_recipe(ROOT / "models" / "recipes" / "crop-twin-wofost.toml").truth == "wofost"
    bad = tmp_path / "bad.toml"
    bad.write_text("years = 8\ntrained = 8\n")
    with pytest.raises(BadCropRecipe, match="none is left to test"):
        read_crop_recipe(bad)
    bad.write_text('[training."LSTN"]\nsteps = 3\n')
    with pytest.raises(BadCropRecipe, match="training for 'LSTN'"):
        read_crop_recipe(bad)
    with pytest.raises(BadCropRecipe, match="There is no experiment"):
        crop_experiment("crop-hail", tmp_path, tmp_path, bad, False, lambda *_: None)


def test_made_up_weather_is_weather() -> None:
    made = weather_of(PLACES, 20, torch.Generator().manual_seed(0))
    assert bool((made["t_min"] < made["t_max"]).all())
    dry = made["rain"].reshape(3, 20, 365).sum(2).mean(1)
    assert float(dry[0]) > float(dry[2])
