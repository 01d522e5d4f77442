"""Soil carbon of long-term experiments by the soil-carbon model: native state, cultivation, then the treatments.

Croplands are not at rest. The soil begins at rest under native vegetation, is ploughed under the crops of its time
(`farming`), and then gets each plot's own crops, straw, tillage and weather, month by month. Nothing is fitted to the
experiments. Beside it stands the same model that begins at rest under its last crops ("equilibrium").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from fieldflux.app.evaluate.soil import Plot, trend
from fieldflux.models.crops import CROP_OF_CDL, MAIZE, SOYBEAN
from fieldflux.models.hybrids.binn.network import Ensemble
from fieldflux.models.processes.soilcarbon.balance import balance
from fieldflux.models.processes.soilcarbon.climate import (
    Air,
    demand,
    retention,
    soil_temperature,
    soil_water,
    water_scalar,
)
from fieldflux.models.processes.soilcarbon.environment import Cap
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.layers import ACTIVE, NODE, THICKNESS, table
from fieldflux.models.processes.soilcarbon.management import Intensity, tillage
from fieldflux.models.processes.soilcarbon.observe import stock
from fieldflux.models.processes.soilcarbon.parameters import clm5_defaults
from fieldflux.models.processes.soilcarbon.solver import solve
from fieldflux.models.processes.soilcarbon.steady import steady_state
from fieldflux.models.processes.soilcarbon.transient import run
from fieldflux.tiles.atmosphere import extraterrestrial
from fieldflux.tiles.measurements.counties import join, read_counties
from fieldflux.tiles.measurements.experiments import Experiment, read_experiments
from fieldflux.tiles.measurements.experimentweather import read_places
from fieldflux.tiles.measurements.soilcarbon import read_soil_series
from numpy.typing import NDArray
from torch import Tensor

from .farming import COVER_CROP, PRAIRIE_WEST_OF, Crop, crop_litter, first_year, history_litter, native_litter
from .sites import FEATURES, USES, county_features

Array = NDArray[np.float64]
Start = Literal["history", "equilibrium"]
STARTS: tuple[Start, ...] = ("history", "equilibrium")

MONTHS = 12
PLOUGHED = 130  # day of the year, before the experiments
LATEST = 5  # years of crops under which "equilibrium" is at rest
DEPTH = 0.3  # m, as which the measured stocks' undocumented depth is taken
ACTIVE_LAYER = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One plot with its place. covariates: [F] of a BINN; county_yield: t ha-1, NaN where it has none."""

    plot: Experiment
    longitude: float
    county_yield: float
    covariates: Array
    cover: bool = False

    @property
    def crops(self) -> Mapping[int, Crop]:
        """Year -> what is grown."""
        plot = self.plot
        kinds = {int(s.crop) for s in plot.seasons.values()}
        soy, maize = kinds & set(SOYBEAN.cdl), kinds & set(MAIZE.cdl)
        share = float(np.mean([int(s.crop) in MAIZE.cdl for s in plot.seasons.values()]))
        nitrogen = plot.nitrogen / share if share > 0.0 else 0.0
        return {
            year: Crop(int(s.crop), s.residue_removed, nitrogen, bool(soy and maize), COVER_CROP if self.cover else 0.0)
            for year, s in plot.seasons.items()
        }

    def intensity(self, year: int) -> Intensity:
        """Of tillage: 0 none, 0.5 reduced, 1 ploughed."""
        depth = self.plot.seasons[year].tillage
        return "none" if depth < 0.25 else "low" if depth < 0.75 else "high"


