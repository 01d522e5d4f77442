"""Training: recipes that can and cannot be followed, and a calibration that finds its way back to a known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.train import BadRecipe, read_recipe, train
from fieldflux.models.processes.agroecosystem.calibrate import (
    CalibrationRecipe,
    Progress,
    SiteRecord,
    calibrate,
    crops_trained,
)
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.models.processes.agroecosystem.parameters import LEARNED, bounds, default_table
from fieldflux.models.registry import Registry

from .conftest import ROOT
from .small_forcing import MAIZE, SOYBEAN, small_forcing

SHIPPED = ROOT / "models" / "recipes" / "agroecosystem.toml"


def test_a_calibration_descends_on_a_twin_and_keeps_to_its_bounds() -> None:
    """Observations made by the model itself with other parameters; every member must come closer to them."""
    card = Registry().card("agroecosystem")
    forcing = small_forcing([[MAIZE, SOYBEAN, MAIZE]])
    truth = default_table()
    truth[:, [q.name for q in LEARNED].index("eps")] *= 1.25
    twin = Agroecosystem(card, truth[None]).predict(forcing)
    observed = {name: twin.daily[name][0, 0].astype(np.float64) for name in ("gpp", "reco", "nee", "le")}
    record = SiteRecord("twin", forcing, observed, (2020, 2021), {2021: float(twin.annual["yield"][0, 0, 2])})
    assert crops_trained([record]) == ("maize", "soybean")

    told: list[Progress] = []
    recipe = CalibrationRecipe(seed=3, members=2, steps=5, rate=0.12, renew=3, scatter=0.3)
    table = calibrate([record], recipe, card, told.append)
    losses = np.array([p.loss for p in told])
    assert [p.step for p in told] == list(range(1, 6))
    assert (losses.min(axis=0) < 0.85 * losses[0]).all()

    low, high, _ = bounds()
    learned = table[..., : len(LEARNED)]
    assert (learned >= low - 1e-6).all()
    assert (learned <= high + 1e-6).all()
    shared = [q.shared for q in LEARNED]
    assert np.allclose(learned[:, :, shared], learned[:, :1, shared])
    assert np.allclose(table[..., len(LEARNED) :], default_table()[:, len(LEARNED) :])


def test_the_shipped_checkpoint_is_of_the_shipped_recipe() -> None:
    recipe = read_recipe(SHIPPED)
    said = Registry().card("agroecosystem/1").recipe
    assert said["train"] == {site: list(spans) for site, spans in recipe.train.items()}
    assert said["calibration"] == recipe.calibration.model_dump(mode="json")
    tested = {
        (site, span) for part in (recipe.interval, recipe.check) for site, spans in part.items() for span in spans
    }
    trained = {(site, span) for site, spans in recipe.train.items() for span in spans}
    assert not tested & trained


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("family = [", "cannot be read"),
        ('family = "oracle"\nname = "a"\nversion = "1"\n[train]\n', "not valid at 'family'"),
        (
            'family = "agroecosystem"\nname = "a"\nversion = "1"\n[train]\n[calibration]\nsteps = -1\n',
            "calibration.steps",
        ),
        ('family = "agroecosystem"\nname = "a"\nversion = "1"\nspeed = 3\n[train]\n', "not valid at 'speed'"),
    ],
)
def test_recipes_that_cannot_be_followed(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(BadRecipe, match=told):
        read_recipe(path)


@pytest.mark.parametrize(
    ("spans", "told"),
    [("US-Nowhere = [2003]", "do not have"), ('US-Ne1 = ["2003 to 2004"]', "neither a year nor a span")],
)
def test_sites_and_spans_that_are_not_there(tmp_path: Path, data_dir: Path, spans: str, told: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f'family = "agroecosystem"\nname = "a"\nversion = "1"\n[train]\n{spans}\n')
    with pytest.raises(BadRecipe, match=told):
        train(path, tmp_path, data_dir)
