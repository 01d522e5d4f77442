"""Plots of towers that a fold left out: measured against predicted days, and what intervals hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from fieldflux.app.evaluate.plots import GIVEN, INK, MODEL, QUIET, new_figure, plain
from fieldflux.models.scores import score
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.measurements import Tower

from .coverage import Coverage
from .folds import NOT_IN_DOMAIN, Part, Unseen, daily_part

COLUMNS = 5
COLOURS = {"own": MODEL, "given": GIVEN}


def plot_scatter(out: Path, found: Sequence[Unseen], towers: Mapping[str, Tower]) -> list[str]:
    """One file per variable and source of GPP: days of each tower, measured across and predicted up."""
    files = []
    for source in ("own", "given"):
        for variable in ("nee", "reco"):
            chosen = [one for one in found if one.source == source]
            parts = [p for one in chosen if (p := daily_part(one, towers[one.site], variable)) is not None]
            if parts:
                name = f"unseen_{variable}_{source}_gpp.png"
                _scatter(out / name, parts, variable, source)
                files.append(name)
    return files


def _scatter(path: Path, parts: Sequence[Part], variable: str, source: str) -> None:
    rows = (len(parts) + COLUMNS - 1) // COLUMNS
    figure = new_figure(2.2 * COLUMNS, 0.5 + 2.2 * rows)
    grid = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True).ravel()
    both = np.concatenate([np.concatenate([p.observed, p.members.mean(axis=0)]) for p in parts])
    low, high = (float(v) for v in np.quantile(both, (0.001, 0.999)))
    for axes, part in zip(grid, parts, strict=False):
        mean = part.members.mean(axis=0)
        s = score(mean, part.observed)
        axes.plot([low, high], [low, high], color=INK, linewidth=0.6)
        axes.plot(part.observed, mean, ".", color=COLOURS[source], markersize=1.5, alpha=0.25, rasterized=True)
        outside = f" ({NOT_IN_DOMAIN[part.site]})" if part.site in NOT_IN_DOMAIN else ""
        axes.set_title(f"{part.site}{outside}: NSE {s.nse:.2f}, RMSE {s.rmse:.2f}", fontsize=7, color=INK)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        plain(axes)
    for axes in grid[len(parts) :]:
        axes.set_visible(False)
    whose = {"own": "the process model's GPP", "given": "the tower's GPP"}[source]
    figure.supxlabel(f"measured {variable} [{VARIABLES[variable].unit}], days of towers left out, {whose}", fontsize=8)
    figure.supylabel(f"predicted {variable}", fontsize=8)
    figure.savefig(path)


def plot_coverage(out: Path, coverages: Sequence[Coverage]) -> list[str]:
    """Bars of the share inside the intervals at each level, with each group as a dot and the level as a line."""
    if not coverages:
        return []
    rows = (len(coverages) + 2) // 3
    figure = new_figure(9.6, 0.6 + 1.9 * rows)
    grid = figure.subplots(rows, 3, squeeze=False, sharey=True).ravel()
    for axes, one in zip(grid, coverages, strict=False):
        for x, (level, c) in enumerate(one.covered.items()):
            axes.bar(x, c.share, 0.62, color=MODEL if c.promised or not one.firm else QUIET, alpha=0.75)
            axes.plot([x - 0.42, x + 0.42], [level, level], color=INK, linewidth=1.2)
            axes.plot(np.full(len(c.of_group), x), list(c.of_group.values()), ".", color=INK, markersize=2.5)
        first = next(iter(one.covered.values()))
        title = f"{one.evidence.variable}, {one.evidence.step}: {first.groups} groups, n {first.n}"
        axes.set_title(title, fontsize=8, color=INK)
        axes.set_xticks(range(len(one.covered)), [f"{100 * level:g} %" for level in one.covered])
        axes.set_ylim(0, 1.04)
        plain(axes)
    for axes in grid[len(coverages) :]:
        axes.set_visible(False)
    figure.supylabel("share inside at left-out groups (line: level; dots: groups; grey: too few groups)", fontsize=8)
    figure.savefig(out / "coverage.png")
    return ["coverage.png"]
