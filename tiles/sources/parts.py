"""What several builders share: declared rotations and calendars, counties on the grid, soil maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from fieldflux.models.crops import CROP_OF_CDL, CROPS
from fieldflux.tiles.cubefile import CubeWriter
from fieldflux.tiles.grid import Grid, Window
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CORN, SOYBEAN = 1, 5
PATCH = 3  # cells on a side of a patch with one rotation: 750 m, about a quarter section


@dataclass(frozen=True, slots=True)
class Season:
    """Day of year of sowing and of harvest. Sown in the autumn before where sowing is the later one."""

    sowing: float
    harvest: float


# Typical dates, near the middle of the most active weeks in USDA NASS (2010), Usual Planting and Harvesting Dates for
# U.S. Field Crops, Agricultural Handbook 628. A user with dates of her own gives them in a recipe.
ILLINOIS: MappingProxyType[str, Season] = MappingProxyType({"maize": Season(127, 287), "soybean": Season(145, 284)})
IOWA: MappingProxyType[str, Season] = MappingProxyType({"maize": Season(126, 295), "soybean": Season(140, 282)})
CALENDAR_SOURCE = "typical dates after USDA NASS (2010), Usual Planting and Harvesting Dates, Agricultural Handbook 628"


def alternating(window: Window, years: Sequence[int]) -> NDArray[np.int64]:
    """[Y, rows, cols] maize and soybean in turn, on patches of 3 x 3 cells whose phase comes from their place.

    It depends on the absolute cells and years alone, so that every window of the grid gives the same answer.
    """
    rows = (np.arange(window.row0, window.row1) // PATCH).astype(np.uint64)[:, None]
    cols = (np.arange(window.col0, window.col1) // PATCH).astype(np.uint64)[None]
    mixed = rows * np.uint64(0x9E3779B97F4A7C15) ^ cols * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    phase = (mixed >> np.uint64(63)).astype(np.int64)
    turn = (phase[None] + np.array(years)[:, None, None]) % 2
    return np.where(turn == 0, CORN, SOYBEAN)


def put_management(
    cube: CubeWriter,
    crop: NDArray[Any],
    calendar: Mapping[str, Season],
    window: Window,
    *,
    tillage: float = 0.5,
    irrigated: float = 0.0,
    residue_removed: float = 0.0,
) -> None:
    """Write crops [Y, rows, cols] of a window, with sowing and harvest by the calendar and one management for all.

    Cells whose crop is none that models know, or is not in the calendar, have no dates.
    """
    sowing, harvest = np.full(256, np.nan), np.full(256, np.nan)
    for code, known in CROP_OF_CDL.items():
        if known.name in calendar:
            sowing[code], harvest[code] = calendar[known.name].sowing, calendar[known.name].harvest
    codes = np.clip(crop, 0, 255)
    there = np.isfinite(sowing[codes])
    cube.annual("crop", crop, window)
    cube.annual("sowing_doy", sowing[codes], window)
    cube.annual("harvest_doy", harvest[codes], window)
    for name, value in (("tillage", tillage), ("irrigated", irrigated), ("residue_removed", residue_removed)):
        cube.annual(name, np.where(there, value, np.nan), window)


def put_expected(
    cube: CubeWriter, crop: NDArray[Any], expected: Mapping[str, Floats], county: NDArray[Any], window: Window
) -> None:
    """Write the yield that earlier years let expect of each cell's crop, NaN where nothing is known of it.

    crop: [Y, rows, cols] of a window. expected: crop -> [county, Y], t ha-1 at market moisture. county: [rows, cols]
    row of each cell's county, -1 for none.
    """
    values = np.full(crop.shape, np.nan)
    for name, t_ha in expected.items():
        here = np.isin(crop, CROPS[name].cdl) & (county >= 0)
        of_cells = (CROPS[name].carbon_m2(1.0) * t_ha).T[:, np.maximum(county, 0)]
        values[here] = of_cells[here]
    cube.annual("yield_expected", values, window)


def inside(geometries: Sequence[Any], grid: Grid, window: Window) -> NDArray[np.int64]:
    """[rows, cols] number of the geometry, on the grid's plane, that holds the centre of each cell; -1 for none."""
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    found = rasterize(
        [(geometry, k) for k, geometry in enumerate(geometries)],
        out_shape=window.shape,
        fill=-1,
        transform=Affine(*grid.affine(window)),
        dtype="int32",
    )
    return np.asarray(found, np.int64)


def latitudes(grid: Grid, window: Window) -> Floats:
    """[rows, cols] latitude of the cells' centres, to 0.05 degrees.

    That is seconds of daylight; and cells which are alike otherwise stay alike, so that a run computes them once.
    """
    rows, cols = window.cells()
    exact = grid.to_lonlat(*grid.centres(rows, cols))[1].reshape(window.shape)
    return np.asarray(np.round(exact / 0.05) * 0.05, np.float64)


def window_around(geometry: Any, grid: Grid) -> Window:
    """The window around a geometry on the grid's plane, in whole chunks."""
    xmin, ymin, xmax, ymax = geometry.bounds
    return grid.window_of(xmin, ymin, xmax, ymax, grid.chunk)


def geojson(geometry: Any) -> dict[str, Any]:
    """A shapely geometry as GeoJSON."""
    from shapely.geometry import mapping

    found: dict[str, Any] = mapping(geometry)
    return {"type": found["type"], "coordinates": _lists(found["coordinates"])}


def _lists(coordinates: Any) -> Any:
    if isinstance(coordinates[0], (int, float)):
        return [round(float(c), 6) for c in coordinates]
    return [_lists(part) for part in coordinates]
