"""What a BINN says of soils: its six processes at places, and what each covariate does to parameters and stocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from fieldflux.app.evaluate.report import Cell, Table
from fieldflux.models.hybrids.binn.encoders import Additive
from fieldflux.models.hybrids.binn.network import Ensemble
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.observe import stock
from fieldflux.models.processes.soilcarbon.six_processes import UNITS, SixProcesses, six_processes
from fieldflux.models.processes.soilcarbon.steady import steady_state
from numpy.typing import NDArray

from .sites import SoilTable, forcing_of

Array = NDArray[np.float64]
PROCESSES = tuple(f.name for f in fields(SixProcesses))
POINTS = 25  # of a curve
MAPPED = PROCESSES[:6]


@dataclass(frozen=True, slots=True, eq=False)
class Processes:
    """[M, n] of each process at n soils, by name."""

    values: dict[str, Array]


def processes_at(ensemble: Ensemble, table: SoilTable) -> Processes:
    """The six processes (and the residence time they make) of each member at rest, at measured soils."""
    forcing = forcing_of(table).tensors()
    each: dict[str, list[Array]] = {name: [] for name in PROCESSES}
    with torch.no_grad():
        for parameters in ensemble.parameters(table.x, _places(table)):
            pools = steady_state(parameters, forcing, cap=ensemble.cap)
            found = six_processes(pools, parameters, forcing, cap=ensemble.cap)
            for name in PROCESSES:
                each[name].append(getattr(found, name).numpy())
    return Processes({name: np.stack(values) for name, values in each.items()})


def _places(table: SoilTable) -> torch.Tensor:
    return torch.from_numpy(np.column_stack([table.soils.longitude, table.soils.latitude]))


def processes_table(found: Processes, table: SoilTable) -> tuple[Table, Table]:
    """By land use (in the text), and soil by soil (its file alone)."""
    uses, count = np.unique(table.soils.land_use, return_counts=True)
    lines: list[tuple[Cell, ...]] = []
    for name in PROCESSES:
        members = found.values[name]
        mean, spread = members.mean(0), members.std(0, ddof=1) if len(members) > 1 else np.zeros(members.shape[1])
        for use in uses[count >= 20]:
            here = table.soils.land_use == use
            low, middle, high = (float(v) for v in np.quantile(mean[here], [0.05, 0.5, 0.95]))
            lines.append((name, UNITS[name], str(use), int(here.sum()), low, middle, high, float(spread[here].mean())))
    by_use = Table(
        "processes",
        "The six processes at measured soils, by land use",
        ("process", "unit", "land use", "soils", "5 %", "median", "95 %", "members' sd"),
        tuple(lines),
        ("Ensemble means over soils; the sd is that of the members at a soil, mean over soils.",),
    )
    each = Table(
        "processes_by_soil",
        "The six processes, soil by soil",
        ("dataset", "site", "longitude", "latitude", "land_use", *(f"{n}{e}" for n in PROCESSES for e in ("", "_sd"))),
        tuple(
            (
                str(table.soils.dataset[i]), str(table.soils.site[i]), float(table.soils.longitude[i]),
                float(table.soils.latitude[i]), str(table.soils.land_use[i]),
                *(float(f(found.values[n][:, i])) for n in PROCESSES for f in (np.mean, np.std)),
            )
            for i in range(len(table))
        ),
        in_text=False,
    )  # fmt: skip
    return by_use, each


def plot_processes(out: Path, found: Processes, table: SoilTable) -> list[str]:
    """A map of each process at the soils."""
    from fieldflux.app.evaluate.plots import INK, new_figure

    figure = new_figure(12.0, 6.2)
    panels = figure.subplots(2, 3).ravel()
    for axes, name in zip(panels, MAPPED, strict=True):
        mean = found.values[name].mean(0)
        low, high = np.quantile(mean, [0.02, 0.98])
        shown = axes.scatter(
            table.soils.longitude, table.soils.latitude, c=mean, s=3, vmin=low, vmax=high, cmap="viridis"
        )  # fmt: skip
        figure.colorbar(shown, ax=axes, shrink=0.8)
        axes.set_title(f"{name} [{UNITS[name]}]", fontsize=9, color=INK)
        axes.set_xlim(-126, -66)
        axes.set_ylim(24, 50)
    figure.savefig(out / "processes.png", dpi=120)
    return ["processes.png"]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What a covariate does, all else at the soils' medians. at: [P] its values. log_stock: [M, P] logarithm of the
    stock of 0-0.3 m, about its mean. outputs: [M, P, parameter] what it adds to each parameter's output (from -3 to 3
    is its whole range); empty for dense networks, which have no such curves."""

    name: str
    unit: str
    at: Array
    log_stock: Array
    outputs: Array


