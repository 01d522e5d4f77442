"""The soil-carbon model's steady state against its dense matrix, exact arithmetic, and finite differences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import mpmath
import pytest
import torch
from fieldflux.models.processes.soilcarbon.balance import balance
from fieldflux.models.processes.soilcarbon.dense import dense_steady_state, inputs, matrix
from fieldflux.models.processes.soilcarbon.environment import Modifiers, climate_factors, climate_factors_torch
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.layers import BOTTOM, NODE, THICKNESS, layer_at
from fieldflux.models.processes.soilcarbon.parameters import (
    BETA,
    COUNT,
    FS1S2,
    NAMES,
    PARAMETERS,
    Q10,
    W_SCALING,
    clm5_defaults,
    from_unit,
    ranges,
    to_unit,
)
from fieldflux.models.processes.soilcarbon.rooting import input_shares
from fieldflux.models.processes.soilcarbon.solver import solve
from fieldflux.models.processes.soilcarbon.steady import steady_state
from fieldflux.models.processes.soilcarbon.transient import respired
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from .soil_columns import REAL, climate, corners, drawn

MOVES = ((1, 4, 0), (2, 4, 1), (3, 5, 2), (4, 5, 3), (4, 6, 4), (5, 4, 5), (5, 6, 6), (6, 4, 7))
WAYS = [("compiled", "blocks"), ("torch", "blocks"), ("torch", "eigen")]
Number = Any  # of mpmath, which has no types


def exact(rate: Tensor, shares: Tensor, conductance: Tensor, source: Tensor, layers: int) -> Tensor:
    """[7, 20] the mass of one cell in 60 digits, by plain elimination of the balance written out pool by pool.

    The matrix is made in 60 digits too: in float64 its diagonal has forgotten decay that is 1e-20 of the mixing.
    """
    with mpmath.workdps(60):
        n = layers * 7  # place of pool p in layer j: 7 j + p
        m: list[dict[int, Number]] = [{-1: mpmath.mpf(float(source[i % 7, i // 7]))} for i in range(n)]

        def leaves(of: int, to: int | None, much: Number) -> None:
            m[of][of] = m[of].get(of, 0) + much
            if to is not None:
                m[to][of] = m[to].get(of, 0) - much

        for j in range(layers):
            k = [mpmath.mpf(float(v)) for v in rate[:, j]]
            f = [mpmath.mpf(float(v)) for v in shares]
            for p in range(1, 7):
                kept = mpmath.mpf(0)
                for of, to, share in MOVES:
                    if of == p:
                        leaves(7 * j + of, 7 * j + to, f[share] * k[p])
                        kept += f[share]
                leaves(7 * j + p, None, (1 - kept) * k[p])
                if j < layers - 1:
                    g = mpmath.mpf(float(conductance[j]))
                    leaves(7 * j + p, 7 * j + 7 + p, g / mpmath.mpf(THICKNESS[j]))
                    leaves(7 * j + 7 + p, 7 * j + p, g / mpmath.mpf(THICKNESS[j + 1]))
            leaves(7 * j, 7 * j + 2, f[8] * k[0])
            leaves(7 * j, 7 * j + 3, (1 - f[8]) * k[0])
        for i in range(n):
            for below in m[i + 1 : i + 14]:
                if i in below:
                    factor = below.pop(i) / m[i][i]
                    for c, value in m[i].items():
                        if c != i:
                            below[c] = below.get(c, 0) - factor * value
        x = [mpmath.mpf(0)] * n
        for i in range(n - 1, -1, -1):
            x[i] = (m[i][-1] - sum(value * x[c] for c, value in m[i].items() if c > i)) / m[i][i]
        out = torch.zeros(7, 20, dtype=REAL)
        for i in range(n):
            out[i % 7, i // 7] = float(x[i])
        return out


def worst(a: Tensor, b: Tensor) -> float:
    """Greatest relative difference of components; 0 against 0 is none."""
    return float(((a - b).abs() / b.abs().clamp(min=1e-290)).max())


def losses(of: Tensor, seed: int = 5) -> Tensor:
    """A number whose gradient looks at every pool and layer, in logarithms: the pools span many orders."""
    weight = torch.randn(of.shape[1:], generator=torch.Generator().manual_seed(seed), dtype=REAL).to(of)
    return ((of + 1e-3).log() * weight).sum()


@dataclass(frozen=True)
class Reference:
    """Dense solutions of random columns, their gradients by autograd, and the condition of each column's matrix."""

    parameters: Tensor
    forcing: SoilForcing
    pools: Tensor
    condition: Tensor
    fine: Tensor
    slopes: tuple[Tensor, ...]


