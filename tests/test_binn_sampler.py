"""The sampler of the soil-carbon parameters: its density, what it makes of a synthetic soil, and of no information."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fieldflux.app.binn.sampler import (
    PROCESSES,
    BadProfile,
    Budget,
    Posterior,
    Profile,
    density_of,
    infer,
    processes_of,
)
from fieldflux.app.binn.siteruns import posteriors, profile_of, soils_with_profiles
from fieldflux.app.binn.sites import soil_table
from fieldflux.app.binn.splits import block_of
from fieldflux.models.processes.soilcarbon.dense import dense_steady_state
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.layers import BOTTOM, TOP
from fieldflux.models.processes.soilcarbon.parameters import COUNT, CRYO, FCWDL2, TAUCWD, TAUS3, from_unit

SMALL = Budget(ensembles=2, walkers=64, burn=150, keep=150)
# the layers of a pit
TOPS, BOTTOMS = np.array([0.0, 0.05, 0.15, 0.3, 0.6]), np.array([0.05, 0.15, 0.3, 0.6, 1.0])


@pytest.fixture(scope="module")
def forcing() -> SoilForcing:
    """A temperate field with crops, no wood, deep soil."""
    month = torch.arange(12, dtype=torch.float64)[:, None]
    depth = torch.linspace(0.0, 8.0, 20, dtype=torch.float64)
    wave = 13.0 * torch.sin((month - 3.5) * torch.pi / 6.0 - depth / 2.2) * torch.exp(-depth / 2.2)
    return SoilForcing(
        temperature=(10.0 + wave)[None],
        water=torch.full((1, 12, 20), 0.45, dtype=torch.float64),
        litter=torch.tensor([[0.0, 100.0, 200.0, 100.0]], dtype=torch.float64),
        bedrock=torch.tensor([19]),
        active_layer=torch.tensor([10.0], dtype=torch.float64),
    )


def unit_truth(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.25, 0.75, COUNT)


def observed(unit: np.ndarray, forcing: SoilForcing) -> Profile:
    """The layers that the model itself makes of these parameters, solved by the dense matrix."""
    pools = dense_steady_state(from_unit(torch.from_numpy(unit[None])), forcing)
    layer = pools[0, 4:].sum(0).numpy()
    inside = np.clip(np.minimum(np.array(BOTTOM), BOTTOMS[:, None]) - np.maximum(np.array(TOP), TOPS[:, None]), 0, None)
    return Profile(TOPS, BOTTOMS, (inside * layer).sum(1) / (BOTTOMS - TOPS))


@pytest.fixture(scope="module")
def posterior(forcing: SoilForcing) -> Posterior:
    return infer(observed(unit_truth(4), forcing), forcing, 7, SMALL, "ratio")


def test_density_is_that_of_the_studies_likelihood(forcing: SoilForcing) -> None:
    truth, other = unit_truth(1), unit_truth(2)
    seen, modelled = observed(truth, forcing), observed(other, forcing)
    logits = np.log(np.stack([truth, other]) / (1.0 - np.stack([truth, other])))
    prior = np.log(truth * (1.0 - truth)).sum(), np.log(other * (1.0 - other)).sum()
    off = (modelled.density - seen.density) / (0.6 * seen.density)
    wide, ratio = density_of(seen, forcing)(logits), density_of(seen, forcing, "ratio")(logits)
    assert wide[0] == pytest.approx(prior[0], rel=1e-9)
    assert wide[1] == pytest.approx(prior[1] - 0.5 * np.square(off).sum(), rel=1e-9)
    ratios = np.log(modelled.density / seen.density) / 0.3
    assert ratio[1] == pytest.approx(prior[1] - 0.5 * np.square(ratios).sum(), rel=1e-9)


def test_a_synthetic_soil_is_recovered(posterior: Posterior, forcing: SoilForcing) -> None:
    truth = unit_truth(4)
    seen = observed(truth, forcing)
    # sixteen or more of 21 within their 1.5 sigma, all within 3.5: what a posterior that holds the truth gives
    off = np.abs(posterior.mean - truth) / posterior.sd
    assert (off < 1.5).sum() >= 16
    assert off.max() < 3.5
    assert np.abs(np.log(posterior.fitted / seen.density)).max() < 0.3
    assert posterior.shrunk[TAUS3] > 0.05
    at_truth, _ = processes_of(truth[None], forcing)
    assert (np.abs(posterior.processes - at_truth[0]) < 3.0 * posterior.processes_sd).all()


def test_what_a_soil_cannot_tell_keeps_its_prior(posterior: Posterior) -> None:
    # no frost and no wood here: even spreads, or the sampler does not sample its density
    for free in (CRYO, TAUCWD, FCWDL2):
        error = 1.0 / np.sqrt(12.0 * posterior.ess[free])
        assert posterior.mean[free] == pytest.approx(0.5, abs=4.0 * error)
        assert posterior.sd[free] == pytest.approx(12.0**-0.5, rel=0.05)


def test_convergence_is_told_and_draws_come_back(posterior: Posterior, forcing: SoilForcing) -> None:
    # an effective draw takes about a hundred steps of a walker, whatever the number of walkers
    assert 100 < posterior.ess.min() < posterior.ess.max() < 1500
    assert posterior.rhat.max() < 1.05
    assert posterior.converged
    assert posterior.rhat.shape == posterior.ess.shape == (COUNT,)
    assert posterior.processes.shape == (len(PROCESSES),)
    assert posterior.solves == SMALL.solves
    seen = observed(unit_truth(4), forcing)
    short = Budget(ensembles=2, walkers=42, burn=2, keep=6)
    one, same, other = (infer(seen, forcing, seed, short, "ratio") for seed in (3, 3, 4))
    assert np.array_equal(one.mean, same.mean)
    assert not np.array_equal(one.mean, other.mean)
    # eight steps from the prior are no sample, and it says so
    assert not one.converged


def test_bad_profiles_are_refused() -> None:
    with pytest.raises(BadProfile, match="two or more"):
        Profile(np.array([0.0]), np.array([0.3]), np.array([1e4]))
    with pytest.raises(BadProfile, match="gC m-3"):
        Profile(np.array([0.0, 0.3]), np.array([0.3, 0.2]), np.array([1e4, 1e4]))


def test_real_soils_are_chosen_by_block_and_kept(data_dir: Path, tmp_path: Path) -> None:
    table = soil_table(data_dir, ("RaCA", "DSP4SH"))
    assert table is not None
    some = soils_with_profiles(table, 3, 5)
    assert len(some) == 3
    assert len(set(block_of(some.soils.latitude, some.soils.longitude).tolist())) == 3
    assert not some.soils.organic.any()
    assert all(len(profile_of(some, i).density) >= 2 for i in range(3))
    short = Budget(ensembles=2, walkers=42, burn=3, keep=6)
    first = posteriors(some, 1, short, "published", tmp_path, lambda _, __: None)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert len(files) == 3
    again = posteriors(some, 1, short, "published", tmp_path, lambda _, __: None)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == files
    assert all(np.array_equal(a.mean, b.mean) and a.seconds == b.seconds for a, b in zip(first, again, strict=True))
