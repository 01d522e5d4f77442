"""Forecasts of held-out harvests by their day of issue, beside the county's line and what the weather so far tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from fieldflux.app.evaluate.report import Table
from fieldflux.app.evaluate.yieldsplit import TRAINING, split_yields
from fieldflux.models.card import Score
from fieldflux.models.hybrids.crop.forecast import half_width_at
from fieldflux.models.hybrids.crop.model import HybridCrop
from fieldflux.models.hybrids.crop.served import KINDS, Kind
from fieldflux.models.scores import score
from fieldflux.tiles.measurements import read_panel
from numpy.typing import NDArray

from .county import CountyYear, begins_on, county_years, harvest_day
from .forecasting import earlier_years, forecast_rows

Array = NDArray[np.float64]
Told = Callable[[float, str], None]
ISSUES: dict[bool, tuple[tuple[int, int], ...]] = {
    False: ((6, 1), (7, 1), (8, 1), (9, 1)),
    True: ((4, 1), (5, 1), (6, 1)),
}
"""Months and days of issue of spring and of winter crops."""
COLUMNS = (
    "crop", "split", "issued", "n", "rmse_t_ha", "bias_t_ha", "nse", "line_rmse_t_ha", "climatology_rmse_t_ha",
    "coverage_90", "width_90_t_ha", "spread_rmse",
)  # fmt: skip
NOTE = (
    "Forecasts: the season's own weather up to the day of issue, then that of each earlier year of the same county "
    "(at most 15; of short records one to five). Climatology is the forecast of before the season: all its weather is "
    "that of earlier years. The line is the county's, of earlier reports. Held-out counties and years that have an "
    "earlier year of weather."
)


def forecasts_of(model: HybridCrop, data: Path, told: Told) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """RMSE, bias and coverage by crop, part and day of issue. Raises BadMeasurements."""
    panel = read_panel(data)
    split = split_yields(panel)
    lines: list[tuple[str | float | int | None, ...]] = []
    for k, kind in enumerate(KINDS):
        told(k / len(KINDS), f"forecasts of {kind.name}")
        rows = [
            r
            for r in county_years(panel, kind, data)
            if split.part(r.record.fips, r.year) != TRAINING and earlier_years(r) and np.isfinite(r.expected)
        ]
        parts = np.array([split.part(r.record.fips, r.year) for r in rows])
        if len(rows):
            lines += _of_crop(model, kind, rows, parts)
    title = "Forecasts of yields by day of issue [t ha-1]"
    return (Table("forecasts", title, COLUMNS, tuple(lines)),), (NOTE,)


def _of_crop(
    model: HybridCrop, kind: Kind, rows: Sequence[CountyYear], parts: NDArray[np.str_]
) -> list[tuple[str | float | int | None, ...]]:
    networks = model.networks[kind.name]
    observed, line = np.array([r.observed for r in rows]), np.array([r.expected for r in rows])
    usual = np.array([v.mean() for v in forecast_rows(kind, networks, rows, [1] * len(rows))])
    lines: list[tuple[str | float | int | None, ...]] = []
    issues: list[tuple[str, list[int]]] = [
        (f"{date(2001, *issue):%-d %B}", [_cut(kind, r, issue) for r in rows]) for issue in ISSUES[kind.autumn]
    ]
    issues.append(("harvest", [harvest_day(kind, r) + 1 for r in rows]))
    for said, cuts in issues:
        found = forecast_rows(kind, networks, rows, cuts)
        mean = np.array([v.mean() for v in found])
        half = np.array([
            half_width_at(model.card, kind, v, harvest_day(kind, r) - c, 0.9)
            for v, r, c in zip(found, rows, cuts, strict=True)
        ])  # fmt: skip
        for part in sorted(set(parts.tolist())):
            here = parts == part
            own = score(mean[here], observed[here])
            if own.n < 3:
                continue
            inside = np.abs(mean - observed)[here] <= half[here]
            chosen = [v for v, h in zip(found, here, strict=True) if h]
            members = np.array([[v[m].mean() for v in chosen] for m in range(len(networks))])
            spread = float(np.std([score(m, observed[here]).rmse for m in members], ddof=1))
            floors = (score(line[here], observed[here]).rmse, score(usual[here], observed[here]).rmse)
            width = float(2 * half[here].mean())
            numbers = (own.rmse, own.bias, own.nse, *floors, float(inside.mean()), width, spread)
            lines.append((kind.name, part, said, own.n, *(round(x, 4) for x in numbers)))
    return lines


def _cut(kind: Kind, row: CountyYear, issue: tuple[int, int]) -> int:
    """Days of the season's memory whose weather is known on the morning of the day of issue."""
    return (date(row.year, *issue) - begins_on(kind, row.year)).days


def to_scores(table: Table) -> tuple[Score, ...]:
    """Lines of the table as scores of a card."""
    out = []
    for line in table.lines:
        of = dict(zip(table.columns, line, strict=True))
        split = f"forecast issued {of['issued']}, {of['split']}: {of['crop']}"
        for metric, column, unit, floors in (
            ("rmse", "rmse_t_ha", "t ha-1", {"county trend": "line_rmse_t_ha", "climatology": "climatology_rmse_t_ha"}),
            ("coverage of the 90 % interval", "coverage_90", "1", {}),
        ):
            out.append(
                Score(
                    variable="yield", metric=metric, value=float(of[column] or 0.0), unit=unit, split=split,
                    data="USDA NASS county yields", n=int(of["n"] or 0),
                    spread=float(of["spread_rmse"] or 0.0) if metric == "rmse" else None,
                    baseline={name: float(of[c] or 0.0) for name, c in floors.items()},
                )
            )  # fmt: skip
    return tuple(out)


def plot_forecasts(out: Path, table: Table) -> list[str]:
    """RMSE by day of issue, a panel for each crop and part; returns the file's name."""
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys((line[0], line[1]) for line in table.lines))
    if not groups:
        return []
    figure = Figure(figsize=(4.2 * len(groups), 3.4), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    for axis, group in zip(axes, groups, strict=True):
        lines = [dict(zip(table.columns, x, strict=True)) for x in table.lines if (x[0], x[1]) == group]
        said = [str(x["issued"]) for x in lines]
        axis.plot(said, [x["rmse_t_ha"] for x in lines], "o-", label="hybrid crop")
        axis.plot(said, [x["climatology_rmse_t_ha"] for x in lines], "--", label="before the season")
        axis.plot(said, [x["line_rmse_t_ha"] for x in lines], ":", label="county's line")
        axis.set_ylim(bottom=0.0)
        axis.set_title(f"{str(group[0]).replace('_', ' ')}, {group[1]} (n = {lines[0]['n']})", fontsize=9)
        axis.set_xlabel("issued", fontsize=9)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("RMSE of yield, t ha$^{-1}$", fontsize=9)
    axes[0].legend(fontsize=8)
    figure.savefig(out / "forecasts.png", dpi=120)
    return ["forecasts.png"]
