"""What BINN's experiments found, as scores of its card."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldflux.app.cardscores import add_scores
from fieldflux.models.card import Score

from .compare import OURS

Line = Mapping[str, str]
# metric of the card: column, its spread, unit
METRICS: Mapping[str, tuple[str, str, str]] = {
    "R2 of logarithms": ("log_r2", "log_r2_sd", "1"),
    "RMSE of logarithms": ("log_rmse", "", "1"),
    "R2": ("r2", "r2_sd", "1"),
    "RMSE": ("rmse", "rmse_sd", "gC m-2"),
    "bias": ("bias", "", "gC m-2"),
}


def add_to_card(folder: Path, tables: Sequence[Path]) -> int:
    """Put the scores of the experiments' CSV tables into the card in `folder`, in place of earlier ones of the same
    split; returns how many. Raises BadCheckpoint.
    """
    files = {table.stem: _lines(table) for table in tables if table.suffix == ".csv"}
    found: list[Score] = []
    found += compared(files.get("binn-blocks", ()))
    found += recovered(files.get("binn-recovery", ()))
    found += trends(files.get("longterm", ()))
    found += agreed(files.get("binn_sampler_agreement", ()), len(files.get("binn_sampler_soils", ())))
    return add_scores(folder, found)


def _lines(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def compared(lines: Sequence[Line]) -> list[Score]:
    """Our scores beside those of every other method, by split and stock."""
    out = []
    for own in (x for x in lines if x["method"] == OURS):
        same = [x for x in lines if all(x[c] == own[c] for c in ("split", "stock", "soils")) and x["method"] != OURS]
        for metric, (column, spread, unit) in METRICS.items():
            sd = own[spread] if spread else ""
            out.append(
                Score(
                    variable=own["stock"], metric=metric, value=float(own[column]), unit=unit,
                    split=f"experiment binn-blocks: {own['split']} left out, mean of {own['draws']} draws",
                    data=f"{own['soils']}, mineral soils", n=int(own["n"]),
                    spread=float(sd) if sd not in ("", "nan") else None,
                    baseline={x["method"]: float(x[column]) for x in same},
                )
            )  # fmt: skip
    return out


def recovered(lines: Sequence[Line]) -> list[Score]:
    """Pearson's r of every parameter of every task."""
    return [
        Score(
            variable=x["parameter"], metric="r of known and found values", value=float(x["r"]), unit="1",
            split=f"experiment binn-recovery: {x['task']}, held-out places, mean of {x['seeds']} seeds",
            baseline={"least of the seeds": float(x["r_least"])},
            data="labels made by the model itself at the places of measured soils", n=int(x["n"]),
        )
        for x in lines
    ]  # fmt: skip


def trends(lines: Sequence[Line]) -> list[Score]:
    """RMSE and bias of the trends at long-term experiments, by group of plots, history and stock at the start."""
    out = []
    for own in (x for x in lines if x["parameters"].startswith("BINN")):
        same = [
            x
            for x in lines
            if x["which"] == own["which"]
            and x["parameters"] != own["parameters"]
            and (not x["start"] or all(x[c] == own[c] for c in ("start", "stock at start")))
        ]
        out += [
            Score(
                variable="delta_soc",
                metric=metric,
                value=float(own[metric]),
                unit="gC m-2 yr-1",
                split=f"experiment binn-longterm: {own['which']} plots of {own['sites']} sites, {own['start']}, "
                f"{own['stock at start']} stock at the start; nothing fitted to them",
                data="long-term field experiments",
                n=int(own["plots"]),
                baseline={x["parameters"]: float(x[metric]) for x in same},
            )
            for metric in ("rmse", "bias")
        ]
    return out


def agreed(lines: Sequence[Line], soils: int) -> list[Score]:
    """Pearson's r, over soils, of each process by the network and by the sampler, beside what others reach."""
    return [
        Score(
            variable="processes" if x["process"] == "mean" else x["process"],
            metric="r with the sampler", value=float(x["r"]), unit="1",
            split="experiment binn-sampler: soils that the network was trained on",
            data="mineral soils with measured layers, one per 2-degree block", n=soils,
            baseline={
                o["first"]: float(o["r"])
                for o in lines
                if o["process"] == x["process"] and o["second"] == x["second"] and o["first"] != x["first"]
            },
        )
        for x in lines
        if (x["first"], x["second"]) == ("BINN", "sampler")
    ]  # fmt: skip
