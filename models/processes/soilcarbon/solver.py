"""Solves the balance of seven carbon pools in twenty layers: (s + loss + paths) mass = source, and its gradient.

Pool p of layer j decomposes at rate a, a share f of which becomes other pools of the layer; litter and soil pools move
to the layers above and below at rates g / dz; s is the shift 1 / dt of an implicit time step, 0 for a steady state.
Carbon only ever moves between places or leaves, so all is computed as if each gram's way were followed, from the
bottom up: of what enters layer j, which share comes back up, in which pool, and which is lost? Nothing is subtracted
that could cancel (the elimination of Grassmann, Taksar and Heyman 1985, doi:10.1287/opre.33.5.1107), so the result is
right to a few units in the last place of every component, also where the matrix is so ill-conditioned that a general
solver has no digit left (decomposition at depth can be 1e-35 of the surface's).

Wood does not move, so it is a division; three litter pools are one tridiagonal system each; the three soil pools, which
feed each other, are 3x3 blocks, or, quicker on devices, three independent tridiagonals in the eigenvectors of their
exchange matrix, which is the same in every layer up to a factor (`soil="eigen"`; there digits can cancel).

The gradient is one transposed solve of the same structure: with M mass = source and M' worth = dJ/dmass, worth[p, j]
is what a gram put into that pool and layer adds to J, and dJ/dcoefficient = -worth' (dM/dcoefficient) mass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .layers import LAYERS, POOLS, THICKNESS
from .threads import in_threads

Soil = Literal["blocks", "eigen"]
Engine = Literal["auto", "compiled", "torch"]


def solve(
    rate: Tensor,
    shares: Tensor,
    conductance: Tensor,
    source: Tensor,
    layers: Tensor,
    shift: float = 0.0,
    *,
    soil: Soil = "blocks",
    engine: Engine = "auto",
) -> Tensor:
    """[C, 7, 20] carbon of each pool and layer, gC m-2.

    rate: [C, 7, 20] decomposition, yr-1. shares: [C, 9] of decomposed carbon, in the order of the parameters fl1s1 to
    fcwdl2. conductance: [C, 19] between neighbouring layers, m yr-1. source: [C, 7, 20], gC m-2 yr-1. layers: [C] how
    many hold soil (below: nothing). shift: yr-1. engine: "auto" takes the compiled one on CPUs with blocks.
    Differentiable once with respect to the four tensors. A pool that gets carbon and can neither decompose nor move
    is infinite; values are not checked. soil "eigen" wants the rates of the soil pools to differ between layers by
    one factor only, and real eigenvalues that differ; where they do not, the result is NaN.
    Raises ValueError for other shapes and for a combination that there is not.
    """
    cells = rate.shape[0]
    whole = (cells, len(POOLS), LAYERS)
    for name, value, shape in (
        ("rate", rate, whole), ("shares", shares, (cells, 9)), ("conductance", conductance, (cells, LAYERS - 1)),
        ("source", source, whole), ("layers", layers, (cells,)),
    ):  # fmt: skip
        if tuple(value.shape) != shape:
            raise ValueError(f"{name} has shape {list(value.shape)}, but must be {list(shape)}.")
    if cells and not 1 <= int(layers.min()) <= int(layers.max()) <= LAYERS:
        raise ValueError(
            f"layers runs from {int(layers.min())} to {int(layers.max())}, but a soil has 1 to {LAYERS} layers."
        )
    if engine == "compiled" and (soil == "eigen" or rate.device.type != "cpu"):
        raise ValueError("The compiled engine solves blocks on CPUs: choose engine 'torch' for eigen or a device.")
    use = engine == "compiled" or (engine == "auto" and soil == "blocks" and rate.device.type == "cpu")
    kind = "compiled" if use else soil
    return cast(
        Tensor,
        _Balance.apply(rate, shares, conductance, source, layers, shift, kind),  # type: ignore[no-untyped-call]
    )


class _Balance(torch.autograd.Function):
    """The solution, with the hand-written adjoint."""

    @staticmethod
    def forward(
        ctx: Any, rate: Tensor, shares: Tensor, conductance: Tensor, source: Tensor, layers: Tensor, shift: float,
        kind: str,
    ) -> Tensor:  # fmt: skip
        if kind == "compiled":
            from .kernels import solve as kernel

            run: Callable[..., None] = kernel

            whole = source.new_empty(source.shape, dtype=torch.float64)
            put = _arrays(rate, shares, conductance, source), _arrays(layers, _thickness(), whole)
            in_threads(lambda low, high: run(*put[0], shift, *put[1], low, high), rate.shape[0])
            mass = whole.to(source)
        else:
            from .batched import solve as run_torch

            mass = run_torch(rate, shares, conductance, source, layers, shift, kind == "eigen")
        ctx.save_for_backward(rate, shares, conductance, layers, mass)
        ctx.shift, ctx.kind = shift, kind
        return mass

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        rate, shares, conductance, layers, mass = ctx.saved_tensors
        if ctx.kind == "compiled":
            from .kernels import solve_transposed as kernel

            run: Callable[..., None] = kernel

            out = tuple(v.new_empty(v.shape, dtype=torch.float64) for v in (rate, shares, conductance, mass))
            put = _arrays(rate, shares, conductance), _arrays(layers, _thickness(), mass, given), _arrays(*out)
            in_threads(lambda low, high: run(*put[0], ctx.shift, *put[1], *put[2], low, high), rate.shape[0])
            out = tuple(v.to(rate) for v in out)
        else:
            from .batched import solve_transposed as run_torch

            out = run_torch(rate, shares, conductance, layers, ctx.shift, mass, given, ctx.kind == "eigen")
        return (*out, None, None, None)


def _thickness() -> Tensor:
    return torch.tensor(THICKNESS, dtype=torch.float64)


def _arrays(*tensors: Tensor) -> list[Any]:
    # one kernel for both precisions: in float32 memory, still float64 inside
    return [(v.double() if v.is_floating_point() else v).detach().contiguous().numpy() for v in tensors]
