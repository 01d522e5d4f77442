"""BINN's networks: encoders, gradients through the solver, recovery, going on, checkpoints and cards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fieldflux.app.binn.drawing import drawn
from fieldflux.app.binn.heldout import covered, floors_held_out, held_out, line
from fieldflux.app.binn.recipe import BinnRecipe, read_binn_recipe
from fieldflux.app.binn.recovery import SENSITIVE, Task, recover, rows_of
from fieldflux.app.binn.sites import SoilTable, soil_table
from fieldflux.app.binn.soils import covariates_of
from fieldflux.app.binn.splits import blocks
from fieldflux.app.cardscores import add_scores, told_of_former, with_former
from fieldflux.app.train import BadRecipe, train
from fieldflux.models.checkpoint import BadCheckpoint, read_checkpoint, write_checkpoint
from fieldflux.models.hybrids.binn.covariates import Covariates, describe
from fieldflux.models.hybrids.binn.encoders import Additive
from fieldflux.models.hybrids.binn.fit import Sample, fit, observed_by, predict
from fieldflux.models.hybrids.binn.lessons import Lessons, observations
from fieldflux.models.hybrids.binn.losses import distance, penalty
from fieldflux.models.hybrids.binn.network import Binn, load_ensemble
from fieldflux.models.hybrids.binn.recipe import NetworkRecipe, TrainingRecipe
from fieldflux.models.processes.soilcarbon.parameters import COUNT, NAMES, ranges
from fieldflux.models.processes.soilcarbon.steady import steady_state
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from .conftest import ROOT
from .soil_columns import REAL, climate

ALL = [NetworkRecipe(), NetworkRecipe(encoder="mlp", hidden=(8,), bound="sigmoid", scale="linear", coordinates=True)]
NONE = torch.empty(0, dtype=torch.int64)


def made_up(places: int = 40, seed: int = 0) -> tuple[Covariates, Lessons]:
    """Places with three numbers and two flags, and layers measured at each."""
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.randn(places, 3, generator=draw, dtype=REAL) * torch.tensor([5.0, 200.0, 0.1], dtype=REAL)
    flag = torch.randint(0, 3, (places,), generator=draw)
    x = torch.cat((numbers, torch.nn.functional.one_hot(flag, 3)[:, :2].to(REAL)), 1)
    owner = torch.arange(places).repeat_interleave(2)
    top, bottom = (
        torch.tensor([0.0, 0.2], dtype=REAL).repeat(places),
        torch.tensor([0.2, 0.6], dtype=REAL).repeat(places),
    )
    density = 5e3 + 2e4 * torch.rand(2 * places, generator=draw, dtype=REAL)
    stocks = 3e3 + 5e3 * torch.rand(2, places, generator=draw, dtype=REAL)
    stocks[1, ::3] = torch.nan
    forcing = replace(climate(places, seed), active_layer=torch.full((places,), 9.0, dtype=REAL))
    place = torch.stack((torch.linspace(-100, -80, places, dtype=REAL), torch.linspace(35, 45, places, dtype=REAL)), 1)
    lessons = Lessons(x, place, forcing, observations(tuple(stocks), owner, top, bottom, density))
    names = ("warmth", "rain", "clay", "crop", "forest")
    return describe(names, ("degC", "mm", "1", "1", "1"), ("crop", "forest"), x), lessons


@pytest.mark.parametrize("recipe", ALL, ids=["curves", "published"])
def test_gradient_through_network_and_solver(recipe: NetworkRecipe) -> None:
    covariates, lessons = made_up(12)
    network = Binn(recipe, covariates, 2, 3).double()
    training = TrainingRecipe(center=0.1, smooth=0.1, sparse=0.1)
    places = torch.stack((torch.arange(8), torch.arange(4, 12)))

    def loss() -> Tensor:
        soil, outputs, unit = predict(network, lessons, places)
        seen = lessons.observed.of(soil.flatten(0, 1), places.flatten()).reshape(2, 8, -1)
        return (
            distance(seen, lessons.observed.value[places], training) + penalty(network, outputs, unit, training)
        ).sum()

    loss().backward()
    draw = torch.Generator().manual_seed(1)
    for name, weights in network.named_parameters():
        assert weights.grad is not None, name
        way = torch.randn(weights.shape, generator=draw, dtype=REAL)
        with torch.no_grad():
            weights += 1e-6 * way
            up = loss()
            weights -= 2e-6 * way
            down = loss()
            weights += 1e-6 * way
        assert float((up - down) / 2e-6) == pytest.approx(float((weights.grad * way).sum()), rel=2e-4, abs=1e-5), name


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(ALL), st.floats(0.0, 100.0))
def test_parameters_stay_within_their_ranges(seed: int, recipe: NetworkRecipe, far: float) -> None:
    covariates, lessons = made_up(6, seed)
    network = Binn(recipe, covariates, 2, seed).eval()
    with torch.no_grad():
        network.encoder.level.add_(far) if isinstance(network.encoder, Additive) else None
        outputs = network.outputs(lessons.x.expand(2, -1, -1), lessons.place.expand(2, -1, -1))
        found = network.physical(network.bounded(outputs))
    low, high = ranges()
    assert found.shape == (2, 6, COUNT)
    assert bool((found >= low * (1 - 1e-6)).all())
    assert bool((found <= high * (1 + 1e-6)).all())


def test_what_is_not_learned_is_prescribed() -> None:
    covariates, lessons = made_up(5)
    network = Binn(NetworkRecipe(learned=SENSITIVE), covariates, 1, 0)
    given_ = torch.full((5, COUNT), 0.33, dtype=REAL)
    with torch.no_grad():
        found = network.physical(network.bounded(network.outputs(lessons.x[None])), given_)[0]
    learned = [NAMES.index(name) for name in SENSITIVE]
    others = [k for k in range(COUNT) if k not in learned]
    assert bool((found[:, others] == 0.33).all())
    assert not bool((found[:, learned] == 0.33).any())
    with pytest.raises(ValueError, match="names parameters"):
        NetworkRecipe(learned=("tau",))


def test_curves_add_up_and_are_level_outside() -> None:
    covariates, lessons = made_up(30)
    network = Binn(NetworkRecipe(), covariates, 3, 1)
    encoder = network.encoder
    assert isinstance(encoder, Additive)
    x = covariates.scaled(lessons.x).float().expand(3, -1, -1)
    with torch.no_grad():
        assert torch.allclose(encoder.effects(x).sum(2) + encoder.level, encoder(x), atol=1e-5)
        assert torch.allclose(encoder.basis(x).sum(-1), torch.ones(3, 30, 3), atol=1e-5)
        far = lessons.x.clone()
        far[:, 0] = 1e4
        at_end = lessons.x.clone()
        at_end[:, 0] = covariates.columns[0].high
        assert torch.equal(network.outputs(far.expand(3, -1, -1)), network.outputs(at_end.expand(3, -1, -1)))
    assert bool(covariates.outside(far).all())
    assert float(covariates.outside(lessons.x).double().mean()) < 0.5


def test_observations_see_the_layers_they_are_of() -> None:
    depth = torch.tensor([0.0, 0.2], dtype=REAL), torch.tensor([0.2, 0.6], dtype=REAL)
    stocks = torch.tensor([6e3], dtype=REAL), torch.tensor([float("nan")], dtype=REAL)
    seen = observations(stocks, torch.tensor([0, 0]), *depth, torch.tensor([2e4, 1e4], dtype=REAL))
    assert seen.value[0, 0] == 2e4
    assert bool(seen.value[0, 1].isnan())
    even = seen.of(torch.full((1, 20), 7.0, dtype=REAL), torch.tensor([0]))
    assert even[0].tolist() == pytest.approx([7.0] * 4)
    # a profile that falls by depth: 1 in the first 0.2 m (four layers), 0 below
    step = torch.zeros(1, 20, dtype=REAL)
    step[0, :4] = 1.0
    assert seen.of(step, torch.tensor([0]))[0].tolist() == pytest.approx([2 / 3, 0.2, 1.0, 0.0])


def test_members_of_a_stack_do_not_see_each_other() -> None:
    covariates, lessons = made_up(30)
    recipe, training = NetworkRecipe(knots=4), TrainingRecipe(epochs=2, batch=8)
    samples = [Sample(torch.arange(15), NONE), Sample(torch.arange(15, 30), NONE)]
    both = Binn(recipe, covariates, 2, 5)
    alone = Binn(recipe, covariates, 1, 5)
    alone.load_state_dict({name: value[:1].clone() for name, value in both.state_dict().items()})
    fit(both, lessons, samples, training, 7)
    fit(alone, lessons, samples[:1], training, 7)
    for name, value in alone.state_dict().items():
        assert torch.allclose(value[0], both.state_dict()[name][0], atol=1e-5), name


@pytest.mark.parametrize("patience", [0, 3])
def test_broken_off_and_gone_on_gives_the_same_weights(tmp_path: Path, patience: int) -> None:
    covariates, lessons = made_up(30)
    recipe = NetworkRecipe(encoder="mlp", hidden=(8,), dropout=0.2)
    samples = [Sample(torch.arange(20), torch.arange(20, 30)), Sample(torch.arange(5, 25), torch.arange(5))]
    training = TrainingRecipe(epochs=14, batch=8, patience=patience)
    whole = Binn(recipe, covariates, 2, 5)
    course = fit(whole, lessons, samples, training, 7)
    assert course.losses[-1].mean() < course.losses[0].mean()

    class Stopped(Exception):
        pass

    def stop(fraction: float, _: str) -> None:
        if fraction > 11.5 / 14:
            raise Stopped

    kept = tmp_path / "members.pt"
    with pytest.raises(Stopped):
        fit(Binn(recipe, covariates, 2, 5), lessons, samples, training, 7, kept, stop)
    again = Binn(recipe, covariates, 2, 99)
    fit(again, lessons, samples, training, 7, kept)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_draws_are_whole_blocks() -> None:
    group = np.repeat(np.arange(20), 5)
    sample = drawn(group, group != 3, seed=4, check=0.2)
    counts = np.bincount(sample.learn.numpy(), minlength=100)
    assert (np.ptp(counts.reshape(20, 5), axis=1) == 0).all()
    assert counts[group == 3].sum() == 0
    assert set(group[sample.check.numpy()]).isdisjoint(group[sample.learn.numpy()])
    assert len(sample.check) == 5 * round(0.2 * 19)


@pytest.fixture(scope="module")
def table(data_dir: Path) -> SoilTable:
    found = soil_table(data_dir, ("RaCA",))
    assert found is not None
    return found.mineral()


def test_real_places_recover_a_known_parameter(table: SoilTable) -> None:
    found = recover(table, Task("one", ("efolding",), "additive"), 0, places=250, epochs=15, steps=60)
    assert {row[1]: row[4] for row in rows_of([found])}["efolding"] > 0.95
    assert found.fit > 0.95


def test_real_soils_held_out_beat_their_mean(table: SoilTable, tmp_path: Path) -> None:
    some = table.where(np.arange(len(table)) % 4 == 0)
    split = blocks(some.soils.latitude, some.soils.longitude, 0, 2)
    recipe = BinnRecipe(
        family="binn", name="small", version="1", fold_members=3, network=NetworkRecipe(knots=4),
        training=TrainingRecipe(epochs=12, rate=5e-2, batch=64),
    )  # fmt: skip
    found = held_out(recipe, some, split, tmp_path)
    again = held_out(recipe, some, split, tmp_path)
    assert np.array_equal(found.members, again.members)
    floor = floors_held_out(some, split, {"mean": lambda _, y, at, __: np.full(len(at), y.mean())})[0]
    assert line(found, some, "soc_30").log.nse > line(floor, some, "soc_30").log.nse + 0.05
    share = covered(found, some, "soc_30")[0.9]
    assert 0.8 < share.share < 0.98


def test_training_writes_a_whole_card(data_dir: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "binn.toml"
    recipe.write_text(
        'family = "binn"\nname = "small"\nversion = "2"\nmembers = 2\nfolds = 2\nfold_members = 2\nsplit_seeds = [0]\n'
        'datasets = ["DSP4SH"]\n[network]\nknots = 4\n[training]\nepochs = 2\n[[data]]\nname = "dsp4sh_soc.csv.gz"\n'
        'source = "USDA"\nlicence = "public domain"\n'
    )
    recipe.write_text(recipe.read_text().replace('"DSP4SH"', '"DSP4SH", "RaCA"'))
    folder = tmp_path / "out" / "small" / "2"
    earlier = read_checkpoint(ROOT / "models" / "checkpoints" / "binn-soil-carbon" / "1")
    before = write_checkpoint(
        folder, earlier.card.model_copy(update={"name": "small", "version": "2"}), earlier.weights
    )
    card = train(recipe, tmp_path / "out", data_dir)
    assert read_checkpoint(folder).card == card
    # what was not made again is told apart, with the command that does, and gives way to what is made
    assert card.former[0].weights_sha256 == before.weights_sha256 != card.weights_sha256
    blocks = [s for s in card.former[0].scores if s.split.startswith("experiment binn-blocks:")]
    told = "\n".join(told_of_former(card, "out/small/2"))
    assert f"{len(blocks)} made again by: fieldflux experiment binn-blocks --card out/small/2" in told
    assert not {s.split for s in blocks} & {s.split for s in card.scores}
    assert with_former(card, card) == card
    add_scores(folder, blocks[1:])
    after = read_checkpoint(folder).card
    assert after.scores == (*card.scores, *blocks[1:])
    assert [s for s in after.former[0].scores if s in blocks] == blocks[:1]
    assert card.family == "binn"
    assert card.data[0].sha256
    assert {s.variable for s in card.scores} == {"soc_30", "soc_100"}
    assert all(s.n > 1000 for s in card.scores)
    assert set(card.intervals) == {"ln_soc_30", "ln_soc_100"}
    assert card.recipe["training"]["epochs"] == 2
    assert card.recipe["smearing"]["soc_30"] > 1.0
    ensemble = load_ensemble(folder)
    assert ensemble.members == 2
    x = np.array([[c.center for c in ensemble.covariates.columns]])
    assert torch.isfinite(ensemble.parameters(x)).all()
    x[0, 2] = np.nan
    assert torch.isnan(ensemble.parameters(x)).all()
    with pytest.raises(ValueError, match="must have these 25, in this order"):
        ensemble.parameters(x[:, :4])
    broken = card.model_copy(update={"members": 3})
    write_checkpoint(folder, broken, read_checkpoint(folder).weights)
    with pytest.raises(BadCheckpoint, match="do not fit its card"):
        load_ensemble(folder)


def test_shipped_checkpoint_is_what_its_card_says(table: SoilTable) -> None:
    folder = ROOT / "models" / "checkpoints" / "binn-soil-carbon" / "1"
    ensemble = load_ensemble(folder)
    card = json.loads((folder / "card.json").read_text())
    assert card["members"] == ensemble.members >= 5
    assert [c["name"] for c in card["recipe"]["covariates"]] == list(table.names)
    assert covariates_of(table).names == ensemble.covariates.names
    from fieldflux.app.binn.sites import forcing_of
    from fieldflux.models.processes.soilcarbon.observe import stock

    some = table.where(np.arange(len(table)) % 10 == 0)
    forcing = forcing_of(some).tensors()
    logs = [stock(steady_state(p, forcing, cap=ensemble.cap), 0.0, 0.3).log() for p in ensemble.parameters(some.x)]
    known = np.isfinite(some.soils.stock_30)
    r = np.corrcoef(torch.stack(logs).mean(0).numpy()[known], np.log(some.soils.stock_30[known]))[0, 1]
    assert r > 0.4


def test_wrong_recipes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('family = "binn"\nname = "a"\nversion = "1"\n[network]\nencoder = "tree"\n')
    with pytest.raises(BadRecipe, match=r"network\.encoder"):
        read_binn_recipe(path)
    published = read_binn_recipe(ROOT / "models" / "recipes" / "binn-published.toml")
    assert published.network.coordinates
    assert published.training.loss == "smooth-l1"


def test_places_are_asked_for_where_they_are_needed() -> None:
    covariates, lessons = made_up(4)
    network = Binn(ALL[1], covariates, 1, 0)
    with pytest.raises(ValueError, match="longitude and latitude"):
        network.outputs(lessons.x[None])
    assert observed_by(network, lessons, torch.arange(4)).shape[:2] == (1, 4)
