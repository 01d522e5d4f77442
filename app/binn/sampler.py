"""The 21 parameters of the soil-carbon model inferred at one soil from its own layers, by a Markov chain sampler.

What PRODA does at each site (Tao et al. 2020, doi:10.3389/fdata.2020.00017), with an ensemble sampler of differential
evolution (emcee) in place of one adaptive Metropolis chain, and without its annealing, which makes spreads too small.
The prior is even over BINN's ranges; the likelihood is that study's, or one of ratios (`Likelihood`).

The walkers of an ensemble move together, so an ensemble counts as one chain for R-hat: several start from separate
draws of the prior, and each gives two chains, its first and second half. For the effective number of draws every walker
is a chain: walkers that have not yet wandered over the posterior differ in their means, which lowers it. (The
ensemble's autocorrelation time would be simpler, but is far too short where the run is not many times longer.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from fieldflux.models.processes.soilcarbon.layers import BOTTOM, THICKNESS, TOP
from fieldflux.models.processes.soilcarbon.parameters import COUNT
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fieldflux.models.processes.soilcarbon.environment import Cap
    from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
    from torch import Tensor

Array = NDArray[np.float64]

Likelihood = Literal["published", "ratio"]
# Share of the observation, of the published likelihood.
WIDE = 0.6
# Of the natural logarithm, declared: pits of one field differ in their stocks by a quarter to a third of the mean.
# The published likelihood lets a soil without any carbon pass at 1.7 sigma.
RATIO = 0.3
PROCESSES = (
    "input_allocation", "decomposition", "transfer_efficiency", "environment", "transport", "litter_to_soil",
)  # fmt: skip
CHUNK = 256  # draws whose processes are computed at a time


class BadProfile(ValueError):
    """A profile that cannot be inferred from."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to sample. walkers: of each ensemble, even, at least 42. burn, keep: steps of each ensemble."""

    ensembles: int = 2
    walkers: int = 192
    burn: int = 400
    keep: int = 150

    @property
    def solves(self) -> int:
        """Times that the model is solved at one soil."""
        return self.ensembles * self.walkers * (self.burn + self.keep + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Measured layers of one soil. top, bottom: [n] m. density: [n] organic carbon, gC m-3 of soil.

    Raises BadProfile for fewer than two layers, or values that a layer cannot have.
    """

    top: Array
    bottom: Array
    density: Array

    def __post_init__(self) -> None:
        if len(self.density) < 2:
            raise BadProfile(f"The profile has {len(self.density)} layer(s), but inference needs two or more.")
        if not ((self.top >= 0.0) & (self.top < self.bottom) & (self.bottom <= BOTTOM[-1]) & (self.density > 0)).all():
            raise BadProfile(
                f"A layer must have its top above its bottom within 0 to {BOTTOM[-1]} m and more than 0 gC m-3; given: "
                f"tops {self.top.tolist()}, bottoms {self.bottom.tolist()}, gC m-3 {self.density.tolist()}."
            )

    def overlap(self) -> Array:
        """[n, 20] share of each measured layer that lies in each layer of the model."""
        low, high = self.top[:, None], self.bottom[:, None]
        inside = np.minimum(np.array(BOTTOM), high) - np.maximum(np.array(TOP), low)
        return np.asarray(np.clip(inside, 0.0, None) / (high - low))


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """What the sampler found at one soil; parameters in BINN's unit ranges, 0..1.

    mean, sd, rhat, ess: [21]. shrunk: [21] 1 - sd / sd of the prior: 0 where the soil says nothing, 1 where it says
    all. at_mean: [6] processes of the mean parameters (as PRODA has them). processes, processes_sd: [6] mean and spread
    of the processes of the draws. fitted: [n] mean modelled density, gC m-3. accepted: share of moves. solves: times
    that the model was solved. seconds: CPU time.
    """

    mean: Array
    sd: Array
    rhat: Array
    ess: Array
    shrunk: Array
    at_mean: Array
    processes: Array
    processes_sd: Array
    fitted: Array
    accepted: float
    solves: int
    seconds: float

    @property
    def converged(self) -> bool:
        """R-hat below 1.05 everywhere, as the published study asks, and 100 effective draws or more."""
        return bool((self.rhat < 1.05).all() and (self.ess >= 100).all())


def infer(
    profile: Profile,
    forcing: SoilForcing,
    seed: int,
    budget: Budget | None = None,
    likelihood: Likelihood = "published",
) -> Posterior:
    """The posterior of a soil; forcing: of that one cell. The same seed gives the same draws.

    Raises BadProfile where the profile reaches below the soil of the forcing, ImportError without the extra `bayes`.
    """
    import emcee
    from arviz_stats.base.array import array_stats

    given = budget or Budget()
    start = time.process_time()
    log_density = density_of(profile, forcing, likelihood)
    draw = np.random.default_rng(seed)
    kept, accepted = [], []
    for _ in range(given.ensembles):
        # not the snooker move beside it: emcee 3.1.6 accepts it by a wrong ratio, spreads came out 7 % too small
        move = emcee.moves.DEMove()
        sampler = emcee.EnsembleSampler(given.walkers, COUNT, log_density, vectorize=True, moves=move)
        state = emcee.State(
            draw.logistic(size=(given.walkers, COUNT)),
            random_state=np.random.RandomState(int(draw.integers(2**32))).get_state(),
        )
        sampler.run_mcmc(state, given.burn + given.keep)
        kept.append(_unit(sampler.get_chain(discard=given.burn)))  # [step, walker, 21]
        accepted.append(float(sampler.acceptance_fraction.mean()))
    half = given.keep // 2
    chains = np.stack([part.reshape(-1, COUNT) for one in kept for part in (one[:half], one[-half:])])
    walkers = np.concatenate([one.swapaxes(0, 1) for one in kept])
    draws = np.concatenate([one.reshape(-1, COUNT) for one in kept])
    mean, sd = draws.mean(0), draws.std(0)
    every = max(1, len(draws) // 2048)
    processes, carbon = processes_of(draws[::every], forcing)
    at_mean, _ = processes_of(mean[None], forcing)
    return Posterior(
        mean=mean,
        sd=sd,
        rhat=np.array([_told(array_stats.rhat, chains[..., i]) for i in range(COUNT)]),
        ess=np.array([_told(array_stats.ess, walkers[..., i]) for i in range(COUNT)]),
        shrunk=1.0 - sd * np.sqrt(12.0),
        at_mean=at_mean[0],
        processes=processes.mean(0),
        processes_sd=processes.std(0),
        fitted=(carbon @ profile.overlap().T).mean(0),
        accepted=float(np.mean(accepted)),
        solves=given.solves,
        seconds=time.process_time() - start,
    )


def density_of(
    profile: Profile, forcing: SoilForcing, likelihood: Likelihood = "published"
) -> Callable[[Array], Array]:
    """Log density of the posterior, [k, 21] -> [k], of the logits of parameters in the unit ranges.

    Logits, so that no step leaves the ranges; the even prior becomes a logistic one. -inf where the model has no
    number. Raises BadProfile.
    """
    import torch
    from fieldflux.models.processes.soilcarbon.balance import balance
    from fieldflux.models.processes.soilcarbon.parameters import from_unit
    from fieldflux.models.processes.soilcarbon.solver import solve

    depth = BOTTOM[int(forcing.layers[0]) - 1]
    if float(profile.bottom.max()) > depth + 1e-9 and not (profile.top < depth).all():
        raise BadProfile(f"A measured layer lies below the soil's end at {depth} m: give the soil's depth with it.")
    overlap = torch.from_numpy(profile.overlap() / np.array(THICKNESS)).T.contiguous()
    observed = torch.from_numpy(np.ascontiguousarray(profile.density))
    cells: dict[int, SoilForcing] = {}

    def log_density(logits: Array) -> Array:
        with torch.inference_mode():
            z = torch.from_numpy(np.ascontiguousarray(logits))
            here = cells.setdefault(len(z), repeated(forcing, len(z)))
            terms = balance(from_unit(torch.sigmoid(z)), here)
            mass = solve(terms.rate, terms.shares, terms.conductance, terms.source, terms.layers)
            modelled = mass[:, 4:].sum(1) @ overlap
            if likelihood == "published":
                off = (modelled - observed) / (WIDE * observed)
            else:
                off = (modelled / observed).log() / RATIO
            prior = torch.nn.functional.logsigmoid(z) + torch.nn.functional.logsigmoid(-z)
            value = prior.sum(1) - 0.5 * off.square().sum(1)
            return np.asarray(torch.where(value.isfinite(), value, -torch.inf).numpy())

    return log_density


def repeated(forcing: SoilForcing, cells: int) -> SoilForcing:
    """A forcing of one cell for that many cells of the same place."""
    import torch
    from fieldflux.models.processes.soilcarbon.inputs import SoilForcing

    at = 0 if forcing.row is None else int(forcing.row[0])
    part = slice(at, at + 1)
    return SoilForcing(
        forcing.temperature[part],
        forcing.water[part],
        forcing.litter[:1].expand(cells, 4),
        forcing.bedrock[:1].expand(cells),
        forcing.active_layer[:1].expand(cells),
        None if forcing.oxygen is None else forcing.oxygen[part],
        None if forcing.nitrogen is None else forcing.nitrogen[part],
        torch.zeros(cells, dtype=torch.int64),
    )


def processes_of(unit: Array, forcing: SoilForcing) -> tuple[Array, Array]:
    """[k, 6] processes and [k, 20] soil carbon, gC m-3, of parameters [k, 21] in the unit ranges at one soil."""
    import torch
    from fieldflux.models.processes.soilcarbon.parameters import from_unit

    found, carbon = [], []
    for low in range(0, len(unit), CHUNK):
        p = from_unit(torch.from_numpy(np.ascontiguousarray(unit[low : low + CHUNK])))
        six, soc = processes_at(p, repeated(forcing, len(p)))
        found.append(six)
        carbon.append(soc)
    return np.concatenate(found), np.concatenate(carbon)


def processes_at(physical: Tensor, forcing: SoilForcing, cap: Cap = "published") -> tuple[Array, Array]:
    """[C, 6] processes at the steady state and [C, 20] soil carbon, gC m-3, of physical parameters [C, 21]."""
    import torch
    from fieldflux.models.processes.soilcarbon.observe import soil_carbon
    from fieldflux.models.processes.soilcarbon.six_processes import six_processes
    from fieldflux.models.processes.soilcarbon.steady import steady_state

    with torch.inference_mode():
        pools = steady_state(physical, forcing, cap=cap)
        six = six_processes(pools, physical, forcing, cap=cap)
        values = torch.stack([getattr(six, name) for name in PROCESSES], 1)
        return np.asarray(values.numpy(), np.float64), np.asarray(soil_carbon(pools).numpy(), np.float64)


def _told(diagnostic: Callable[..., Any], chains: Array) -> float:
    return float(diagnostic(chains, chain_axis=0, draw_axis=1))


def _unit(logits: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))
