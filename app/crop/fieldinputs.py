"""Measured field experiments as arrays that crop models learn from and are judged by.

    from fieldflux.app.crop.fieldinputs import field_inputs
    from fieldflux.tiles.measurements.dssat import read_fields
    inputs = field_inputs(read_fields(data_dir).of("maize"))
    inputs.seasons           # weather, parameters with the soil, day of sowing: what `simulate` and `fit` take
    inputs.measured.biomass  # [C, D] g m-2, NaN on days without a measurement; so lai and grain

Row c of the weather is season c, from the first day of its measured soil water or else from sowing; day 0 of the rows
is not the same date. Rows end with the longest season: after its own last day a row repeats that day's weather, and
nothing is measured there. Networks see steps of five days counted from sowing, rain with irrigation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from fieldflux.models.hybrids.crop.fit import Seasons
from fieldflux.models.hybrids.crop.inputs import DAYS, features, statics
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import Crop
from fieldflux.models.processes.lintul5.weather import Weather, prepare
from fieldflux.models.processes.lintul5.weather_step import COLUMN, ETC
from fieldflux.tiles.atmosphere import co2_of
from fieldflux.tiles.measurements.dssat import FieldSeason, Series
from torch import Tensor

from .fieldcrops import american_soybean, european, maturity_group

DEFICIT = 25.0  # mm of evaporation beyond rain at which a field is watered whose amounts were not written down
FIRST_CO2 = np.datetime64("1979-01-01")  # before it the table of CO2 has nothing; the years 1976-78 were 1 % lower
FIELD_STATICS = 5
OWN_SOIL = 14.0  # g m-2, of nitrogen that a soil without measured carbon releases in a year


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, each [C, D] by day of the row, NaN elsewhere: biomass and grain g m-2 of dry matter, lai m2
    m-2. flowering, maturity: [C] day of the row, NaN where not known. spread: [C, D] standard deviation of the
    replicates of biomass, NaN of one alone."""

    biomass: Tensor
    grain: Tensor
    lai: Tensor
    spread: Tensor
    flowering: Tensor
    maturity: Tensor

    def of(self, which: Tensor) -> Measured:
        """Some of them."""
        return Measured(*(getattr(self, f.name)[which] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class FieldInputs:
    """C seasons of one crop. crop: whose tables LINTUL5 takes; crops: [C] for whose
    answer to day length the weather is prepared. seasons.biomass: [C, steps]
    the measurement nearest to each step's end, at most 2 days off. field: [C, 5] what networks also read: plants,
    rows, nitrogen given and in the soil, maturity group, scaled to about -1 to 1. given: the daily weather by name
    [C, D] as `prepare` takes it. names, places, experiments: [C]. notes: what was left out or estimated."""

    crop: Crop
    crops: tuple[Crop, ...]
    seasons: Seasons
    measured: Measured
    field: Tensor
    given: dict[str, Tensor]
    names: tuple[str, ...]
    places: tuple[str, ...]
    experiments: tuple[str, ...]
    notes: tuple[str, ...]

    def of(self, which: Tensor) -> FieldInputs:
        """Some of the seasons; the weather's rows stay as they are."""
        chosen = which.tolist()
        return replace(
            self, crops=tuple(self.crops[i] for i in chosen), seasons=self.seasons.of(which),
            measured=self.measured.of(which), field=self.field[which],
            given={k: v[which] for k, v in self.given.items()}, names=tuple(self.names[i] for i in chosen),
            places=tuple(self.places[i] for i in chosen), experiments=tuple(self.experiments[i] for i in chosen),
        )  # fmt: skip


def field_inputs(seasons: Sequence[FieldSeason], *, damaged: bool = False, american: bool = True) -> FieldInputs:
    """Seasons of one crop as arrays. damaged: with treatments spoilt by insects and the like. american: soybeans answer
    to day length by their maturity group; else they are the European variety, which answers to none.

    Raises ValueError without any usable season, or with several crops.
    """
    crops = {s.crop for s in seasons}
    if len(crops) != 1:
        raise ValueError(f"Seasons of one crop are expected, but these are of {', '.join(sorted(crops)) or 'none'}.")
    notes: list[str] = []
    used = [s for s in seasons if _usable(s, damaged, notes)]
    if not used:
        raise ValueError(f"None of the {len(seasons)} seasons can be used: {' '.join(notes)}")
    crop = european(used[0].crop)
    days = max(_length(s) for s in used)
    given = {name: torch.stack([_row(s, name, days) for s in used]) for name in _WEATHER}
    given["latitude"] = torch.tensor([s.weather.latitude for s in used])
    own = [_crop_of(s, american) for s in used]
    weather = prepared(own, given)
    watered = [i for i, s in enumerate(used) if not s.irrigation_known]
    if watered:
        sow = [_day(s, s.sowing) for s in used]
        for i in watered:
            need = weather.columns[ETC, : weather.rows * weather.days].view(weather.days, weather.rows)[:, i]
            given["irrigation"][i] = as_needed(need, given["rain"][i], int(sow[i]))
        weather = prepared(own, given)
        notes.append(f"Watered as needed, amounts estimated: {', '.join(used[i].name for i in watered)}.")
    table = _table(own, used)
    sow_day = torch.tensor([_day(s, s.sowing) for s in used])
    biomass, grain, lai = (
        torch.stack([_measured(getattr(s, name), s, days) for s in used]) for name in ("biomass", "grain", "lai")
    )
    spread = torch.stack([_measured(replace(s.biomass, mean=s.biomass.spread), s, days) for s in used])
    flowering, maturity = (torch.tensor([_day(s, getattr(s, n)) for s in used]) for n in ("flowering", "maturity"))
    measured = Measured(biomass, grain, lai, spread, flowering, maturity)
    read, radiation = read_from_sowing(given, sow_day.long(), days)
    soil = statics(table, 45.0)
    soil[:, -1] = (given["latitude"] - 45.0) / 10.0
    group = [_group(s) for s in used]
    field = torch.tensor([
        [np.log(np.nan_to_num(s.plants, nan=10.0) / 10.0), np.nan_to_num(s.rows, nan=0.5) / 0.5 - 1.0,
         s.nitrogen.sum() / 10.0 - 1.0, float(table[p_.N_MINERAL, i] + table[p_.N_ORGANIC, i]) / 10.0 - 1.0,
         0.0 if g is None else (g - 4.0) / 4.0]
        for i, (s, g) in enumerate(zip(used, group, strict=True))
    ], dtype=torch.float32)  # fmt: skip
    steps = read.shape[1]
    arrays = Seasons(
        read, soil, weather, torch.arange(len(used)), table, sow_day.float(), radiation,
        _by_step(measured.biomass, sow_day.long(), steps),
    )  # fmt: skip
    return FieldInputs(
        crop, tuple(own), arrays, measured, field, given, tuple(s.name for s in used), tuple(s.place for s in used),
        tuple(s.experiment for s in used), tuple(notes),
    )  # fmt: skip


_WEATHER = {"t_min": "tmin", "t_max": "tmax", "radiation": "srad", "rain": "precip", "vapour": "vapour",
            "wind": "wind", "irrigation": "", "nitrogen": "", "day_of_year": "", "co2": ""}  # fmt: skip


def _usable(season: FieldSeason, damaged: bool, notes: list[str]) -> bool:
    if season.damaged and not damaged:
        notes.append(f"{season.name} is left out: {season.title.strip()}.")
        return False
    length = _length(season)
    if length <= _day(season, season.sowing) + 2 * DAYS:
        notes.append(f"{season.name} is left out: its weather ends {length} days after it begins.")
        return False
    lost = int((season.biomass.day >= season.weather.days[0] + np.timedelta64(length, "D")).sum())
    if lost:
        notes.append(f"{lost} measurements of biomass of {season.name} lie after the last day of weather.")
    return True


def _length(season: FieldSeason) -> int:
    """Days until the first that lacks a number."""
    w = season.weather
    known = np.isfinite(np.stack([w.tmin, w.tmax, w.srad, w.precip])).all(0)
    return int(known.size if known.all() else np.argmin(known))


def _row(season: FieldSeason, name: str, days: int) -> Tensor:
    w, length = season.weather, _length(season)
    own: np.ndarray[tuple[int], np.dtype[np.float64]]
    if name == "irrigation":
        own = season.irrigation[:length]
    elif name == "nitrogen":
        own = season.nitrogen[:length]
    elif name == "day_of_year":
        own = ((w.days - w.days.astype("datetime64[Y]")).astype(int) + 1.0)[:length]
    elif name == "co2":
        own = np.asarray(co2_of(np.maximum(w.days, FIRST_CO2)))[:length]
    else:
        own = getattr(w, _WEATHER[name])[:length]
        if name == "vapour":
            own = np.where(np.isfinite(own), own, 0.6108 * np.exp(17.27 * w.tmin[:length] / (w.tmin[:length] + 237.3)))
        elif name == "wind":
            own = np.where(np.isfinite(own), own, 2.0)
    nothing = name in ("irrigation", "nitrogen")
    out = np.full(days, 0.0 if nothing else own[-1])
    out[:length] = own
    return torch.tensor(out, dtype=torch.float32)


def _crop_of(season: FieldSeason, american: bool) -> Crop:
    group = _group(season)
    return american_soybean(group) if american and group is not None else european(season.crop)


def _group(season: FieldSeason) -> float | None:
    return maturity_group(season.cultivar, season.title) if season.crop == "soybean" else None


def prepared(own: Sequence[Crop], given: dict[str, Tensor]) -> Weather:
    """Weather of rows whose crops differ in how they answer to day length, which is all in the weather."""
    # [C] crops and the daily weather [C, D] by name, with latitude [C]
    columns = torch.empty(len(COLUMN), given["t_min"].shape[1], len(own))
    for crop in dict.fromkeys(own):
        which = torch.tensor([i for i, c in enumerate(own) if c is crop or c == crop])
        named = {k: v[which] for k, v in given.items() if k not in ("latitude", "co2")}
        made = prepare(crop, latitude=given["latitude"][which], co2=given["co2"][which].mean(1), **named)  # type: ignore[arg-type]
        rows = columns.shape[1] * len(which)
        columns[:, :, which] = made.columns[:, :rows].view(len(COLUMN), columns.shape[1], len(which))
    missing = torch.zeros(len(own), dtype=torch.bool)
    return Weather(columns.reshape(len(COLUMN), -1).contiguous(), len(own), columns.shape[1], missing)


def as_needed(demand: Tensor, rain: Tensor, sow: int) -> Tensor:
    """[D] irrigation, mm d-1, that follows evaporation: whenever the crop's reference evaporation since sowing is more
    than 25 mm beyond the rain, that much is given. demand, rain: [D] mm d-1."""
    out, lack = torch.zeros_like(rain), 0.0
    for d in range(sow, rain.shape[0]):
        lack = max(0.0, lack + float(demand[d] - rain[d]))
        if lack > DEFICIT:
            out[d], lack = lack, 0.0
    return out


def _table(own: Sequence[Crop], used: Sequence[FieldSeason]) -> Tensor:
    """[COUNT, C] each season's crop and soil."""
    columns = []
    for crop, season in zip(own, used, strict=True):
        soil = season.soil
        room = soil.capacity - soil.wilting
        above, below = (0.5 if np.isnan(share) else share for share in (soil.start, soil.start_below))
        organic = OWN_SOIL if np.isnan(soil.n_organic) else soil.n_organic
        columns.append(p_.table(crop, 1, {
            "air_dry": 0.5 * soil.wilting, "wilting": soil.wilting, "capacity": soil.capacity,
            "saturation": max(soil.saturation, soil.capacity + 0.02), "start": soil.wilting + above * room,
            "start_below": soil.wilting + below * room, "rdmso": max(0.3, soil.depth), "n_organic": organic,
            "n_mineral": soil.n_mineral,
        }))  # fmt: skip
    return torch.cat(columns, dim=1)


def _day(season: FieldSeason, when: np.datetime64) -> float:
    """Number of the day in the season's row, NaN where it is not known."""
    return np.nan if np.isnat(when) else float((when - season.weather.days[0]).astype(int))


def _measured(series: Series, season: FieldSeason, days: int) -> Tensor:
    out = torch.full((days,), torch.nan)
    for when, value in zip(series.day, series.mean, strict=True):
        place = int(_day(season, when))
        if 0 <= place < _length(season):
            out[place] = float(value)
    return out


def read_from_sowing(given: dict[str, Tensor], sow: Tensor, days: int) -> tuple[Tensor, Tensor]:
    """Features [C, steps, FEATURES] and radiation [C, steps] from each season's sowing on; after the row's end its last
    day again."""
    steps = -(-days // DAYS)
    at = (sow[:, None] + torch.arange(steps * DAYS)).clamp(max=days - 1)
    moved = {name: v.gather(1, at) for name, v in given.items() if v.ndim == 2}
    moved["rain"] = moved["rain"] + moved["irrigation"]
    return features(moved), moved["radiation"].view(len(sow), steps, DAYS).mean(2)


def _by_step(daily: Tensor, sow: Tensor, steps: int) -> Tensor:
    """[C, steps] of [C, D]: what was measured at most 2 days from a step's end, the nearest first."""
    out = torch.full((daily.shape[0], steps), torch.nan)
    for off in (2, -2, 1, -1, 0):
        at = sow[:, None] + torch.arange(1, steps + 1) * DAYS - 1 + off
        inside = (at >= 0) & (at < daily.shape[1])
        value = daily.gather(1, at.clamp(0, daily.shape[1] - 1))
        out = torch.where(inside & ~torch.isnan(value), value, out)
    return out
