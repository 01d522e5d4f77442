"""GeoTIFFs, and whatever else GDAL reads, on the cells of the grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.tiles.grid import Grid, Window
from numpy.typing import NDArray

from .errors import BadSource, existing

Floats = NDArray[np.float64]

SUB = 25
"""Points on a side of a cell where classes are counted: 10 m in a cell of 250 m, so that 30 m pixels count exactly."""

_BAND_ROWS = 32


def read_classes(path: Path | str, grid: Grid, window: Window, band: int = 1) -> NDArray[np.int64]:
    """[rows, cols] the class that covers most of each cell, the lowest of equals; -1 where the raster has none.

    Raises BadSource where the file is no raster or has no reference system.
    """
    from rasterio.enums import Resampling

    found = np.empty(window.shape, np.int64)
    with _open(path, band) as source:
        for top in range(0, window.shape[0], _BAND_ROWS):
            part = Window(window.row0 + top, min(window.row0 + top + _BAND_ROWS, window.row1), window.col0, window.col1)
            fine = _project(source, grid, part, band, Resampling.nearest, SUB, np.int64, -(2**40))
            fine[fine == -(2**40)] = -1
            found[top : top + _BAND_ROWS] = _most(fine, part.shape)
    return found


def read_means(path: Path | str, grid: Grid, window: Window, band: int = 1) -> Floats:
    """[rows, cols] area mean over each cell, with the file's scale and offset applied; NaN where it has no data.

    Raises BadSource as `read_classes` does.
    """
    from rasterio.enums import Resampling

    with _open(path, band) as source:
        outside = -9.0e15
        values = _project(source, grid, window, band, Resampling.average, 1, np.float64, outside)
        scaled = values * source.scales[band - 1] + source.offsets[band - 1]
    return np.asarray(np.where(values == outside, np.nan, scaled), np.float64)


def check_raster(path: Path | str, grid: Grid, window: Window, band: int = 1) -> None:
    """Raise BadSource unless the file is a raster with a reference system that reaches the window."""
    from rasterio.warp import transform_bounds

    with _open(path, band) as source:
        west, south, east, north = transform_bounds(source.crs, grid.crs, *source.bounds, densify_pts=21)
    xmin, ymin, xmax, ymax = window.bounds(grid)
    if west >= xmax or east <= xmin or south >= ymax or north <= ymin:
        raise BadSource(
            f"The raster {path} does not reach the region: it covers x {west:.0f} to {east:.0f}, y {south:.0f} to "
            f"{north:.0f}, the region x {xmin:.0f} to {xmax:.0f}, y {ymin:.0f} to {ymax:.0f} ({grid.crs})."
        )


@contextmanager
def _open(path: Path | str, band: int) -> Iterator[Any]:
    import rasterio
    from rasterio.errors import RasterioIOError

    file = existing(path, "raster")
    try:
        with rasterio.open(file) as source:
            if source.crs is None:
                raise BadSource(f"The raster {file} names no reference system. Assign one with `rio edit-info --crs`.")
            if not 1 <= band <= source.count:
                raise BadSource(f"The raster {file} has {source.count} bands; there is no band {band}.")
            yield source
    except RasterioIOError as error:
        raise BadSource(f"{file} cannot be read as a raster: {error}. Give a GeoTIFF.") from error


def _project(
    source: Any, grid: Grid, window: Window, band: int, how: Any, sub: int, dtype: Any, outside: float
) -> NDArray[Any]:
    from rasterio import band as band_of
    from rasterio.transform import Affine
    from rasterio.warp import reproject

    rows, cols = window.shape
    target = np.full((rows * sub, cols * sub), outside, dtype)
    reproject(
        band_of(source, band),
        target,
        src_nodata=source.nodata,
        dst_crs=grid.crs,
        dst_transform=Affine(*grid.affine(window)) * Affine.scale(1 / sub),
        dst_nodata=outside,
        resampling=how,
    )
    return target


def _most(fine: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int64]:
    rows, cols = shape
    classes, number = (np.arange(-1, 256), fine + 1) if fine.max() < 256 else np.unique(fine, return_inverse=True)
    cell = (np.arange(rows * SUB) // SUB)[:, None] * cols + (np.arange(cols * SUB) // SUB)[None]
    index = cell * classes.size + number.reshape(fine.shape)
    count = np.bincount(index.ravel(), minlength=rows * cols * classes.size).reshape(rows * cols, classes.size)
    return np.asarray(classes[count.argmax(axis=1)].reshape(shape), np.int64)
