"""The soil-carbon solver on a GPU against the compiled one on the CPU: the steady state and its gradient."""

from __future__ import annotations

import pytest
import torch
from fieldflux.models.processes.soilcarbon.steady import steady_state

from .soil_columns import climate, drawn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device that torch can use")


@pytest.mark.parametrize(("kind", "close"), [(torch.float64, 1e-11), (torch.float32, 1e-3)])
def test_cuda_gives_the_cpus_soil_carbon(kind: torch.dtype, close: float) -> None:
    forcing, p = climate(512, 1), drawn(512, 2)
    ours = steady_state(p, forcing)
    there = p.to("cuda", kind)
    found = steady_state(there, forcing.to(there))
    assert found.device.type == "cuda"
    # to 1 m: what lies deeper is nothing in float32 at the ranges' corners
    off = (found.cpu().double() - ours)[..., :9].abs() / ours[..., :9].amax(2, keepdim=True)
    assert float(torch.quantile(off.flatten(1).amax(1), 0.95)) < close


def test_cuda_gives_the_cpus_gradient() -> None:
    forcing, p = climate(128, 3), drawn(128, 4)
    weight = torch.rand(128, 7, 20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    here = p.clone().requires_grad_()
    (steady_state(here, forcing).log1p() * weight).sum().backward()
    there = p.to("cuda").requires_grad_()
    (steady_state(there, forcing.to(there.detach())).log1p() * weight.to("cuda")).sum().backward()
    assert here.grad is not None
    assert there.grad is not None
    scale = here.grad.abs().amax(0)
    assert float(((there.grad.cpu() - here.grad).abs() / scale).max()) < 1e-8
