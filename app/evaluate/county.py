"""A county: yearly GPP and yield of its crops in an input cube's cells, against satellite sums and USDA yields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.models.contract import Forcing, Model
from fieldflux.models.crops import CROPS
from fieldflux.models.scores import member_spread, score
from fieldflux.tiles.cells import run_cells
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.measurements import read_county_gpp, read_yields
from numpy.typing import NDArray

from .report import TRAINED, Row
from .yieldsplit import trained_years

Array = NDArray[np.float64]
Told = Callable[[float, str], None]

TREND = "linear trend"
FORECAST = "earlier trend"
MEAN = "mean of other years"
DESCRIBED: Mapping[str, str] = {
    TREND: "straight line through all the other scored years, by crop: it knows the years after the scored one.",
    FORECAST: "straight line through all earlier years that were reported, at least 15, by crop: a forecast.",
    MEAN: "mean of all the other scored years, by crop.",
}
UNSEEN = "unseen county"
FEWEST_EARLIER = 15
CELLS = 96
SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Yearly:
    """One crop, one quantity. year: [n]. observed: [n]. modelled: [member, n]. floors: name -> [n]."""

    crop: str
    variable: str
    unit: str
    gpp: str
    year: NDArray[np.int64]
    observed: Array
    modelled: Array
    floors: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class CountyResult:
    """Rows of scores, and the series by crop for plots."""

    rows: tuple[Row, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    series: tuple[Yearly, ...] = field(default=())


def evaluate_county(model: Model, cube: Cube, data_dir: Path, fips: int, told: Told) -> CountyResult:
    """GPP and yield of each crop in each year, mean over a sample of the cube's cells that bear it.

    GPP is scored with the model's own; handed the satellite's it would be that. Yields are scored both ways.
    Raises MissingInputs where the cube lacks what the model needs.
    """
    satellite = {g.crop: g for g in read_county_gpp(data_dir, fips)}
    reported = {y.crop: y for y in read_yields(data_dir, fips)}
    skipped = []
    if not satellite:
        skipped.append(f"County GPP: no satellite sums of county {fips} in this folder.")
    if not reported:
        skipped.append(f"County yields: no yields of county {fips} in this folder.")
    if not satellite and not reported:
        return CountyResult((), tuple(skipped), ())
    cells = sample(cube)
    rows: list[Row] = []
    series: list[Yearly] = []
    split = TRAINED if f"{fips:05d}" in trained_years(model.card) else UNSEEN
    sources = ["own"] + (["given"] if "gpp_given" in cube.available() and "gpp_given" in model.needs.optional else [])
    for i, gpp in enumerate(sources):
        told(i / len(sources), f"running the county, {gpp} GPP")
        means = _crop_means(model, cube, cells, gpp == "given")
        for crop, by_year in means.items():
            years = np.array(sorted(by_year))
            if gpp == "own" and crop in satellite:
                g = satellite[crop]
                found = _series(crop, "gpp", "gC m-2 yr-1", gpp, years, _stack(by_year, 0), g.year, g.total)
                rows, series = _add(rows, series, found, cube, f"{g.source}, county {fips}", split)
            if crop in reported:
                y = reported[crop]
                t_ha = _stack(by_year, 1) * CROPS[crop].t_ha(1.0)
                found = _series(crop, "yield", "t ha-1", gpp, years, t_ha, y.year, y.t_ha)
                rows, series = _add(rows, series, found, cube, f"{y.source}, county {fips}", split)
    notes = [
        f"County {fips}: means over {len(cells[0])} cells of the cube '{cube.id}', drawn at random (seed {SEED}); "
        f"yields at market moisture. {cube.statement}"
    ]
    notes += [f"Floor '{name}': {text}" for name, text in DESCRIBED.items()]
    return CountyResult(tuple(rows), tuple(skipped), tuple(notes), tuple(series))


def sample(cube: Cube) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Absolute rows and columns of up to CELLS cells that bear a known crop in most years."""
    known = [code for crop in CROPS.values() for code in crop.cdl]
    cropped = np.mean([np.isin(cube.crops(year), known) for year in cube.years], axis=0)
    r, c = np.nonzero(cube.mask() & (cropped > 0.5))
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(r))[:CELLS])
    return r[chosen].astype(np.int64) + cube.window.row0, c[chosen].astype(np.int64) + cube.window.col0


