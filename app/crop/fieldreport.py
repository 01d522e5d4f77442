"""The experiments on fields as a table (text and CSV) and a figure."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from .fieldfloors import FLOORS
from .fieldmodels import MODELS, Choice
from .fieldrecipe import CropName
from .fieldscores import POOLED, Score, Spread, scores_of
from .fieldstudy import Study, Told, field_study

CROP_NAMES = {"maize": "maize", "soybean": "soybean", "winter_wheat": "winter wheat"}
COLOURS = {
    "LINTUL5 as it comes": "#7f7f7f", "LINTUL5 calibrated": "#1f6fb4", "LSTM": "#d98b1a", "LSTM pre-trained": "#b45a9c",
    "LSTM with physics": "#c03a2b", "LSTM to LINTUL5": "#1a7f4b", "boosting": "#8c6d46",
}  # fmt: skip


def field_experiment(
    name: str, data_dir: Path, work: Path, out: Path, recipe: Path, crop: CropName | None, quick: bool, told: Told
) -> list[Path]:
    """Make an experiment of `fieldstudy.NAMES` for one crop or all and write it to `out`. Raises BadFieldRecipe."""
    return write_study(field_study(name, data_dir, work, recipe, crop, quick, told), out)


def write_study(study: Study, out: Path) -> list[Path]:
    """The experiment's text table, CSV and figure in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    scores = scores_of(study)
    crops = "" if len(study.inputs) > 1 else f"-{next(iter(study.inputs))}"
    text, table, figure = (out / f"{study.name}{crops}.{kind}" for kind in ("txt", "csv", "png"))
    text.write_text("\n".join(_lines(study, scores)) + "\n")
    _csv(table, scores, study)
    (_figure_of_places if study.name == "crop-fields" else _figure_of_levels)(figure, study, scores)
    return [text, table, figure]


def _lines(study: Study, scores: list[Score]) -> list[str]:
    recipe = study.recipe
    lines = [
        f"{study.name}: measured biomass above ground; every season is predicted by models that did not learn from "
        f"its place. Mean and standard deviation over {recipe.seeds} seeds.",
        "Strengths of penalties and numbers of steps are chosen on places held out inside each training. Models see "
        "all of a season's weather: these are hindcasts.",
    ]  # fmt: skip
    for crop, inputs in study.inputs.items():
        split = study.splits[crop]
        own = [s for s in scores if s.crop == crop]
        n = next(s.n for s in own if s.place == POOLED)
        lines += [
            "",
            f"{CROP_NAMES[crop]}: {len(inputs.names)} seasons, {len(set(inputs.experiments))} experiments, n = {n}; "
            f"{split.what} ({len(split.names)}).",
        ]  # fmt: skip
        lines += [f"  {note}" for note in inputs.notes]
        wide = study.name == "crop-fields"
        head = f"{'':20s} {'':22s} {'R2':>14s} {'RMSE, g m-2':>15s} {'bias':>7s} {'grain RMSE':>11s} {'falls':>7s} "
        lines.append(head + f"{'beyond':>7s}" + ("" if not wide else "   RMSE at " + ", ".join(split.names)))
        for s in (s for s in own if s.place == POOLED):
            row = (
                f"{s.level:20s} {s.model:22s} {_both(s.r2, 2):>14s} {_both(s.rmse, 0):>15s} {s.bias.mean:7.0f} "
                f"{_or_dash(s.grain_rmse.mean):>11s} {100 * s.falls.mean:6.2f}% {100 * s.beyond.mean:6.2f}%"
            )
            if wide:
                at = {p.place: p for p in own if p.model == s.model and p.level == s.level}
                row += "   " + "  ".join(f"{at[name].rmse.mean:4.0f}" for name in split.names)
            lines.append(row)
        if wide:
            chosen = [r for r in study.results if r.crop == crop and r.choice is not None]
            lines.append(f"chosen for {', '.join(split.names)}, as strength/weight of grain and leaves/steps:")
            lines += [f"{'':20s} {r.model:22s} {_choices(r.choice)}" for r in chosen if r.choice]
    lines += [
        "",
        "falls: days before flowering on which biomass falls by more than 1 g m-2. beyond: days on which it grows by "
        "more than the day's light allows.",
    ]
    lines += [f"Left out: {reason}" for reason in study.left_out]
    return lines


def _choices(choice: Choice) -> str:
    each = zip(choice.strength, choice.extra, choice.steps, strict=True)
    return "  ".join(f"{strength:g}/{extra:g}/{steps}" for strength, extra, steps in each)


def _both(value: Spread, places: int) -> str:
    return f"{value.mean:.{places}f} ±{value.sd:.{places}f}"


def _or_dash(value: float) -> str:
    return "-" if value != value else f"{value:.0f}"


