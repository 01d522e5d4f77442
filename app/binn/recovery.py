"""Parameter recovery: labels made by the model itself with known parameters; does a network find these again?

As in the BINN study: the four parameters to which stocks are most sensitive are learned, the other 17 prescribed. Then
all 21 at once, which tells what profiles of carbon can say and what they cannot. The truth is a smooth function of two
covariates for each parameter, so that networks could find it; places, climate and litter are those of measured soils.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from fieldflux.app.kgml.tables import as_table, write_csv
from fieldflux.models.hybrids.binn.fit import Sample, fit, polish
from fieldflux.models.hybrids.binn.lessons import Lessons, observations
from fieldflux.models.hybrids.binn.network import Binn
from fieldflux.models.hybrids.binn.recipe import Cap, NetworkRecipe, TrainingRecipe
from fieldflux.models.processes.soilcarbon.observe import soil_carbon
from fieldflux.models.processes.soilcarbon.parameters import NAMES, clm5_defaults, from_unit, ranges, to_unit
from fieldflux.models.processes.soilcarbon.steady import steady_state
from fieldflux.models.scores import score
from numpy.typing import NDArray
from torch import Tensor

from .sites import SoilTable
from .soils import covariates_of, lessons_of

Told = Callable[[float, str], None]
SENSITIVE = ("efolding", "tau4s3", "fs1s3", "w-scaling")
DEPTHS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)  # m, edges of the layers that labels are made of
LOWEST, HIGHEST = 0.2, 0.8  # of a parameter's range, within which the truth lies
POLISH = 300  # steps on all labels at once, after those on batches
SHAPES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x, torch.square, lambda x: (x + 2.5).clamp(min=0.05).log2(), torch.exp2, torch.abs,
)  # fmt: skip
"""Of ScIReN's test: linear, quadratic, log2(x + 2.5), 2^x, |x|."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is tried. learned: parameters. scatter: of the labels' logarithms. additive: our network (True), or the
    dense one. places: how many."""

    name: str
    learned: tuple[str, ...]
    encoder: str
    scatter: float = 0.0


TASKS = (
    Task("four, curves", SENSITIVE, "additive"),
    Task("four, dense", SENSITIVE, "mlp"),
    Task("four, published", SENSITIVE, "published"),
    Task("four, curves, labels off by 20 %", SENSITIVE, "additive", 0.2),
    Task("all 21, curves", NAMES, "additive"),
)


def networks(encoder: str, learned: tuple[str, ...]) -> tuple[NetworkRecipe, TrainingRecipe]:
    """How each is built and trained; ranges are gone through evenly, as the truth is drawn.

    Labels have the same cap of the water scalar as the network: under the published one, most of w-scaling's range says
    nothing in moist soil, and no network can find it.
    """
    if encoder == "additive":
        return (
            NetworkRecipe(scale="linear", cap="smooth", knots=8, learned=learned),
            TrainingRecipe(epochs=40, batch=128, rate=5e-2, smooth=1e-4, sparse=0.3, scatter=0.05, clip=0),
        )
    if encoder == "mlp":
        return (
            NetworkRecipe(encoder="mlp", scale="linear", cap="smooth", learned=learned),
            TrainingRecipe(epochs=80, batch=128, rate=1e-2, scatter=0.05, clip=0),
        )
    return (
        NetworkRecipe(encoder="mlp", bound="sigmoid", scale="linear", cap="published", learned=learned),
        TrainingRecipe(loss="smooth-l1", epochs=50, batch=32, rate=1e-2, schedule="constant", clip=0),
    )


def truth(x: Tensor, learned: Sequence[str], sand: Tensor, seed: int) -> Tensor:
    """[N, 21] physical: learned ones by the sum of two drawn shapes of two drawn covariates x [N, F] (scaled), from
    LOWEST to HIGHEST of their range; the others CLM5's defaults (sand in percent), within the ranges."""
    draw = np.random.default_rng(seed)
    low, high = ranges()
    unit = to_unit(torch.minimum(torch.maximum(clm5_defaults(sand), low), high))
    for name in learned:
        a, b = draw.choice(x.shape[1], 2, replace=False)
        f, g = (SHAPES[k] for k in draw.choice(len(SHAPES), 2))
        raw = f(x[:, a]) + g(x[:, b])
        part = (raw - raw.min()) / (raw.max() - raw.min())
        unit[:, NAMES.index(name)] = LOWEST + (HIGHEST - LOWEST) * part
    return from_unit(unit)


