"""What an experiment found, as a table (text, CSV) and a figure: every model at every level, mean and spread."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .figures import draw_figure
from .places import PLACES
from .recipe import CropRecipe
from .trials import MODELS, Scores, Trial

Result = tuple[Trial, Scores]
METRICS = ("r2", "rmse", "season_r2", "season_rmse", "falls", "unsown", "balance")
HYBRID = "LSTM to LINTUL5"
GROWERS = {"lintul5": "LINTUL5 with hidden parameters", "wofost": "WOFOST 7.2 (pcse) with hidden parameters"}


@dataclass(frozen=True, slots=True)
class Row:
    """One model at one level. x: what is varied, as a number. values: METRICS by seed, and whether the model's RMSE is
    `behind` that of the hybrid, on the same draw of truth and noise."""

    group: str
    level: str
    x: float
    model: str
    values: dict[str, np.ndarray]

    def mean(self, metric: str) -> float:
        return float(self.values[metric].mean())

    def spread(self, metric: str) -> float:
        """Standard deviation over the seeds, which are a sample; 0 of one seed."""
        found = self.values[metric]
        return float(found.std(ddof=1)) if len(found) > 1 else 0.0


def place_of(name: str, trial: Trial) -> tuple[str, str, float]:
    """(group, level, x) of a trial in the experiment's table."""
    if name == "crop-noise":
        return trial.noise.kind, f"{trial.noise.level:g}", trial.noise.level
    if name == "crop-scarcity":
        return "share", f"{100.0 * trial.share:g} %", trial.share
    away = -1 if trial.away is None else trial.away
    return "without", f"place {away + 1}", float(away)


def rows_of(name: str, results: Sequence[Result]) -> list[Row]:
    """In the order of the trials, models within."""
    found: dict[tuple[str, str, float], list[Scores]] = {}
    for trial, scores in results:
        found.setdefault(place_of(name, trial), []).append(scores)
    rows = []
    for (group, level, x), all_scores in found.items():
        for model in MODELS:
            values = {m: np.array([scores[model][m] for scores in all_scores]) for m in METRICS}
            values["behind"] = np.array([scores[HYBRID]["rmse"] < scores[model]["rmse"] for scores in all_scores])
            rows.append(Row(group, level, x, model, values))
    return rows


def write(name: str, out: Path, recipe: CropRecipe, results: Sequence[Result]) -> list[Path]:
    """NAME-TRUTH.txt, .csv, .png in `out`."""
    rows = rows_of(name, results)
    stem = f"{name}-{recipe.truth}"
    text, table, figure = (out / f"{stem}.{kind}" for kind in ("txt", "csv", "png"))
    text.write_text(as_text(name, recipe, rows))
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        spreads = [f"{m}_sd" for m in METRICS]
        writer.writerow(
            ["crop", "truth", "group", "level", "model", "seeds", "test_seasons", *METRICS, *spreads, "behind_hybrid"]
        )
        for row in rows:
            numbers = [f"{row.mean(m):.5g}" for m in METRICS] + [f"{row.spread(m):.5g}" for m in METRICS]
            writer.writerow([recipe.crop, recipe.truth, row.group, row.level, row.model, len(row.values["r2"]),
                             tested(name, recipe), *numbers, int(row.values["behind"].sum())])  # fmt: skip
    draw_figure(name, figure, f"{title_of(name, recipe)}; {seeds_of(rows)} seeds", rows)
    return [text, table, figure]


def tested(name: str, recipe: CropRecipe) -> int:
    """Seasons of one seed's test."""
    return recipe.years if name == "crop-transfer" else (recipe.years - recipe.trained) * len(PLACES)


def title_of(name: str, recipe: CropRecipe) -> str:
    what = {"crop-noise": "noise", "crop-scarcity": "few seasons", "crop-transfer": "unseen places"}[name]
    return f"{recipe.crop}, {what}; truth: {GROWERS[recipe.truth]}"


def seeds_of(rows: Sequence[Row]) -> str:
    """How many seeds the levels have."""
    counts = sorted({len(row.values["r2"]) for row in rows})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def as_text(name: str, recipe: CropRecipe, rows: Sequence[Row]) -> str:
    """The table for people."""
    seeds = seeds_of(rows)
    noise = (
        ""
        if name == "crop-noise"
        else f" Noise x {recipe.share_noise:g} on weather and measurements ({recipe.share_noise * 10:g} % and "
        f"{recipe.share_noise * 5:g} %)."
    )
    test = (
        f"all {recipe.years} seasons of the place left out"
        if name == "crop-transfer"
        else f"the {tested(name, recipe)} seasons after those of the training"
    )
    lines = [
        f"{name}. Crop: {recipe.crop}. Truth: {GROWERS[recipe.truth]}; {len(PLACES)} made-up places x {recipe.years} "
        f"seasons, the first {recipe.trained} to train.{noise}",
        f"Mean and standard deviation over {seeds} seeds (of truth, noise and weights together). Test: {test},",
        "biomass without noise, weather with it. R2 and RMSE over seasons and days; the same at the season's end, "
        "which tells seasons apart.",
        "Violations: falls of biomass before flowering, biomass before sowing, g m-2, growth that a model's own light, "
        "leaves and drought do not explain, g m-2 d-1",
        "(only the network that is held to it has them; LINTUL5 balances to rounding). behind: of the n seeds, in how "
        f"many the model's RMSE is greater than that of {HYBRID}.",
        f"{'':18s} {'':19s} {'R2':>14s} {'RMSE, g m-2':>13s} {'R2 at end':>14s} {'RMSE at end':>13s} "
        f"{'falls':>7s} {'unsown':>7s} {'balance':>8s} {'n':>3s} {'behind':>6s}",
    ]
    last = ""
    for row in rows:
        level = f"{row.group} {row.level}"
        if level != last:
            lines.append("")
        shown = level if level != last else ""
        last = level
        behind = "" if row.model == HYBRID else f"{int(row.values['behind'].sum())}"
        balance = "" if np.isnan(row.mean("balance")) else f"{row.mean('balance'):.2f}"
        lines.append(
            f"{shown:18s} {row.model:19s} {row.mean('r2'):7.3f} ±{row.spread('r2'):5.3f} {row.mean('rmse'):7.0f} "
            f"±{row.spread('rmse'):4.0f} {row.mean('season_r2'):7.3f} ±{row.spread('season_r2'):5.3f} "
            f"{row.mean('season_rmse'):7.0f} ±{row.spread('season_rmse'):4.0f} {100.0 * row.mean('falls'):6.1f}% "
            f"{row.mean('unsown'):7.1f} {balance:>8s} {len(row.values['r2']):3d} {behind:>6s}"
        )
    return "\n".join(lines) + "\n"