def _csv(path: Path, scores: list[Score], study: Study) -> None:
    columns = ("r2", "rmse", "bias", "grain_rmse", "falls", "beyond")
    units = {"rmse": "rmse_g_m2", "bias": "bias_g_m2", "grain_rmse": "grain_rmse_g_m2"}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["crop", "split", "level", "model", "place", "n", "seeds",
                         *(name for c in columns for name in (units.get(c, c), f"{c}_sd"))])  # fmt: skip
        for s in scores:
            values = [v for c in columns for v in (getattr(s, c).mean, getattr(s, c).sd)]
            writer.writerow([s.crop, study.splits[s.crop].what, s.level, s.model, s.place, s.n,  # type: ignore[index]
                             study.recipe.seeds, *(f"{v:.6g}" for v in values)])  # fmt: skip


def base_of(crop: str) -> str:
    """The model as it comes that the hybrids of a crop are built on."""
    return "LINTUL5 day length" if crop == "soybean" else "LINTUL5 IOPT 3"


def _figure_of_places(path: Path, study: Study, scores: list[Score]) -> None:
    """Pooled error of every model with its spread over seeds, and that of each place beside it."""
    from matplotlib.figure import Figure

    count = len(study.inputs)
    figure = Figure(figsize=(4.6 * count + 1.6, 5.0), layout="constrained")
    for axes, crop in zip(figure.subplots(1, count, squeeze=False)[0], study.inputs, strict=True):
        own = [s for s in scores if s.crop == crop]
        names = [s.model for s in own if s.place == POOLED]
        for y, model in enumerate(reversed(names)):
            pooled = next(s for s in own if s.place == POOLED and s.model == model)
            places = [s.rmse.mean for s in own if s.place != POOLED and s.model == model]
            axes.plot(places, [y] * len(places), "|", color="#9a9a9a", markersize=9)
            axes.errorbar(pooled.rmse.mean, y, xerr=pooled.rmse.sd, marker="o", color=_colour(model), capsize=3)
        axes.set_yticks(range(len(names)), list(reversed(names)))
        axes.set_xlim(left=0.0)
        axes.grid(axis="x", color="#e3e3e3")
        axes.set_axisbelow(True)
        split = study.splits[crop]
        n = next(s.n for s in own if s.place == POOLED)
        axes.set_title(f"{CROP_NAMES[crop]}, n = {n}\n{split.what.split(',')[0]} ({len(split.names)})", fontsize=10)
        axes.set_xlabel("RMSE of biomass, g m$^{-2}$")
    figure.suptitle(
        "Biomass of measured field experiments at held-out groups\n"
        f"dot: all together, standard deviation of {study.recipe.seeds} seeds; stroke: each group", fontsize=10,
    )  # fmt: skip
    figure.savefig(path, dpi=130)


def _figure_of_levels(path: Path, study: Study, scores: list[Score]) -> None:
    """Error against the level of noise, inputs and targets beside each other, or against the number of places."""
    from matplotlib.figure import Figure

    noise = study.name.endswith("noise")
    kinds = ("inputs", "targets") if noise else ("",)
    figure = Figure(figsize=(4.2 * len(kinds) + 1.8, 3.3 * len(study.inputs) + 0.6), layout="constrained")
    grid = figure.subplots(len(study.inputs), len(kinds), squeeze=False, sharey="row")
    for row, crop in zip(grid, study.inputs, strict=True):
        for axes, kind in zip(row, kinds, strict=True):
            pooled = [s for s in scores if s.crop == crop and s.place == POOLED]
            _lines_of(axes, pooled, crop, kind, noise, len(study.splits[crop].names) - 1)
            axes.set_title(f"{CROP_NAMES[crop]}" + (f", noise on {kind}" if noise else ""), fontsize=10)
            axes.set_xlabel("level of noise" if noise else "groups to learn from")
        row[0].set_ylabel("RMSE of biomass, g m$^{-2}$")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=130)


def _lines_of(axes: Any, own: list[Score], crop: str, kind: str, noise: bool, others: int) -> None:
    levels = list(dict.fromkeys(s.level for s in own if not noise or kind in s.level or s.level.startswith("all")))
    if noise:
        at = [0.0 if level.startswith("all") else float(level.split("x")[1]) for level in levels]
    else:
        at = [float(others if level.startswith("all") else level.split(" of ")[0]) for level in levels]
    shown = (("boosting", "boosting"), (base_of(crop), "LINTUL5 as it comes"), *((m, m) for m in MODELS))
    for k, (model, label) in enumerate(shown):
        found = {s.level: s.rmse for s in own if s.model == model}
        axes.errorbar(
            [x + 0.02 * (k - 3) for x in at], [found[level].mean for level in levels],
            [found[level].sd for level in levels], marker="o", markersize=4, capsize=2, label=label,
            color=COLOURS[label], linestyle="--" if label.startswith(("boosting", "LINTUL5 as")) else "-",
        )  # fmt: skip
    axes.set_xticks(at, [f"{x:g}" for x in at])
    axes.set_ylim(bottom=0.0)
    axes.grid(color="#e3e3e3")


def _colour(model: str) -> str:
    if model in COLOURS:
        return COLOURS[model]
    return "#8c6d46" if model in FLOORS else "#7f7f7f"
