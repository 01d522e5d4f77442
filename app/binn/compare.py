"""BINNs beside simpler methods at held-out soils: 2-degree blocks and states left out, with coverage of intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from fieldflux.app.kgml.tables import as_table, write_csv
from fieldflux.models.hybrids.binn.lessons import Lessons
from fieldflux.models.hybrids.binn.recipe import NetworkRecipe, TrainingRecipe

from .floors import MEAN
from .heldout import LEVELS, SCORED, STOCKS, HeldOut, Line, covered, floors_held_out, held_out, line, scored
from .recipe import BinnRecipe
from .sites import SoilTable
from .soils import lessons_of
from .splits import Split, blocks, states_out

Told = Callable[[float, str], None]
STATE_FOLDS = 5
OURS, DENSE, PUBLISHED, FLAT = "BINN", "BINN, dense", "BINN, published", "BINN, same forcing everywhere"


@dataclass(frozen=True, slots=True)
class Rival:
    """A method that is a BINN: its recipe, and what it is given to learn from (None: the soils as they are).
    draws: of each kind of split that it takes part in."""

    method: str
    recipe: BinnRecipe
    lessons: Callable[[SoilTable], Lessons] | None = None
    draws: int = 99


def rivals(recipe: BinnRecipe, published: BinnRecipe) -> tuple[Rival, ...]:
    """Ours, the same with a dense network in place of the curves, the published one, and ours without its forcing."""
    dense = recipe.model_copy(
        update={
            "network": NetworkRecipe(encoder="mlp", bound="hard", scale="log", cap="smooth"),
            "training": TrainingRecipe(epochs=10, rate=3e-3),
        }
    )
    return (
        Rival(OURS, recipe),
        Rival(DENSE, dense),
        Rival(PUBLISHED, published),
        Rival(FLAT, recipe.model_copy(update={"fold_members": 2}), same_forcing, 1),
    )


def same_forcing(table: SoilTable) -> Lessons:
    """The soils' lessons with the mean climate, water and litter of all at each: the process model then adds its
    structure alone, and what places differ in can come through the covariates only."""
    taught = lessons_of(table)
    f = taught.forcing
    row = torch.arange(f.cells) if f.row is None else f.row
    mean = replace(
        f,
        temperature=f.temperature[row].mean(0, keepdim=True),
        water=f.water[row].mean(0, keepdim=True),
        litter=f.litter.mean(0).expand_as(f.litter).contiguous(),
        row=torch.zeros(f.cells, dtype=torch.int64),
    )
    return replace(taught, forcing=mean)


def splits_of(table: SoilTable, seeds: Sequence[int], folds: int) -> tuple[tuple[str, Split], ...]:
    """("blocks", split) for each seed, ("states", split) for the first."""
    s = table.soils
    return (
        *(("blocks", blocks(s.latitude, s.longitude, seed, folds)) for seed in seeds),
        *(("states", states_out(table.state, seed, STATE_FOLDS)) for seed in seeds[:1]),
    )


def compare(
    table: SoilTable,
    chosen: Sequence[Rival],
    splits: Sequence[tuple[str, Split]],
    work: Path,
    told: Told = lambda *_: None,
) -> list[tuple[str, HeldOut]]:
    """(kind of split, method's held-out predictions) of every method and split; what is in `work` is read."""
    found: list[tuple[str, HeldOut]] = []
    count = len(chosen) + 1
    for at, (kind, split) in enumerate(splits):
        draw = sum(1 for other, _ in splits[:at] if other == kind)
        for k, rival in enumerate(chosen):
            begun = (at * count + k) / (count * len(splits))
            if draw >= rival.draws:
                continue
            folder = work if rival.lessons is None else work / rival.lessons.__name__
            folder.mkdir(parents=True, exist_ok=True)
            given = None if rival.lessons is None else rival.lessons(table)

            def said(f: float, what: str, begun: float = begun, name: str = f"{split.name}, {rival.method}") -> None:
                told(begun + f / (count * len(splits)), f"{name}: {what}")

            found.append((kind, held_out(rival.recipe, table, split, folder, said, rival.method, given)))
        told((at * count + len(chosen)) / (count * len(splits)), f"{split.name}: simpler methods")
        found += [(kind, one) for one in floors_held_out(table, split, None, work)]
    return found


HEAD = (
    "split", "draws", "stock", "soils", "method", "n", "log_r2", "log_r2_sd", "log_rmse", "r2", "r2_sd", "rmse",
    "rmse_sd", "bias", "log_r2_training", "cover_50", "cover_80", "cover_90", "cover_95", "width_90",
)  # fmt: skip


def table_of_scores(found: Sequence[tuple[str, HeldOut]], table: SoilTable) -> list[tuple[object, ...]]:
    """Rows of HEAD: means over the draws, sd their spread; cover: share of single pits in the interval that the other
    blocks set, blocks weighing the same; width_90: mean of the upper over the lower end of 90 % intervals."""
    out: list[tuple[object, ...]] = []
    for others in (False, True):
        for name in STOCKS:
            if others and scored(table, name, True).sum() < 50:
                continue
            for kind, method in dict.fromkeys((kind, one.method) for kind, one in found):
                ones = [one for k, one in found if (k, one.method) == (kind, method)]
                lines = [line(one, table, name, others) for one in ones]
                cover = [covered(one, table, name) for one in ones] if len(ones[0].members) > 1 and not others else []
                shares = [
                    float(np.mean([c[level].share for c in cover])) if cover else float("nan") for level in LEVELS
                ]
                width = float(np.mean([np.exp(c[0.9].mean_width) for c in cover])) if cover else float("nan")

                def of(pick: Callable[[Line], float], rows: Sequence[Line] = lines) -> tuple[float, float]:
                    values = [pick(x) for x in rows]
                    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

                log, r2, rmse = of(lambda x: x.log.nse), of(lambda x: x.plain.nse), of(lambda x: x.plain.rmse)
                out.append(
                    (
                        kind, len(ones), name, lines[0].soils, method, lines[0].log.n, *log,
                        of(lambda x: x.log.rmse)[0], *r2, *rmse, of(lambda x: x.plain.bias)[0],
                        of(lambda x: x.train)[0], *shares, width,
                    )
                )  # fmt: skip
    return out


def write_compared(out: Path, rows: Sequence[tuple[object, ...]], notes: Sequence[str]) -> list[Path]:
    """The table as text, CSV and JSON, and a picture of the R2 of logarithms."""
    text = out / "binn-blocks.txt"
    shown = [HEAD.index(name) for name in HEAD if name not in ("rmse_sd", "r2_sd")]
    text.write_text(
        "Soil carbon at held-out soils: means over draws of the split, sd their spread. R2 is 1 - SSE / SST.\n"
        + "".join(f"* {note}\n" for note in notes)
        + "\n"
        + as_table([HEAD[i] for i in shown], [[_short(HEAD[i], row[i]) for i in shown] for row in rows]),
        encoding="utf-8",
    )
    plain = [{h: None if v != v else v for h, v in zip(HEAD, row, strict=True)} for row in rows]
    (out / "binn-blocks.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return [text, write_csv(out / "binn-blocks.csv", HEAD, rows), out / "binn-blocks.json", _plot(out, rows)]


def _short(column: str, value: object) -> object:
    if isinstance(value, float):
        return "" if value != value else f"{value:.0f}" if column in ("rmse", "bias") else f"{value:.3f}"
    return value


def _plot(out: Path, rows: Sequence[tuple[object, ...]]) -> Path:
    from fieldflux.app.evaluate.plots import INK, plain
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(str(row[0]) for row in rows))
    figure = Figure(figsize=(9.0, 2.6 * len(kinds) + 0.6), layout="constrained")
    panels = figure.subplots(len(kinds), len(STOCKS), squeeze=False, sharex=True)
    for i, kind in enumerate(kinds):
        for j, name in enumerate(STOCKS):
            some = [r for r in rows if (r[0], r[2], r[3]) == (kind, name, SCORED) and r[4] != MEAN]
            axes = panels[i][j]
            axes.barh(
                [str(r[4]) for r in some],
                [float(str(r[HEAD.index("log_r2")])) for r in some],
                xerr=[float(str(r[HEAD.index("log_r2_sd")])) for r in some],
                color=["#2f6f4f" if str(r[4]) == OURS else "#b8b8b0" for r in some],
            )
            axes.invert_yaxis()
            axes.set_title(f"{name}, {kind}: R2 of logarithms at held-out soils", fontsize=9, color=INK)
            plain(axes)
    path = out / "binn-blocks.png"
    figure.savefig(path, dpi=130)
    return path
