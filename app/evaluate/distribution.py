"""How delta_soc is spread over a cube's cells and years, in percent of the soil's carbon, beside a published share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fieldflux.models.contract import Forcing, Model
from fieldflux.models.crops import CROPS
from fieldflux.tiles.cells import run_cells
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.measurements.panelsoil import NAMES, Soils
from numpy.typing import NDArray

from .county import WithoutGpp, sample
from .report import Table

Array = NDArray[np.float64]
Told = Callable[[float, str], None]

BAND = 0.5
PUBLISHED = 86.0
"""Percent of the pixels within +-BAND % per year: Liu et al. 2024, Nature Communications 15:357; IL, IA, IN, 250 m."""
QUANTILES = (5, 25, 50, 75, 95)
YEARS, MEANS = "single years", "mean of all years"
OWN, GIVEN, SURVEYED = "own GPP", "given GPP", "own GPP, surveyed soils"
SOIL = ("soc_content", "bulk_density", "sand", "clay", "field_capacity", "wilting_point", "ksat", "ph", "cec")
EXPLAINING = ("soc_content", "clay")
"""What a straight line is drawn in: few, since a survey has few soils."""


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """delta_soc of one set of values.

    run: OWN or GIVEN GPP, or SURVEYED soils. percent: [n] of the stock of 0-30 cm per year. crop: of the year, or
    "all". carbon: mean, gC m-2 yr-1. spread: standard deviation of the mean over members, percent.
    """

    run: str
    what: str
    crop: str
    percent: Array
    carbon: float
    spread: float | None

    @property
    def within(self) -> float:
        """Percent of the values within +-BAND."""
        return 100.0 * float((np.abs(self.percent) <= BAND).mean())


@dataclass(frozen=True, slots=True)
class DistributionResult:
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    parts: tuple[Distribution, ...] = ()


@dataclass(frozen=True, slots=True)
class OtherSoils:
    """A cube for a fixed list of cells, whose soils are those of `static`: property -> [cell], in the list's order."""

    cube: Any
    static: Mapping[str, Array]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cube, name)

    def forcing(self, rows: Any, cols: Any, years: Sequence[int]) -> Forcing:
        """The cube's, of all cells of the list, with the other soils."""
        found: Forcing = self.cube.forcing(rows, cols, years)
        return replace(found, static={**found.static, **{n: v.astype(np.float32) for n, v in self.static.items()}})


def drawn_soils(soils: Mapping[str, Soils], cells: int, seed: int = 0) -> dict[str, Array]:
    """Property -> [cell]: whole map units, drawn by their share of a survey's area, all surveys with one weight."""
    values = np.concatenate([one.values for one in soils.values()])
    weight = np.concatenate([one.weight / one.weight.sum() for one in soils.values()])
    bearing = np.flatnonzero(values[:, NAMES.index("soc_content")] > 0)
    chosen = np.random.default_rng(seed).choice(bearing, cells, p=weight[bearing] / weight[bearing].sum())
    return {name: values[chosen, i] for i, name in enumerate(NAMES)}


def evaluate_distribution(
    model: Model, cube: Cube, told: Told, soils: Mapping[str, Soils] | None = None
) -> DistributionResult:
    """Distribution over a sample of the cube's cropped cells, with the model's own GPP and, where the cube has it and
    the model takes it, with the given one.

    soils: surveys, of which each cell is given a map unit in one more run: a county's cube may have a single soil.
    Raises MissingInputs where the cube lacks what the model needs.
    """
    if "delta_soc" not in model.outputs:
        return DistributionResult((), (), (f"Distribution of delta_soc: {model.card.id} does not give it.",))
    cells = sample(cube)
    if not len(cells[0]):
        return DistributionResult((), (), (f"Distribution of delta_soc: no cropped cell in the cube '{cube.id}'.",))
    forcing = cube.forcing(*cells, cube.years)
    lacking = [name for name in ("soc_content", "bulk_density") if name not in forcing.static]
    if lacking:
        sentence = f"Distribution of delta_soc: the cube '{cube.id}' has no {' and no '.join(lacking)}, so no stock."
        return DistributionResult((), (), (sentence,))
    crops = np.asarray(forcing.annual["crop"], np.float64)[:, : len(cube.years)]
    parts: list[Distribution] = []
    notes: list[str] = []
    sources: dict[str, Any] = {OWN: WithoutGpp(cube)}
    if "gpp_given" in cube.available() and "gpp_given" in model.needs.optional:
        sources[GIVEN] = cube
    if soils:
        sources[SURVEYED] = OtherSoils(sources[OWN], drawn_soils(soils, len(cells[0])))
    for i, (run, source) in enumerate(sources.items()):
        told(i / len(sources), f"delta_soc over the cube, {run}")
        static = source.static if run == SURVEYED else forcing.static
        stock = stock_of(static)
        found = run_cells(model, source, *cells, cube.years, ("delta_soc",))
        change = np.asarray(found.annual["delta_soc"], np.float64)
        parts += distributions(change, stock, crops, run)
        notes += explained(
            np.asarray(change.mean(axis=(0, 2)), np.float64) / stock * 100.0, static, _climate(forcing), run
        )
    if not parts:
        return DistributionResult((), (), (f"Distribution of delta_soc: {model.card.id} gives no value in the cube.",))
    weather, kinds = len(np.unique(forcing.weather)), _different(forcing.static)
    notes = [
        f"Distribution of delta_soc: {len(cells[0])} cells of the cube '{cube.id}' drawn at random, {cube.years[0]} to "
        f"{cube.years[-1]}, on {weather} weather cell{'s' if weather > 1 else ''} and "
        f"{kinds} soil{'s' if kinds > 1 else ''}; percent of the stock of 0-30 cm (soc_content x bulk density). "
        f"{cube.statement}",
        f"Beside it: Liu et al. 2024 found {PUBLISHED:.0f} % of the pixels of three states within +-{BAND} % per year, "
        "as means of 21 years, over many soils and climates. Cells that share soil and weather spread less: a share "
        "near 0 or 100 % then says where their one level lies.",
        *notes,
    ]
    if soils:
        notes.append(
            f"'{SURVEYED}': every cell has a map unit of the SSURGO surveys of {len(soils)} farms, drawn by area, "
            "under the weather of the cube: what soils alone spread."
        )
    return DistributionResult((table_of(parts),), tuple(notes), (), tuple(parts))


