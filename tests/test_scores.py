"""Scores against hand-computed values and the properties that define them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fieldflux.models.scores import member_spread, score
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

numbers = arrays(np.float64, 12, elements=st.floats(-50, 50, width=32))


def test_scores_of_four_pairs_by_hand() -> None:
    # errors 1, -1, 2, 0: SS_res 6; observed mean 2.5, SS_tot 2.25 + 0.25 + 0.25 + 2.25 = 5
    found = score(np.array([2.0, 1.0, 5.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.n == 4
    assert found.rmse == pytest.approx(math.sqrt(6 / 4))
    assert found.bias == pytest.approx(0.5)
    assert found.nse == pytest.approx(1 - 6 / 5)
    assert found.nnse == pytest.approx(1 / (2 + 0.2))
    # predicted less 3: -1, -2, 2, 1; with -1.5, -0.5, 0.5, 1.5 gives 1.5 + 1 + 1 + 1.5 = 5; squares sum to 10 and 5
    assert found.r2 == pytest.approx(25 / 50)
    assert (found.observed, found.observed_sd) == (2.5, pytest.approx(math.sqrt(5 / 4)))


def test_missing_pairs_are_left_out_and_counted() -> None:
    predicted = np.array([1.0, np.nan, 3.0, 4.0, 9.0])
    observed = np.array([1.0, 2.0, np.nan, 6.0, 0.0])
    found = score(predicted, observed, np.array([True, True, True, True, False]))
    assert (found.n, found.rmse, found.bias) == (2, pytest.approx(math.sqrt(2)), -1.0)


def test_nothing_to_score_is_nan_with_a_count_of_zero() -> None:
    found = score(np.full(3, np.nan), np.ones(3))
    assert found.n == 0
    assert math.isnan(found.rmse)
    assert math.isnan(found.nnse)


def test_a_constant_observation_has_no_nse_and_a_constant_prediction_no_r2() -> None:
    assert math.isnan(score(np.array([1.0, 2.0]), np.array([3.0, 3.0])).nse)
    flat = score(np.array([3.0, 3.0]), np.array([2.0, 4.0]))
    assert (flat.nse, math.isnan(flat.r2)) == (0.0, True)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"one shape, but have \(3,\) and \(2,\)"):
        score(np.ones(3), np.ones(2))


@given(numbers, numbers)
def test_error_splits_into_bias_and_scatter(p: np.ndarray, o: np.ndarray) -> None:
    found = score(p, o)
    assert found.rmse**2 == pytest.approx(found.bias**2 + np.var(p - o), rel=1e-6, abs=1e-9)
    assert found.rmse >= abs(found.bias) - 1e-9


@given(numbers, st.floats(0.1, 5), st.floats(-20, 20))
def test_r2_forgives_scale_and_offset_and_nse_does_not(o: np.ndarray, scale: float, offset: float) -> None:
    if np.std(o) < 0.1:
        return
    found = score(scale * o + offset, o)
    assert found.r2 == pytest.approx(1.0, abs=1e-6)
    assert found.nse <= 1.0 + 1e-12
    if abs(offset) > 1 and abs(scale - 1) < 1e-3:
        assert found.nse < 1.0
    assert score(o, o).nse == 1.0
    assert score(np.full_like(o, o.mean()), o).nse == pytest.approx(0.0, abs=1e-9)


def test_spread_over_members_is_the_deviation_of_their_errors() -> None:
    observed = np.array([0.0, 0.0])
    # members off by 1 and by 3: RMSE 1 and 3, standard deviation sqrt(2)
    assert member_spread(np.array([[1.0, -1.0], [3.0, 3.0]]), observed) == pytest.approx(math.sqrt(2))
    assert member_spread(np.array([[1.0, -1.0]]), observed) is None
