"""Plots of soil carbon: long-term experiments, and the distribution over a county."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .distribution import BAND, MEANS, YEARS, DistributionResult
from .plots import GIVEN, INK, MODEL, QUIET, new_figure, plain
from .soil import SoilResult


def plot_soil(out: Path, result: SoilResult) -> list[str]:
    """Modelled against measured trend of every plot, with two standard errors and the members' range."""
    if not result.plots:
        return []
    figure = new_figure(6.4, 5.6)
    axes = figure.subplots()
    colours = (MODEL, GIVEN, "#d9a441", "#c8553d", "#7d5ba6", "#4a9aa8", "#8a6d3b", INK, QUIET)
    sites = list(dict.fromkeys(p.site for p in result.plots))
    for i, site in enumerate(sites):
        colour = colours[i % len(colours)]
        for k, p in enumerate([p for p in result.plots if p.site == site]):
            axes.plot([p.measured] * 2, [p.modelled.min(), p.modelled.max()], color=colour, linewidth=0.7, alpha=0.5)
            if np.isfinite(p.error):
                ends = [p.measured - 2 * p.error, p.measured + 2 * p.error]
                axes.plot(ends, [p.mean] * 2, color=colour, linewidth=0.7, alpha=0.5)
            label = f"{site}, {p.first}-{p.last}" if k == 0 else None
            marker = "o" if p.nitrogen > 0 else "x"
            axes.plot([p.measured], [p.mean], marker, color=colour, markersize=5, linestyle="", label=label)
    values = np.array([[p.measured, p.mean] for p in result.plots])
    low, high = float(values.min()) - 30, float(values.max()) + 30
    axes.plot([low, high], [low, high], color=INK, linewidth=0.6)
    axes.axhline(0, color=QUIET, linewidth=0.5)
    axes.axvline(0, color=QUIET, linewidth=0.5)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xlabel("measured trend of soil carbon, gC m-2 yr-1, with 2 standard errors", fontsize=8)
    axes.set_ylabel("modelled delta_soc, gC m-2 yr-1, with the range of members", fontsize=8)
    axes.set_title("Long-term experiments (x: without nitrogen)", fontsize=9, color=INK)
    axes.legend(fontsize=7, frameon=False)
    plain(axes)
    figure.savefig(out / "soil_experiments.png")
    return ["soil_experiments.png"]


def plot_distribution(out: Path, result: DistributionResult) -> list[str]:
    """Histograms of single years by crop, and of the cells' means, with the published band."""
    shown = [p for p in result.parts if (p.what, p.crop) != (YEARS, "all")]
    sources = list(dict.fromkeys(p.run for p in shown))
    if not shown:
        return []
    figure = new_figure(9.0, 1.0 + 2.6 * len(sources))
    grid = figure.subplots(len(sources), 2, squeeze=False, sharex=True)
    every = np.concatenate([p.percent for p in shown])
    # The published band stays in sight, however far away the values are.
    edges = np.linspace(min(float(every.min()), -BAND) - 0.1, max(float(every.max()), BAND) + 0.1, 61)
    colours = dict(
        zip(("maize", "soybean", "winter_wheat", "alfalfa"), (MODEL, GIVEN, "#d9a441", "#7d5ba6"), strict=True)
    )
    for i, run in enumerate(sources):
        for axes, what in zip(grid[i], (YEARS, MEANS), strict=True):
            axes.axvspan(-BAND, BAND, color="#eef1f4", zorder=0)
            for p in [p for p in shown if (p.run, p.what) == (run, what)]:
                weights = np.full(len(p.percent), 100.0 / len(p.percent))
                label = f"{p.crop.replace('_', ' ')}: {p.within:.0f} % within +-{BAND} %/yr"
                colour = colours.get(p.crop, INK)
                axes.hist(p.percent, edges, weights=weights, color=colour, alpha=0.6, label=label)
            axes.set_title(f"{what}, {run}", fontsize=9, color=INK)
            axes.set_ylabel("% of values", fontsize=8)
            axes.legend(fontsize=7, frameon=False)
            plain(axes)
    for axes in grid[-1]:
        axes.set_xlabel("delta_soc, % of the SOC stock of 0-30 cm per year", fontsize=8)
    figure.savefig(out / "delta_soc_distribution.png")
    return ["delta_soc_distribution.png"]
