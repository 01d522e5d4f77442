"""The arithmetic of carbon statements: anchors of the methodology, and what must hold of any errors."""

from __future__ import annotations

from importlib.resources import files
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.carbon.evidence import lacking, skill_of
from fieldflux.app.carbon.rulesets import DEFAULT, rulesets
from fieldflux.app.carbon.uncertainty import (
    Correlation,
    deducted,
    effective_number,
    median_duration,
    of_difference,
    of_members,
    over_fields,
    over_years,
    quantile,
)
from fieldflux.app.carbon.validation import Study, interval, mean_of_biases, pooled, validated
from fieldflux.app.problems import Refused
from fieldflux.models.card import Score
from fieldflux.models.registry import Registry
from hypothesis import given, settings
from hypothesis import strategies as st

from .toy_model import ToyModel

RULES = rulesets()[DEFAULT]
errors = st.lists(st.floats(0, 1e4), min_size=1, max_size=12).map(lambda v: np.array(v, float))
shares = st.floats(0, 1)


def test_the_documented_constants_come_out() -> None:
    assert round(quantile(RULES.probability, None), 4) == 0.4307
    assert [round(quantile(2 / 3, df), 3) for df in (5, 10, 30)] == [0.457, 0.444, 0.435]
    assert round(deducted(100.0, 100.0, 2 / 3, None).unc or 0, 3) == 0.431
    assert round(1 / quantile(2 / 3, None), 2) == 2.32  # the coefficient of variation at which nothing is left
    assert deducted(100.0, 233.0, 2 / 3, None).unc == 1.0
    assert median_duration([2, 2, 3, 5, 9, 48]) == 4.0
    assert round(sqrt(1 + 1 / 100), 3) == 1.005
    assert round(RULES.to_co2e**2, 2) == 13.44


def test_the_worked_example_of_vmd0053() -> None:
    assert mean_of_biases([2.85, -0.60, -3.15]) == pytest.approx(-0.30)
    assert [round(v, 1) for v in interval(6.8, 35.2)] == [-2.9, 16.5]
    assert [round(v, 1) for v in interval(-4.0, 35.2)] == [-13.7, 5.7]
    assert round(sqrt(35.2), 1) == 5.9
    # Weights are n - 1: 2 replicates with an error of 1, 4 with 2.
    assert pooled([1.0, 2.0], [2, 4]) == pytest.approx(sqrt((1 + 3 * 4) / 4))


def test_both_tests_of_vmd0053() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(5, 3, (4, 10))
    studies = [Study(t + rng.normal(0, 1, 10), t, [1.5] * 10, [4] * 10) for t in truth]
    good = validated(studies)
    assert good.bias_passes
    assert good.coverage_passes
    assert good.pmu == pytest.approx(1.5)
    assert good.n == 40
    assert not validated(
        [Study(np.add(s.modelled, 4.0), s.measured, s.errors, s.replicates) for s in studies]
    ).bias_passes
    with pytest.raises(ValueError, match="two measurements"):
        validated([])
    with pytest.raises(ValueError, match="replicates"):
        validated([Study([1.0, 2.0], [1.0, 1.0], [1.0, 1.0], [1, 1])])


def test_constants_of_later_accounts_stand_in_the_ruleset() -> None:
    there = RULES.content["elsewhere"]
    assert (there["lime_factor"], there["dolomite_factor"]) == (0.12, 0.13)
    assert there["organic_amendment_leakage"] == 0.12
    assert (there["n2o_factor_wet_low"], there["n2o_factor_wet_high"]) == (0.013, 0.019)
    assert (there["gwp_ch4"], there["gwp_n2o"]) == (28, 265)
    assert RULES.content["rules"]["soc_depth_cm"] == 30


@given(errors, shares, shares)
@settings(max_examples=80, deadline=None)
def test_errors_over_years_lie_between_independent_and_common(each: np.ndarray, one: float, other: float) -> None:
    low, high = sorted((one, other))
    tolerance = 1e-9 * (1 + each.sum())
    assert over_years(each, 0.0) == pytest.approx(sqrt(float((each**2).sum())))
    assert over_years(each, 1.0) == pytest.approx(float(each.sum()))
    assert over_years(each, low) <= over_years(each, high) + tolerance


