"""Experiments on measured fields: nothing leaks from a held-out place, members train alone, tables say what
was done."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fieldflux.app.crop.fieldcard import scores_of_table
from fieldflux.app.crop.fieldfloors import FLOORS
from fieldflux.app.crop.fieldgiven import Noise, given_of, inner_folds, noisy_weather, split_of
from fieldflux.app.crop.fieldinputs import FieldInputs, field_inputs
from fieldflux.app.crop.fieldmodels import MODELS, chosen, every_day, field_model, predicted, teacher
from fieldflux.app.crop.fieldrecipe import BadFieldRecipe, FieldRecipe, Strengths, read_field_recipe
from fieldflux.app.crop.fieldreport import field_experiment
from fieldflux.app.crop.fieldscores import violations
from fieldflux.app.crop.fieldstudy import Setting, attempt, models_of, settings_of, trainings_of
from fieldflux.models.hybrids.crop.memberfit import balance, train
from fieldflux.models.hybrids.crop.members import Courses, Team, by_day
from fieldflux.tiles.measurements.dssat import read_fields

from .conftest import ROOT
from .dssat_files import experiment

SMALL = FieldRecipe(
    seeds=2, hidden=4, steps=4, network_steps=4, every=2, teaching=2, extras=(0.1,), levels=(3.0,),
    strengths=Strengths(decay=(1e-4,), drift=(1e-3,), hold=(0.1,), shift=(3e-4, 3e-3)),
)  # fmt: skip
RECIPE = (
    "seeds = 1\nhidden = 4\nsteps = 4\nnetwork_steps = 4\nevery = 2\nteaching = 2\nextras = [0.1]\nlevels = [3.0]\n"
)


def written(root: Path) -> Path:
    """Three places that grow differently."""
    for code, sown, scale in (("AAAA0101", 1110, 1.0), ("BBBB0101", 1125, 0.7), ("CCCC0101", 1140, 0.9)):
        experiment(root, code=code, sown=sown, scale=scale)
    return root


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> FieldInputs:
    return field_inputs(read_fields(written(tmp_path_factory.mktemp("fields"))).of("maize"))


def test_a_place_is_held_out_whole_and_folds_inside_cover_the_rest(inputs: FieldInputs) -> None:
    split = split_of(inputs)
    assert split.names == ("AAAA", "BBBB", "CCCC")
    training = ~split.held("BBBB")
    folds = inner_folds(inputs, split, training)
    assert torch.equal(torch.stack(folds).sum(0), training.long()), "each once, and none of the held-out place"
    alone = inner_folds(inputs, split, split.held("AAAA"))
    assert len(alone) == 3, "treatments, where there is one experiment"
    one = torch.zeros(9, dtype=torch.bool)
    one[0] = True
    with pytest.raises(ValueError, match="nothing to hold out"):
        inner_folds(inputs, split, one)
    single = inputs.of(torch.arange(3))
    assert not split_of(single).spatial
    assert "no test of other places" in split_of(single).what
    few = trainings_of(split, inputs, Setting("1 of 2", places=1), 4)
    assert all(
        int(t.sum()) == 3 and not bool((t & split.held(n)).any())
        for ts in few
        for t, n in zip(ts, split.names, strict=True)
    )
    assert any(not torch.equal(a[0], few[0][0]) for a in few), "places are drawn anew for each seed"


@pytest.mark.parametrize("name", ["LINTUL5 calibrated", "LSTM pre-trained", "LSTM to LINTUL5", *FLOORS])
def test_what_was_measured_at_a_held_out_place_changes_nothing(inputs: FieldInputs, name: str, tmp_path: Path) -> None:
    split = split_of(inputs)
    away = split.held("BBBB")
    spoilt = replace(inputs, measured=replace(inputs.measured, **{
        k: torch.where(away[:, None], getattr(inputs.measured, k) * 3.0 + 50.0, getattr(inputs.measured, k))
        for k in ("biomass", "grain", "lai")
    }))  # fmt: skip
    fields, recipe = read_fields(tmp_path), SMALL.model_copy(update={"seeds": 1})
    clean, other = (
        attempt("maize", x, split, Setting("all other places"), name, recipe, fields) for x in (inputs, spoilt)
    )
    assert torch.equal(clean.biomass[:, away], other.biomass[:, away])
    assert not torch.equal(clean.biomass[:, ~away], other.biomass[:, ~away]), "where it was learned from it does"
    assert bool(torch.isfinite(clean.biomass).all())


def test_members_train_as_if_alone(inputs: FieldInputs) -> None:
    given = given_of(inputs, 2000.0, Noise(), range(2))
    split = split_of(inputs)
    masks = [~split.held(n) for n in split.names]
    for name in ("LSTM with physics", "LSTM to LINTUL5"):
        model = field_model(name, inputs, given, SMALL, "maize")

        def fitted(which: list[int], model=model) -> torch.Tensor:  # type: ignore[no-untyped-def]
            seeds, strength = (5, 6, 7), torch.tensor([1e-4, 1e-3, 1e-2])
            team = Team(
                tuple(seeds[i] for i in which), torch.zeros(len(which), dtype=torch.long),
                torch.stack([masks[i] for i in which]), strength[which], torch.full((len(which),), 0.1),
            )  # fmt: skip
            start = model.begin(team.seeds)
            weights = train(model.predict, model.penalty(start), start, given, team, model.pace, lambda *_: None)
            made: Courses = model.predict(weights, given, team.draw, every_day(given))
            return made.biomass

        together = fitted([0, 1, 2])
        for i in range(3):
            alone = fitted([i])[0]
            assert torch.allclose(together[i], alone, rtol=1e-3, atol=0.5), name
        assert not torch.allclose(together[0], together[1], atol=1.0)


def test_courses_between_the_ends_of_steps() -> None:
    ends = torch.tensor([[[10.0, 30.0]]])
    at = torch.tensor([[0, 1, 2, 6, 11, 16, 30]])
    made = by_day(ends, torch.tensor([2.0]), at)
    # sown on day 2: the first step ends with day 6, the second with day 11
    assert made[0, 0].tolist() == pytest.approx([0.0, 0.0, 2.0, 10.0, 30.0, 30.0, 30.0])


def test_the_balance_is_nought_where_growth_is_what_light_gives(inputs: FieldInputs) -> None:
    given = given_of(inputs, 2000.0, Noise(), [0])
    lai = torch.full_like(given.radiation, 3.0)
    use, drought = torch.full_like(lai, 2.5), torch.full_like(lai, 0.8)
    daily = use * 0.5 * given.radiation * (1.0 - torch.exp(-0.6 * lai)) * drought
    mass = (daily * given.step).cumsum(2)
    team = Team(
        (0,), torch.zeros(1, dtype=torch.long), torch.ones(1, 9, dtype=torch.bool), torch.ones(1), torch.ones(1)
    )
    nothing = torch.zeros(1, 9, 1)

    def held(factor: float) -> float:
        ends = torch.stack([factor * mass, lai, use, drought], dim=-1)
        return float(balance(0.6)({}, Courses(nothing, nothing, nothing, ends=ends), given, team))

    assert held(1.0) == pytest.approx(0.0, abs=1e-8)
    assert held(1.5) > 0.01


def test_noise_is_on_what_models_see_and_never_on_the_truth(inputs: FieldInputs) -> None:
    spoilt = noisy_weather(inputs, 3.0, 1)
    assert float(spoilt["rain"].min()) >= 0.0
    assert bool((spoilt["t_min"] <= spoilt["t_max"]).all())
    off = (spoilt["radiation"] - inputs.given["radiation"]).std() / inputs.given["radiation"].std()
    assert float(off) == pytest.approx(0.3, abs=0.02)
    loud, quiet = (given_of(inputs, 2000.0, Noise(targets=level), range(2)) for level in (2.0, 0.0))
    assert (loud.biomass.shape[0], quiet.biomass.shape[0]) == (2, 1)
    known = ~torch.isnan(quiet.biomass[0])
    assert torch.equal(known, ~torch.isnan(loud.biomass[1]))
    error = (loud.biomass[1] - quiet.biomass[0])[known].std() / quiet.biomass[0][known].max()
    assert float(error) == pytest.approx(0.10, rel=0.25)


def test_what_no_crop_can_do_is_counted(inputs: FieldInputs) -> None:
    every = torch.ones(9, dtype=torch.bool)
    still = torch.zeros_like(inputs.measured.biomass)
    assert violations(still, inputs, every) == (0.0, 0.0)
    days = torch.arange(still.shape[1], dtype=torch.float32).expand_as(still)
    falls, beyond = violations(1000.0 - 2.0 * days, inputs, every)
    assert (falls, beyond) == (1.0, 0.0)
    assert violations(1000.0 * days, inputs, every) == (0.0, 1.0)


def test_choices_are_among_those_given_and_steps_can_be_none(inputs: FieldInputs) -> None:
    given, split = given_of(inputs, 2000.0, Noise(), [0]), split_of(inputs)
    held = [split.held(n) for n in split.names]
    teach = teacher(inputs, given, SMALL, "maize")
    model = field_model("LINTUL5 calibrated", inputs, given, SMALL, "maize")
    choice = chosen(model, inputs, given, split, [~h for h in held], 0, teach)
    assert set(choice.strength) <= {3e-4, 3e-3}
    assert set(choice.steps) <= {0, 2, 4}
    assert all(50.0 < error < 2000.0 for error in choice.error)
    made = predicted(model, given, [[~h for h in held]], held, [0], replace(choice, steps=(0, 0, 0)), teach)
    own = attempt(
        "maize", inputs, split, Setting("all other places"), "LINTUL5 IOPT 3", SMALL, read_fields(Path("none"))
    )
    # no step leaves the crop as it is, but for what sits on the end of its range
    assert torch.allclose(made.biomass[0], own.biomass[0], rtol=0.03, atol=5.0)


def test_an_experiment_is_written_and_goes_on(tmp_path: Path) -> None:
    root = written(tmp_path / "data")
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    told: list[str] = []
    work, out = tmp_path / "work", tmp_path / "out"
    made = field_experiment("crop-fields", root, work, out, recipe, None, False, lambda _, what: told.append(what))
    assert [path.name for path in made] == ["crop-fields-maize.txt", "crop-fields-maize.csv", "crop-fields-maize.png"]
    text = made[0].read_text()
    assert "maize: 9 seasons, 3 experiments, n = " in text
    assert "one place left out (3)" in text
    assert "AAAA0101-4 is left out: IRR + INSECT (CEW)." in text
    with made[1].open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {*FLOORS, "LINTUL5 IOPT 2", "LINTUL5 IOPT 3", *MODELS}
    assert {row["place"] for row in rows} == {"all", "AAAA", "BBBB", "CCCC"}
    assert all(int(row["n"]) == 81 for row in rows if row["place"] == "all")
    stamps = {path: path.stat().st_mtime_ns for path in work.rglob("*.npz")}
    assert len(stamps) == len(models_of("maize"))
    field_experiment("crop-fields", root, work, out, recipe, "maize", False, lambda *_: None)
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.npz")} == stamps
    scores = scores_of_table(made[1])
    assert len(scores) == 8, "RMSE and R2, pooled and of three places"
    assert scores[0].baseline["LINTUL5 IOPT 3"] > 0.0
    assert scores[0].n == 81


def test_settings_of_the_stress_tests(inputs: FieldInputs) -> None:
    split = split_of(inputs)
    assert [s.level for s in settings_of("crop-fields-noise", SMALL, split)] == [
        "all other places",
        "inputs x 3",
        "targets x 3",
    ]
    assert [s.places for s in settings_of("crop-fields-scarcity", SMALL, split)] == [1, None], "2 are all others"


def test_what_is_asked_wrongly_is_said(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("steps = 5\nnetwork_steps = 4\nevery = 2\n")
    with pytest.raises(BadFieldRecipe, match="which 2 does not divide"):
        read_field_recipe(recipe)
    recipe.write_text(RECIPE)
    with pytest.raises(BadFieldRecipe, match="Choose one of: crop-fields"):
        field_experiment("crop-hail", tmp_path, tmp_path, tmp_path, recipe, None, True, lambda *_: None)
    with pytest.raises(BadFieldRecipe, match="no field experiments in"):
        field_experiment("crop-fields", tmp_path, tmp_path, tmp_path, recipe, None, True, lambda *_: None)
    written(tmp_path)
    with pytest.raises(BadFieldRecipe, match="no field experiments with soybean"):
        field_experiment("crop-fields", tmp_path, tmp_path, tmp_path, recipe, "soybean", True, lambda *_: None)
    assert read_field_recipe(ROOT / "models" / "recipes" / "crop-fields.toml").seeds >= 10