@dataclass(frozen=True, slots=True)
class WithoutGpp:
    """A cube whose satellite GPP is held back, so that the model makes its own everywhere."""

    cube: Cube

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cube, name)

    def available(self) -> dict[str, str]:
        return {name: unit for name, unit in self.cube.available().items() if name != "gpp_given"}

    def forcing(self, rows: Any, cols: Any, years: Sequence[int]) -> Forcing:
        return replace(self.cube.forcing(rows, cols, years), gpp_given=None, gpp_unit=None)


def _crop_means(
    model: Model, cube: Cube, cells: tuple[NDArray[np.int64], NDArray[np.int64]], given_gpp: bool
) -> dict[str, dict[int, Array]]:
    """Crop -> year -> [2, member] mean over its cells of yearly GPP and harvested carbon, gC m-2."""
    source: Any = cube if given_gpp else WithoutGpp(cube)
    found = run_cells(model, source, *cells, cube.years, ("gpp", "yield"))
    days = np.datetime64(found.start, "D") + np.arange(found.daily["gpp"].shape[2])
    of_day = days.astype("datetime64[Y]").astype(np.int64) + 1970
    means: dict[str, dict[int, Array]] = {}
    for i, year in enumerate(found.years):
        gpp = found.daily["gpp"][:, :, of_day == year].sum(axis=2, dtype=np.float64)
        both = np.stack([gpp, found.annual["yield"][:, :, i].astype(np.float64)])
        codes = cube.crops(year)[cells[0] - cube.window.row0, cells[1] - cube.window.col0]
        for crop in CROPS.values():
            here = np.isin(codes, crop.cdl) & np.isfinite(both).all(axis=(0, 1))
            if here.any():
                means.setdefault(crop.name, {})[year] = both[:, :, here].mean(axis=2)
    return means


def _stack(by_year: Mapping[int, Array], quantity: int) -> Array:
    """[member, year]."""
    return np.stack([by_year[year][quantity] for year in sorted(by_year)], axis=1)


def _series(
    crop: str,
    variable: str,
    unit: str,
    gpp: str,
    years: NDArray[np.int64],
    modelled: Array,
    known_years: NDArray[np.int64],
    known: Array,
) -> Yearly | None:
    shared, ours, theirs = np.intersect1d(years, known_years, return_indices=True)
    if len(shared) < 3:
        return None
    observed = known[theirs]
    floors = {TREND: trend_without(shared, observed), MEAN: mean_without(observed)}
    forecast = trend_before(shared, known_years, known)
    if np.isfinite(forecast).all():
        floors[FORECAST] = forecast
    return Yearly(crop, variable, unit, gpp, shared, observed, modelled[:, ours], floors)


def trend_without(years: NDArray[np.int64], values: Array) -> Array:
    """[n] for each year, the straight line through all the other years, at that year."""
    out = np.empty(len(years))
    for i in range(len(years)):
        others = np.arange(len(years)) != i
        out[i] = np.polyfit(years[others] - years[i], values[others], 1)[1]
    return out


def trend_before(years: NDArray[np.int64], known_years: NDArray[np.int64], known: Array) -> Array:
    """[n] for each year, the straight line through all known earlier years, at that year; NaN with too few of them."""
    out = np.full(len(years), np.nan)
    for i, year in enumerate(years):
        earlier = known_years < year
        if earlier.sum() >= FEWEST_EARLIER:
            out[i] = np.polyfit(known_years[earlier] - year, known[earlier], 1)[1]
    return out


def mean_without(values: Array) -> Array:
    """[n] for each value, the mean of all the others."""
    return np.asarray((values.sum() - values) / (len(values) - 1), np.float64)


def _add(
    rows: Sequence[Row], series: Sequence[Yearly], found: Yearly | None, cube: Cube, data: str, split: str
) -> tuple[list[Row], list[Yearly]]:
    if found is None:
        return list(rows), list(series)
    row = Row(
        part="county",
        split=split,
        place=cube.title,
        variable=found.variable,
        unit=found.unit,
        step="year",
        gpp=found.gpp,
        crop=found.crop,
        scores=score(found.modelled.mean(axis=0), found.observed),
        floors={name: score(values, found.observed) for name, values in found.floors.items()},
        data=data,
        spread=member_spread(found.modelled, found.observed),
    )
    return [*rows, row], [*series, found]
