"""Intervals that hold at unseen sites: what they promise, by simulation, and what must not change them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from fieldflux.app.workspace import Workspace
from fieldflux.models.card import Card, IntervalRule
from fieldflux.models.checkpoint import write_checkpoint
from fieldflux.models.intervals import (
    LEVELS,
    Residuals,
    coverage_across_groups,
    coverage_scores,
    fit_rule,
    half_width,
    over_steps,
    step_for,
    steps_in,
)
from fieldflux.tiles.cube import Cube
from hypothesis import given, settings
from hypothesis import strategies as st

from .serving import serving, settings_of, square, toy_home, toy_registry
from .toy_model import card

EXACT = settings(max_examples=40, deadline=None)


def sites(seed: int, groups: int, pairs: tuple[int, int] = (5, 60), members: int = 5) -> Residuals:
    """Made-up sites, exchangeable: each has its own bias, noise and number of days; members agree where little grows.

    The ensemble knows little of its error, as it does in fallow.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k in range(groups):
        n = int(rng.integers(*pairs))
        level = np.abs(rng.normal(0, 4, n))
        bias, noise = rng.normal(0, 0.6), rng.uniform(0.2, 1.5)
        truth = level + bias * (0.3 + 0.1 * level) + rng.normal(0, noise * (0.4 + 0.15 * level), n)
        spread = rng.normal(0, 0.05 * (0.1 + level), (members, n))
        found.append((np.full(n, f"s{k:03d}"), truth, level + spread))
    group, observed, predicted = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
    return Residuals(group, observed, predicted)


def covered(rule: IntervalRule, new: Residuals, level: float) -> float:
    mean, spread = new.members.mean(axis=0), new.members.std(axis=0, ddof=1)
    return float((np.abs(new.observed - mean) <= half_width(rule, mean, spread, level)).mean())


def test_a_new_site_is_covered_as_promised_over_many_draws() -> None:
    draws, groups = 300, 24
    found = {level: np.empty(draws) for level in LEVELS}
    for seed in range(draws):
        everything = sites(seed, groups + 1)
        # sites are exchangeable: the last is as good a new one as any
        new = everything.group == f"s{groups:03d}"
        rule = fit_rule(everything.only(~new))
        for level in LEVELS:
            found[level][seed] = covered(rule, everything.only(new), level)
    share = {level: float(found[level].mean()) for level in LEVELS}
    assert 0.88 <= share[0.9] <= 0.97
    for level in LEVELS:
        # at least the level, and not much more than the groups allow; three standard errors of the simulation
        error = 3 * found[level].std() / np.sqrt(draws)
        assert level - error <= share[level] <= level + 1 / groups + error


def test_coverage_across_groups_tells_what_a_new_site_gets() -> None:
    shares = [coverage_across_groups(sites(seed, 15), (0.8, 0.9)) for seed in range(30)]
    assert 0.88 <= np.mean([found[0.9].share for found in shares]) <= 0.97
    assert 0.78 <= np.mean([found[0.8].share for found in shares]) <= 0.90
    one = shares[0][0.9]
    assert (one.groups, one.n) == (15, len(sites(0, 15).observed))
    assert one.share == pytest.approx(np.mean(list(one.of_group.values())))
    assert one.promised
    told = coverage_scores(shares[0], "nee", "day", "made up")
    assert [s.metric for s in told] == ["coverage of the 80 % interval, day", "coverage of the 90 % interval, day"]
    assert (told[1].value, told[1].n) == (round(one.share, 4), one.n)
    assert one.mean_width > shares[0][0.8].mean_width > 0


def test_a_site_with_many_days_weighs_as_one_with_few() -> None:
    rng = np.random.default_rng(0)
    few, many = sites(1, 20), 5000
    large = Residuals(np.full(many, "large"), rng.normal(0, 1e-3, many), rng.normal(0, 1e-3, (5, many)))
    both = Residuals(
        np.concatenate([few.group, large.group]),
        np.concatenate([few.observed, large.observed]),
        np.concatenate([few.members, large.members], axis=1),
    )
    # counted by the day, 5000 days without error would leave an interval of none
    alone, joined = fit_rule(few), fit_rule(both)
    mean, spread = np.array([5.0]), np.array([0.2])
    assert half_width(joined, mean, spread, 0.9) == pytest.approx(half_width(alone, mean, spread, 0.9), rel=0.15)


