"""Response checks: of numbers by hand, of a model that answers well, and of one that is wrong in every way they ask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.evaluate.probes import AXES, Axis, ask, axes_for, own_gpp, synthetic_probe, tower_probes
from fieldflux.app.evaluate.responseplots import plot_responses
from fieldflux.app.evaluate.responses import (
    Check,
    Curve,
    ResponseResult,
    evaluate_responses,
    largest_fall,
    largest_part,
    largest_step,
)
from fieldflux.models.card import Card, Domain
from fieldflux.models.contract import Forcing, Prediction, State

from .toy_model import ToyModel

SOC = next(axis for axis in AXES if axis.name == "soc_content")
GPP = next(axis for axis in AXES if axis.kind == "gpp")
WARMTH = next(axis for axis in AXES if axis.name == "temperature")


@dataclass
class Flagging(ToyModel):
    """The toy model with a range of soil carbon on its card, and the flag that goes with it."""

    @property
    def card(self) -> Card:
        ranges = {"soc_content": (5.0, 50.0)}
        return super().card.model_copy(
            update={"domain": Domain(crops=("maize",), climates="", years="", ranges=ranges)}
        )

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:
        found = super().predict(forcing, state)
        soc = forcing.static["soc_content"]
        return replace(found, flags={**found.flags, "outside_domain": (soc < 5) | (soc > 50)})


@dataclass
class Wrong(Flagging):
    """Respires less in rich soils, jumps at 73 gC kg-1, yields less from more GPP, never raises its flag."""

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:
        found = super().predict(forcing, state)
        soc = np.asarray(forcing.static["soc_content"])
        less = (1.0 - 0.002 * soc - 0.5 * (soc > 73))[None, :, None]
        mean = found.daily["gpp"].mean(axis=(0, 2))
        return replace(
            found,
            daily={**found.daily, "rh": 3.0 * np.broadcast_to(less, found.daily["rh"].shape)},
            annual={**found.annual, "yield": np.broadcast_to((500.0 - 10.0 * mean)[None, :, None], (2, len(soc), 1))},
            flags={"outside_domain": np.zeros(len(soc), bool)},
        )


def quiet(fraction: float, doing: str) -> None:
    """Tell nobody."""


def run(model: ToyModel) -> ResponseResult:
    return evaluate_responses(model, Path("nowhere"), quiet, [synthetic_probe()])


def of(found: ResponseResult, axis: str, variable: str, word: str) -> Check:
    (one,) = [c for c in found.checks if c.axis == axis and c.variable == variable and word in c.what]
    return one


def curve(x: list[float], inside: tuple[float, float]) -> Curve:
    axis = Axis("clay", "static", "set", tuple(x), inside, ("clay",))
    return Curve("here", axis, np.array(x), inside, "declared", {}, {})


def test_a_fall_is_measured_from_what_was_reached() -> None:
    assert largest_fall(np.array([[1.0, 2.0, 3.0]])) == 0.0
    assert largest_fall(np.array([[1.0, 4.0, 3.0, 3.5], [1.0, 2.0, 2.0, 2.0]])) == pytest.approx(0.25)


def test_the_largest_step_outside_is_beside_the_level_and_the_steepest_step_inside() -> None:
    one = curve([0, 1, 2, 3, 4], (1, 3))
    # inside: 10, 12, 11; steps outside: 8 before, 3 after
    at, relative, ratio = largest_step(one, np.array([2.0, 10.0, 12.0, 11.0, 14.0])) or (0, 0, 0)
    assert at == 0
    assert relative == pytest.approx(8 / 12)
    assert ratio == pytest.approx(8 / 2)


def test_the_largest_part_holds_all_of_a_jump_and_little_of_a_slope() -> None:
    assert largest_part(np.array([0.0, 0.0, 5.0, 5.0])) == (1, 1.0)
    assert largest_part(np.linspace(0, 1, 9))[1] == pytest.approx(1 / 8)
    assert largest_part(np.zeros(4))[1] == 0.0


def test_an_axis_of_ratios_is_cut_into_ratios() -> None:
    ksat = next(axis for axis in AXES if axis.name == "ksat")
    assert ksat.between(1.0, 16.0, 4) == pytest.approx((1, 2, 4, 8, 16))
    assert WARMTH.between(0.0, 1.0, 2) == pytest.approx((0, 0.5, 1))


def test_only_inputs_that_the_model_reads_are_varied() -> None:
    names = [axis.name for axis in axes_for(ToyModel().needs, synthetic_probe())]
    assert names == ["soc_content", "gpp_given", "temperature", "precip", "srad", "clay", "tillage"]


def test_an_answer_is_the_models_own_at_the_changed_input_and_nothing_else_moves() -> None:
    model, probe = ToyModel(), synthetic_probe()
    own = own_gpp(model, probe)
    found = ask(model, probe, [(GPP, 1.0), (GPP, 2.0), (SOC, 10.0), (SOC, 20.0)], own)
    factor = np.array([1.0, 1.05])  # of the toy's members
    total = own.sum(axis=1).mean() / 2  # two years, mean over both turns
    assert found.values["yield"][:, 0] == pytest.approx(0.2 * factor * total, rel=1e-4)
    assert found.values["yield"][:, 1] == pytest.approx(2 * found.values["yield"][:, 0], rel=1e-5)
    assert found.values["yield"][:, 2] == pytest.approx(found.values["yield"][:, 3])
    # the pool is mostly the given stock
    assert found.values["rh"][0, 3] / found.values["rh"][0, 2] == pytest.approx(2.0, abs=0.15)
    assert found.values["nee"][0, 0] == pytest.approx(
        found.values["ra"][0, 0] + found.values["rh"][0, 0] - total / 365.5 * 365.25, rel=0.02
    )


def test_a_model_that_answers_well_passes_every_check(tmp_path: Path) -> None:
    found = run(Flagging())
    judged = [c for c in found.checks if c.passed is not None]
    assert len(judged) > 20
    assert [c for c in judged if not c.passed] == []
    assert of(found, "soc_content", "rh", "does not fall").number == 0.0
    assert of(found, "soc_content", "all", "outside_domain").passed
    assert found.notes[0].startswith(f"Responses: {len(judged)} of {len(judged)} checks pass.")
    assert [t.name for t in found.tables] == ["response_summary", "response_checks", "responses"]
    assert plot_responses(tmp_path, found) == ["responses.png"]
    assert (tmp_path / "responses.png").read_bytes().startswith(b"\x89PNG")


def test_every_fault_is_found_and_named() -> None:
    found = run(Wrong())
    assert not of(found, "soc_content", "rh", "does not fall").passed
    assert not of(found, "gpp_given x", "yield", "does not fall").passed
    jump = of(found, "soc_content", "rh", "no jump")
    assert not jump.passed
    assert jump.number > 0.9
    assert "73" in jump.about or "72.9" in jump.about
    flags = of(found, "soc_content", "all", "outside_domain")
    assert (flags.passed, flags.number) == (False, 6.0)  # 1, 2 and 60 to 150
    assert "response_failures" in [t.name for t in found.tables]
    # what the faults do not touch
    assert of(found, "soc_content", "nee", "no jump").passed


def test_a_probe_that_lacks_an_input_is_left_out_with_a_sentence() -> None:
    probe = synthetic_probe()
    bare = replace(probe, forcing=replace(probe.forcing, static={"latitude": np.full(2, 42.0)}))
    found = evaluate_responses(ToyModel(), Path("nowhere"), quiet, [bare])
    assert not found.checks
    assert not found.notes
    assert "needs clay" in found.skipped[0]


def test_the_mead_towers_are_probes_where_they_are_measured(data_dir: Path) -> None:
    assert tower_probes(data_dir / "nowhere") == []
    found = {p.name: p.forcing for p in tower_probes(data_dir)}
    assert set(found) == {"US-Ne1", "US-Ne3"}
    assert found["US-Ne3"].years == (2003, 2004, 2005, 2006)
    assert list(found["US-Ne3"].annual["crop"][0]) == [1, 5, 1, 5]