@pytest.fixture(scope="module")
def dense() -> Reference:
    forcing, p = climate(80, 1), drawn(80, 2).requires_grad_()
    forcing.litter.requires_grad_()
    whole = matrix(p, forcing)
    pools = torch.linalg.solve(whole, inputs(p, forcing, "conserving")).view(-1, 7, 20)
    condition = torch.linalg.cond(whole.detach(), 1)
    fine = condition < 1e10
    slopes = torch.autograd.grad(losses(pools[fine]), [p, forcing.litter])
    return Reference(p, forcing, pools.detach(), condition, fine, slopes)


@pytest.mark.parametrize(("engine", "soil"), WAYS)
def test_equals_the_dense_matrix_where_that_is_well_conditioned(dense: Reference, engine: Any, soil: Any) -> None:
    fine, tame = dense.fine, dense.condition < 1e8
    assert int(fine.sum()) > 40
    assert int(tame.sum()) > 10
    pools = steady_state(dense.parameters, dense.forcing, engine=engine, soil=soil).detach()
    scale = dense.pools.amax(2, keepdim=True)
    assert float(((pools - dense.pools) / scale)[fine].abs().max()) < 1e-10
    # a general solver bounds errors by the largest component, so single ones are compared where it is tame
    assert worst(pools[tame], dense.pools[tame]) < 1e-9


@pytest.mark.parametrize(("engine", "soil"), WAYS)
def test_gradient_is_that_of_autograd_through_the_dense_matrix(dense: Reference, engine: Any, soil: Any) -> None:
    pools = steady_state(dense.parameters, dense.forcing, engine=engine, soil=soil)
    ours = torch.autograd.grad(losses(pools[dense.fine]), [dense.parameters, dense.forcing.litter])
    for a, b in zip(ours, dense.slopes, strict=True):
        assert float(((a - b).abs() / b.abs().amax(0)).max()) < 1e-9
    assert bool((dense.slopes[0].abs().sum(0) > 0.0).all())  # every one of the 21 has a gradient somewhere


@pytest.mark.parametrize("make", [drawn, corners])
@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_every_component_is_exact_at_all_corners_however_ill_conditioned(make: Any, engine: Any) -> None:
    cells = 6 if make is drawn else 12
    terms = balance(make(cells, 3), climate(cells, 4))
    mass = solve(terms.rate, terms.shares, terms.conductance, terms.source, terms.layers, engine=engine)
    for c in range(cells):
        true = exact(terms.rate[c], terms.shares[c], terms.conductance[c], terms.source[c], int(terms.layers[c]))
        assert worst(mass[c], true) < 1e-13


def test_the_oracle_agrees_with_the_dense_matrix() -> None:
    forcing, p = climate(2, 8), drawn(2, 9)
    forcing = replace(forcing, bedrock=torch.full((2,), 8))
    terms, dense = balance(p, forcing), dense_steady_state(p, forcing)
    for c in range(2):
        true = exact(terms.rate[c], terms.shares[c], terms.conductance[c], terms.source[c], 9)
        torch.testing.assert_close(true / torch.tensor(THICKNESS, dtype=REAL), dense[c], rtol=1e-9, atol=1e-12)


def test_without_bedrock_it_is_the_published_matrix() -> None:
    forcing = replace(climate(20, 11), bedrock=torch.full((20,), 24))
    p = drawn(20, 12)
    torch.testing.assert_close(matrix(p, forcing, "published"), matrix(p, forcing), rtol=1e-14, atol=1e-29)
    published = dense_steady_state(p, forcing, "published")
    fine = torch.linalg.cond(matrix(p, forcing), 1) < 1e11
    assert int(fine.sum()) >= 4
    ours = steady_state(p, forcing)
    assert float(((ours - published) / published.amax(2, keepdim=True)).abs()[fine].max()) < 1e-10


def test_published_bedrock_loses_carbon_and_ours_does_not() -> None:
    forcing = replace(climate(10, 13), bedrock=torch.full((10,), 9), active_layer=torch.full((10,), 4.0, dtype=REAL))
    p = from_unit(0.3 + 0.4 * torch.rand(10, COUNT, generator=torch.Generator().manual_seed(1), dtype=REAL))
    kept = []
    for bedrock in ("published", "conserving"):
        terms = balance(p, forcing)
        # under the published treatment litter goes into the rock and decays there as well
        whole = replace(terms, rate=balance(p, replace(forcing, bedrock=torch.full((10,), 24))).rate)
        mass = dense_steady_state(p, forcing, bedrock) * torch.tensor(THICKNESS, dtype=REAL)
        kept.append(respired(mass, whole) / forcing.litter.sum(1))
    assert float(kept[0].max()) < 1.0 - 1e-6
    torch.testing.assert_close(kept[1], torch.ones_like(kept[1]), rtol=1e-9, atol=0.0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), corner=st.booleans(), smooth=st.booleans())