@dataclass(frozen=True, slots=True)
class Recovered:
    """One network. true, found: [n, P] physical values of the learned parameters at test places. fit: R2 of the
    logarithms of the labels there."""

    task: Task
    seed: int
    true: NDArray[np.float64]
    found: NDArray[np.float64]
    fit: float


def recover(
    table: SoilTable, task: Task, seed: int, places: int = 1000, epochs: int | None = None, steps: int = POLISH
) -> Recovered:
    """One network on `places` drawn soils; a tenth of them, drawn as in the study, is for the test."""
    draw = np.random.default_rng(10_000 + seed)
    some = np.zeros(len(table), np.bool_)
    some[draw.permutation(len(table))[:places]] = True
    table = table.where(some)
    lessons = lessons_of(table)
    covariates = covariates_of(table)
    numbers = covariates.scaled(lessons.x)[:, : len(covariates.numbers)]
    sand = lessons.x[:, table.names.index("sand")] / 10.0
    true = truth(numbers, task.learned, sand, seed)
    network_recipe, training = networks(task.encoder, task.learned)
    taught = replace(
        lessons, prescribed=true, observed=_labels(lessons, true, task.scatter, seed, network_recipe.cap).observed
    )
    if epochs:
        training = training.model_copy(update={"epochs": epochs})
    test = draw.permutation(len(table)) < len(table) // 10
    network = Binn(network_recipe, covariates, 1, seed).double()
    learn = Sample(torch.from_numpy(np.flatnonzero(~test)), torch.empty(0, dtype=torch.int64))
    fit(network, taught, [learn], training, seed)
    if task.encoder != "published":
        polish(network, taught, learn, training, steps)
    with torch.no_grad():
        found = network.physical(network.bounded(network.outputs(taught.x[None])), true)[0]
        made = _profile(found, taught, network_recipe.cap)
    chosen = [NAMES.index(name) for name in task.learned]
    known = taught.observed.value[test]
    return Recovered(
        task, seed, true[test][:, chosen].numpy(), found[test][:, chosen].numpy(),
        score(made.of(test).log().numpy(), known.log().numpy()).nse,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Made:
    """A profile of carbon [N, 20] as the labels see it."""

    soil: Tensor
    lessons: Lessons

    def of(self, places: NDArray[np.bool_]) -> Tensor:
        at = torch.from_numpy(np.flatnonzero(places))
        return self.lessons.observed.of(self.soil[at], at)


def _profile(parameters: Tensor, lessons: Lessons, cap: Cap) -> _Made:
    return _Made(soil_carbon(steady_state(parameters, lessons.forcing, cap=cap)), lessons)


def _labels(lessons: Lessons, true: Tensor, scatter: float, seed: int, cap: Cap) -> Lessons:
    """Layers between DEPTHS, where there is soil, of the model with the true parameters."""
    count, edges = len(lessons), torch.tensor(DEPTHS, dtype=torch.float64)
    owner = torch.arange(count).repeat_interleave(len(edges) - 1)
    top, bottom = edges[:-1].repeat(count), edges[1:].repeat(count)
    nothing = torch.full((count,), torch.nan, dtype=torch.float64)
    blank = observations((nothing, nothing), owner, top, bottom, torch.ones_like(top))
    soil = soil_carbon(steady_state(true, lessons.forcing, cap=cap))
    value = blank.of(soil, torch.arange(count))
    noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed), dtype=value.dtype)
    value = torch.where((value > 1.0) & torch.isfinite(blank.value), value * torch.exp(scatter * noise), torch.nan)
    return replace(lessons, observed=replace(blank, value=value))


