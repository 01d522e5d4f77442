"""Plot of an evaluation of county yields: reported against modelled, by crop and split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .plots import FLOORS, GIVEN, INK, MODEL, QUIET, new_figure, plain
from .yields import PARTS, YieldPoints, YieldResult
from .yieldsplit import TRAINING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = dict(zip(PARTS, (MODEL, FLOORS[2], QUIET), strict=True))


def plot_yields(out: Path, result: YieldResult) -> list[str]:
    """yields.png: a panel per crop; a dot per county and year, filled with own GPP, a ring with given GPP."""
    crops = list(dict.fromkeys(p.table.crop for p in result.points if p.gpp == "own"))
    if not crops:
        return []
    figure = new_figure(1.0 + 4.6 * len(crops), 5.2)
    for axes, crop in zip(figure.subplots(1, len(crops), squeeze=False)[0], crops, strict=True):
        mine = [p for p in result.points if p.table.crop == crop]
        for points in mine:
            _dots(axes, points)
        known = np.concatenate([np.concatenate([p.table.observed, p.modelled.mean(axis=0)]) for p in mine])
        low, high = 0.95 * float(np.nanmin(known)), 1.05 * float(np.nanmax(known))
        axes.plot([low, high], [low, high], color=INK, linewidth=0.7)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_title(crop.replace("_", " "), fontsize=9, color=INK)
        axes.set_xlabel("reported yield [t ha-1]", fontsize=8)
        axes.set_ylabel("modelled yield [t ha-1]", fontsize=8)
        plain(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(out / "yields.png")
    return ["yields.png"]


def _dots(axes: Axes, points: YieldPoints) -> None:
    for part in reversed(PARTS):
        here = points.table.part == part
        if not here.any():
            continue
        x, y = points.table.observed[here], points.modelled[:, here].mean(axis=0)
        if points.gpp == "own":
            label = "training part" if part == TRAINING else part
            axes.plot(x, y, ".", color=_COLOURS[part], markersize=4, label=label)
        else:
            first = "given GPP" not in axes.get_legend_handles_labels()[1]
            axes.plot(x, y, "o", mfc="none", mec=GIVEN, markersize=5, mew=0.7, label="given GPP" if first else None)
