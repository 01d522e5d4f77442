"""What drives a season: weather, soil and place in the vocabulary, as LINTUL5 and the networks read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.weather import Weather, prepare
from numpy.typing import NDArray
from torch import Tensor

from .served import Kind

Numbers = NDArray[np.floating[Any]]

STEP = 5  # days of a step of the network
# of each input: what is taken off, and by what the rest is divided
SCALE: dict[str, tuple[float, float]] = {
    "tmin": (8.0, 8.0), "tmax": (18.0, 10.0), "precip": (2.0, 4.0), "srad": (13.0, 7.0), "vpd": (0.8, 0.6),
}  # fmt: skip
FEATURES = len(SCALE) + 2  # and the day of the year as sine and cosine
STATICS = 7  # wilting point, field capacity, latitude, sowing, year, expected yield, whether it is known
FIRST_YEAR, LAST_YEAR = 1980, 2022  # the trend is not carried beyond the years that it was learned from
USUAL_CO2 = 400.0
LEAST_AIR = 0.05  # m3 m-3 between field capacity and saturation


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Consecutive days of one season of a crop, in C cells on R rows of weather.

    daily: name -> [R, D], vocabulary. latitude, elevation: [R]. day_of_year: [D] or [R, D]. offset: days from the
    season's beginning to the first day. row: [C]. sow, harvest: [C] the day's number among these days, negative before
    them. statics: [C, STATICS]. soil: [14, C] LINTUL5's soil. expected: [C] t ha-1 at market moisture, NaN if unknown.
    irrigated: whether the soil gives all the water that is asked for.
    """

    kind: Kind
    daily: Mapping[str, Numbers]
    latitude: Numbers
    elevation: Numbers
    day_of_year: Numbers
    offset: int
    row: Tensor
    sow: Tensor
    harvest: Tensor
    statics: Tensor
    soil: Tensor
    expected: Tensor
    irrigated: bool = False

    @property
    def days(self) -> int:
        return int(self.daily["tmin"].shape[1])

    @property
    def cells(self) -> int:
        return int(self.row.shape[0])

    def only(self, cells: Tensor) -> Part:
        """Some of the cells, on the rows of weather that they need."""
        used, row = torch.unique(self.row[cells], return_inverse=True)
        chosen = used.numpy()
        doy = self.day_of_year if self.day_of_year.ndim == 1 else self.day_of_year[chosen]
        return replace(
            self, daily={n: v[chosen] for n, v in self.daily.items()}, latitude=self.latitude[chosen],
            elevation=self.elevation[chosen], day_of_year=doy, row=row, sow=self.sow[cells],
            harvest=self.harvest[cells], statics=self.statics[cells], soil=self.soil[:, cells],
            expected=self.expected[cells],
        )  # fmt: skip


def saturation(t: Numbers) -> Numbers:
    """Saturation vapour pressure, kPa, at `t` degC (FAO-56, eq. 11)."""
    return np.asarray(0.6108 * np.exp(17.27 * t / (t + 237.3)))


def weather_of(part: Part) -> Weather:
    """The part's weather as LINTUL5 reads it. Wind is 2 m/s, as where LINTUL5 is given none."""
    daily = {n: np.asarray(v, np.float64) for n, v in part.daily.items()}
    vapour = 0.5 * (saturation(daily["tmin"]) + saturation(daily["tmax"])) - daily["vpd"]

    def tensor(values: Numbers) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    co2 = daily.get("co2")
    level = np.full(len(part.latitude), USUAL_CO2) if co2 is None else co2.mean(axis=1)
    irrigation = daily.get("irrigation")
    return prepare(
        part.kind.crop, t_min=tensor(daily["tmin"]), t_max=tensor(daily["tmax"]), radiation=tensor(daily["srad"]),
        rain=tensor(daily["precip"]), vapour=tensor(np.maximum(vapour, 0.02)),
        day_of_year=tensor(part.day_of_year), latitude=tensor(part.latitude), altitude=tensor(part.elevation),
        co2=tensor(level), irrigation=None if irrigation is None else tensor(np.nan_to_num(irrigation)),
    )  # fmt: skip


def features(part: Part) -> Tensor:
    """[R, D, FEATURES] of the part's days, about -1 to 1."""
    shape = part.daily["tmin"].shape
    columns = [(np.asarray(part.daily[n], np.float64) - middle) / spread for n, (middle, spread) in SCALE.items()]
    angle = 2.0 * math.pi / 365.0 * np.broadcast_to(part.day_of_year, shape)
    whole = np.stack([*columns, np.sin(angle), np.cos(angle)], axis=-1)
    return torch.from_numpy(whole.astype(np.float32))


def soil_of(kind: Kind, static: Mapping[str, Numbers]) -> Tensor:
    """[14, C] LINTUL5's soil from the vocabulary's: the rest are its defaults. NaN where a property is missing."""
    own = {n: np.asarray(static[n], np.float64) for n in ("field_capacity", "wilting_point", "bulk_density")}
    capacity = own["field_capacity"]
    wilting = np.minimum(own["wilting_point"], 0.9 * capacity)
    moist = wilting + kind.moist * (capacity - wilting)
    given = {
        "air_dry": 0.5 * wilting, "wilting": wilting, "capacity": capacity,
        "saturation": np.maximum(1.0 - own["bulk_density"] / 2.65, capacity + LEAST_AIR),
        "start": moist, "start_below": moist,
    }  # fmt: skip
    rows = [np.broadcast_to(given.get(name, value), capacity.shape) for name, _, _, value in p_.SOIL]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def statics_of(kind: Kind, static: Mapping[str, Numbers], sowing: Numbers, year: Numbers, expected: Numbers) -> Tensor:
    """[C, STATICS] of the place and the season's year, each [C]. sowing: day of year. expected: t ha-1, NaN unknown."""
    middle, spread = kind.yields
    known = np.isfinite(expected)
    columns = [
        (np.asarray(static["wilting_point"], np.float64) - 0.17) / 0.05,
        (np.asarray(static["field_capacity"], np.float64) - 0.31) / 0.05,
        (np.asarray(static["latitude"], np.float64) - 41.0) / 3.0,
        (np.asarray(sowing, np.float64) - kind.sowing) / 15.0,
        (np.clip(np.asarray(year, np.float64), FIRST_YEAR, LAST_YEAR) - 2008.0) / 15.0,
        np.where(known, (np.where(known, expected, middle) - middle) / spread, 0.0),
        np.where(known, 1.0, 0.0),
    ]
    shape = np.shape(static["latitude"])
    return torch.from_numpy(np.stack([np.broadcast_to(c, shape) for c in columns], axis=-1).astype(np.float32))
