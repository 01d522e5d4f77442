"""The figures of the crop experiments: scores by what is varied, one line for each model, spread over seeds as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tables import Row

# colours that people who see no red or green tell apart (Okabe and Ito), and marks
STYLE = {
    "climatology": ("#999999", ":", ""), "boosting": ("#999999", "--", ""), "LINTUL5": ("#000000", "-", "s"),
    "LINTUL5 calibrated": ("#0072B2", "-", "D"), "LSTM": ("#E69F00", "-", "o"),
    "LSTM pre-trained": ("#D55E00", "-", "v"), "LSTM with physics": ("#CC79A7", "-", "^"),
    "LSTM to LINTUL5": ("#009E73", "-", "o"),
}  # fmt: skip
ALONE = {"climatology": "+", "boosting": "x"}
"""Marks of those that have none on a line."""
GROUPS = {
    "inputs": "noise on the weather", "targets": "noise on the measurements", "both": "noise on both",
    "heavy": "heavy-tailed noise on both", "gaps": "gaps in both", "share": "share of the training's seasons",
    "without": "place left out",
}  # fmt: skip


SHARES = (("r2", "R² over seasons and days"), ("season_r2", "R² at the season's end"))
ERRORS = (("rmse", "RMSE over seasons\nand days, g m$^{-2}$"), ("season_rmse", "RMSE at the season's\nend, g m$^{-2}$"))


def draw_figure(name: str, path: Path, title: str, rows: Sequence[Row]) -> None:
    """The season's score above, that of its end below; a column of panels for each group. Places are compared by their
    errors, since their spreads, by which R2 divides, differ."""
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(row.group for row in rows))
    figure = Figure(figsize=(max(7.0, 2.6 * len(groups) + 1.5), 6.4), layout="constrained")
    panels: Any = figure.subplots(2, len(groups), sharey="row", squeeze=False)
    places = name == "crop-transfer"
    for line, (metric, label) in enumerate(ERRORS if places else SHARES):
        for column, group in enumerate(groups):
            panel = panels[line][column]
            own = [row for row in rows if row.group == group]
            _lines(panel, own, metric, places)
            panel.grid(alpha=0.25)
            if column == 0:
                panel.set_ylabel(label)
            if line == 0:
                panel.set_title(GROUPS.get(group, group), fontsize=10)
            levels = list(dict.fromkeys((row.x, row.level) for row in own))
            if name == "crop-scarcity":
                panel.set_xscale("log")
                panel.minorticks_off()
            panel.set_xticks([x for x, _ in levels], [level for _, level in levels])
            if name == "crop-noise" and line == 1:
                panel.set_xlabel("level")
        shown = [row.mean(metric) for row in rows]
        panels[line][0].set_ylim(*((0.0, None) if places else (max(min(shown) - 0.05, -0.5), 1.02)))
    lines, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=4, fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)


def _lines(panel: Any, rows: Sequence[Row], metric: str, places: bool) -> None:
    models = list(dict.fromkeys(row.model for row in rows))
    xs = sorted({row.x for row in rows})
    step = (xs[-1] - xs[0]) / max(len(xs) - 1, 1) if len(xs) > 1 else 1.0
    for i, model in enumerate(models):
        own = [row for row in rows if row.model == model]
        colour, dashes, mark = STYLE[model]
        # a little beside each other, so that bars do not hide one another; on a log axis by a factor
        aside = (i / max(len(models) - 1, 1) - 0.5) * (0.6 if places else 0.16)
        log = own[0].group == "share"
        x = [row.x * (1.0 + aside) if log else row.x + aside * step for row in own]
        panel.errorbar(
            x, [row.mean(metric) for row in own], [row.spread(metric) for row in own], color=colour,
            linestyle="" if places else dashes, marker=ALONE.get(model, mark) if places else mark, markersize=5,
            linewidth=1.3, elinewidth=0.8, capsize=1.5, label=model,
        )  # fmt: skip
