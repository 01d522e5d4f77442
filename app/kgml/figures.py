"""What the pictures of the experiments have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fieldflux.app.evaluate.plots import INK, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def titled(axes: Axes, title: str, along: str) -> None:
    """A panel's title and what its x axis shows."""
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xlabel(along, fontsize=8)
    plain(axes)


def finished(figure: Figure, axes: Axes, path: Path) -> Path:
    """The picture with the legend of one of its panels above, written to a file."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path)
    return path
