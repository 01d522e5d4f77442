"""KGML-ag-Carbon: the networks' promises, hand-checked, and the ensemble behind the contract."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
import torch
from fieldflux.models.card import Card
from fieldflux.models.contract import Forcing, MissingInputs
from fieldflux.models.kgml.closed import MOST_HARVESTED, Closed
from fieldflux.models.kgml.inputs import CLOSED, PAPER, PAPER_DAYS, Days, closed_days, joined, paper_days
from fieldflux.models.kgml.losses import Targets, balance, county_yields, towers
from fieldflux.models.kgml.model import Kgml, load, weights_of
from fieldflux.models.kgml.network import Outputs
from fieldflux.models.kgml.paper import NEE, RA, RH, Paper
from fieldflux.models.kgml.plain import Plain
from fieldflux.models.kgml.responses import outside_band
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.models.registry import Registry

from tests.small_forcing import ALFALFA, MAIZE, RICE, SOYBEAN, WHEAT, small_forcing


def network(seed: int = 0) -> Closed:
    torch.manual_seed(seed)
    return Closed(16).eval()


def given(forcing: Forcing, value: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    shape = (forcing.cells, forcing.days)
    return np.full(shape, value, np.float32), np.ones(shape, np.float32)


def a_year(crops: list[list[int]], year: int = 2019) -> Days:
    forcing = small_forcing(crops)
    return closed_days(forcing, *given(forcing), year)


@pytest.fixture(scope="module")
def process() -> Agroecosystem:
    model = Registry().load("agroecosystem/1")
    assert isinstance(model, Agroecosystem)
    return model


@pytest.fixture(scope="module")
def ensemble(process: Agroecosystem) -> Kgml:
    card: Card = process.card.model_copy(
        update={"name": "kgml-test", "family": "kgml", "members": 2, "recipe": {"network": {"hidden": 16}}}
    )
    return Kgml(card, (network(1), network(2)), process)


def test_published_network_has_the_published_size() -> None:
    paper = Paper()
    assert sum(p.numel() for p in paper.parameters()) == 161_413
    assert len(list(paper.parameters())) == 46
    by_part = {
        n: sum(p.numel() for p in getattr(paper, n).parameters()) for n in ("basis", "gru_ra", "gru_rh", "gru_nee")
    }
    assert by_part == {"basis": 41_280, "gru_ra": 28_608, "gru_rh": 53_760, "gru_nee": 16_704}
    assert sum(p.numel() for p in paper.attention.parameters()) == 10_433
    assert len(PAPER) == 19


def test_published_residue_reaches_rh_on_day_300_and_not_before() -> None:
    torch.manual_seed(0)
    paper = Paper().eval()
    forcing = small_forcing([[MAIZE, SOYBEAN]])
    days = paper_days(forcing, given(forcing)[0], 2019)
    out, _ = paper(days)
    assert out.ra.shape == (1, PAPER_DAYS)
    want = torch.relu(days.gpp.sum(1) - out.ra.sum(1) - out.harvest)
    torch.testing.assert_close(out.residue, want)  # eq. 10
    with torch.no_grad():
        paper.yields[-1].bias += 0.5  # more harvest, less residue
    other, _ = paper(days)
    assert torch.equal(other.rh[:, :298], out.rh[:, :298])
    assert not torch.equal(other.rh[:, 298:], out.rh[:, 298:])


def test_published_scales_are_those_of_the_notebook() -> None:
    assert (RA.mean, RA.sd) == (-1.35840, 2.58334)
    assert (RH.mean, RH.sd) == (-0.97472, 0.85668)
    assert (NEE.mean, NEE.sd) == (-0.52354, 2.99425)


def test_features_say_what_stands_when() -> None:
    days = a_year([[MAIZE, SOYBEAN], [WHEAT, MAIZE], [ALFALFA, ALFALFA], [RICE, RICE]])
    at = {name: (i, mean, sd) for i, (name, mean, sd) in enumerate(CLOSED)}

    def column(name: str) -> torch.Tensor:
        i, mean, sd = at[name]
        return days.x[..., i] * sd + mean

    standing = column("standing")
    # maize: sown on day 125, harvested on day 285
    assert standing[0].nonzero()[[0, -1], 0].tolist() == [124, 284]
    assert column("age")[0, 124] == pytest.approx(0.01, abs=1e-6)
    # wheat, sown in the autumn before, stands from 1 January to day 190; maize of the next year is not sown in autumn
    assert standing[1].nonzero()[[0, -1], 0].tolist() == [0, 189]
    assert bool((standing[2] == 1).all())
    assert bool((standing[3] == 0).all())
    assert column("dated")[:, 0].tolist() == pytest.approx([1, 1, 1, 0], abs=1e-6)
    assert torch.isnan(days.standing[3]).all()
    assert days.event.tolist() == [284, 189, 364, -1]
    assert days.weighed.tolist() == [True, True, True, False]


def test_closed_network_closes_and_takes_no_more_than_grew() -> None:
    days = a_year([[MAIZE, SOYBEAN], [WHEAT, MAIZE], [ALFALFA, ALFALFA]])
    out, _ = network()(days)
    assert bool((out.ra > 0).all())
    assert bool((out.rh > 0).all())
    torch.testing.assert_close(out.nee, out.ra + out.rh - days.gpp)
    counted = torch.arange(365)[None] <= days.event[:, None]
    grew = ((days.gpp - out.ra) * counted).sum(1)
    torch.testing.assert_close(out.harvest + out.residue, grew)
    assert bool((out.harvest <= MOST_HARVESTED * grew).all())
    assert bool((out.residue >= 0).all())


def test_harvest_is_the_expected_one_moved_by_how_the_year_stands_to_earlier_ones() -> None:
    days = replace(a_year([[MAIZE, SOYBEAN]]), expected=torch.tensor([200.0]))
    net = network().requires_grad_(False)
    first, after = net(days)
    assert float(first.harvest) == pytest.approx(200.0, rel=1e-4)  # nothing to compare this year with yet
    assert after["met"].tolist() == [[1.0, 0.0, 0.0, 0.0]]
    # the earlier years' estimate was e^-0.2 of this year's; of that the network takes 1 - sigmoid(0) = half
    carry = {**net.fresh(days), "met": after["met"], "usual": after["usual"] - 0.2 * after["met"]}
    second, moved = net(days, carry)
    assert float(second.harvest) == pytest.approx(200.0 * np.exp(0.1), rel=1e-4)
    # the memory goes 30 % of the way towards this year
    assert float(moved["usual"][0, 0] - carry["usual"][0, 0]) == pytest.approx(0.3 * 0.2, rel=1e-3)
    net.trust.fill_(20.0)
    assert float(net(days, carry)[0].harvest) == pytest.approx(200.0, rel=1e-4)
    # not more than grew
    greedy, _ = net(replace(days, expected=torch.tensor([1e5])), carry)
    assert float(greedy.harvest) == pytest.approx(MOST_HARVESTED * float(greedy.harvest + greedy.residue), rel=1e-4)


def test_residue_is_causal() -> None:
    """What happens after the harvest does not change the days before it, and the residue acts from its day on."""
    days = a_year([[MAIZE, SOYBEAN]])
    net = network().requires_grad_(False)
    out, _ = net(days)
    x = days.x.clone()
    x[:, 300:, 0] += 2.0
    later, _ = net(replace(days, x=x))
    assert torch.equal(later.rh[:, :300], out.rh[:, :300])
    assert float(later.harvest) == float(out.harvest)
    moved, _ = net(replace(days, event=days.event + 5))
    assert torch.equal(moved.rh[:, :284], out.rh[:, :284])
    assert not torch.equal(moved.rh[:, 284:290], out.rh[:, 284:290])


def test_rh_rises_with_soil_carbon_by_construction() -> None:
    days = a_year([[MAIZE, SOYBEAN]])
    net = network()
    low, mid, high = (net(replace(days, soc=torch.tensor([s])))[0].rh for s in (0.5, 1.0, 1.5))
    assert bool((mid > low).all())
    torch.testing.assert_close(high - mid, mid - low)


@pytest.mark.parametrize("kind", [Closed, Plain])
def test_a_year_in_parts_is_the_year(kind: type[Closed] | type[Plain]) -> None:
    torch.manual_seed(3)
    net = kind(hidden=16).eval()
    forcing = small_forcing([[MAIZE, SOYBEAN], [WHEAT, MAIZE]])
    gpp, measured = given(forcing)
    whole, after = net(closed_days(forcing, gpp, measured, 2019))
    carry, parts = None, []
    for first, last in ((0, 189), (189, 190), (190, 285), (285, 365)):
        span = slice(first, last)
        part = replace(
            forcing,
            start=forcing.start + timedelta(days=first),
            daily={n: v[:, span] for n, v in forcing.daily.items()},
        )
        out, carry = net(closed_days(part, gpp[:, span], measured[:, span], 2019), carry)
        parts.append(out)
    torch.testing.assert_close(torch.cat([p.ra for p in parts], 1), whole.ra, atol=1e-5, rtol=1e-5)
    if kind is Closed:
        torch.testing.assert_close(torch.cat([p.rh for p in parts], 1), whole.rh, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(sum(p.harvest for p in parts), whole.harvest, atol=1e-3, rtol=1e-5)
        for name in after:
            torch.testing.assert_close(carry[name], after[name], atol=1e-3, rtol=1e-4)


def test_padding_changes_no_day_that_counts() -> None:
    short, long = a_year([[MAIZE, SOYBEAN]], 2019), a_year([[MAIZE, SOYBEAN]], 2020)
    both = joined([short, long])
    net = network()
    out, _ = net(both)
    torch.testing.assert_close(out.rh[0, :365], net(short)[0].rh[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out.harvest[0], net(short)[0].harvest[0], atol=1e-3, rtol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    """float64, through harvest, residue and both respirations."""
    torch.manual_seed(0)
    net = Closed(16, dropout=0.0).double()
    days = a_year([[MAIZE, SOYBEAN]])
    cut = slice(120, 300)
    days = Days(
        x=days.x[:, cut].double(), gpp=days.gpp[:, cut].double(), standing=days.standing[:, cut].double(),
        event=days.event - 120, weighed=days.weighed, crop=days.crop.double(), year=days.year.double(),
        soc=days.soc.double(), removed=days.removed.double() + 0.3, expected=days.expected.double(),
        length=torch.tensor([180]),
    )  # fmt: skip

    def loss() -> torch.Tensor:
        out, _ = net(days)
        return (out.ra.mean() + 2 * out.rh[:, 150:].mean()) + 0.01 * out.harvest.sum() + 0.02 * out.residue.sum()

    loss().backward()
    rng = np.random.default_rng(0)
    named = dict(net.named_parameters())
    for name in (
        "basis.weight_hh_l0",
        "gru_ra.weight_ih_l0",
        "head_rh.weight",
        "attention.0.weight",
        "share.2.bias",
        "straw",
    ):
        p = named[name]
        where = tuple(int(rng.integers(n)) for n in p.shape)
        with torch.no_grad():
            p[where] += 1e-6
            up = float(loss())
            p[where] -= 2e-6
            down = float(loss())
            p[where] += 1e-6
        assert p.grad is not None
        assert float(p.grad[where]) == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-8), name


def test_losses_by_hand() -> None:
    nan = float("nan")
    ra, rh = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]])
    days = replace(a_year([[MAIZE, SOYBEAN]]), gpp=torch.tensor([[4.0, 0.0]]), standing=torch.tensor([[1.0, 0.0]]))
    out = Outputs(ra, rh, torch.tensor([[-2.5, 3.0]]), torch.tensor([100.0]), torch.tensor([0.0]))
    # day 1: |4 - 2 - 2.5| = 0.5, less 1 % of 2; day 2: |0 - 3 + 3| = 0
    assert float(balance(out, days)) == pytest.approx(0.24)
    # Reco 2.9 too low on day 2, unmeasured on day 1; nothing stands, so that Rh 1 is compared with it as well
    targets = Targets(reco=torch.tensor([[nan, 5.9]]))
    assert float(towers(out, days, targets)) == pytest.approx(1.0 + 0.5 * (4.9 / 2.9) ** 2, rel=1e-5)
    # two points of one county: their mean 110 against 140, 30 / 150 squared
    two = Outputs(
        *(torch.cat([getattr(out, n)] * 2) for n in ("ra", "rh", "nee")), torch.tensor([100.0, 120.0]), torch.zeros(2)
    )
    same = Targets(harvest=torch.tensor([140.0, 140.0]), owner=torch.tensor([7, 7]))
    assert float(county_yields(two, same, float("inf"))) == pytest.approx(0.04)
    assert float(county_yields(two, same, 0.03)) == 0.0


def test_band_keeps_the_shape_and_lets_the_level_go() -> None:
    kept = torch.tensor([1.0, 2.0, 3.0])
    assert float(outside_band(3 * kept, kept)) == 0.0
    # relative to its mean: 0.5, 1, 1.5 against 1, 1, 1: off by 0.5, 0, 0.5, less the band of 0.1
    assert float(outside_band(torch.ones(3), kept)) == pytest.approx((0.4 + 0.0 + 0.4) / 3)


def test_ensemble_closes_and_keeps_the_processes_water(ensemble: Kgml, process: Agroecosystem) -> None:
    forcing = small_forcing([[MAIZE, SOYBEAN, MAIZE], [WHEAT, MAIZE, WHEAT]])
    found = ensemble.predict(forcing)
    daily, annual = found.daily, found.annual
    assert set(daily) | set(annual) == set(ensemble.outputs)
    assert np.array_equal(daily["reco"], daily["ra"] + daily["rh"])
    assert np.array_equal(daily["nee"], daily["reco"] - daily["gpp"])
    assert np.array_equal(daily["gpp"][0], np.median(process.predict(forcing).daily["gpp"], axis=0))
    years = np.array([d.astype(object).year for d in forcing.dates()])
    for k, year in enumerate(found.years):
        sums = {n: daily[n][:, :, years == year].astype(np.float64).sum(axis=2) for n in ("gpp", "ra", "rh", "nee")}
        np.testing.assert_allclose(annual["delta_soc"][..., k], -sums["nee"] - annual["yield"][..., k], atol=0.05)
        np.testing.assert_allclose(
            annual["residue"][..., k], sums["gpp"] - sums["ra"] - annual["yield"][..., k], atol=0.05
        )


def test_appending_a_day_is_running_the_record(ensemble: Kgml) -> None:
    forcing = small_forcing([[MAIZE, SOYBEAN, MAIZE], [ALFALFA, ALFALFA, MAIZE]])
    start = ensemble.initial_state(forcing)
    whole = ensemble.predict(forcing, start)
    state, days, yields = start, {"rh": [], "nee": []}, []
    for first, last in ((0, 280), (280, 284), (284, 285), (285, 286), (286, 364), (364, 365), (365, 1096)):
        part = replace(
            forcing,
            start=forcing.start + timedelta(days=first),
            daily={n: v[:, first:last] for n, v in forcing.daily.items()},
        )
        step = ensemble.predict(part, state)
        state = step.state
        for name, kept in days.items():
            kept.append(step.daily[name])
        yields.append(step.annual["yield"])
    for name, kept in days.items():
        np.testing.assert_allclose(np.concatenate(kept, axis=2), whole.daily[name], atol=2e-4)
    np.testing.assert_allclose(np.concatenate(yields, axis=2), whole.annual["yield"], rtol=1e-4, atol=0.05)
    assert state.day == date(2021, 12, 31)


def test_other_crops_run_with_given_gpp_alone(ensemble: Kgml) -> None:
    forcing = small_forcing([[RICE, RICE], [MAIZE, MAIZE], [RICE, RICE]])
    crops = forcing.annual["crop"].copy()
    crops[2] = 141  # deciduous forest
    forcing = replace(forcing, annual={**forcing.annual, "crop": crops})
    alone = ensemble.predict(forcing)
    assert np.isnan(alone.daily["nee"][:, 0]).all()
    assert np.isfinite(alone.daily["nee"][:, 1]).all()
    assert alone.flags["crop_unknown"].tolist() == [True, False, True]
    satellite = replace(
        forcing,
        gpp_given=np.full((1, forcing.days), 5.0, np.float32),
        gpp_unit=np.zeros((3, len(forcing.years)), np.int64),
    )
    told = ensemble.predict(satellite)
    assert np.isfinite(told.daily["nee"][:, :2]).all()
    assert np.isnan(told.daily["nee"][:, 2]).all()  # a forest is no field
    assert np.isnan(told.annual["yield"][:, 0]).all()
    assert np.isnan(told.annual["delta_soc"][:, 0]).all()
    assert np.isfinite(told.annual["delta_soc"][:, 1]).all()


def test_missing_inputs_are_told_and_missing_values_stay_missing(ensemble: Kgml) -> None:
    forcing = small_forcing([[MAIZE, SOYBEAN], [MAIZE, SOYBEAN]])
    with pytest.raises(MissingInputs, match="soc_content"):
        ensemble.predict(replace(forcing, static={n: v for n, v in forcing.static.items() if n != "soc_content"}))
    soil = dict(forcing.static)
    soil["ksat"] = np.array([np.nan, 12.0])
    found = ensemble.predict(replace(forcing, static=soil))
    assert np.isnan(found.daily["rh"][:, 0]).all()
    assert np.isfinite(found.daily["rh"][:, 1]).all()
    assert found.flags["soil_missing"].tolist() == [True, False]


def test_weights_come_back_from_a_checkpoint(ensemble: Kgml) -> None:
    from fieldflux.models.checkpoint import Checkpoint

    again = load(Checkpoint(ensemble.card, weights_of(ensemble.networks, ensemble.process.table)))
    forcing = small_forcing([[MAIZE, SOYBEAN]])
    assert np.array_equal(again.predict(forcing).daily["nee"], ensemble.predict(forcing).daily["nee"])


def test_shipped_model_is_the_default_and_says_what_it_was_trained_on() -> None:
    from fieldflux.app.settings import Settings

    model = Registry().load(Settings().model)
    card = model.card
    assert card.id == "kgml-ag-carbon/1"
    assert model.members == 5
    assert set(card.recipe["train"]) >= {"US-Ne1", "DE-Geb", "IT-BCi"}
    assert not set(card.recipe["train"]) & {"US-Twt", "US-Lin"}
    assert {"day", "month", "year"} == set(card.intervals["nee"])
    assert all(score.baseline for score in card.scores if score.metric == "rmse" and score.variable == "reco")
    forcing = small_forcing([[MAIZE, SOYBEAN, MAIZE]])
    found = model.predict(forcing)
    assert 300 < float(found.annual["yield"][:, 0, 0].mean()) < 700
    assert not found.flags["crop_failed"].any()


def test_a_crop_that_dies_in_the_process_model_is_flagged(ensemble: Kgml) -> None:
    forcing = small_forcing([[MAIZE, SOYBEAN], [MAIZE, SOYBEAN]])
    cold = {n: v - (25.0 if n.startswith("t") else 0.0) for n, v in forcing.daily.items()}
    assert ensemble.predict(replace(forcing, daily=cold)).flags["crop_failed"].all()
    assert not ensemble.predict(forcing).flags["crop_failed"].any()