def test_too_few_sites_for_a_level_give_the_largest_score_and_say_so() -> None:
    rule = fit_rule(sites(3, 6))
    assert rule.groups == 6
    assert [rule.reaches(level) for level in LEVELS] == [True, True, False, False]
    assert rule.quantiles[0.9] == rule.quantiles[0.95] > rule.quantiles[0.8]
    assert fit_rule(sites(3, 9)).reaches(0.9)
    assert not fit_rule(sites(3, 18)).reaches(0.95)
    assert fit_rule(sites(3, 19)).reaches(0.95)
    assert not coverage_across_groups(sites(3, 9))[0.9].promised


@given(seed=st.integers(0, 10_000), groups=st.integers(2, 30))
@EXACT
def test_intervals_grow_with_the_level(seed: int, groups: int) -> None:
    rule = fit_rule(sites(seed, groups))
    factors = [rule.quantiles[level] for level in LEVELS]
    assert factors == sorted(factors)
    mean, spread = np.array([-3.0, 0.0, 3.0]), np.array([0.0, 0.0, 0.5])
    assert np.all(half_width(rule, mean, spread, 0.95) >= half_width(rule, mean, spread, 0.5))
    # never closed, also where members agree on nothing at all
    assert np.all(half_width(rule, mean, spread, 0.5) > 0)


@given(seed=st.integers(0, 10_000), factor=st.floats(1e-3, 1e4), flip=st.booleans())
@EXACT
def test_other_units_give_the_same_interval_in_other_units(seed: int, factor: float, flip: bool) -> None:
    plain, by = sites(seed, 12), -factor if flip else factor
    other = Residuals(plain.group, plain.observed * by, plain.members * by)
    of_plain, of_other = fit_rule(plain), fit_rule(other)
    mean, spread = np.array([0.0, 2.5, 9.0]), np.array([0.1, 0.0, 0.4])
    for level in LEVELS:
        expected = factor * half_width(of_plain, mean, spread, level)
        assert half_width(of_other, by * mean, factor * spread, level) == pytest.approx(expected, rel=1e-6)


@given(seed=st.integers(0, 10_000))
@EXACT
def test_neither_the_order_of_pairs_nor_the_names_of_sites_matter(seed: int) -> None:
    plain = sites(seed, 12)
    order = np.random.default_rng(seed).permutation(len(plain.observed))
    renamed = np.char.add("z", plain.group[order])
    mixed = fit_rule(Residuals(renamed, plain.observed[order], plain.members[:, order]))
    straight = fit_rule(plain)
    assert list(mixed.quantiles.values()) == pytest.approx(list(straight.quantiles.values()), rel=1e-9)


def test_the_floor_is_where_members_agree_and_err() -> None:
    found = fit_rule(sites(5, 40))
    # the made-up noise: about 0.4 + 0.15 x level, times what a site's noise and bias are on average
    assert 0.1 < found.floor_constant < 0.6
    assert 0.05 < found.floor_slope < 0.3
    rng = np.random.default_rng(0)
    spread = rng.uniform(1, 2, 400)
    members = spread * rng.normal(0, 1, (50, 400))
    good = Residuals(np.repeat([f"s{k}" for k in range(20)], 20), 1.0 * spread * rng.normal(0, 1, 400), members)
    rule = fit_rule(good)
    # an honest spread gets about the normal factor, and little beside it
    assert half_width(rule, np.zeros(1), np.ones(1), 0.9)[0] == pytest.approx(1.645, abs=0.45)


