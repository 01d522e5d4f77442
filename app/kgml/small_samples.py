"""Small samples: KGML against pure machine learning as the sample of places to learn from grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldflux.app.evaluate.plots import FLOORS, MODEL, new_figure

from .budget import ALL, KGML, PURE_ML, Budget, Part, Trial
from .figures import finished, titled
from .tables import Result, as_table, median, places_in, spread, sums_in, variables_in, write_csv

LOWEST = -0.5  # of R2 in the plot: an untrained network is far below


def small_sample_trials(budget: Budget) -> list[Trial]:
    """Both models, every size, every replicate."""
    sizes: dict[Part, tuple[int, ...]] = {"towers": budget.tower_sizes, "counties": budget.county_sizes}
    return [
        Trial(part, arm, size, replicate)
        for part, of_part in sizes.items()
        for size in of_part
        for arm in (KGML, PURE_ML)
        for replicate in range(budget.replicates)
    ]


def write_small_samples(out: Path, results: Sequence[Result], models: Mapping[str, str]) -> list[Path]:
    """small-samples.csv (a row per trial, variable and kind of GPP), .txt (all replicates together) and .png.

    models: label -> name of the arm.
    """
    label = {arm: name for name, arm in models.items()}
    shown = [(v, g) for v, g in variables_in(results) if v != "balance"]
    rows, lines = [], []
    for variable, gpp in shown:
        mine = [r for r in results if sums_in(r, variable, gpp).n]
        for r in mine:
            s = sums_in(r, variable, gpp)
            of_places = median([one.r2 for one in places_in(r, variable, gpp)])
            rows.append((r["part"], label[r["arm"]], variable, gpp, _size(r["size"]), len(r["drawn"]), r["replicate"],
                         s.n, s.r2, of_places, s.rmse, s.bias, r["seconds"], " ".join(r["drawn"])))  # fmt: skip
        for size in sorted({r["size"] for r in mine}, key=_place):
            line: list[object] = [variable, gpp, _size(size)]
            for arm in models.values():
                own = [r for r in mine if (r["arm"], r["size"]) == (arm, size)]
                pooled, least, most = spread(own, variable, gpp, "r2")
                line += [pooled, f"{least:.2f} to {most:.2f}", spread(own, variable, gpp, "rmse")[0]]
            lines.append(line)
    head = ("part", "model", "variable", "gpp", "size", "places", "replicate", "n", "r2", "median_place_r2", "rmse",
            "bias", "seconds", "drawn")  # fmt: skip
    written = [write_csv(out / "small-samples.csv", head, rows)]
    columns = ["variable", "GPP", "places"]
    for name in models:
        columns += [f"{name} R2", f"{name} R2, replicates", f"{name} RMSE"]
    text = out / "small-samples.txt"
    text.write_text(_introduction(results) + as_table(columns, lines))
    return [*written, text, *_plot(out, results, models, shown)]


def _introduction(results: Sequence[Result]) -> str:
    count = len({r["replicate"] for r in results})
    return (
        f"Held-out places, {count} replicates. Fluxes: daily, gC m-2 d-1; each replicate holds out other groups of "
        f"towers, and R2 is over the days of all of them together. NEE with given GPP is little more than Reco. "
        f"Yields: t ha-1, counties held out by the yield split, with the process model's GPP. Size 0: pre-trained "
        f"alone, or untrained.\n\n"
    )


def _plot(
    out: Path, results: Sequence[Result], models: Mapping[str, str], shown: Sequence[tuple[str, str]]
) -> list[Path]:
    """A panel per variable and kind of GPP: R2 of all replicates together by size, and the range of the replicates."""
    if not shown:
        return []
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    figure = new_figure(1.0 + 3.4 * across, 1.0 + 2.8 * down)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (variable, gpp) in zip(grid, shown, strict=False):
        mine = [r for r in results if sums_in(r, variable, gpp).n]
        sizes = sorted({r["size"] for r in mine}, key=_place)
        for (name, arm), colour in zip(models.items(), (MODEL, FLOORS[2]), strict=False):
            own = [[r for r in mine if (r["arm"], r["size"]) == (arm, size)] for size in sizes]
            curve = [tuple(max(v, LOWEST) for v in spread(one, variable, gpp, "r2")) for one in own]
            at = list(range(len(sizes)))
            axes.fill_between(at, [c[1] for c in curve], [c[2] for c in curve], color=colour, alpha=0.18, linewidth=0)
            axes.plot(at, [c[0] for c in curve], "o-", color=colour, markersize=4, linewidth=1.2, label=name)
        axes.set_xticks(range(len(sizes)), [_size(size) for size in sizes])
        axes.set_ylim(LOWEST, 1.0)
        titled(
            axes,
            f"{variable.replace('_', ' ')}, {gpp} GPP",
            "counties learnt from" if "yield" in variable else "groups of towers learnt from",
        )
        axes.set_ylabel("R2 at held-out places", fontsize=8)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    return [finished(figure, grid[0], out / "small-samples.png")]


def _size(size: int) -> str:
    return "all" if size == ALL else str(size)


def _place(size: int) -> float:
    return float("inf") if size == ALL else size
