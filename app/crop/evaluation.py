"""Yields of held-out counties and years beside what LINTUL5 alone, KGML and simple floors make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fieldflux.app.evaluate.report import Row, split_of
from fieldflux.app.evaluate.yieldfloors import COUNTY_TREND, YieldFloors, YieldTable
from fieldflux.app.evaluate.yields import evaluate_yields, rows_of
from fieldflux.app.evaluate.yieldsplit import TRAINING, YieldSplit, split_yields
from fieldflux.models.contract import Model
from fieldflux.models.hybrids.crop.learn import Training, Yields, blinded, fit, yields_of
from fieldflux.models.hybrids.crop.model import HybridCrop
from fieldflux.models.hybrids.crop.seasonnet import SeasonNetwork
from fieldflux.models.hybrids.crop.served import WHEAT, Kind, kind_named
from fieldflux.models.registry import Registry
from fieldflux.models.scores import Scores, member_spread, score
from fieldflux.tiles.measurements import CountyRecord, read_panel
from numpy.typing import NDArray

from .county import CountyYear, county_years, lessons_of

Array = NDArray[np.float64]
Told = Callable[[float, str], None]
DEFAULT, CALIBRATED = "LINTUL5", "LINTUL5 calibrated"
WITH_LINE = ", on the county trend"
RIVAL = "kgml-ag-carbon"
SEEDS = 3
NOTE = (
    "Floor 'LINTUL5': as it comes, its grain as the harvest; 'calibrated': one set of 14 parameters and one share for "
    "all, by gradient on the same training rows. ', on the county trend': the trend plus a straight line in their "
    "grain, fitted on the training rows. 'kgml-ag-carbon': that model on the same rows with its own GPP, from its card."
)


def ensemble_in(model: Model) -> HybridCrop:
    """The hybrid crop model behind the contract. Raises ValueError for any other."""
    if not isinstance(model, HybridCrop):
        raise ValueError(f"Model '{model.card.id}' is of family '{model.card.family}'; this is for family 'crop'.")
    return model


def harvests_of(model: Model, data: Path, told: Told) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Rows of maize and soybean (the panel's) and winter wheat, with all floors. Raises BadMeasurements."""
    panel = read_panel(data)
    split = split_yields(panel)
    result = evaluate_yields(model, data, lambda f, s: told(0.4 * f, s), panel=panel)
    rows: list[Row] = []
    for points in result.points:
        told(0.75, f"LINTUL5 alone, {points.table.crop}")
        values = dict(points.floors.values)
        values |= _alone(panel, points.table, data, values[COUNTY_TREND])
        rows += rows_of(replace(points, floors=YieldFloors(values)), panel)
    rows = [replace(r, floors={**r.floors, **_rival(r)}) for r in rows]
    rows += _wheat(ensemble_in(model), panel, split, data)
    return tuple(replace(r, gpp="") for r in rows), (*result.notes, *result.skipped, NOTE)


def _rival(row: Row) -> dict[str, Scores]:
    """The scores of KGML's card on the same counties and years; none where its card has no such row."""
    split = split_of(row)
    told = {s.metric: s for s in Registry().card(RIVAL).scores if s.variable == "yield" and s.split == split}
    if not {"rmse", "nse", "bias"} <= set(told) or told["rmse"].n != row.scores.n:
        return {}
    rmse, nse, bias = (told[m].value for m in ("rmse", "nse", "bias"))
    return {
        RIVAL: replace(row.scores, rmse=rmse, nse=nse, bias=bias, r2=float("nan"), nnse=1.0 / (2.0 - nse)),
    }


def _alone(panel: Sequence[CountyRecord], table: YieldTable, data: Path, line: Array) -> dict[str, Array]:
    """Floor -> [n] yields of LINTUL5 without networks on the rows of a table; NaN on training rows."""
    kind = kind_named(table.crop)
    rows = {(r.record.fips, r.year): r for r in county_years(panel, kind, data)}
    chosen = [rows[str(f), int(y)] for f, y in zip(table.fips, table.year, strict=True)]
    return floors_of_process(kind, chosen, table.part == TRAINING, table.observed, line)


def floors_of_process(
    kind: Kind, rows: Sequence[CountyYear], training: NDArray[np.bool_], observed: Array, line: Array
) -> dict[str, Array]:
    """Floor -> [n] of LINTUL5 as it comes and calibrated on the training rows, each alone and on the line."""
    everything = lessons_of(kind, rows)
    learn = everything.of(torch.from_numpy(np.flatnonzero(training)))
    found = {}
    fits = np.mean([calibrated(kind, learn, everything, seed) for seed in range(SEEDS)], axis=0)
    for name, made in ((DEFAULT, _grain(SeasonNetwork(kind), everything)), (CALIBRATED, fits)):
        fitted = training & np.isfinite(line)
        slope, shift = np.polyfit(made[fitted], (observed - line)[fitted], 1)
        with_line = line + shift + slope * made
        found[name] = np.where(training, np.nan, made)
        found[name + WITH_LINE] = np.where(training, np.nan, with_line)
    return found


def _grain(network: SeasonNetwork, lessons: Yields) -> Array:
    """[U] t ha-1, the network's yields with nothing expected."""
    hidden = torch.ones(lessons.part.cells, dtype=torch.bool)
    with torch.no_grad():
        made: Array = yields_of([network], lessons, blinded(lessons.part, hidden))[0][0].double().numpy()
    return made


class _Constant(SeasonNetwork):
    """The same parameters and share everywhere, steady light use."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind, 2, 2)
        for one in self.parameters():
            one.requires_grad_(False)
        self.place[2].bias.requires_grad_(True)


def calibrated(kind: Kind, learn: Yields, wanted: Yields, seed: int) -> Array:
    """[U] t ha-1 of LINTUL5 with one set of parameters, fitted to the training rows by the served model's schedule."""
    torch.manual_seed(seed)
    network = _Constant(kind)
    fit(network, Training(blind=0.999, rounds=40, light=0.0), learn, None, None, seed)
    return _grain(network.eval(), wanted)


def _wheat(model: HybridCrop, panel: Sequence[CountyRecord], split: YieldSplit, data: Path) -> list[Row]:
    # without earlier reports the line would be scored on fewer years than the model
    rows = [r for r in county_years(panel, WHEAT, data) if np.isfinite(r.expected)]
    parts = np.array([split.part(r.record.fips, r.year) for r in rows])
    if not (parts != TRAINING).any() or not (parts == TRAINING).any():
        return []
    observed, line = np.array([r.observed for r in rows]), np.array([r.expected for r in rows])
    with torch.no_grad():
        members = yields_of(list(model.networks[WHEAT.name]), lessons_of(WHEAT, rows))[0].double().numpy()
    floors = {COUNTY_TREND: line, "training mean": np.full(len(rows), observed[parts == TRAINING].mean())}
    floors |= floors_of_process(WHEAT, rows, parts == TRAINING, observed, line)
    out = []
    for part in sorted(set(parts.tolist()) - {TRAINING}):
        chosen = parts == part
        out.append(
            Row(
                part="yields", split=part, place="counties of Illinois", variable="yield", unit="t ha-1", step="year",
                gpp="", crop=WHEAT.name, scores=score(members.mean(axis=0)[chosen], observed[chosen]),
                floors={n: score(v[chosen], observed[chosen]) for n, v in floors.items()},
                data="USDA NASS county yields", spread=member_spread(members[:, chosen], observed[chosen]),
            )
        )  # fmt: skip
    return [row for row in out if row.scores.n > 1]