def read_fields(data_dir: Path) -> tuple[list[Field], list[str]]:
    """Plots of maize and soybean with their weather, and sentences on what is left out. Raises BadMeasurements.

    A plot with a cover crop has the management of its twin without, which the file names alike.
    """
    plots, skipped = read_experiments(data_dir)
    counties = read_counties(data_dir)
    places = read_places(data_dir)
    if not plots or counties is None:
        return [], [*skipped, "Soil carbon: without the county files, BINN has no covariates."]
    at = np.array([places[p.site] for p in plots])
    joined = join(data_dir, counties, at[:, 0], at[:, 1])
    features = county_features(counties)
    crop = np.array([float(use == "cropland") for use in USES])
    fields = []
    for i, one in enumerate(plots):
        row = int(joined.row[i])
        if row < 0:
            skipped.append(f"Soil carbon of {one.site}: no county within 60 km has the covariates of BINN.")
            continue
        x = np.concatenate([[features[name][row] for name in FEATURES], crop])
        fields.append(Field(one, float(at[i, 1]), float(counties.values["corn_yield"][row]), x))
    series = {s.treatment: s for s in read_soil_series(data_dir)}
    twins = [(f, series[f"{f.plot.treatment}_Co"]) for f in fields if f"{f.plot.treatment}_Co" in series]
    fields += [
        replace(f, plot=replace(f.plot, treatment=s.treatment, measured=s), cover=True)
        for f, s in twins
        if len(np.unique(s.year)) > 1 and int(s.year[0]) >= f.plot.years[0] and int(s.year[-1]) <= f.plot.years[-1]
    ]
    return fields, skipped


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """[M, C, 21] of M members at C plots: under crops, and under what grew there before. reference: the tillage that is
    in them already. cap: of the water scalar."""

    crops: Tensor
    native: Tensor
    reference: Intensity
    cap: Cap


def parameters_of(model: Ensemble | None, fields: Sequence[Field]) -> Parameters:
    """Of a BINN's members, or CLM5's defaults (M = 1). Cells without covariates: NaN.

    A BINN was fitted to tilled soils as if they were at rest, so its parameters of cropland hold the usual tillage
    (taken for CLM5's lower intensity): here it counts by what is more or less than that. For the native state it is
    asked for prairie or forest at the same place.
    """
    if model is None:
        sand = torch.tensor([f.plot.static["sand"] / 10.0 for f in fields], dtype=torch.float64)
        defaults = clm5_defaults(sand)[None]
        return Parameters(defaults, defaults, "none", "published")
    x = np.stack([f.covariates for f in fields])
    before = x.copy()
    before[:, len(FEATURES) :] = 0.0
    for i, f in enumerate(fields):
        use = "grassland" if f.longitude < PRAIRIE_WEST_OF else "forest"
        before[i, len(FEATURES) + USES.index(use)] = 1.0
    return Parameters(model.parameters(x), model.parameters(before), "low", model.cap)