@given(errors, shares, shares, shares, st.floats(1, 500), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_errors_over_fields_lie_between_independent_and_common(
    each: np.ndarray, one: float, other: float, near: float, reach: float, seed: int
) -> None:
    places = np.random.default_rng(seed).uniform((-96, 40), (-92, 43), (len(each), 2))
    low, high = sorted((one, other))
    least, most = sqrt(float((each**2).sum())), float(each.sum())
    tolerance = 1e-6 * (1 + most)

    def error(rho: float) -> float:
        return over_fields(each, places, Correlation(fields=rho, near=near, range_km=reach))

    assert least - tolerance <= error(low) <= error(high) + tolerance <= most + 2 * tolerance
    assert 1 - 1e-6 <= effective_number(each, error(low)) <= len(each) + 1e-6


def test_a_common_error_does_not_average_out() -> None:
    for count in (50, 3000):
        each = np.ones(count)
        total = over_fields(each, np.zeros((count, 2)), Correlation(fields=0.3))
        assert 3.0 < effective_number(each, total) < 3.4


def test_the_variance_over_members_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(0, 3, 200_000)
    assert of_members(draws) == pytest.approx(3.0, rel=0.02)
    assert of_members(np.array([2.0])) == 0.0
    assert of_difference(3.0, 0.0) == pytest.approx(float(np.std(draws - rng.permutation(draws))), rel=0.02)
    assert of_difference(3.0, 1.0) == 0.0


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
@settings(max_examples=80, deadline=None)
def test_a_deduction_never_makes_more_of_anything(gain: float, error: float) -> None:
    found = deducted(gain, error, 2 / 3, None)
    assert found.left <= max(gain, 0.0) if gain >= 0 else found.left <= gain
    assert found.left >= 0 if gain >= 0 else True
    if gain > 0:
        assert found.unc is not None
        assert 0 <= found.unc <= 1
        assert found.left == pytest.approx(gain * (1 - found.unc), abs=1e-6)


def test_uses_need_what_the_ruleset_says() -> None:
    # Of shipped cards, none tells changes of soil carbon better than every floor, so none is evidence for payment.
    for card in Registry().cards():
        assert not skill_of(card).better
        assert "not evidence" in skill_of(card).sentence(card)
        assert lacking(card, RULES, "planning", ["tillage"], False, True, True) == []
        assert lacking(card, RULES, "inventory", [], True, False, False) == ["The cube's inputs are synthetic."]
        assert lacking(card, RULES, "inventory", [], False, False, False) == []
        assert len(lacking(card, RULES, "grower_payment", [], False, False, False)) == 1
        assert len(lacking(card, RULES, "credit_component", ["tillage"], False, True, False)) == 3


def test_a_card_with_skill_and_a_validated_effect_may_be_used() -> None:
    change = Score(
        variable="delta_soc",
        metric="rmse",
        value=20.0,
        unit="gC m-2 yr-1",
        split="sites left out",
        data="long-term experiments",
        n=30,
        baseline={"no change": 30.0},
    )
    tests = [
        change.model_copy(update={"variable": "delta_soc:tillage", "metric": metric, "value": 1.0, "unit": "1"})
        for metric in RULES.metrics
    ]
    card = ToyModel().card.model_copy(update={"scores": (change, *tests)})
    assert lacking(card, RULES, "credit_component", ["tillage"], False, True, True) == []
    assert (
        "of residue_removed"
        in lacking(card, RULES, "credit_component", ["tillage", "residue_removed"], False, True, True)[0]
    )
    synthetic = change.model_copy(update={"data": "synthetic runs", "value": 1.0})
    alone = card.model_copy(update={"scores": (synthetic,)})
    assert not skill_of(alone).better
    assert skill_of(alone).error is None


def test_rulesets_of_the_work_folder_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    folder = tmp_path / "rulesets"
    folder.mkdir()
    other = (files("fieldflux.app.carbon") / "rules" / "verra-vm0042-2.2.toml").read_text()
    other = other.replace(DEFAULT, "mine@1").replace("[2, 3]", "[7, 10]")
    (folder / "mine.toml").write_text(other)
    found = rulesets(tmp_path)
    assert found["mine@1"].probability == 0.7
    assert found["mine@1"].sha256 != found[DEFAULT].sha256
    (folder / "mine.toml").write_text(other.replace("[7, 10]", "[3, 10]"))
    with pytest.raises(Refused, match="between 1/2 and 1"):
        rulesets(tmp_path)
    (folder / "mine.toml").write_text('id = "x"')
    with pytest.raises(Refused, match="it lacks 'conversion'"):
        rulesets(tmp_path)
