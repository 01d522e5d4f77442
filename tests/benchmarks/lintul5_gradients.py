"""Gradients of a season against finite differences: LINTUL5 here and torchcrop, each smooth and hard.

python -m tests.benchmarks.lintul5_gradients [--cells 64] [--peer-cells 12] [--points 9] [--card CHECKPOINT]

Grain at maturity by each learned parameter, over made-up years, in double precision. The gradient is averaged over
`points` within a step of 1 %, against the finite difference of that step: means of both, their correlation over the
years, the median relative error over years in which the parameter matters, and how many years tip: the grain jumps
within the step (a seedling reaches wet soil or does not), so that no gradient can tell. First all years here, smooth
and hard; then fewer here and in torchcrop (extra `peers`), both smooth: about a CPU-minute a crop.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from fieldflux.models.card import Score
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import CROPS, Crop
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.step import Mode, Variant
from fieldflux.models.processes.lintul5.weather import prepare
from torch import Tensor

from tests.benchmarks.carded import DATA, Line, keep
from tests.crop_weather import made_up, peer_model, peer_weather

NAME = "lintul5-gradients"
DOUBLE = torch.float64
METRIC = f"least r of a season's gradients with finite differences, {len(p_.LEARNED)} parameters"
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
    """The same of torchcrop: a few parameters at a time (its graph is large), each cell with parameters of its own.
    Raises ImportError without torchcrop."""
    made = made_up(cells)
    out = {}
    at_once = max(1, 500 // (points * cells))
    for part in (names[i : i + at_once] for i in range(0, len(names), at_once)):
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


def scores_of(lines: Sequence[Line]) -> list[Score]:
    """Of each crop, smooth: the least r of all parameters, over all years, and over the peer's years beside it."""
    out = []
    for crop, years in dict.fromkeys((x["crop"], x["years"]) for x in lines):
        least: dict[str, Line] = {}
        for line in lines:
            if (line["crop"], line["years"], line["mode"]) == (crop, years, "smooth") and line["r"] != "nan":
                who = line["who"]
                least[who] = min(least.get(who, line), line, key=lambda x: float(x["r"]))
        own = least.pop("here")
        out.append(
            Score(
                variable="biomass", metric=METRIC,
                value=float(own["r"]), unit="1", n=int(years), data=DATA,
                split=f"python -m tests.benchmarks.lintul5_gradients: {crop}, smooth switches, {years} years; of grain "
                f"by {own['parameter']}, in {own['tips']} years of which the grain jumps",
                baseline={who: float(x["r"]) for who, x in least.items()},
            )
        )  # fmt: skip
    return out


def lines_of(crop: Crop, who: str, mode: Mode, years: int, found: Mapping[str, Compared]) -> Iterator[Line]:
    for name, one in found.items():
        yield {
            "crop": crop.name, "who": who, "mode": mode, "years": str(years), "parameter": name,
            "gradient": f"{float(one.gradient.mean()):.3g}", "difference": f"{float(one.difference.mean()):.3g}",
            "r": f"{one.together:.3f}", "error": f"{one.off:.1e}", "tips": str(int(one.tips.sum())),
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", default="maize,soybean,winter_wheat")
    parser.add_argument("--cells", type=int, default=64, help="Years here.")
    parser.add_argument("--peer-crops", default="maize,soybean,winter_wheat", help="Of them, beside torchcrop.")
    parser.add_argument("--peer-cells", type=int, default=12, help="Years beside torchcrop.")
    parser.add_argument("--points", type=int, default=9)
    parser.add_argument("--card", type=Path, help="Checkpoint that gets the table and whose card gets the scores.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = [parameter.name for parameter in p_.LEARNED]
    runs: list[tuple[str, Callable[..., dict[str, Compared]], Mode, int]] = [
        ("here", ours, "smooth", given.cells), ("here", ours, "hard", given.cells),
    ]  # fmt: skip
    beside = [(who, maker, "smooth", given.peer_cells) for who, maker in (("here", ours), ("torchcrop", torchcrop))]
    lines: list[Line] = []
    for crop in (crop for crop in CROPS if crop.name in given.crops.split(",")):
        for who, maker, mode, years in (*runs, *(beside if crop.name in given.peer_crops.split(",") else ())):
            for line in lines_of(crop, who, mode, years, maker(crop, mode, years, given.points, names)):
                if not lines:
                    print("".join(f"{name:>18s}" for name in line))
                lines.append(line)
                print("".join(f"{value:>18s}" for value in line.values()), flush=True)
    if given.card:
        keep(given.card, NAME, lines, scores_of)


if __name__ == "__main__":
    main()
