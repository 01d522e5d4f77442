"""The long-term experiments as an experiment: every variant of the model, scored beside no change, with contrasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.app.evaluate.soil import Plot, mean_of_others
from fieldflux.app.kgml.tables import as_table, write_csv
from fieldflux.models.hybrids.binn.network import Ensemble
from numpy.typing import NDArray

from .contrasts import FACTORS, Pair, interval, pairs_of
from .farming import ASSUMED
from .longterm import STARTS, Field, Start, modelled_plots, read_fields

Array = NDArray[np.float64]
Told = Callable[[float, str], None]
Rows = list[tuple[object, ...]]

ALL, LONG = "all", 9
HEAD = (
    "which", "parameters", "start", "stock at start", "plots", "sites", "rmse", "rmse_low", "rmse_high", "bias",
    "bias_low", "bias_high", "sign_right", "signed", "r", "within_2_se", "with_se", "start_stock",
)  # fmt: skip
PAIR_HEAD = (
    "factor", "parameters", "start", "pairs", "sites", "measured", "measured_low", "measured_high", "modelled",
    "modelled_low", "modelled_high", "rmse", "rmse_no_difference", "sign_right",
)  # fmt: skip


def longterm(data: Path, out: Path, model: Ensemble, told: Told) -> list[Path]:
    """longterm.txt, longterm.csv (scores), longterm_plots.csv, longterm_pairs.csv (contrasts), longterm.png.

    Raises BadMeasurements. Nothing is fitted to the experiments, so all plots are a test.
    """
    told(0.0, "reading the experiments")
    fields, skipped = read_fields(data)
    if not fields:
        text = out / "longterm.txt"
        text.write_text("\n".join(skipped) + "\n")
        return [text]
    scores: Rows = []
    plots_rows: Rows = []
    contrasts: Rows = []
    shown: dict[str, list[Plot]] = {}
    variants: list[tuple[str, Ensemble | None, Start, bool]] = [
        (name, ensemble, start, anchored)
        for name, ensemble in (("CLM5 defaults", None), (f"BINN ({model.members} members)", model))
        for start in STARTS
        for anchored in (True, False)
    ]
    for k, (name, ensemble, start, anchored) in enumerate(variants):
        stocks = "measured" if anchored else "modelled"
        told((k + 0.5) / len(variants), f"{name}, {start}, stock {stocks}")
        plots, begun = modelled_plots(fields, ensemble, start, anchored)
        for which, kept in groups_of(fields, plots).items():
            some = [plots[i] for i in kept]
            if not k:
                scores += [(which, *row) for row in floors_of(some)]
            scores.append((which, name, start, stocks, *scores_of(some), float(np.mean([begun[i] for i in kept]))))
        for p, first in zip(plots, begun, strict=True):
            plots_rows.append(
                (name, start, stocks, p.site, p.treatment, p.first, p.last, p.n, p.crops, p.nitrogen, p.measured,
                 p.error, p.mean, float(p.modelled.min()), float(p.modelled.max()), first)
            )  # fmt: skip
        if anchored:
            shown[f"{name}, {start}"] = plots
            contrasts += contrast_rows(name, start, pairs_of(fields, plots))
    plot_head = (
        "parameters", "start", "stock at start", "site", "plot", "first", "last", "n", "crops", "nitrogen", "measured",
        "standard_error", "modelled", "lowest_member", "highest_member", "modelled_start_stock",
    )  # fmt: skip
    made = [
        write_csv(out / "longterm.csv", HEAD, scores),
        write_csv(out / "longterm_plots.csv", plot_head, plots_rows),
        write_csv(out / "longterm_pairs.csv", PAIR_HEAD, contrasts),
        _text(out / "longterm.txt", scores, contrasts, skipped, fields),
        _figure(out / "longterm.png", shown),
    ]
    told(1.0, "done")
    return made


def groups_of(fields: Sequence[Field], plots: Sequence[Plot]) -> dict[str, list[int]]:
    """Which plots, by index: all; those on which models without cover crops are scored; those of nine years or more,
    in which a trend is more than the scatter of two samplings."""
    covered = {f.plot.treatment for f in fields if f.cover}
    found = {
        ALL: list(range(len(plots))),
        "without cover crops": [i for i, p in enumerate(plots) if p.treatment not in covered],
        f"{LONG} years or more": [i for i, p in enumerate(plots) if p.last - p.first >= LONG],
    }
    return {name: kept for name, kept in found.items() if kept}


def floors_of(plots: Sequence[Plot]) -> Rows:
    """No change, and the mean of the other sites."""
    measured = np.array([p.measured for p in plots])
    sites = [p.site for p in plots]
    found: Rows = []
    for name, values in (("no change", np.zeros(len(plots))), ("mean of other sites", mean_of_others(sites, measured))):
        found.append((name, "", "", *_numbers(values, plots), float("nan")))
    return found


def scores_of(plots: Sequence[Plot]) -> tuple[object, ...]:
    """Of the members' mean trends, see HEAD; intervals of 90 % by drawing sites."""
    return _numbers(np.array([p.mean for p in plots]), plots)