def climate_of(plot: Experiment, years: Sequence[int]) -> tuple[Array, Array]:
    """([Y, 12, 20] degC, [Y, 12, 20] W scalar) of years of a plot's own weather, each year as if it went on."""
    first = np.datetime64(f"{plot.years[0]}-01-01")
    days = first + np.arange(len(plot.daily["tmin"]))
    month = days.astype("datetime64[M]").astype(int) % 12
    year = days.astype("datetime64[Y]").astype(int) + 1970
    low, high, rain = plot.daily["tmin"], plot.daily["tmax"], plot.daily["precip"]
    above = extraterrestrial(plot.static["latitude"], days)

    def monthly(values: Array, sums: bool = False) -> Array:
        slot = (year - plot.years[0]) * 12 + month
        total = np.bincount(slot, values)
        return np.asarray(total if sums else total / np.bincount(slot), np.float64).reshape(-1, 12)

    mean, spread = monthly((low + high) / 2.0), monthly(np.clip(high - low, 0.1, None))
    air = Air(mean, monthly(rain, True), demand(monthly(above), mean, spread))
    kept = np.array([y - plot.years[0] for y in years])
    some = Air(air.temperature[kept], air.precipitation[kept], air.demand[kept])
    n = len(kept)
    warm, cold = some.temperature[:, (5, 6, 7)].mean(1), some.temperature[:, (11, 0, 1)].mean(1)
    soil = retention(np.full(n, plot.static["sand"]), np.full(n, plot.static["clay"]))
    water = water_scalar(soil.potential(soil_water(some, soil, np.array(THICKNESS))))
    return soil_temperature(some.temperature.mean(1), warm, cold, np.array(NODE)), water


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Plots that share a site and years: members of `fields` by index. climate: ([Y, 12, 20], [Y, 12, 20]) of years."""

    members: tuple[int, ...]
    years: tuple[int, ...]
    longitude: float
    county_yield: float
    climate: tuple[Array, Array]
    temperature: float
    rain: float

    def turn(self, step: int) -> int:
        """Index of the year in a step; the last one goes on."""
        return min(step, len(self.years) - 1)


def places_of(fields: Sequence[Field]) -> list[Place]:
    """One of each site and span of years."""
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for i, f in enumerate(fields):
        groups.setdefault((f.plot.site, f.plot.years), []).append(i)
    found = []
    for (_, years), members in groups.items():
        f = fields[members[0]]
        daily = f.plot.daily
        rain = float(daily["precip"].sum() / len(years))
        found.append(
            Place(tuple(members), years, f.longitude, f.county_yield, climate_of(f.plot, years),
                  float(daily["tmean"].mean()), rain)
        )  # fmt: skip
    return found


def forcing_at(climates: Sequence[tuple[Array, Array]], litter: Array, row: NDArray[np.int64]) -> SoilForcing:
    """Deep soils of climates ([12, 20], [12, 20]) with litter [C, 4]; row: [C]."""
    count = len(row)
    return SoilForcing(
        torch.from_numpy(np.stack([c[0] for c in climates])),
        torch.from_numpy(np.stack([c[1] for c in climates])),
        torch.from_numpy(np.ascontiguousarray(litter)),
        torch.full((count,), len(NODE) - 1),
        torch.full((count,), ACTIVE_LAYER, dtype=torch.float64),
        row=torch.from_numpy(row),
    )


def at_rest(parameters: Tensor, forcing: SoilForcing, factors: Tensor | None, cap: Cap) -> Tensor:
    """[C, 7, 20] gC m-3 under tillage that comes back every year. factors: [12, C or 1, 7, 20]."""
    if factors is None:
        return steady_state(parameters, forcing, cap=cap)
    months = [balance(parameters, forcing.month(m), cap) for m in range(MONTHS)]
    rate = torch.stack([t.rate * factors[m] for m, t in enumerate(months)]).mean(0)
    of = balance(parameters, forcing, cap)
    mass = solve(rate, of.shares, of.conductance, of.source, of.layers)
    return mass / table(THICKNESS, mass)


def turnover(intensity: Intensity, sown: int, reference: Intensity) -> Tensor:
    """[12, 1, 7, 20] factors on turnover by month, against a reference tillage of the same day."""
    day = torch.tensor([sown])
    return tillage(intensity, day, MONTHS) / tillage(reference, day, MONTHS)


def cultivated(given: Parameters, places: Sequence[Place], start: Start, first: Sequence[int] | None = None) -> Tensor:
    """[M, P, 7, 20] gC m-3 of each place when its experiment begins; given: of the places.

    first: years of first cultivation, instead of those by longitude.
    """
    copies, count, _ = given.crops.shape
    climate = [(p.climate[0].mean(0), p.climate[1].mean(0)) for p in places]
    row = np.tile(np.arange(count), copies)
    crops, native = given.crops.flatten(0, 1), given.native.flatten(0, 1)
    ploughed = turnover("high", PLOUGHED, given.reference)
    if start == "equilibrium":
        litter = np.stack([
            np.mean([history_litter(p.county_yield, p.years[0] - k) for k in range(1, LATEST + 1)], 0) for p in places
        ])  # fmt: skip
        rest = at_rest(crops, forcing_at(climate, np.tile(litter, (copies, 1)), row), ploughed, given.cap)
        return rest.reshape(copies, count, *rest.shape[1:])
    wild = np.stack([native_litter(p.longitude, p.temperature, p.rain) for p in places])
    forcing = forcing_at(climate, np.tile(wild, (copies, 1)), row)
    pools = at_rest(native, forcing, None, given.cap)
    begun = np.array([first_year(p.longitude) for p in places] if first is None else first)
    ends = np.array([p.years[0] for p in places])
    for back in range(int((ends - begun).max()), 0, -1):
        farmed = ends - back >= begun
        litter = np.stack([
            history_litter(p.county_yield, p.years[0] - back) if on else wild[i]
            for i, (p, on) in enumerate(zip(places, farmed, strict=True))
        ])  # fmt: skip
        on = torch.from_numpy(np.tile(farmed, copies))
        factors = torch.where(on[None, :, None, None], ploughed, torch.ones_like(ploughed))
        parameters = torch.where(on[:, None], crops, native)
        pools = _year(pools, parameters, forcing, np.tile(litter, (copies, 1)), factors, given.cap)
    return pools.reshape(copies, count, *pools.shape[1:])


def courses(given: Parameters, pools: Tensor, fields: Sequence[Field], places: Sequence[Place]) -> list[Array]:
    """Of each plot the stock of 0-30 cm before each of its years and after the last, [M, Y + 1] gC m-2.

    given, pools [M, C, 7, 20] at the start: of the plots in the order of the places' members.
    """
    copies = len(given.crops)
    order = [(k, i) for k, p in enumerate(places) for i in p.members]
    row = np.tile([k for k, _ in order], copies)
    parameters, now = given.crops.flatten(0, 1), pools.flatten(0, 1)
    seen = [stock(now, 0.0, DEPTH)]
    known: dict[tuple[Intensity, int], Tensor] = {}
    for t in range(max(len(p.years) for p in places)):
        climates = [(p.climate[0][p.turn(t)], p.climate[1][p.turn(t)]) for p in places]
        litter, factors = [], []
        for k, i in order:
            year, f = places[k].years[places[k].turn(t)], fields[i]
            litter.append(crop_litter(f.county_yield, year, f.crops[year]))
            key = f.intensity(year), int(np.clip(f.plot.seasons[year].sowing_doy, 1, 365))
            if key not in known:
                known[key] = turnover(*key, given.reference)
            factors.append(known[key])
        each = np.tile(np.stack(litter), (copies, 1))
        forcing = forcing_at(climates, each, row)
        now = _year(now, parameters, forcing, each, torch.cat(factors, 1).repeat(1, copies, 1, 1), given.cap)
        seen.append(stock(now, 0.0, DEPTH))
    every = torch.stack(seen, 1).reshape(copies, len(order), -1).numpy()
    return [every[:, c, : len(places[k].years) + 1] for c, (k, _) in enumerate(order)]


def _year(pools: Tensor, parameters: Tensor, forcing: SoilForcing, litter: Array, factors: Tensor, cap: Cap) -> Tensor:
    each = torch.from_numpy(np.ascontiguousarray(litter)).expand(MONTHS, -1, -1)
    return run(pools, parameters, forcing, MONTHS, steps_per_year=MONTHS, litter=each, factors=factors, cap=cap).pools


def modelled_plots(
    fields: Sequence[Field], model: Ensemble | None, start: Start, anchored: bool
) -> tuple[list[Plot], list[float]]:
    """Measured and modelled trends of every plot, gC m-2 yr-1; both by least squares over the measured years. And the
    modelled stocks of 0-30 cm with which each plot begins, gC m-2, before they are anchored.

    anchored: the soil pools of a site are scaled so that 0-30 cm begin with the mean of all plots' first measurements
    there; otherwise the model's own stock stays. Plots without parameters are left out.
    """
    places = places_of(fields)
    order = [i for p in places for i in p.members]
    of = [k for k, p in enumerate(places) for _ in p.members]
    given = parameters_of(model, fields)
    first = [p.members[0] for p in places]
    with torch.no_grad():
        at_places = replace(given, crops=given.crops[:, first], native=given.native[:, first])
        pools = cultivated(at_places, places, start)[:, of]
        begun = stock(pools.flatten(0, 1), 0.0, DEPTH).reshape(pools.shape[:2])
        if anchored:
            seen = [float(np.mean([fields[i].plot.measured.soc[0] for i in p.members])) for p in places]
            factor = torch.tensor(seen, dtype=torch.float64)[of] / begun
            pools[:, :, ACTIVE:] *= factor[..., None, None]
        found = courses(replace(given, crops=given.crops[:, order]), pools, fields, places)
    plots, stocks = [], []
    for c, i in enumerate(order):
        one = fields[i].plot
        years = one.measured.year
        slope, error = trend(years, one.measured.soc)
        modelled = np.array([trend(years, course[years - one.years[0]])[0] for course in found[c]])
        if not np.isfinite(modelled).all():
            continue
        crops = " + ".join(dict.fromkeys(CROP_OF_CDL[int(s.crop)].name for s in one.seasons.values()))
        span = int(years[0]), int(years[-1]), len(years)
        plots.append(Plot(one.site, one.treatment, *span, crops, one.nitrogen, slope, error, modelled))
        stocks.append(float(begun[:, c].mean()))
    return plots, stocks


__all__ = ["STARTS", "Experiment", "Field", "Place", "Start", "cultivated", "modelled_plots", "read_fields"]
