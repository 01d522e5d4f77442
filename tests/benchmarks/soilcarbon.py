"""The structured soil-carbon solver beside a dense one: errors over random parameters, cells a second of CPU time.

python -m tests.benchmarks.soilcarbon [--draws 10000] [--cells 400]

One thread. The columns are made up (`tests/soil_columns.py`). Parameters: even draws from BINN's ranges ("even"), and
draws as the posterior means of PRODA's soils lie, a tenth of the range about typical values ("like PRODA"). Dense is
torch.linalg.solve, batched, on matrices that are ready; `solver` is the structured one on coefficients that are
ready, `model` the whole way from parameters and monthly climate to pools.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from fieldflux.models.processes.soilcarbon.balance import balance
from fieldflux.models.processes.soilcarbon.dense import inputs, matrix
from fieldflux.models.processes.soilcarbon.layers import THICKNESS
from fieldflux.models.processes.soilcarbon.parameters import COUNT, NAMES, from_unit
from fieldflux.models.processes.soilcarbon.solver import solve
from fieldflux.models.processes.soilcarbon.steady import steady_state
from fieldflux.models.processes.soilcarbon.transient import respired
from torch import Tensor

from tests.soil_columns import climate, drawn

from .timing import seconds

# typical values of PRODA's posterior means within its ranges; those that soils do not tell stay at the middle
TYPICAL = {
    "diffus": 0.55, "q10": 0.48, "efolding": 0.61, "tau4s2": 0.30, "tau4s3": 0.39, "fl1s1": 0.40, "fl2s1": 0.40,
    "fl3s2": 0.42, "fs1s2": 0.42, "fs1s3": 0.33, "fs2s1": 0.47, "fs2s3": 0.37, "w-scaling": 0.67, "beta": 0.56,
}  # fmt: skip
QUANTILES = (0.5, 0.95, 0.99, 1.0)
THICK = torch.tensor(THICKNESS, dtype=torch.float64)


def quantiles(name: str, errors: Tensor) -> str:
    values = torch.quantile(errors.double(), torch.tensor(QUANTILES, dtype=torch.float64))
    return f"{name:58s}" + "".join(f" {v:9.1e}" for v in values.tolist())


def like_proda(cells: int, seed: int) -> Tensor:
    """[C, 21] physical parameters about the typical posterior means, in PRODA's ranges."""
    middle = torch.tensor([TYPICAL.get(name, 0.5) for name in NAMES], dtype=torch.float64)
    noise = 0.1 * torch.randn(cells, COUNT, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return from_unit((middle + noise).clamp(0.02, 0.98), "proda")


def accuracy(draws: int, kind: str, draw: Callable[[int, int], Tensor]) -> None:
    title = f"errors over {draws} draws ({kind}), quantiles"
    print(f"\n{title:58s}" + "".join(f" {q:9.2f}" for q in QUANTILES))
    ours, dense, single, eigen, condition, mass, mass_dense = [], [], [], [], [], [], []
    for part in range(0, draws, 500):
        count = min(500, draws - part)
        forcing, p = climate(count, part), draw(count, part + 1)
        whole = matrix(p, forcing)
        dense.append(torch.linalg.solve(whole, inputs(p, forcing, "conserving")).view(-1, 7, 20))
        condition.append(torch.linalg.cond(whole, 1))
        ours.append(steady_state(p, forcing))
        single.append(steady_state(p.float(), forcing.to(p.float()), engine="torch").double())
        eigen.append(steady_state(p, forcing, engine="torch", soil="eigen"))
        terms, total = balance(p, forcing), forcing.litter.sum(1)
        mass.append((respired(ours[-1] * THICK, terms) / total - 1.0).abs())
        mass_dense.append((respired(dense[-1] * THICK, terms) / total - 1.0).abs())
    a, b, c = torch.cat(ours), torch.cat(dense), torch.cat(condition)

    def error(x: Tensor, y: Tensor) -> Tensor:
        return ((x - y).abs() / y.abs().amax(2, keepdim=True).clamp(min=1e-290)).amax((1, 2))

    print(quantiles("condition of the dense matrix (1-norm)", c))
    for limit in (1e8, 1e12, float("inf")):
        kept = c < limit
        if not bool(kept.any()):
            continue
        name = f"structured against dense, condition < {limit:.0e} ({int(kept.sum())})"
        print(quantiles(name, error(a, b)[kept]))
    print(quantiles("carbon not balanced: structured", torch.cat(mass)))
    print(quantiles("carbon not balanced: dense", torch.cat(mass_dense)))
    print(quantiles("eigen-decomposed against blocks", error(torch.cat(eigen), a)))
    print(quantiles("float32 (torch) against float64, to 1 m", error(torch.cat(single)[..., :9], a[..., :9])))


def speed(cells: int) -> None:
    many = 10 * cells
    forcing, p = climate(many, 1), drawn(many, 2)
    few, q = climate(cells, 1), drawn(cells, 2)
    print(f"\n{'cells per CPU-second':40s} {'forward':>10s} {'and back':>10s}")
    rates: dict[str, tuple[float, float]] = {}
    for kind in (torch.float64, torch.float32):
        name = str(kind).removeprefix("torch.")
        m, b = matrix(q, few).to(kind), inputs(q, few, "conserving").to(kind)
        wanted = [m.clone().requires_grad_(), b.clone().requires_grad_()]
        one = torch.ones_like(b)
        rates[f"dense {name}"] = (
            cells / seconds(lambda m=m, b=b: torch.linalg.solve(m, b), 3),  # type: ignore[misc]
            cells / seconds(lambda w=wanted, o=one: torch.autograd.grad(torch.linalg.solve(*w), w, o), 3),  # type: ignore[misc]
        )
        terms = balance(p.to(kind), forcing.to(p.to(kind)))
        fixed = [terms.rate, terms.shares, terms.conductance, terms.source]
        leaves = [v.clone().requires_grad_() for v in fixed]
        ones = torch.ones_like(terms.rate)
        for engine, soil in (("compiled", "blocks"), ("torch", "blocks"), ("torch", "eigen")):

            def structured(given: list[Tensor], engine: str = engine, soil: str = soil, layers: Tensor = terms.layers):  # type: ignore[no-untyped-def]
                return solve(*given, layers, engine=engine, soil=soil)  # type: ignore[arg-type]

            rates[f"solver {name}, {engine}, {soil}"] = (
                many / seconds(lambda s=structured, f=fixed: s(f), 5),  # type: ignore[misc]
                many / seconds(lambda s=structured, v=leaves, o=ones: torch.autograd.grad(s(v), v, o), 5),  # type: ignore[misc]
            )
        own, at = forcing.to(p.to(kind)), p.to(kind).requires_grad_()
        fixed_p = at.detach()
        rates[f"model {name}, compiled"] = (
            many / seconds(lambda x=fixed_p, f=own: steady_state(x, f), 5),  # type: ignore[misc]
            many / seconds(lambda x=at, f=own, o=ones: torch.autograd.grad(steady_state(x, f), x, o), 5),  # type: ignore[misc]
        )
    for name, (forward, both) in rates.items():
        base = rates["dense float64" if "64" in name else "dense float32"]
        print(f"{name:40s} {forward:10.0f} {both:10.0f}   {forward / base[0]:6.0f} x {both / base[1]:6.0f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--cells", type=int, default=400)
    given = parser.parse_args()
    torch.set_num_threads(1)
    speed(given.cells)
    accuracy(given.draws, "even", drawn)
    accuracy(given.draws, "like PRODA", like_proda)


if __name__ == "__main__":
    main()
