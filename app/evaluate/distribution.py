"""How delta_soc is spread over a cube's cells and years, in percent of the soil's carbon, beside a published share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fieldflux.models.contract import Model
from fieldflux.models.crops import CROPS
from fieldflux.tiles.cells import run_cells
from fieldflux.tiles.cube import Cube
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
SOIL = ("soc_content", "bulk_density", "sand", "clay", "field_capacity", "wilting_point", "ksat", "ph", "cec")


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """delta_soc of one set of values: percent: [n] of the stock of 0-30 cm per year. gpp: "own" or "given". crop: of
    the year, or "all". carbon: mean, gC m-2 yr-1. spread: standard deviation of the mean over members, percent."""

    gpp: str
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


def evaluate_distribution(model: Model, cube: Cube, told: Told) -> DistributionResult:
    """Distribution over a sample of the cube's cropped cells, with the model's own GPP and, where the cube has it and
    the model takes it, with the given one.

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
    stock = stock_of(forcing.static)
    crops = np.asarray(forcing.annual["crop"], np.float64)[:, : len(cube.years)]
    parts: list[Distribution] = []
    notes: list[str] = []
    sources = ["own"] + (["given"] if "gpp_given" in cube.available() and "gpp_given" in model.needs.optional else [])
    for i, gpp in enumerate(sources):
        told(i / len(sources), f"delta_soc over the cube, {gpp} GPP")
        source: Any = cube if gpp == "given" else WithoutGpp(cube)
        found = run_cells(model, source, *cells, cube.years, ("delta_soc",))
        change = np.asarray(found.annual["delta_soc"], np.float64)
        parts += distributions(change, stock, crops, gpp)
        notes += explained(
            np.asarray(change.mean(axis=(0, 2)), np.float64) / stock * 100.0, forcing.static, _climate(forcing), gpp
        )
    if not parts:
        return DistributionResult((), (), (f"Distribution of delta_soc: {model.card.id} gives no value in the cube.",))
    weather, soils = len(np.unique(forcing.weather)), _different(forcing.static)
    notes = [
        f"Distribution of delta_soc: {len(cells[0])} cells of the cube '{cube.id}' drawn at random, {cube.years[0]} to "
        f"{cube.years[-1]}, on {weather} weather cell{'s' if weather > 1 else ''} and "
        f"{soils} soil{'s' if soils > 1 else ''}; percent of the stock of 0-30 cm (soc_content x bulk density). "
        f"{cube.statement}",
        f"Beside it: Liu et al. 2024 found {PUBLISHED:.0f} % of the pixels of three states within +-{BAND} % per year, "
        "as means of 21 years, over many soils and climates. Cells that share soil and weather spread less: a share "
        "near 0 or 100 % then says where their one level lies.",
        *notes,
    ]
    return DistributionResult((table_of(parts),), tuple(notes), (), tuple(parts))


def stock_of(static: Mapping[str, Any]) -> Array:
    """[cell] organic carbon of 0-30 cm, gC m-2: content, g kg-1, x bulk density, Mg m-3, x 300 mm."""
    content, density = (np.asarray(static[n], np.float64) for n in ("soc_content", "bulk_density"))
    return np.asarray(content * density * 300.0, np.float64)


def distributions(change: Array, stock: Array, crops: Array, gpp: str) -> list[Distribution]:
    """Of delta_soc [member, cell, year]: single years, all and by crop, and the mean of all years of each cell.

    Members are averaged first. Cells without a value in some year are left out of the means.
    """
    known = np.isfinite(change).all(axis=0)
    percent = change / stock[None, :, None] * 100.0
    found = []
    for name, codes in {"all": None, **{c.name: c.cdl for c in CROPS.values()}}.items():
        here = known if codes is None else known & np.isin(crops, codes)
        if here.any():
            found.append(_one(gpp, YEARS, name, percent[:, here], change[:, here]))
    whole = np.all(known, axis=1)
    if whole.any():
        found.append(_one(gpp, MEANS, "all", percent[:, whole].mean(axis=2), change[:, whole].mean(axis=2)))
    return found


def _one(gpp: str, what: str, crop: str, percent: Array, change: Array) -> Distribution:
    spread = float(percent.mean(axis=1).std(ddof=1)) if len(percent) > 1 else None
    return Distribution(gpp, what, crop, percent.mean(axis=0), float(change.mean()), spread)


def explained(percent: Array, static: Mapping[str, Any], climate: Array, gpp: str) -> list[str]:
    """Shares of the variance of the cells' means that straight lines in soil, and in climate, explain; in a sentence.

    percent: [cell]. climate: [cell, k]. [] where nothing varies enough to tell.
    """
    keep = np.isfinite(percent)
    soil = np.stack([np.asarray(static[n], np.float64) for n in SOIL if n in static], axis=1)
    said = []
    for name, factors in (("soil", soil), ("climate", climate)):
        share = share_explained(percent[keep], factors[keep])
        if share is not None:
            said.append(f"{name} {share:.0%}")
    if not said:
        return []
    return [
        f"Of the variance of the cells' mean delta_soc ({gpp} GPP), straight lines explain: {', '.join(said)}. "
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
    if len(np.unique(varying, axis=0)) < 3 * (varying.shape[1] + 1):
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
    columns = ("GPP", "values", "crop", "n", "mean gC m-2 yr-1", "mean %", "members' sd %")
    lines = tuple(
        (
            *(p.gpp, p.what, p.crop, len(p.percent), p.carbon, float(p.percent.mean()), p.spread),
            *(float(np.percentile(p.percent, q)) for q in QUANTILES),
            p.within,
        )
        for p in parts
    )
    names = (*columns, *(f"{q} %" for q in QUANTILES), f"within +-{BAND} %/yr")
    title = f"delta_soc in % of the SOC stock per year (published: {PUBLISHED:.0f} % of cells' means within +-{BAND})"
    return Table("delta_soc_distribution", title, names, lines)


__all__ = ["Distribution", "DistributionResult", "distributions", "evaluate_distribution", "share_explained"]