def test_where_nothing_is_sure_it_has_no_width() -> None:
    rule = fit_rule(sites(3, 12))
    sure = rule.model_copy(update={"zero_is_sure": True})
    mean, spread = np.array([0.0, 0.0, 5.0, np.nan]), np.array([0.0, 1.0, 0.0, np.nan])
    assert half_width(rule, mean, spread, 0.9)[0] > 0.0
    np.testing.assert_array_equal(half_width(sure, mean, spread, 0.9)[1:], half_width(rule, mean, spread, 0.9)[1:])
    assert half_width(sure, mean, spread, 0.9)[0] == 0.0


def test_sums_over_months_and_years_take_members_first_and_leave_out_steps_with_gaps() -> None:
    days = np.arange(np.datetime64("2019-01-01"), np.datetime64("2021-01-01"))
    rng = np.random.default_rng(0)
    observed, members = rng.normal(0, 1, len(days)), rng.normal(0, 1, (3, len(days)))
    whole = Residuals(np.full(len(days), "a"), observed, members)
    keep = np.ones(len(days), bool)
    keep[:10] = False  # 21 of January's 31 days are left: too few
    keep[40:43] = False  # 25 of February's 28
    months = over_steps(whole.only(keep), days[keep], "month")
    assert len(months.observed) == 23
    february = keep & (days.astype("M8[M]") == np.datetime64("2019-02"))
    assert months.observed[0] == pytest.approx(observed[february].sum() * 28 / 25)
    assert months.members[:, 0] == pytest.approx(members[:, february].sum(axis=1) * 28 / 25)
    years = over_steps(whole, days, "year")
    assert years.observed == pytest.approx([observed[:365].sum(), observed[365:].sum()])
    with pytest.raises(ValueError, match="more than one pair"):
        over_steps(Residuals(whole.group, observed, members), days.astype("M8[M]"), "month")
    with pytest.raises(ValueError, match="No year has 80 %"):
        over_steps(whole.only(days < np.datetime64("2019-06-01")), days[:151], "year")


def test_a_sum_takes_the_rule_of_its_length_or_of_a_shorter_one() -> None:
    rule = IntervalRule(floor_constant=1, floor_slope=0, quantiles={0.9: 2.0}, groups=12, n=100)
    every = dict.fromkeys(("day", "month", "year"), rule)
    lengths = (1, 27, 28, 31, 364, 365, 366, 3653)
    assert [step_for(every, n) for n in lengths] == ["day", "day", "month", "month", "month", "year", "year", "year"]
    assert step_for({"year": rule}, 31) is None
    assert step_for({"day": rule}, 365) == "day"
    assert {steps_in("month", n) for n in (28, 29, 30, 31)} == {steps_in("year", n) for n in (365, 366)} == {1.0}
    assert steps_in("year", 3653) == pytest.approx(10, abs=0.01)


def test_rules_are_kept_in_a_card_and_old_cards_are_read() -> None:
    rule = fit_rule(sites(0, 12), data="twelve towers")
    kept = card().model_copy(update={"intervals": {"nee": {"day": rule, "year": rule}}})
    assert Card.model_validate_json(kept.model_dump_json()) == kept
    old = card().model_dump(mode="json")
    old.pop("intervals")
    assert Card.model_validate(old).intervals == {}
    with pytest.raises(ValueError, match="steps are day, month, year"):
        Card.model_validate({**old, "intervals": {"nee": {"week": rule.model_dump(mode="json")}}})


def test_what_cannot_be_fitted_is_refused_in_sentences() -> None:
    one = sites(0, 2)
    with pytest.raises(ValueError, match="at least 2 groups; given 1"):
        fit_rule(one.only(one.group == "s000"))
    with pytest.raises(ValueError, match="at least 3 groups; given 2"):
        coverage_across_groups(one)
    with pytest.raises(ValueError, match=r"between 0 and 1, as in 0\.9 for 90 %; given: 90"):
        fit_rule(one, (90,))
    with pytest.raises(ValueError, match="missing or infinite"):
        Residuals(one.group, np.full(len(one.observed), np.nan), one.members)
    with pytest.raises(ValueError, match="at least 2 members"):
        Residuals(one.group, one.observed, one.members[:1])
    with pytest.raises(ValueError, match=r"members \[M, n\]"):
        Residuals(one.group, one.observed[1:], one.members)
    with pytest.raises(ValueError, match=r"calibrated at 0\.8 and 0\.9; given: 0\.5"):
        half_width(fit_rule(one, (0.8, 0.9)), np.ones(1), np.ones(1), 0.5)
    with pytest.raises(ValueError, match="do not fall with the level"):
        IntervalRule(floor_constant=1, floor_slope=0, quantiles={0.5: 2.0, 0.9: 1.0}, groups=3, n=9)


