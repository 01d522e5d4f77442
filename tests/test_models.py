"""Vocabulary, crops, contract, checkpoints and the registry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fieldflux.models.checkpoint import BadCheckpoint, read_checkpoint, write_checkpoint
from fieldflux.models.contract import MissingInputs, Needs, check_inputs
from fieldflux.models.crops import CROP_OF_CDL, CROPS, MAIZE, SOYBEAN
from fieldflux.models.registry import SHIPPED, Registry, UnknownModel
from fieldflux.models.variables import VARIABLES, UnknownVariable, variable

FLUXES = ("gpp", "ra", "rh", "reco", "nee")


def test_the_vocabulary_is_whole() -> None:
    for name in (*FLUXES, "yield", "residue", "delta_soc", "soc", "lai", "et", "le", "h", "soil_moisture", "biomass"):
        v = VARIABLES[name]
        assert v.name == name
        assert v.unit
        assert v.long_name
        assert v.low < v.high
        assert v.shown[0] < v.shown[1]
        if v.period == "day":
            assert v.step is not None
            assert max(abs(v.shown[0]), abs(v.shown[1])) / v.step < 32767
    # one step for the carbon fluxes, so that their identities hold between packed counts
    assert len({VARIABLES[n].step for n in ("gpp", "ra", "rh", "reco", "nee")}) == 1
    for name in ("nee", "delta_soc"):
        assert VARIABLES[name].palette == "balance"
        assert VARIABLES[name].shown[0] == -VARIABLES[name].shown[1]


def test_units_follow_the_period() -> None:
    assert VARIABLES["nee"].unit_over("day") == "gC m-2 d-1"
    assert VARIABLES["nee"].unit_over("month") == "gC m-2"
    assert VARIABLES["et"].unit_over("year") == "mm"
    assert VARIABLES["lai"].unit_over("year") == "m2 m-2"
    assert VARIABLES["yield"].unit_over("year") == "gC m-2 yr-1"
    with pytest.raises(UnknownVariable, match="There is no variable 'npp'"):
        variable("npp")


def test_market_yields_by_hand() -> None:
    # 200 bu/ac of 56 lb maize is 12.553 t/ha at 15.5 % moisture: x 0.845 x 0.447 x 100 gC m-2
    carbon = 12.553 * 0.845 * 0.447 * 100
    assert MAIZE.t_ha(carbon) == pytest.approx(12.553)
    assert MAIZE.bu_ac(carbon) == pytest.approx(200, abs=0.02)
    assert SOYBEAN.bu_ac(SOYBEAN.carbon_m2(3.363)) == pytest.approx(50, abs=0.02)
    assert CROP_OF_CDL[36].bu_ac(100.0) is None
    for crop in CROPS.values():
        assert crop.t_ha(crop.carbon_m2(3.0)) == pytest.approx(3.0)


def test_a_mismatch_is_said_before_any_work() -> None:
    needs = Needs(("tmean", "vpd"), ("crop",), ("sand",))
    with pytest.raises(MissingInputs) as told:
        check_inputs("m/1", needs, {"tmean": "degC", "crop": "1"}, "the cube 'x'")
    assert "needs vpd (vapour pressure deficit, day mean, kPa), sand (sand, 0-30 cm, g kg-1)" in str(told.value)
    assert "which the cube 'x' does not have; it has: crop, tmean" in str(told.value)
    with pytest.raises(MissingInputs, match=r"needs vpd in kPa, but the cube 'x' has it in hPa"):
        check_inputs("m/1", needs, {"tmean": "degC", "vpd": "hPa", "crop": "1", "sand": "g kg-1"}, "the cube 'x'")
    check_inputs("m/1", needs, {"tmean": "degC", "vpd": "kPa", "crop": "1", "sand": "g kg-1"}, "the cube 'x'")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder of checkpoints with a copy of a shipped one."""
    shutil.copytree(SHIPPED / "agroecosystem" / "1", tmp_path / "agroecosystem" / "1")
    return tmp_path


def test_shipped_checkpoints_load_and_are_small() -> None:
    registry = Registry()
    cards = registry.cards()
    assert "agroecosystem/1" in [card.id for card in cards]
    for card in cards:
        model = registry.load(card.id)
        assert model.members == card.members
        assert set(model.outputs) <= set(VARIABLES)
        assert model.outputs == card.outputs
        assert set(model.needs.daily) == set(card.needs_daily)
        assert card.scores, f"{card.id} ships without scores"
        assert card.known_faults
        assert card.data
        assert card.commit
        for score in card.scores:
            assert np.isfinite(score.value)
            assert score.n > 0
            assert score.split
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size < 5_000_000


def test_a_changed_weight_is_refused(copied: Path) -> None:
    weights = copied / "agroecosystem" / "1" / "weights.safetensors"
    blob = bytearray(weights.read_bytes())
    blob[-1] ^= 1
    weights.write_bytes(blob)
    with pytest.raises(BadCheckpoint, match="not those of its card"):
        Registry((copied,)).load("agroecosystem")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "weights.safetensors").unlink(), "cannot be read"),
        (lambda f: (f / "card.json").write_text("{"), "is not valid"),
        (lambda f: (f / "card.json").write_text('{"name": 1}'), "is not valid"),
    ],
)
def test_damaged_files_are_named(copied: Path, spoil, told: str) -> None:  # type: ignore[no-untyped-def]
    spoil(copied / "agroecosystem" / "1")
    with pytest.raises(BadCheckpoint, match=told):
        Registry((copied,)).load("agroecosystem")


def test_unknown_models_and_families(copied: Path) -> None:
    registry = Registry((copied, SHIPPED))
    with pytest.raises(UnknownModel, match=r"There is no model 'agro/1'. The models here are: .*agroecosystem/1"):
        registry.load("agro/1")
    with pytest.raises(UnknownModel):
        registry.load("agroecosystem/99")
    path = copied / "agroecosystem" / "1" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"family": "oracle"}))
    with pytest.raises(BadCheckpoint, match="of family 'oracle'"):
        Registry((copied,)).load("agroecosystem")


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    folder = copied / "agroecosystem" / "1"
    found = read_checkpoint(folder)
    write_checkpoint(folder, found.card, {"table": np.zeros((1, 2, 3))})
    with pytest.raises(BadCheckpoint, match=r"shape \(\d+, 4, \d+\) \(member, crop, parameter\); found: \(1, 2, 3\)"):
        Registry((copied,)).load("agroecosystem")


def test_the_newest_version_is_taken(copied: Path) -> None:
    found = read_checkpoint(copied / "agroecosystem" / "1")
    for version in ("2", "10"):
        write_checkpoint(
            copied / "agroecosystem" / version, found.card.model_copy(update={"version": version}), found.weights
        )
    registry = Registry((copied,))
    assert registry.card("agroecosystem").version == "10"
    assert registry.card("agroecosystem/2").version == "2"
