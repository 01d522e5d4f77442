"""SSURGO exports: map-unit polygons and pipe-delimited tables without headers, on the grid.

Columns follow the SSURGO metadata, version 2 (mapunit, component, chorizon). Representative values are used.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.tiles.grid import Grid, Window
from numpy.typing import NDArray

from .errors import BadSource, existing
from .outlines import on_grid

Floats = NDArray[np.float64]

# place of each column in a row of chorizon.txt: representative values
_TOP, _BOTTOM = 6, 9
_SAND, _SILT, _CLAY, _ORGANIC, _DENSITY = 33, 51, 60, 66, 72
_KSAT, _AWC, _THIRD_BAR, _FIFTEEN_BAR, _CEC, _PH = 82, 85, 91, 94, 126, 135
_CHORIZON_COLUMNS, _COMP_COLUMNS = 171, 109
_VAN_BEMMELEN = 1.724  # organic matter over organic carbon, as NRCS uses it
_MICROMETRE_S = 3.6  # mm h-1

PROPERTIES = (
    *("bulk_density", "sand", "silt", "clay", "field_capacity", "wilting_point", "ksat", "soc_content", "ph", "cec"),
)
LAYERS = ((0.0, 0.05), (0.05, 0.15), (0.15, 0.30), (0.30, 0.60), (0.60, 1.00))
ENOUGH = 0.5
"""A mean needs values for at least this share of what it stands for."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """A layer of a component: depths, m; values by property name in units of the vocabulary, NaN where unknown."""

    top: float
    bottom: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Component:
    """A soil that takes `percent` of a map unit."""

    key: str
    name: str
    percent: float
    horizons: tuple[Horizon, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """A SSURGO export. units: map-unit key -> components. names: key -> name. polygons: (key, shapely in lon, lat)."""

    units: Mapping[str, tuple[Component, ...]]
    names: Mapping[str, str]
    polygons: Sequence[tuple[str, Any]]


def read_ssurgo(folder: Path | str) -> Survey:
    """Read an export: `tabular/{mapunit,comp,chorizon}.txt` and `spatial/soilmu_a*.shp`.

    Raises BadSource where a table or the polygons are missing, or a table has another layout.
    """
    root = existing(folder, "SSURGO folder")
    horizons: dict[str, list[Horizon]] = {}
    for row in _table(root, "chorizon", _CHORIZON_COLUMNS):
        horizons.setdefault(row[-2], []).append(_horizon(row, root))
    units: dict[str, list[Component]] = {}
    for row in _table(root, "comp", _COMP_COLUMNS):
        layers = tuple(sorted(horizons.get(row[-1], []), key=lambda h: h.top))
        percent = _number(row[1])
        units.setdefault(row[-2], []).append(Component(row[-1], row[3], 0.0 if np.isnan(percent) else percent, layers))
    names = {row[-1]: row[1] for row in _table(root, "mapunit", 24)}
    return Survey({k: tuple(v) for k, v in units.items()}, names, _polygons(root))


def unit_mean(components: Sequence[Component], prop: str, top: float, bottom: float) -> float:
    """Mean of a property over a depth range, m, of a map unit: by thickness and by share of its components.

    Soil carbon is weighed by mass (bulk density) as well, so that carbon content times bulk density gives the stock.
    NaN where less than half of the soil between the depths, by share and thickness, has a value.
    """
    total = known = weighted = 0.0
    whole = sum(c.percent for c in components)
    for component in components:
        for horizon in component.horizons:
            thickness = min(horizon.bottom, bottom) - max(horizon.top, top)
            value = horizon.values[prop]
            mass = horizon.values["bulk_density"] if prop == "soc_content" else 1.0
            if thickness <= 0 or np.isnan(value) or np.isnan(mass):
                continue
            weight = component.percent * thickness
            known += weight
            total += weight * mass
            weighted += weight * mass * value
    return weighted / total if total > 0 and known >= ENOUGH * whole * (bottom - top) else float("nan")


def soil_on_grid(
    survey: Survey, grid: Grid, window: Window, layers: Sequence[tuple[float, float]] = LAYERS, sub: int = 10
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Properties of the cells: name -> [rows, cols] over 0-30 cm, and name -> [L, rows, cols] by layer.

    The mean over a cell's map units by area (soil carbon by mass), from sub x sub points of each cell; NaN where less
    than half of the cell has a value.
    """
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    all_keys = sorted({key for key, _ in survey.polygons})
    number = {key: k + 1 for k, key in enumerate(all_keys)}
    rows, cols = window.shape
    xmin, _, _, ymax = window.bounds(grid)
    step = grid.size / sub
    shapes = [(on_grid(geometry, grid.crs), number[key]) for key, geometry in survey.polygons]
    fine = rasterize(
        shapes, out_shape=(rows * sub, cols * sub), transform=Affine(step, 0, xmin, 0, -step, ymax), dtype="int32"
    )
    cell = (np.arange(rows * sub) // sub)[:, None] * cols + (np.arange(cols * sub) // sub)[None]
    here, place = np.unique(fine, return_inverse=True)
    index = cell.ravel() * here.size + place.ravel()
    share = np.bincount(index, minlength=rows * cols * here.size).reshape(rows * cols, here.size) / sub**2
    share, keys = share[:, here > 0], [all_keys[k - 1] for k in here if k > 0]

    def spread(depths: Sequence[tuple[float, float]]) -> dict[str, Floats]:
        table = {
            prop: np.array([[unit_mean(survey.units.get(k, ()), prop, t, b) for k in keys] for t, b in depths])
            for prop in PROPERTIES
        }
        result = {}
        for prop, values in table.items():
            mass = table["bulk_density"] if prop == "soc_content" else np.ones_like(values)
            there = np.isfinite(values) & np.isfinite(mass)
            weight = np.where(there, mass, 0.0) @ share.T
            known = there.astype(float) @ share.T
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = np.where(there, values * mass, 0.0) @ share.T / weight
            result[prop] = np.where(known >= ENOUGH, mean, np.nan).reshape(len(depths), rows, cols)
        return result

    top = spread([(0.0, 0.30)])
    return {name: values[0] for name, values in top.items()}, spread(layers)


def _horizon(row: Sequence[str], root: Path) -> Horizon:
    top, bottom = _number(row[_TOP]) / 100, _number(row[_BOTTOM]) / 100
    if not 0 <= top <= bottom:
        raise BadSource(
            f"A horizon of component {row[-2]} in {root} reaches from {row[_TOP]} to {row[_BOTTOM]} cm. The table "
            f"does not have the columns of SSURGO version 2."
        )
    fifteen, third = _number(row[_FIFTEEN_BAR]) / 100, _number(row[_THIRD_BAR]) / 100
    if np.isnan(third):
        third = fifteen + _number(row[_AWC])
    sand, clay = _number(row[_SAND]) * 10, _number(row[_CLAY]) * 10
    values = {
        "bulk_density": _number(row[_DENSITY]),
        "sand": sand,
        "silt": 1000 - sand - clay,
        "clay": clay,
        "field_capacity": third,
        "wilting_point": fifteen,
        "ksat": _number(row[_KSAT]) * _MICROMETRE_S,
        "soc_content": _number(row[_ORGANIC]) * 10 / _VAN_BEMMELEN,
        "ph": _number(row[_PH]),
        "cec": _number(row[_CEC]),
    }
    return Horizon(top, bottom, values)


def _table(root: Path, name: str, columns: int) -> list[list[str]]:
    file = existing(root / "tabular" / f"{name}.txt", "SSURGO table")
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        rows = [row for row in csv.reader(stream, delimiter="|") if row]
    for row in rows:
        if len(row) != columns:
            raise BadSource(
                f"A row of {file} has {len(row)} columns; the table '{name}' of SSURGO version 2 has {columns}. "
                f"Export it again from Web Soil Survey, tabular data without headers."
            )
    return rows


def _polygons(root: Path) -> list[tuple[str, Any]]:
    import geopandas

    files = sorted((root / "spatial").glob("soilmu_a*.shp"))
    if not files:
        raise BadSource(f"{root / 'spatial'} has no map-unit polygons (soilmu_a*.shp). Add the export's spatial part.")
    found = []
    for file in files:
        table = geopandas.read_file(file)
        column = next((c for c in table.columns if c.upper() == "MUKEY"), None)
        if column is None or table.crs is None:
            raise BadSource(f"{file} has no column MUKEY, or no reference system beside it (.prj).")
        table = table.to_crs("EPSG:4326")
        found += list(zip(table[column].astype(str), table.geometry, strict=True))
    return found


def _number(text: str) -> float:
    try:
        return float(text) if text.strip() else float("nan")
    except ValueError:
        raise BadSource(f"A SSURGO table has '{text}' where a number belongs: its columns are other ones.") from None
