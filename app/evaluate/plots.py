"""Plots of an evaluation, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.measurements import Tower

from . import floors
from .county import TREND, CountyResult, Yearly
from .report import Report, Row
from .split import HELD_OUT_YEARS, SEEN_PLACE, UNKNOWN, UNSEEN
from .towers import TowerResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET = "#1f2933", "#8895a1"
MODEL, GIVEN, FLOORS = "#1b7f5c", "#2f6db3", ("#b9c2cb", "#d9a441", "#c8553d", "#7d5ba6")
SHOWN_YEARS = 4


def plot_towers(out: Path, result: TowerResult, towers: Sequence[Tower]) -> list[str]:
    """One file per tower that was run: measured and modelled days of up to four years that were held out."""
    files = []
    for tower in towers:
        if tower.site in result.runs:
            name = f"tower_{tower.site}.png"
            if _tower(out / name, tower, result):
                files.append(name)
    return files


def _tower(path: Path, tower: Tower, result: TowerResult) -> bool:
    runs = {run.gpp: run for run in result.runs[tower.site]}
    own = runs["own"]
    shown = [v for v in ("nee", "gpp", "reco", "le") if v in tower.observed and v in own.daily]
    of_split = result.splits[tower.site]
    split = next(s for s in (HELD_OUT_YEARS, SEEN_PLACE, UNSEEN, UNKNOWN) if s in of_split)
    held, of_day = of_split[split], tower.year_of_day()
    any_good = np.any([tower.good[v] & np.isfinite(own.mean(v)) for v in shown], axis=0)
    years = [y for y in tower.years if (held & any_good & (of_day == y)).sum() >= 60][-SHOWN_YEARS:]
    if not years or not shown:
        return False
    figure = new_figure(3.6 + 3.4 * len(years), 1.0 + 2.1 * len(shown))
    grid = figure.subplots(len(shown), len(years), squeeze=False, sharey="row")
    doy = floors.day_of_year(tower)
    for i, variable in enumerate(shown):
        for j, year in enumerate(years):
            axes, here = grid[i][j], of_day == year
            good = here & tower.good[variable] & held
            axes.plot(doy[good], tower.observed[variable][good], ".", color=QUIET, markersize=2.5, label="measured")
            members = own.daily[variable][:, here]
            if len(members) > 1:
                axes.fill_between(doy[here], members.min(0), members.max(0), color=MODEL, alpha=0.2, linewidth=0)
            axes.plot(doy[here], members.mean(0), color=MODEL, linewidth=1.1, label="model, own GPP")
            if "given" in runs and variable in ("nee", "reco"):
                given = runs["given"].mean(variable)[here]
                axes.plot(doy[here], given, color=GIVEN, linewidth=0.8, label="model, given GPP")
            if variable == "nee":
                axes.axhline(0, color=INK, linewidth=0.5)
            if i == 0:
                axes.set_title(f"{year}: {_crop_name(tower, year)}", fontsize=9, color=INK)
            if j == 0:
                axes.set_ylabel(f"{variable}\n{VARIABLES[variable].unit}", fontsize=8)
            axes.set_xlim(1, 366)
            plain(axes)
    for axes in grid[-1]:
        axes.set_xlabel("day of year", fontsize=8)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    note = f" ({own.note})" if own.note else ""
    grid[0][0].text(0, 1.28, f"{tower.site}, {tower.title}: {split}{note}", transform=grid[0][0].transAxes, fontsize=10)
    figure.savefig(path)
    return True


def _crop_name(tower: Tower, year: int) -> str:
    from fieldflux.models.crops import CROP_OF_CDL

    code = tower.annual["crop"][tower.years.index(year)]
    known = np.isfinite(code) and int(code) in CROP_OF_CDL
    return CROP_OF_CDL[int(code)].name.replace("_", " ") if known else "crop not modelled"


def plot_skill(out: Path, report: Report) -> list[str]:
    """NSE of the model beside its floors, for each variable and place of the held-out splits."""
    rows = [r for r in report.rows if r.part == "towers" and r.step == "day" and r.held_out and r.crop == "all"]
    sides = [[r for r in rows if r.gpp == gpp] for gpp in ("own", "given")]
    sides = [side for side in sides if side]
    if not sides:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row.floors))
    figure = new_figure(6.5 * len(sides), 1.4 + 0.2 * max(map(len, sides)))
    for axes, side in zip(figure.subplots(1, len(sides), squeeze=False)[0], sides, strict=True):
        _skill_axes(axes, side, names, max(map(len, sides)))
    axes = figure.axes[0]
    for gpp, colour in (("own", MODEL), ("given", GIVEN)):
        axes.plot([], [], "D", color=colour, label=f"{report.model}, {gpp} GPP")
    for k, name in enumerate(names):
        axes.plot([], [], "o", color=FLOORS[k % len(FLOORS)], label=f"floor: {name}")
    figure.legend(fontsize=8, ncols=3, frameon=False, loc="outside upper center")
    figure.savefig(out / "skill.png")
    return ["skill.png"]


LOWEST = -1.0


def _skill_axes(axes: Axes, rows: Sequence[Row], names: Sequence[str], longest: int) -> None:
    for i, row in enumerate(rows):
        y = len(rows) - i
        axes.plot([LOWEST, 1], [y, y], color="#eef1f4", linewidth=5, solid_capstyle="butt", zorder=0)
        for k, name in enumerate(names):
            if name in row.floors:
                _dot(axes, row.floors[name].nse, y, FLOORS[k % len(FLOORS)], "o", 4.5)
        _dot(axes, row.scores.nse, y, MODEL if row.gpp == "own" else GIVEN, "D", 6)
    axes.set_yticks(range(len(rows), 0, -1), [f"{row.split}: {row.place}, {row.variable}" for row in rows], fontsize=7)
    axes.set_xlim(LOWEST - 0.04, 1.02)
    axes.set_ylim(len(rows) - longest + 0.3, len(rows) + 0.7)
    axes.set_xlabel("NSE of daily values (at the left edge: -1 or lower)", fontsize=8)
    plain(axes)


def _dot(axes: Axes, x: float, y: float, colour: str, marker: str, size: float) -> None:
    if np.isfinite(x):
        axes.plot([max(x, LOWEST)], [y], marker, color=colour, markersize=size, clip_on=False)


def plot_county(out: Path, result: CountyResult) -> list[str]:
    """Each crop's yearly GPP and yield, reported and modelled, with the trend through the other years."""
    series = [s for s in result.series if s.gpp == "own"]
    if not series:
        return []
    given = {(s.crop, s.variable): s for s in result.series if s.gpp == "given"}
    figure = new_figure(10, 0.7 + 2.6 * ((len(series) + 1) // 2))
    grid = np.atleast_1d(figure.subplots((len(series) + 1) // 2, 2, squeeze=False)).ravel()
    for axes, one in zip(grid, series, strict=False):
        _county_axes(axes, one, given.get((one.crop, one.variable)))
    for axes in grid[len(series) :]:
        axes.set_visible(False)
    handles, labels = grid[-1 if len(series) % 2 == 0 else -2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(out / "county.png")
    return ["county.png"]


def _county_axes(axes: Axes, one: Yearly, given: Yearly | None) -> None:
    axes.plot(one.year, one.observed, "o-", color=INK, markersize=3.5, linewidth=0.8, label="satellite or USDA")
    axes.plot(one.year, one.floors[TREND], "--", color=QUIET, linewidth=1, label="trend through other years")
    if len(one.modelled) > 1:
        axes.fill_between(one.year, one.modelled.min(0), one.modelled.max(0), color=MODEL, alpha=0.2, linewidth=0)
    axes.plot(one.year, one.modelled.mean(0), color=MODEL, linewidth=1.4, label="model, own GPP")
    if given is not None:
        axes.plot(given.year, given.modelled.mean(0), color=GIVEN, linewidth=1.0, label="model, given GPP")
    axes.set_title(f"{one.crop.replace('_', ' ')}: {one.variable} [{one.unit}]", fontsize=9, color=INK)
    axes.set_xticks(one.year[:: max(len(one.year) // 6, 1)])
    axes.set_ylim(bottom=0)
    plain(axes)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Any) -> None:
    """Small ticks, no frame above and right."""
    axes.tick_params(labelsize=7, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


__all__ = ["new_figure", "plain", "plot_county", "plot_skill", "plot_towers"]
