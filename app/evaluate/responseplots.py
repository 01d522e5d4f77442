"""Plot of responses: a row for each input, a column for each variable."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .plots import GIVEN, INK, MODEL, QUIET, new_figure, plain
from .probes import VARIABLES
from .responses import ResponseResult

COLOURS = (MODEL, GIVEN, "#c8553d", "#7d5ba6")


def plot_responses(out: Path, result: ResponseResult) -> list[str]:
    """Every curve with its members' range; white is the trained range, grey is outside."""
    if not result.curves:
        return []
    places = list(dict.fromkeys(c.probe for c in result.curves))
    labels = list(dict.fromkeys(c.axis.label for c in result.curves))
    figure = new_figure(13.0, 0.7 + 1.7 * len(labels))
    grid = figure.subplots(len(labels), len(VARIABLES), squeeze=False, sharex="row")
    for i, label in enumerate(labels):
        of = [c for c in result.curves if c.axis.label == label]
        for j, variable in enumerate(VARIABLES):
            axes = grid[i][j]
            for curve in of:
                if variable in curve.values:
                    colour = COLOURS[places.index(curve.probe) % len(COLOURS)]
                    values = curve.values[variable]
                    axes.plot(curve.x, values.mean(axis=0), ".-", color=colour, linewidth=1, markersize=2.5)
                    if len(values) > 1:
                        axes.fill_between(curve.x, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
            low, high = of[0].trained
            first, last = float(np.min(of[0].x)), float(np.max(of[0].x))
            for begin, end in ((first, min(low, last)), (max(high, first), last)):
                if end > begin:
                    axes.axvspan(begin, end, color="#eef1f4", zorder=0)
            if variable in ("nee", "delta_soc"):
                axes.axhline(0, color=QUIET, linewidth=0.5)
            if of[0].axis.log:
                axes.set_xscale("log")
            if i == 0:
                axes.set_title(f"{variable}, gC m-2 yr-1", fontsize=9, color=INK)
            if j == 0:
                axes.set_ylabel(f"{label}\n(range: {of[0].source})", fontsize=7)
            plain(axes)
    for k, place in enumerate(places):
        grid[0][0].plot([], [], color=COLOURS[k % len(COLOURS)], label=place)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(places), fontsize=8, frameon=False)
    figure.savefig(out / "responses.png")
    return ["responses.png"]