HEAD = ("task", "parameter", "seeds", "n", "r", "r_least", "r_greatest", "nse", "labels_r2")


def rows_of(results: Sequence[Recovered]) -> list[tuple[object, ...]]:
    """Rows of HEAD: Pearson's r of true and found values at test places, mean, least and greatest over the seeds."""
    out: list[tuple[object, ...]] = []
    for task in dict.fromkeys(r.task for r in results):
        own = [r for r in results if r.task == task]
        for k, name in enumerate(task.learned):
            each = [_r(r.found[:, k], r.true[:, k]) for r in own]
            nse = float(np.mean([score(r.found[:, k], r.true[:, k]).nse for r in own]))
            labels = float(np.mean([r.fit for r in own]))
            n = round(float(np.mean([len(r.true) for r in own])))
            out.append((task.name, name, len(own), n, float(np.mean(each)), min(each), max(each), nse, labels))
    return out


def _r(found: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    return float(np.corrcoef(found, true)[0, 1]) if found.std() > 0 and true.std() > 0 else 0.0


def write_recovered(out: Path, results: Sequence[Recovered]) -> list[Path]:
    """Tables (text, CSV, JSON) and a picture."""
    rows = rows_of(results)
    text = out / "binn-recovery.txt"
    text.write_text(
        "Parameter recovery: Pearson's r of known and found parameters at places that were held out.\n"
        f"Labels: carbon of {len(DEPTHS) - 1} layers to {DEPTHS[-1]:g} m. nse: 1 - SSE / SST of the parameter.\n\n"
        + as_table(HEAD, [[f"{v:.3f}" if isinstance(v, float) else v for v in row] for row in rows]),
        encoding="utf-8",
    )
    (out / "binn-recovery.json").write_text(
        json.dumps([dict(zip(HEAD, row, strict=True)) for row in rows], indent=1) + "\n", encoding="utf-8"
    )
    return [
        text, write_csv(out / "binn-recovery.csv", HEAD, rows), out / "binn-recovery.json", _plot(out, results)
    ]  # fmt: skip


def _plot(out: Path, results: Sequence[Recovered]) -> Path:
    from fieldflux.app.evaluate.plots import INK, plain
    from matplotlib.figure import Figure

    tasks = [t for t in dict.fromkeys(r.task for r in results) if t.learned == SENSITIVE] or [results[0].task]
    figure = Figure(figsize=(2.5 * len(tasks[0].learned), 2.5 * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), len(tasks[0].learned), squeeze=False)
    for i, task in enumerate(tasks):
        own = [r for r in results if r.task == task]
        for k, name in enumerate(task.learned):
            axes = panels[i][k]
            for r in own:
                axes.plot(r.true[:, k], r.found[:, k], ".", markersize=2, alpha=0.5)
            ends = [float(own[0].true[:, k].min()), float(own[0].true[:, k].max())]
            axes.plot(ends, ends, color=INK, linewidth=0.8)
            axes.set_title(f"{name}: {task.name}", fontsize=8, color=INK)
            plain(axes)
    path = out / "binn-recovery.png"
    figure.savefig(path, dpi=130)
    return path


def recovery(
    table: SoilTable, out: Path, seeds: Sequence[int] = (0, 1, 2), quick: bool = False, told: Told = lambda *_: None
) -> list[Path]:
    """All TASKS with every seed, each with places and a truth of its own. quick: shows only that it runs."""
    results = []
    count = len(TASKS) * len(seeds)
    for at, (task, seed) in enumerate((t, s) for t in TASKS for s in seeds):
        told(at / count, f"{task.name}, seed {seed}")
        results.append(recover(table, task, seed, 200 if quick else 1000, 2 if quick else None, 2 if quick else POLISH))
    return write_recovered(out, results)