def test_what_comes_in_is_respired_and_no_pool_is_negative(seed: int, corner: bool, smooth: bool) -> None:
    forcing = climate(40, seed)
    p = corners(40, seed) if corner else drawn(40, seed)
    cap = "smooth" if smooth else "published"
    pools = steady_state(p, forcing, cap=cap)  # type: ignore[arg-type]
    assert bool((pools >= 0.0).all())
    gone = respired(pools * torch.tensor(THICKNESS, dtype=REAL), balance(p, forcing, cap))  # type: ignore[arg-type]
    assert worst(gone, forcing.litter.sum(1)) < 1e-12
    below = torch.arange(20) >= forcing.layers[:, None]
    assert bool((pools * below[:, None] == 0.0).all())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.01, 100.0))
def test_twice_the_litter_is_twice_the_carbon(seed: int, share: float) -> None:
    forcing, p = climate(10, seed), corners(10, seed)
    more = replace(forcing, litter=forcing.litter * share)
    assert worst(steady_state(p, more), steady_state(p, forcing) * share) < 1e-12


def test_torch_and_float32_give_what_the_compiled_float64_gives() -> None:
    forcing, p = climate(300, 21), torch.cat((drawn(150, 22), corners(150, 22)))
    ours = steady_state(p, forcing)
    assert worst(steady_state(p, forcing, engine="torch"), ours) < 1e-13
    top = layer_at(1.0) + 1
    # float32 keeps 7 digits of the parameters, of which efolding and depth stand in an exponent
    for engine in ("compiled", "torch"):
        single = steady_state(p.float(), forcing.to(p.float()), engine=engine)  # type: ignore[arg-type]
        assert single.dtype == torch.float32
        assert bool(single[..., :top].isfinite().all())
        assert worst(single[..., :top].double(), ours[..., :top]) < 1e-4