def curves(ensemble: Ensemble, table: SoilTable) -> tuple[Curve, ...]:
    """One for each number among the covariates, over its range in training, at cropland of middling climate."""
    crop = table.where(table.soils.land_use == "cropland") if (table.soils.land_use == "cropland").any() else table
    middle = np.median(crop.x, axis=0)
    middle[len(ensemble.covariates.numbers) :] = crop.x[0, len(ensemble.covariates.numbers) :]
    nearest = int(np.abs((crop.x - middle) / (crop.x.std(0) + 1e-9)).sum(1).argmin())
    one = forcing_of(crop.where(np.arange(len(crop)) == nearest)).tensors()
    where = torch.from_numpy(np.column_stack([crop.soils.longitude[[nearest]], crop.soils.latitude[[nearest]]]))
    found = []
    network = ensemble.network
    for k, covariate in enumerate(ensemble.covariates.numbers):
        at = np.linspace(covariate.low, covariate.high, POINTS)
        x = np.repeat(middle[None], POINTS, 0)
        x[:, k] = at
        forcing = _repeated(one, POINTS)
        with torch.no_grad():
            logs = np.stack([
                stock(steady_state(p, forcing, cap=ensemble.cap), 0.0, 0.3).log().numpy()
                for p in ensemble.parameters(x, where.expand(POINTS, 2))
            ])  # fmt: skip
            outputs = np.empty((0, POINTS, 0))
            if isinstance(network.encoder, Additive):
                scaled = network.covariates.scaled(torch.from_numpy(x)).to(torch.float32)
                outputs = network.encoder.effects(scaled.expand(network.stack, *x.shape))[:, :, k].double().numpy()
        found.append(Curve(covariate.name, covariate.unit, at, logs - logs.mean(1, keepdims=True), outputs))
    return tuple(found)


def _repeated(forcing: SoilForcing, times: int) -> SoilForcing:
    return replace(
        forcing,
        litter=forcing.litter.expand(times, -1).contiguous(),
        bedrock=forcing.bedrock.expand(times).contiguous(),
        active_layer=forcing.active_layer.expand(times).contiguous(),
        row=torch.zeros(times, dtype=torch.int64),
    )


def curves_tables(found: Sequence[Curve], learned: Sequence[str]) -> tuple[Table, Table]:
    """How much each covariate moves the stock (in the text), and every curve (its file alone)."""
    moved = sorted(found, key=lambda c: -float(np.ptp(c.log_stock.mean(0))))
    lines: list[tuple[Cell, ...]] = []
    for c in moved:
        mean = c.log_stock.mean(0)
        strongest = ""
        if c.outputs.size:
            reach = np.ptp(c.outputs.mean(0), axis=0)
            strongest = ", ".join(learned[i] for i in np.argsort(-reach)[:3])
        sign = float(np.sign(mean[-1] - mean[0]))
        lines.append(
            (c.name, c.unit, float(c.at[0]), float(c.at[-1]), float(np.exp(np.ptp(mean)) - 1.0) * 100.0,
             "up" if sign > 0 else "down", float(c.log_stock.std(0, ddof=1).mean()) if len(c.log_stock) > 1 else None,
             strongest)
        )  # fmt: skip
    summary = Table(
        "effects",
        "What each covariate does to the stock of 0-30 cm, others at the median of cropland",
        ("covariate", "unit", "from", "to", "highest over lowest, %", "at its end", "members' sd, ln", "through most"),
        tuple(lines),
        ("Its climate and litter stay the same: this is what the networks add to them, not the whole effect.",),
    )
    each: list[tuple[Cell, ...]] = []
    for c in found:
        sd = c.log_stock.std(0, ddof=1) if len(c.log_stock) > 1 else np.zeros(len(c.at))
        for p in range(len(c.at)):
            row: list[Cell] = [c.name, c.unit, float(c.at[p]), float(c.log_stock[:, p].mean()), float(sd[p])]
            row += [float(v) for v in c.outputs[:, p].mean(0)] if c.outputs.size else [None] * len(learned)
            each.append(tuple(row))
    curve_file = Table(
        "effect_curves",
        "Curves of every covariate: logarithm of the stock about its mean, and what it adds to each parameter's output",
        ("covariate", "unit", "value", "ln_soc_30", "ln_soc_30_sd", *learned),
        tuple(each),
        in_text=False,
    )
    return summary, curve_file


def plot_curves(out: Path, found: Sequence[Curve]) -> list[str]:
    """Each covariate's curve of the stock, with the members' spread."""
    from fieldflux.app.evaluate.plots import INK, MODEL, new_figure, plain

    rows = -(-len(found) // 5)
    figure = new_figure(13.0, 2.3 * rows)
    panels = figure.subplots(rows, 5, squeeze=False, sharey=True).ravel()
    for axes, c in zip(panels, found, strict=False):
        axes.plot(c.at, 100 * np.expm1(c.log_stock.T), color=MODEL, alpha=0.25, linewidth=0.7)
        axes.plot(c.at, 100 * np.expm1(c.log_stock.mean(0)), color=MODEL)
        axes.set_title(f"{c.name} [{c.unit}]", fontsize=8, color=INK)
        plain(axes)
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("stock 0-30 cm, %", fontsize=8)
    figure.savefig(out / "effects.png", dpi=120)
    return ["effects.png"]
