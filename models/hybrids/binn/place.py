"""What a served BINN is told of cells: covariates and forcing, as of the training's places, from a cube's inputs.

Training knows places by their counties: yearly statistics of climate, topsoil, maize yields. Here the climate is the
mean of the whole record's weather, the topsoil the cell's own, the land use that of most of its years. What a cube does
not hold (gravel, slope, often the maize yield) is taken at the mean of the training soils, and flagged `assumed_...`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from fieldflux.models.contract import Floats, Forcing, Integers
from fieldflux.models.crops import MAIZE
from fieldflux.models.processes.agroecosystem.inputs import extraterrestrial
from fieldflux.models.processes.soilcarbon.climate import (
    COLD,
    DAYS,
    FIELD_CAPACITY,
    MIDDLES,
    WARM,
    WILTING,
    Air,
    demand,
    retention,
    soil_temperature,
    soil_water,
    water_scalar,
)
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.layers import LAYERS, NODE, THICKNESS
from fieldflux.models.processes.soilcarbon.litter import litter, miami
from numpy.typing import NDArray

from .covariates import Covariates

Flag = NDArray[np.bool_]
Array = NDArray[np.float64]

ACTIVE_LAYER = 10.0  # m; thaw reaches deeper than soil carbon matters, as in training
LATITUDE = 0.1  # degrees: cells are rounded to it for the sun above them
TEXTURE = 20.0  # g kg-1: cells of a weather cell whose sand and clay round to the same share one course of soil water
USES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("forest", (63, 141, 142, 143)),
    ("wetland", (87, 190, 195)),
    ("grassland", (62, 152, 171)),
    ("pasture", (36, 37, 58, 59, 176, 181)),
    ("none", (0, 81, 82, 83, 88, 92, 111, 112, 121, 122, 123, 124, 131, 255)),
)
"""Land use by code of the Cropland Data Layer; all others are crops."""
CROPLAND = "cropland"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """C cells. x: [C, F] covariates in the order of the network's. cropland: [C]. flags: name -> [C].

    known: [C] whether all that is needed is there; other cells have NaN in x, and some climate that is not theirs.
    """

    x: Array
    forcing: SoilForcing
    cropland: Flag
    known: Flag
    flags: Mapping[str, Flag]


def place_of(forcing: Forcing, covariates: Covariates) -> Place:
    """Cells of a batch over whole years, the more the better: their climate is the mean of these."""
    n = forcing.cells
    climate = _climate(forcing)
    weather = climate.row
    use, land_known = _land_use(forcing)
    soil = {name: forcing.static[name].astype(np.float64) for name in ("sand", "clay", "bulk_density")}
    soil_known = np.logical_and.reduce([np.isfinite(v) for v in soil.values()])
    weather_known = np.isfinite(climate.statistics["mean_temperature"])[weather]
    known = soil_known & weather_known & land_known
    water = retention(soil["sand"], soil["clay"])
    statistics = {name: values[weather] for name, values in climate.statistics.items()}
    production = miami(statistics["mean_temperature"], statistics["precipitation"])
    found: dict[str, Array] = {
        **statistics,
        **soil,
        "production": production,
        "wilting_point": water.content(WILTING),
        "field_capacity": water.content(FIELD_CAPACITY),
        **{
            name: forcing.static[name].astype(np.float64)
            for name in ("ph", "cec", "elevation")
            if name in forcing.static
        },
        **_of_years(forcing),
        **{name: (use == name).astype(np.float64) for name in (*dict(USES), CROPLAND, "reserve")},
    }
    flags = {"soil_missing": ~soil_known, "weather_missing": ~weather_known, "crop_unknown": ~land_known}
    columns = []
    for column in covariates.columns:
        values = found.get(column.name, np.full(n, np.nan))
        lacking = ~np.isfinite(values) & known
        if lacking.any():
            values = np.where(lacking, column.center, values)
            flags[f"assumed_{column.name}"] = lacking
        found[column.name] = values
        columns.append(np.where(known, values, np.nan))
    x = np.column_stack(columns)
    flags["outside_domain"] = covariates.outside(torch.from_numpy(x)).numpy() & known
    pools, _ = litter(np.where(land_known, use, CROPLAND), production, found.get("corn_yield", np.full(n, np.nan)))
    return Place(
        x,
        _soil_forcing(climate, forcing, soil, np.where(known[:, None], pools, 0.0), known),
        use == CROPLAND,
        known,
        {name: flag for name, flag in flags.items() if flag.any()},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Climate:
    """Of K weather rows at latitudes. row: [C] which of them a cell has. air: months. statistics: name -> [K], as the
    county files have them. quarters: [K] degC of June to August and of December to February."""

    row: Integers
    air: Air
    statistics: Mapping[str, Array]
    quarters: tuple[Array, Array]


def _climate(forcing: Forcing) -> _Climate:
    dates = forcing.dates()
    month = dates.astype("M8[M]").astype(np.int64) % 12
    which = (month[None, :] == np.arange(12)[:, None]).astype(np.float64)
    years = forcing.days / 365.25

    def means(values: Floats) -> Array:
        return np.asarray(values.astype(np.float64) @ (which / which.sum(1, keepdims=True)).T)

    # The same cell has the same climate in whatever company it is run.
    pairs = np.column_stack([forcing.weather, np.rint(forcing.static["latitude"].astype(np.float64) / LATITUDE)])
    pairs, row = np.unique(pairs, axis=0, return_inverse=True)
    at, latitude = pairs[:, 0].astype(np.int64), pairs[:, 1] * LATITUDE
    t = means(forcing.daily["tmean"])[at]
    spread: Array = (means(forcing.daily["tmax"]) - means(forcing.daily["tmin"]))[at]
    rain = np.asarray(forcing.daily["precip"].astype(np.float64) @ which.T / years)[at]
    above: Array = extraterrestrial(latitude, MIDDLES).astype(np.float64)
    air = Air(t, rain, demand(above, t, np.maximum(spread, 0.0)))
    quarter = t + np.roll(t, -1, 1) + np.roll(t, -2, 1)
    wet = rain + np.roll(rain, -1, 1) + np.roll(rain, -2, 1)
    warmest = np.where(np.isfinite(quarter), quarter, -np.inf).argmax(1)
    total = rain.sum(1)
    statistics = {
        "mean_temperature": t @ (DAYS / DAYS.sum()),
        "precipitation": total,
        "temperature_sd": t.std(1, ddof=1),
        "diurnal_range": spread.mean(1),
        "warm_quarter_precipitation": np.take_along_axis(wet, warmest[:, None], 1)[:, 0],
        "aridity": total / air.demand.sum(1),
    }
    return _Climate(row.reshape(-1), air, statistics, (t[:, WARM].mean(1), t[:, COLD].mean(1)))


def _soil_forcing(
    climate: _Climate, forcing: Forcing, soil: Mapping[str, Array], pools: Array, known: Flag
) -> SoilForcing:
    """Climate rows are of a weather row and a texture; cells without inputs read the first."""
    rounded = {
        name: np.where(known, np.clip(np.rint(soil[name] / TEXTURE) * TEXTURE, 0.0, 1000.0), 0.0)
        for name in ("sand", "clay")
    }
    table = np.column_stack([np.where(known, climate.row, -1), rounded["sand"], rounded["clay"]])
    rows, row = np.unique(table, axis=0, return_inverse=True)
    at = rows[:, 0].astype(np.int64)
    real = at >= 0
    at, texture = at[real], retention(rows[real, 1], rows[real, 2])
    air = Air(climate.air.temperature[at], climate.air.precipitation[at], climate.air.demand[at])
    warm, cold = climate.quarters
    mean = climate.statistics["mean_temperature"][at]
    temperature = soil_temperature(mean, warm[at], cold[at], np.array(NODE))
    water = water_scalar(texture.potential(soil_water(air, texture, np.array(THICKNESS))))
    if not real.all():
        # any soil at all, for cells whose parameters are NaN anyway
        temperature = np.concatenate([np.full((1, 12, LAYERS), 10.0), temperature])
        water = np.concatenate([np.full((1, 12, LAYERS), 0.5), water])
    n = forcing.cells
    return SoilForcing(
        torch.from_numpy(temperature),
        torch.from_numpy(water),
        torch.from_numpy(pools),
        torch.full((n,), LAYERS - 1, dtype=torch.int64),
        torch.full((n,), ACTIVE_LAYER, dtype=torch.float64),
        row=torch.from_numpy(row.reshape(-1).astype(np.int64)),
    )


def _land_use(forcing: Forcing) -> tuple[NDArray[np.str_], Flag]:
    """[C] the use of most years, crops before others where they are as many; whether there is any."""
    codes = np.nan_to_num(forcing.annual["crop"], nan=0.0).astype(np.int64)
    names = (CROPLAND, *(name for name, _ in USES))
    of_code = _use_of_code()
    index = of_code[np.clip(codes, 0, 255)]
    count = np.stack([(index == k).sum(1) for k in range(len(names))], 1)
    none = names.index("none")
    count[:, none] = 0
    most = count.argmax(1)
    known = count.max(1) > 0
    return np.array(names)[most], known


@lru_cache(maxsize=1)
def _use_of_code() -> Integers:
    table = np.zeros(256, np.int64)
    for k, (_, codes) in enumerate(USES):
        table[list(codes)] = k + 1
    table.flags.writeable = False
    return table


def _of_years(forcing: Forcing) -> dict[str, Array]:
    """Irrigated share of the years, and the maize yield expected, where the forcing tells."""
    found: dict[str, Array] = {}
    if "irrigated" in forcing.annual:
        found["irrigated"] = np.nan_to_num(mean_of(forcing.annual["irrigated"]))
    if "yield_expected" in forcing.annual:
        maize = np.isin(forcing.annual["crop"], MAIZE.cdl)
        carbon = mean_of(np.where(maize, forcing.annual["yield_expected"], np.nan))
        found["corn_yield"] = carbon / MAIZE.carbon_m2(1.0)
    return found


def mean_of(values: Floats) -> Array:
    """[C] means of the years [C, Y] that have a value; NaN where none has."""
    there = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(there, values, 0.0).sum(1, dtype=np.float64) / there.sum(1))