def stock_of(static: Mapping[str, Any]) -> Array:
    """[cell] organic carbon of 0-30 cm, gC m-2: content, g kg-1, x bulk density, Mg m-3, x 300 mm."""
    content, density = (np.asarray(static[n], np.float64) for n in ("soc_content", "bulk_density"))
    return np.asarray(content * density * 300.0, np.float64)


def distributions(change: Array, stock: Array, crops: Array, run: str) -> list[Distribution]:
    """Of delta_soc [member, cell, year]: single years, all and by crop, and the mean of all years of each cell.

    Members are averaged first. Cells without a value in some year are left out of the means.
    """
    known = np.isfinite(change).all(axis=0)
    percent = change / stock[None, :, None] * 100.0
    found = []
    for name, codes in {"all": None, **{c.name: c.cdl for c in CROPS.values()}}.items():
        here = known if codes is None else known & np.isin(crops, codes)
        if here.any():
            found.append(_one(run, YEARS, name, percent[:, here], change[:, here]))
    whole = np.all(known, axis=1)
    if whole.any():
        found.append(_one(run, MEANS, "all", percent[:, whole].mean(axis=2), change[:, whole].mean(axis=2)))
    return found


def _one(run: str, what: str, crop: str, percent: Array, change: Array) -> Distribution:
    spread = float(percent.mean(axis=1).std(ddof=1)) if len(percent) > 1 else None
    return Distribution(run, what, crop, percent.mean(axis=0), float(change.mean()), spread)


def explained(percent: Array, static: Mapping[str, Any], climate: Array, run: str) -> list[str]:
    """Shares of the variance of the cells' means that straight lines in soil, and in climate, explain; in a sentence.

    percent: [cell]. climate: [cell, k]. [] where nothing varies enough to tell.
    """
    keep = np.isfinite(percent)
    soil = np.stack([np.asarray(static[n], np.float64) for n in EXPLAINING if n in static], axis=1)
    said = []
    for name, factors in (("soil", soil), ("climate", climate)):
        share = share_explained(percent[keep], factors[keep])
        if share is not None:
            different = len(np.unique(factors[keep], axis=0))
            said.append(f"{name} {share:.0%} ({different} different)")
    if not said:
        return []
    return [
        f"Of the variance of the cells' mean delta_soc ({run}), straight lines explain: {', '.join(said)}. "
        f"Published for three states: soil 43 %, climate 11 %."
    ]


def share_explained(values: Array, factors: Array) -> float | None:
    """R2 of a linear regression of [n] on those of [n, k] that vary; None where they take too few different values.

    >>> x = np.arange(30.0)
    >>> round(share_explained(2 * x, x[:, None]), 6)
    1.0
    """
    varying = factors[:, np.ptp(factors, axis=0) > 1e-9] if len(factors) else factors
    if varying.shape[1] == 0 or np.ptp(values) <= 0:
        return None
    if len(np.unique(varying, axis=0)) < 2 * (varying.shape[1] + 1):
        return None
    scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    design = np.column_stack([np.ones(len(values)), scaled])
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(1.0 - np.square(values - fitted).sum() / np.square(values - values.mean()).sum())


def _climate(forcing: Any) -> Array:
    """[cell, 3] mean temperature, rain and radiation of the cell's weather, those that there are."""
    rows = [np.nanmean(forcing.daily[n], axis=1) for n in ("tmean", "precip", "srad") if n in forcing.daily]
    return np.asarray(np.stack(rows, axis=1)[forcing.weather], np.float64)


def _different(static: Mapping[str, Any]) -> int:
    soils = [np.asarray(static[n]) for n in SOIL if n in static]
    return len(np.unique(np.stack(soils, axis=1), axis=0))


def table_of(parts: Sequence[Distribution]) -> Table:
    """One line per distribution."""
    columns = ("run", "values", "crop", "n", "mean gC m-2 yr-1", "mean %", "members' sd %")
    lines = tuple(
        (
            *(p.run, p.what, p.crop, len(p.percent), p.carbon, float(p.percent.mean()), p.spread),
            *(float(np.percentile(p.percent, q)) for q in QUANTILES),
            p.within,
        )
        for p in parts
    )
    names = (*columns, *(f"{q} %" for q in QUANTILES), f"within +-{BAND} %/yr")
    title = f"delta_soc in % of the SOC stock per year (published: {PUBLISHED:.0f} % of cells' means within +-{BAND})"
    return Table("delta_soc_distribution", title, names, lines)


__all__ = ["Distribution", "DistributionResult", "distributions", "evaluate_distribution", "share_explained"]
