"""Gradients of a season against finite differences: LINTUL5 here and torchcrop, each smooth and hard.

python -m tests.benchmarks.lintul5_gradients [--crops maize,soybean,winter_wheat] [--cells 24] [--points 3] [--no-peer]

Grain at maturity by each learned parameter, over made-up years, in double precision. The gradient is averaged over
`points` within a step of 1 %, against the finite difference of that step: means of both, their correlation over the
years, the median relative error over years in which the parameter matters, and how many years tip: the grain jumps
within the step (a seedling reaches wet soil or does not), so that no gradient can tell. torchcrop (extra `peers`) takes
minutes: two gigabytes and about a CPU-minute for each crop and mode at 24 years and 3 points.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import CROPS, Crop
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.step import Mode, Variant
from fieldflux.models.processes.lintul5.weather import prepare
from torch import Tensor

from tests.crop_weather import made_up, peer_model, peer_weather

DOUBLE = torch.float64
LATITUDE = 45.0
STEP = 0.01  # of the parameter's value
TIPS = 20.0  # times the median change between points
PEER_NAMES = {
    "rue_factor": "scale_factor_rue", "sla_factor": "scale_factor_sla", "extinction_factor": "scale_factor_kdif",
    "death_factor": "scale_factor_rdr_leaves",
}  # fmt: skip


def sowing(crop: Crop) -> int:
    """Day of the made-up year, from 0."""
    return 3 if crop.name.startswith("winter_wheat") else 110


@dataclass(frozen=True, slots=True)
class Compared:
    """gradient, difference: [C]; tips: [C] whether the grain jumps within the step."""

    gradient: Tensor
    difference: Tensor
    tips: Tensor

    @property
    def together(self) -> float:
        """Pearson's r over the years; not a number where a side does not vary."""
        if float(self.gradient.std()) == 0.0 or float(self.difference.std()) == 0.0:
            return float("nan")
        return float(torch.corrcoef(torch.stack([self.gradient, self.difference]))[0, 1])

    @property
    def off(self) -> float:
        """Median of |gradient - difference| / |difference| over the years in which the parameter matters: in which
        the difference is more than a thousandth of its greatest."""
        matters = self.difference.abs() > 1e-3 * self.difference.abs().max()
        error = (self.gradient - self.difference)[matters] / self.difference[matters]
        return float(error.abs().median()) if bool(matters.any()) else float("nan")

    def without_tips(self) -> Compared:
        kept = ~self.tips
        return Compared(self.gradient[kept], self.difference[kept], self.tips[kept])


def compared(grain: Tensor, slope: Tensor, value: float) -> Compared:
    """grain, slope: [points, C] along a step of STEP of the value."""
    change = grain.diff(dim=0).abs()
    # a smooth season changes about as much between any two points, all years together as well
    usual = torch.maximum(change.median(dim=0).values, change.median())
    weight = torch.ones(grain.shape[0], dtype=grain.dtype)
    weight[0] = weight[-1] = 0.5  # the trapezium rule, exact for what a step of 1 % bends
    mean = (slope * weight[:, None]).sum(0) / weight.sum()
    return Compared(mean, (grain[-1] - grain[0]) / (STEP * value), change.max(dim=0).values > TIPS * usual)


def ours(crop: Crop, mode: Mode, cells: int, points: int, names: list[str]) -> dict[str, Compared]:
    weather = prepare(crop, latitude=LATITUDE, **made_up(cells))  # type: ignore[arg-type]
    rows = torch.arange(cells).repeat(points)
    out = {}
    for name in names:
        table = p_.table(crop, cells * points, dtype=DOUBLE)
        place, value = p_.NAMES.index(name), p_.defaults(crop)[p_.NAMES.index(name)]
        table[place] += value * STEP * torch.linspace(-0.5, 0.5, points, dtype=DOUBLE).repeat_interleave(cells)
        table.requires_grad_()
        season = simulate(crop, weather, table, sowing(crop), rows=rows, variant=Variant(mode), outputs=("grain",))
        grain = season["grain"][:, -1]
        (slope,) = torch.autograd.grad(grain.sum(), table)
        out[name] = compared(grain.detach().view(points, cells), slope[place].view(points, cells), value)
    return out


def torchcrop(crop: Crop, mode: Mode, cells: int, points: int, names: list[str]) -> dict[str, Compared]:
    """The same of torchcrop: all parameters in two batches, each cell with parameters of its own."""
    made = made_up(cells)
    out = {}
    for part in (names[: len(names) // 2], names[len(names) // 2 :]):
        blocks = len(part) * points
        model = peer_model(crop, LATITUDE, sowing(crop) + 1, "water", DOUBLE, mode == "smooth")
        weather = peer_weather({n: v if v.dim() == 1 else v.repeat(blocks, 1) for n, v in made.items()})
        moved: dict[str, Tensor] = {}
        for k, name in enumerate(part):
            field = PEER_NAMES.get(name, name)
            own = float(getattr(model.crop_params, field))
            value = torch.full((len(part), points, cells), own, dtype=DOUBLE)
            value[k] += own * STEP * torch.linspace(-0.5, 0.5, points, dtype=DOUBLE)[:, None]
            moved[name] = value.reshape(-1).requires_grad_()
            setattr(model.crop_params, field, moved[name])
        grain = model(weather, start_doy=1).yield_
        slopes = torch.autograd.grad(grain.sum(), list(moved.values()), allow_unused=True)
        grain = grain.detach().view(len(part), points, cells)
        for k, (name, slope) in enumerate(zip(part, slopes, strict=True)):
            here = torch.zeros_like(grain[k]) if slope is None else slope.view(len(part), points, cells)[k]
            out[name] = compared(grain[k], here, float(moved[name].detach().view(len(part), -1)[k].mean()))
    return out


def row(found: Compared) -> str:
    r = found.together
    shown = "   none" if r != r else f"{r:7.3f}"
    return (
        f"{float(found.gradient.mean()):10.3g} {float(found.difference.mean()):10.3g} {shown} {found.off:8.1e} "
        f"{int(found.tips.sum()):3d}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", default="maize,soybean,winter_wheat")
    parser.add_argument("--cells", type=int, default=24)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    makers: list[tuple[str, Callable[..., dict[str, Compared]]]] = [("here", ours)]
    if not given.no_peer:
        makers.append(("torchcrop", torchcrop))
    names = [parameter.name for parameter in p_.LEARNED]
    print(f"{given.cells} years, {given.points} points; gradient, finite difference, r, median error, years that tip")
    print(f"{'':45s} {'gradient':>10s} {'difference':>10s} {'r':>7s} {'error':>8s} tips")
    for crop in (crop for crop in CROPS if crop.name in given.crops.split(",")):
        for who, maker in makers:
            modes: tuple[Mode, ...] = ("smooth", "hard")
            for mode in modes:
                try:
                    found = maker(crop, mode, given.cells, given.points, names)
                except ImportError:
                    print(f"{who} is not installed")
                    continue
                for name in names:
                    print(f"{crop.name:13s} {who:9s} {mode:6s} {name:14s} {row(found[name])}", flush=True)


if __name__ == "__main__":
    main()