# Served


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Cube]]:
    """A server whose toy model carries rules for nee and yield."""
    home = toy_home(tmp_path_factory.mktemp("home"), run_years=())
    rule = fit_rule(sites(0, 24), data="24 made-up sites")
    yearly = fit_rule(sites(1, 6), data="6 made-up sites")
    kept = {"nee": {"day": rule, "year": rule}, "yield": {"year": yearly}}
    ruled = card().model_copy(update={"intervals": kept})
    write_checkpoint(home / "checkpoints" / "toy" / "1", ruled, {"rate": np.ones(1, np.float32)})
    workspace = Workspace(settings_of(home), toy_registry(home / "checkpoints"))
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as found:
        yield found, workspace.cube()


def asked(client: tuple[httpx.Client, Cube], **more: object) -> httpx.Response:
    body = {"geometry": square(client[1], 100, 130, 2, 2), "years": [2019], "variables": ["nee"], **more}
    return client[0].post("/v1/series", json=body)


def test_an_answer_tells_how_its_intervals_were_calibrated(client: tuple[httpx.Client, Cube]) -> None:
    found = asked(client, variables=["nee", "gpp", "yield"]).json()
    assert found["interval_level"] == 0.9
    assert found["interval_basis"]["nee"] == [
        {
            "method": "conformal",
            "steps": 365,
            "rule": "day",
            "scaled": False,
            "groups": 24,
            "pairs": len(sites(0, 24).observed),
            "data": "24 made-up sites",
            "promised": True,
        }
    ]
    assert found["interval_basis"]["gpp"] == [{"method": "spread", "steps": 365}]
    (of_yield,) = found["years"]["interval_basis"]["yield"]
    assert (of_yield["groups"], of_yield["promised"]) == (6, False)
    assert found["summary"]["nee"]["interval_basis"][0]["rule"] == "year"
    assert {"interval_not_calibrated", "interval_few_groups"} <= set(found["flags"])
    assert found["years"]["intervals"]["yield"]["low"][0] >= 0
    without = asked(client, intervals=False).json()
    assert (without["interval_level"], without["interval_basis"]) == (None, {})


def test_a_level_can_be_asked_for(client: tuple[httpx.Client, Cube]) -> None:
    widths = []
    for level in LEVELS:
        found = asked(client, level=level, step="year").json()
        assert found["interval_level"] == level
        ends = found["intervals"]["nee"]
        widths.append(ends["high"][0] - ends["low"][0])
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    refused = asked(client, level=0.85)
    assert refused.status_code == 422
    problem = refused.json()
    assert (problem["type"], problem["allowed"]) == ("/problems/unknown-level", list(LEVELS))
    assert "0.5, 0.8, 0.9 and 0.95, given: 0.85" in problem["detail"]
    assert asked(client, level=90).json()["type"] == "/problems/invalid-request"
    described = client[0].get("/openapi.json").json()["components"]["schemas"]["Ask"]["properties"]["level"]
    assert described["default"] == 0.9
    assert "0.5, 0.8, 0.9 or 0.95" in described["description"]


def test_a_table_says_what_its_ends_are(client: tuple[httpx.Client, Cube]) -> None:
    body = {"geometry": square(client[1], 100, 130, 2, 2), "years": [2019], "variables": ["nee", "yield"]}
    text = client[0].post("/v1/series?f=csv", json={**body, "level": 0.8, "step": "month"}).text
    assert "# nee low and high: 80 % interval (conformal by 24 held-out groups, days)" in text
    assert "# yield low and high: 80 % interval (conformal by 6 held-out groups, years)" in text
