"""The ablation: 16 models of GPP input, pre-training, structure and knowledge, at a small and at the whole sample.

structure: the closed network, else a plain GRU for the fluxes and one with attention for the yield. knowledge: the five
steps with their losses and freezing, else plain squared errors of all weights at once. Without GPP as an input the
closed network makes its own GPP and closes with that (models/kgml/blind.py). Networks that are not pre-trained get
twice the epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fieldflux.app.evaluate.plots import FLOORS, MODEL, new_figure

from .budget import ALL, ARMS, Budget, Part, Trial
from .figures import finished, titled
from .tables import Result, as_table, median, places_in, spread, variables_in, write_csv

PARTS: tuple[Part, ...] = ("towers", "counties")


def ablation_trials(budget: Budget) -> list[Trial]:
    """16 models, two sizes of the sample of towers and of counties, replicates."""
    return [
        Trial(part, arm, size, replicate)
        for part in PARTS
        for size in budget.ablation_sizes[part]
        for arm in ARMS
        for replicate in range(budget.ablation_replicates[part])
    ]


def write_ablation(out: Path, results: Sequence[Result]) -> list[Path]:
    """ablation.csv (a row per model, sample, variable and kind of GPP), ablation.txt (R2, and the balance), .png."""
    rows: list[tuple[object, ...]] = []
    shown = [(v, g) for v, g in variables_in(results) if v != "balance"]
    table: dict[tuple[str, str], list[object]] = {}
    for sample in ("small", "all"):
        for arm in (arm for arm in ARMS if any(r["arm"] == arm.name for r in results)):
            line: list[object] = [sample, *("yes" if getattr(arm, n) else "-" for n in type(arm).__slots__)]
            mine = [r for r in results if r["arm"] == arm.name and (r["size"] == ALL) == (sample == "all")]
            for variable, gpp in shown:
                own = [r for r in mine if any((w["variable"], w["gpp"]) == (variable, gpp) for w in r["rows"])]
                if not own:
                    line.append("")
                    continue
                r2, least, most = spread(own, variable, gpp, "r2")
                places = [one.r2 for r in own for one in places_in(r, variable, gpp)]
                rmse, bias = spread(own, variable, gpp, "rmse")[0], spread(own, variable, gpp, "bias")[0]
                seconds = sum(r["seconds"] for r in own) / len(own)
                rows.append((sample, own[0]["size"], arm.name, variable, gpp, len(own), r2, least, most,
                             median(places), rmse, bias, seconds))  # fmt: skip
                line.append(r2)
            off = spread([r for r in mine if r["part"] == "towers"], "balance", "given", "bias")[0]
            rows.append((sample, "", arm.name, "balance", "given", len(mine), *[float("nan")] * 5, off, float("nan")))
            table[sample, arm.name] = [*line, f"{off:.3g}"]
    head = ("sample", "size", "model", "variable", "gpp", "replicates", "r2", "r2_least", "r2_greatest",
            "median_place_r2", "rmse", "bias", "seconds")  # fmt: skip
    written = [write_csv(out / "ablation.csv", head, rows)]
    columns = ["sample", "GPP", "pre-trained", "structure", "knowledge", *(f"{v}, {g} GPP" for v, g in shown),
               "mass balance"]  # fmt: skip
    text = out / "ablation.txt"
    text.write_text(_introduction(results) + as_table(columns, list(table.values())))
    return [*written, text, *_plot(out, results, shown)]


def _introduction(results: Sequence[Result]) -> str:
    small = sorted({(r["part"], r["size"]) for r in results if r["size"] != ALL})
    said = ", ".join(f"{size} of {part}" for part, size in small)
    return (
        f"R2 at held-out places; small sample: {said} (towers count by groups). Daily Reco and NEE, with the tower's "
        f"GPP given (NEE is then little more than Reco) and with the process model's own; county yields. Mass balance: "
        f"mean |GPP - Ra - Rh + NEE|, gC m-2 d-1, by the GPP that was measured; the closed network without GPP input "
        f"closes with its own GPP, and is off from the measured one by that one's error.\n\n"
    )


def _plot(out: Path, results: Sequence[Result], shown: Sequence[tuple[str, str]]) -> list[Path]:
    """R2 of every model, at both sizes, a panel per variable."""
    if not shown:
        return []
    figure = new_figure(4.0 + 2.3 * len(shown), 5.2)
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    ranks = {arm.name: len(ARMS) - k for k, arm in enumerate(ARMS)}
    for axes, (variable, gpp) in zip(panels, shown, strict=True):
        for label, colour, whole in (("small sample", FLOORS[2], False), ("whole sample", MODEL, True)):
            for name, y in ranks.items():
                own = [r for r in results if r["arm"] == name and (r["size"] == ALL) == whole]
                r2, least, most = (max(v, -0.5) for v in spread(own, variable, gpp, "r2"))
                axes.plot([least, most], [y, y], color=colour, linewidth=3, alpha=0.3, solid_capstyle="butt")
                axes.plot([r2], [y], "o", color=colour, markersize=4, label=label if y == 1 else None)
        axes.set_xlim(-0.5, 1.0)
        titled(axes, f"{variable.replace('_', ' ')}\n{gpp} GPP", "R2")
    panels[0].set_yticks(list(ranks.values()), list(ranks), fontsize=7)
    return [finished(figure, panels[0], out / "ablation.png")]
