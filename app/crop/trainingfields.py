"""Measured field experiments as the served network learns from them: the part of a season that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fieldflux.models.hybrids.crop.drive import Part, saturation, statics_of
from fieldflux.models.hybrids.crop.learn import Fields
from fieldflux.models.hybrids.crop.served import Kind
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.tiles.measurements.dssat import FieldSeason, read_fields

from .fieldinputs import field_inputs

FED = {"maize": 10.0, "soybean": 0.0, "winter_wheat": 5.0}
"""g m-2 of nitrogen from which a treatment is taken as fed: the served model knows no lack of it."""


@dataclass(frozen=True, slots=True)
class MeasuredFields:
    """fields: seasons of one crop. places, names: of each."""

    fields: Fields
    places: tuple[str, ...]
    names: tuple[str, ...]

    def at(self, places: Sequence[str], inside: bool = True) -> MeasuredFields | None:
        """Those at some places, or at all others; None where there are none."""
        chosen = [i for i, p in enumerate(self.places) if (p in places) == inside]
        if not chosen:
            return None
        which = torch.tensor(chosen)
        part = self.fields.part.only(which)
        measured = {n: v[which] for n, v in self.fields.measured.items()}
        flowering = None if self.fields.flowering is None else self.fields.flowering[which]
        return MeasuredFields(
            Fields(part, measured, flowering),
            tuple(self.places[i] for i in chosen),
            tuple(self.names[i] for i in chosen),
        )


def measured_fields(kind: Kind, data: Path) -> MeasuredFields | None:
    """The fed, undamaged treatments of a crop with measured courses; None without any. Raises BadMeasurements.

    Their weather begins at sowing or a little before it, so the network has seen less of the year than in service.
    """
    seasons = [s for s in read_fields(data).of(kind.name) if float(s.nitrogen.sum()) >= FED[kind.name]]
    if not any(not s.damaged for s in seasons):
        return None
    inputs = field_inputs(seasons)
    own = {s.name: s for s in seasons}
    used = [own[name] for name in inputs.names]
    given = {k: v.double().numpy() for k, v in inputs.given.items()}
    vapour = 0.5 * (saturation(given["t_min"]) + saturation(given["t_max"])) - given["vapour"]
    daily = {
        "tmin": given["t_min"], "tmax": given["t_max"], "precip": given["rain"], "srad": given["radiation"],
        "vpd": np.maximum(vapour, 0.0), "co2": np.broadcast_to(given["co2"], given["t_min"].shape),
        "irrigation": given["irrigation"],
    }  # fmt: skip
    table = inputs.seasons.table
    latitude = given["latitude"]
    days = given["t_min"].shape[1]
    static = {
        "wilting_point": table[p_.WILTING].numpy(), "field_capacity": table[p_.CAPACITY].numpy(), "latitude": latitude,
    }  # fmt: skip
    sowing = np.array([_day_of_year(s) for s in used])
    year = np.array([_year(s, kind) for s in used])
    count = len(used)
    part = Part(
        kind, daily, latitude, np.zeros(count), np.asarray(given["day_of_year"]), 0, torch.arange(count),
        inputs.seasons.sow.long(), torch.full((count,), days - 1),
        statics_of(kind, static, sowing, year, np.full(count, np.nan)), table[len(p_.LEARNED) :].float(),
        torch.full((count,), torch.nan),
    )  # fmt: skip
    m = inputs.measured
    return MeasuredFields(
        Fields(part, {"biomass": m.biomass, "grain": m.grain, "lai": m.lai}, m.flowering.float()),
        inputs.places,
        inputs.names,
    )


def _day_of_year(season: FieldSeason) -> float:
    return float((season.sowing - season.sowing.astype("M8[Y]").astype("M8[D]")).astype(int)) + 1.0


def _year(season: FieldSeason, kind: Kind) -> float:
    return float(season.sowing.astype("M8[Y]").astype(int)) + 1970.0 + (1.0 if kind.autumn else 0.0)