def _numbers(modelled: Array, plots: Sequence[Plot]) -> tuple[object, ...]:
    measured, sites = np.array([p.measured for p in plots]), [p.site for p in plots]
    off = modelled - measured
    signed = measured != 0.0
    right = int((np.sign(modelled) == np.sign(measured))[signed].sum())
    error = np.array([p.error for p in plots])
    known = np.isfinite(error)
    inside = int((np.abs(off) <= 2.0 * error)[known].sum())
    r = float(np.corrcoef(modelled, measured)[0, 1]) if np.ptp(modelled) > 0.0 else float("nan")
    return (
        len(plots), len(set(sites)), _rms(off), *interval(off, sites, _rms), float(off.mean()),
        *interval(off, sites, _mean), right, int(signed.sum()), r, inside, int(known.sum()),
    )  # fmt: skip


def contrast_rows(name: str, start: str, pairs: Sequence[Pair]) -> Rows:
    """A row per factor; a factor without a pair is told with 0 pairs."""
    found: Rows = []
    for factor in FACTORS:
        own = [p for p in pairs if p.factor == factor]
        if not own:
            found.append((factor, name, start, 0, 0, *[float("nan")] * 8, ""))
            continue
        sites = [p.site for p in own]
        measured, modelled = np.array([p.measured for p in own]), np.array([p.modelled for p in own])
        right = int((np.sign(measured) == np.sign(modelled)).sum())
        found.append((
            factor, name, start, len(own), len(set(sites)),
            float(measured.mean()), *interval(measured, sites, _mean),
            float(modelled.mean()), *interval(modelled, sites, _mean),
            _rms(modelled - measured), _rms(measured), f"{right} of {len(own)}",
        ))  # fmt: skip
    return found


def _rms(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _mean(values: Array) -> float:
    return float(values.mean())


def _text(path: Path, scores: Rows, contrasts: Rows, skipped: Sequence[str], fields: Sequence[Field]) -> Path:
    lines = [
        "Trends of soil carbon of long-term experiments, gC m-2 yr-1. Nothing was fitted to them. Intervals: 90 %, by "
        "drawing whole sites.",
        "start: 'history' from the native state through cultivation; 'equilibrium' at rest under the crops before. "
        "stock at start 'measured': the site's pools are scaled to the mean of its plots' first measurements.",
        "",
        as_table(HEAD, sorted(scores, key=lambda row: str(row[0]))),
        "Contrasts within experiments (with measured stocks at the start): mean difference of two plots' trends, "
        + "; ".join(f"{name}: {what}" for name, what in FACTORS.items()) + ".",
        "",
        as_table(PAIR_HEAD, contrasts),
        *(f"- {sentence}" for sentence in ASSUMED),
        f"- Plots with a cover crop ({sum(f.cover for f in fields)}) have their twin's management and its input added.",
        "- A BINN's parameters of cropland hold the usual tillage (CLM5's lower intensity); plots count by what is "
        "more or less. Its native state is that of grassland or forest at the same place.",
        "- Measured stocks are of an undocumented depth, taken as that of 0-30 cm.",
        *(f"- {sentence}" for sentence in skipped),
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


def _figure(path: Path, shown: dict[str, list[Plot]]) -> Path:
    from fieldflux.app.evaluate.plots import INK, QUIET, new_figure, plain

    figure = new_figure(8.6, 8.0)
    grid: Any = figure.subplots(2, 2, sharex=True, sharey=True)
    values = np.array([[p.measured, p.mean] for plots in shown.values() for p in plots])
    low, high = float(values.min()) - 30.0, float(values.max()) + 30.0
    for axes, (name, plots) in zip(grid.flat, shown.items(), strict=True):
        for site in dict.fromkeys(p.site for p in plots):
            own = [p for p in plots if p.site == site]
            axes.plot([p.measured for p in own], [p.mean for p in own], "o", markersize=4, label=site)
        axes.plot([low, high], [low, high], color=INK, linewidth=0.6)
        axes.axhline(0, color=QUIET, linewidth=0.5)
        axes.axvline(0, color=QUIET, linewidth=0.5)
        axes.set_title(name, fontsize=9, color=INK)
        plain(axes)
    grid[1, 0].set_xlabel("measured trend, gC m-2 yr-1", fontsize=8)
    grid[1, 0].set_ylabel("modelled trend, gC m-2 yr-1", fontsize=8)
    grid[0, 0].legend(fontsize=7, frameon=False)
    figure.savefig(path)
    return path
