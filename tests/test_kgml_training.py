"""Training of KGML: a step learns, can be stopped and goes on where it stopped; frozen parts stay; recipes are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fieldflux.app.kgml.training import read_kgml_recipe, read_plain
from fieldflux.app.train import BadRecipe
from fieldflux.models.contract import Floats, Forcing
from fieldflux.models.kgml.lessons import Lesson, lesson, samples
from fieldflux.models.kgml.recipe import NetworkRecipe, Stage, Stages
from fieldflux.models.kgml.steps import (
    Cancelled,
    Progress,
    Synthetic,
    Watch,
    build,
    pretrain,
    probe_of,
    tune_fluxes,
    tune_harvest,
    tune_yields,
)
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.models.registry import Registry
from numpy.typing import NDArray

from tests.conftest import ROOT
from tests.small_forcing import MAIZE, SOYBEAN, small_forcing

RUNS = np.arange(6)
QUICK = Stage(epochs=4, rate=3e-3, batch=3, span=2, patience=10)
RECIPE = NetworkRecipe(
    hidden=16,
    stages=Stages(
        yield_and_ra=QUICK, fluxes=QUICK, fluxes_again=QUICK, county_yields=QUICK, towers=QUICK, harvest=QUICK
    ),
)


@dataclass(frozen=True)
class SixRuns:
    """Six runs of the process model over two years, as synthetic runs."""

    whole: Forcing
    daily: Mapping[str, Floats]
    annual: Floats
    years: tuple[int, ...] = (2018, 2019)

    def _days(self, year: int) -> slice:
        return slice(0, 365) if year == 2018 else slice(365, 730)

    def forcing(self, runs: NDArray[np.int64], year: int) -> Forcing:
        k = self.years.index(year)
        return replace(
            self.whole,
            start=self.whole.start.replace(year=year),
            years=(year, year + 1),
            daily={n: v[:, self._days(year)] for n, v in self.whole.daily.items()},
            weather=self.whole.weather[runs],
            annual={n: v[runs][:, [k, 1]] for n, v in self.whole.annual.items()},
            static={n: v[runs] for n, v in self.whole.static.items()},
        )

    def targets(self, runs: NDArray[np.int64], year: int) -> Mapping[str, Floats]:
        found = {n: self.daily[n][runs][:, self._days(year)] for n in ("gpp", "ra", "rh")}
        return found | {"yield": self.annual[runs, self.years.index(year)]}

    def usual_harvest(self, runs: NDArray[np.int64], _year: int) -> Floats:
        return np.full(len(runs), np.nan)


@pytest.fixture(scope="module")
def synthetic() -> Synthetic:
    model = Registry().load("agroecosystem/1")
    assert isinstance(model, Agroecosystem)
    whole = small_forcing([[MAIZE, SOYBEAN], [SOYBEAN, MAIZE]] * 3, first_year=2018)
    made = model.predict(whole)
    daily = {n: made.daily[n][0] for n in ("gpp", "ra", "rh")}
    return Synthetic(SixRuns(whole, daily, made.annual["yield"][0]), RUNS[:5], RUNS[5:], RECIPE)


def a_lesson(synthetic: Synthetic, years: tuple[int, ...]) -> Lesson:
    taught = synthetic.taught
    assert isinstance(taught, SixRuns)
    gpp = taught.daily["gpp"][:2]
    cells = replace(
        taught.whole,
        weather=taught.whole.weather[:2],
        annual={n: v[:2] for n, v in taught.whole.annual.items()},
        static={n: v[:2] for n, v in taught.whole.static.items()},
    )
    reco = (taught.daily["ra"] + taught.daily["rh"])[0] * 1.3
    weighed = {y: np.array([250.0, 120.0]) for y in taught.years}
    return lesson("a place", "a group", cells, gpp, np.ones_like(gpp), "closed", years, {"reco": reco}, weighed)


def told(kept: list[Progress]) -> Watch:
    return Watch(kept.append)


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: v.clone() for n, v in network.state_dict().items()}


def test_a_step_learns_and_leaves_the_frozen_parts(synthetic: Synthetic) -> None:
    network, said = build(RECIPE, 0), []
    before = weights(network)
    pretrain(network, synthetic, "fluxes", QUICK, 1, told(said))
    after = weights(network)
    assert [p.epoch for p in said] == [1, 2, 3, 4]
    assert min(p.validation for p in said) < said[0].validation
    for name in before:
        frozen = name.split(".")[0] in ("basis", "attention", "share", "technology", "straw", "trust", "level")
        assert torch.equal(before[name], after[name]) == frozen, name


def test_a_stopped_step_goes_on_and_ends_where_an_unbroken_one_does(synthetic: Synthetic, tmp_path: Path) -> None:
    whole = build(RECIPE, 0)
    pretrain(whole, synthetic, "yield_and_ra", QUICK, 1, Watch(), lambda _: 10.0)
    broken, epochs = build(RECIPE, 0), []
    with pytest.raises(Cancelled, match="epoch 2"):
        pretrain(
            broken, synthetic, "yield_and_ra", QUICK, 1,
            Watch(epochs.append, lambda: len(epochs) == 2, tmp_path), lambda _: 10.0,
        )  # fmt: skip
    again = build(RECIPE, 5)  # other weights: those kept count
    pretrain(again, synthetic, "yield_and_ra", QUICK, 1, Watch(folder=tmp_path), lambda _: 10.0)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, msg=name)


def test_towers_move_reco_towards_what_was_measured(synthetic: Synthetic) -> None:
    network = build(RECIPE, 0)
    place = a_lesson(synthetic, (2018, 2019))
    said: list[Progress] = []
    probe = probe_of(network, synthetic, RUNS[:2], 1)
    tune_fluxes(network, [place], [place], RECIPE, 1, told(said), probe=probe)
    assert said[-1].validation < said[0].validation


def test_yields_and_harvest_move_what_they_may(synthetic: Synthetic) -> None:
    network = build(RECIPE, 0)
    place = a_lesson(synthetic, (2018, 2019))
    before = weights(network)
    tune_yields(network, [place], [place], RECIPE, 1, Watch())
    after = weights(network)
    assert torch.equal(before["gru_ra.weight_ih_l0"], after["gru_ra.weight_ih_l0"])
    assert not torch.equal(before["share.0.weight"], after["share.0.weight"])
    tune_harvest(network, [place], RECIPE, 1, Watch())
    last = weights(network)
    moved = {n.split(".")[0] for n in after if not torch.equal(after[n], last[n])}
    assert moved <= {"level", "trust", "technology"}
    assert "level" in moved


def test_samples_start_with_the_memory_of_the_years_before(synthetic: Synthetic) -> None:
    network = build(RECIPE, 0).eval()
    place = a_lesson(synthetic, (2019,))
    found = samples(network, [place])
    assert found.year.tolist() == [2019, 2019]
    with torch.no_grad():
        carry = None
        for year in (2018, 2019, 2018):  # spin-up on the first two years, then the record from its start
            _, carry = network(place.days[year], carry)
    torch.testing.assert_close(found.carry["basis"], carry["basis"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["kgml-ag-carbon", "kgml-ag-carbon-paper", "kgml-ag-carbon-gpu", "kgml-plain"])
def test_shipped_recipes_are_sound(name: str) -> None:
    path = ROOT / "models" / "recipes" / f"{name}.toml"
    recipe = read_kgml_recipe(path)
    floor = read_plain(path, recipe)
    assert (floor.network.variant if floor else "") == ("plain" if recipe.plain else "")
    held = [group for fold in recipe.folds for group in fold]
    assert len(held) == len(set(held))
    assert recipe.teaching.runs == 10_335


def test_a_floor_with_other_folds_is_refused(tmp_path: Path) -> None:
    folder = ROOT / "models" / "recipes"
    for name, old, new in (("kgml-ag-carbon", "", ""), ("kgml-plain", '["Delta"], ', "")):
        (tmp_path / f"{name}.toml").write_text((folder / f"{name}.toml").read_text().replace(old, new))
    path = tmp_path / "kgml-ag-carbon.toml"
    with pytest.raises(BadRecipe, match="another 'folds' than"):
        read_plain(path, read_kgml_recipe(path))
    path.write_text(path.read_text().replace("fold_members = 3", "fold_members = 1"))
    with pytest.raises(BadRecipe, match="at least 2 of them"):
        read_kgml_recipe(path)


def test_a_year_cannot_teach_and_check(tmp_path: Path) -> None:
    text = (ROOT / "models" / "recipes" / "kgml-plain.toml").read_text().replace("US-Ne1 = [2004]", "US-Ne1 = [2002]")
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(BadRecipe, match=r"\[2002\] of US-Ne1 are in \[train\] and in \[validation\]"):
        read_kgml_recipe(path)
