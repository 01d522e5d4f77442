"""The test on synthetic runs as a picture: R2 of every model, a panel per variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldflux.app.evaluate.plots import FLOORS, MODEL, new_figure

from .figures import finished, titled

SHOWN = ("yield", "ra", "rh", "nee", "yearly ra", "yearly rh", "yearly nee")
CROPS = "maize and soybean"  # what the published network knows


def plot_synthetic(out: Path, r2: Mapping[tuple[str, str, str, str], float], models: Sequence[str]) -> list[Path]:
    """synthetic.png in `out`. r2: (model, split, crops, variable) -> R2 against the teacher; below 0 drawn at 0."""
    splits = list(dict.fromkeys(split for _, split, crops, _ in r2 if crops == CROPS))
    figure = new_figure(3.0 + 1.5 * len(SHOWN), 3.4)
    panels = figure.subplots(1, len(SHOWN), squeeze=False, sharey=True)[0]
    rank = {model: len(models) - k for k, model in enumerate(models)}
    for axes, variable in zip(panels, SHOWN, strict=True):
        for split, colour, shift in zip(splits, (MODEL, FLOORS[2]), (0.12, -0.12), strict=False):
            points = [(r2.get((model, split, CROPS, variable)), rank[model] + shift) for model in models]
            seen = [(max(value, 0.0), y) for value, y in points if value is not None and value == value]
            axes.plot([x for x, _ in seen], [y for _, y in seen], "o", color=colour, markersize=4, label=split)
        axes.set_xlim(-0.02, 1.02)
        titled(axes, variable, "R2")
    panels[0].set_yticks(list(rank.values()), list(rank), fontsize=8)
    return [finished(figure, panels[0], out / "synthetic.png")]