def test_eigen_decomposed_soil_pools_agree() -> None:
    forcing, p = climate(300, 31), drawn(300, 32)
    ours = steady_state(p, forcing)
    fast = steady_state(p, forcing, engine="torch", soil="eigen")
    error = ((fast - ours).abs() / ours.amax(2, keepdim=True).clamp(min=1e-290)).amax((1, 2))
    assert float(error.median()) < 1e-13
    assert float(error.max()) < 1e-9
    with pytest.raises(ValueError, match="engine 'torch'"):
        steady_state(p, forcing, soil="eigen", engine="compiled")


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_gradient_of_the_solver_passes_finite_differences(engine: Any) -> None:
    terms = balance(from_unit(torch.full((3, COUNT), 0.5, dtype=REAL)), climate(3, 51))
    scale = terms.rate[:, 5:6].clone()

    def masses(rate: Tensor, shares: Tensor, conductance: Tensor, source: Tensor) -> Tensor:
        mass = solve(rate, shares, conductance, source, terms.layers, shift=0.2, engine=engine)
        return (mass * scale).sum((0, 2))

    leaves = [terms.rate, terms.shares, terms.conductance, terms.source]
    for k in range(4):
        given = [v.detach().clone().requires_grad_(i == k) for i, v in enumerate(leaves)]
        assert torch.autograd.gradcheck(masses, given, eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_gradient_of_the_parameters_is_the_slope_at_corners_too() -> None:
    for seed in range(3):
        forcing = climate(8, 60 + seed)
        unit = to_unit(corners(8, 70 + seed)).clamp(0.02, 0.98)
        at = unit.clone().requires_grad_()

        def value(unit: Tensor, forcing: SoilForcing = forcing) -> Tensor:
            return losses(steady_state(from_unit(unit), forcing, cap="smooth"))

        (slope,) = torch.autograd.grad(value(at), at)
        towards = torch.randn(unit.shape, generator=torch.Generator().manual_seed(seed), dtype=REAL)
        for k in range(COUNT):
            way = torch.zeros_like(unit)
            way[:, k] = towards[:, k]
            h = 1e-5
            numeric = float((value(unit + h * way) - value(unit - h * way)) / (2.0 * h))
            assert numeric == pytest.approx(float((slope * way).sum()), rel=1e-4, abs=1e-6), NAMES[k]


def test_modifiers_can_be_given_and_have_a_gradient() -> None:
    forcing, p = climate(6, 81), drawn(6, 82)
    soil = torch.full((6, 20), 0.3, dtype=REAL, requires_grad=True)
    given = Modifiers(soil, soil * 0.9)
    (slope,) = torch.autograd.grad(steady_state(p, forcing, given=given)[:, 4:].sum(), soil)
    here = torch.arange(20) < forcing.layers[:, None]
    assert bool((slope[here] < 0.0).all())  # quicker decay, less carbon
    assert bool((slope[~here] == 0.0).all())


@pytest.mark.parametrize("cap", ["published", "smooth"])
def test_compiled_climate_factors_are_those_of_torch_with_their_slopes(cap: Any) -> None:
    forcing, p = climate(50, 91, rows=7), drawn(50, 92)
    logs, scaling = p[:, Q10].log().requires_grad_(), p[:, W_SCALING].clone().requires_grad_()
    for leave in (forcing, replace(forcing, nitrogen=None), replace(forcing, oxygen=None)):
        both = climate_factors(logs, scaling, leave, cap), climate_factors_torch(logs, scaling, leave, cap)
        slopes = []
        for soil, litter in both:
            slopes.append(torch.autograd.grad((soil.square() + litter.sin()).sum(), (logs, scaling)))
        for a, b in zip((*both[0], *slopes[0]), (*both[1], *slopes[1]), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_smooth_cap_stays_near_the_published_one_and_always_has_a_slope() -> None:
    forcing = replace(climate(30, 93), temperature=torch.full((30, 12, 20), 25.0, dtype=REAL), oxygen=None)
    scaling = torch.linspace(0.01, 5.0, 30, dtype=REAL).requires_grad_()
    logs = torch.zeros(30, dtype=REAL)
    smooth, hard = (climate_factors(logs, scaling, forcing, cap)[0] for cap in ("smooth", "published"))
    assert bool((smooth <= hard).all())
    assert float((hard - smooth).detach().max()) < 0.091
    assert bool((smooth < 1.0).all())
    (slope,) = torch.autograd.grad(smooth.sum(), scaling)
    assert bool((slope > 0.0).all())


def test_missing_climate_makes_that_cell_missing_only() -> None:
    forcing, p = climate(3, 95), drawn(3, 96)
    forcing.temperature[1] = torch.nan
    pools = steady_state(p, forcing)
    assert bool(pools[1, :, 0].isnan().all())
    assert bool(pools[[0, 2]].isfinite().all())


def test_layers_and_parameters_are_those_of_the_tables() -> None:
    assert len(NODE) == 20
    assert sum(THICKNESS) == pytest.approx(8.6)
    assert torch.tensor(THICKNESS).cumsum(0).tolist() == pytest.approx(BOTTOM, rel=1e-5)
    assert [layer_at(d) for d in (0.0, 0.02, 0.3, 1.0, 99.0)] == [0, 0, 4, 8, 19]
    low, high = ranges()
    assert bool((low < high).all())
    p = drawn(5, 1)
    torch.testing.assert_close(from_unit(to_unit(p, "proda"), "proda"), p)
    assert PARAMETERS[BETA].name == "beta"
    shares = clm5_defaults(torch.tensor([20.0, 80.0], dtype=REAL))[:, FS1S2]
    assert shares.tolist() == pytest.approx([1 - (0.85 - 0.544) - 0.004, 1 - (0.85 - 0.136) - 0.004])


def test_litter_follows_the_rooting_profile_and_adds_up() -> None:
    forcing, p = climate(60, 97), corners(60, 98)
    shares = input_shares(p, forcing)
    torch.testing.assert_close(shares.sum(1), torch.ones(60, dtype=REAL), rtol=1e-12, atol=0.0)
    frozen = replace(forcing, active_layer=torch.zeros(60, dtype=REAL))
    assert bool((input_shares(p, frozen)[:, 0] == 1.0).all())
    assert bool((steady_state(p, frozen)[:, :, 1:] == 0.0).all())  # nothing arrives there and nothing moves


def test_wrong_inputs_are_told_in_sentences() -> None:
    forcing, p = climate(3, 99), drawn(3, 99)
    with pytest.raises(ValueError, match=r"must be \[3, 21\]"):
        steady_state(p[:, :20], forcing)
    with pytest.raises(ValueError, match=r"water has shape \[3, 6, 20\]"):
        replace(forcing, water=forcing.water[:, :6])
    with pytest.raises(ValueError, match="degC within -80 to 70"):
        replace(forcing, temperature=forcing.temperature + 273.15).check()
    with pytest.raises(ValueError, match="leave out cells without data"):
        replace(forcing, litter=forcing.litter * torch.nan).check()
    with pytest.raises(ValueError, match="percent, 0 to 100"):
        clm5_defaults(torch.tensor([120.0]))
    with pytest.raises(ValueError, match="there are 3 climate rows"):
        steady_state(p, replace(forcing, row=torch.tensor([0, 1, 3])))
    terms = balance(p, forcing)
    with pytest.raises(ValueError, match="1 to 20 layers"):
        solve(terms.rate, terms.shares, terms.conductance, terms.source, terms.layers + 20)
    forcing.check()
