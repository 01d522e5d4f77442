"""GeoTIFFs, and whatever else GDAL reads, on the cells of the grid.

Each cell is looked at on a lattice of points, 10 m apart in a cell of 250 m: pixels of 30 m on the same corner, as
those of the Cropland Data Layer, then count with their exact area.
"""

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
"""Points on a side of a cell."""
ENOUGH = 0.5
"""A mean needs data under at least this share of its cell."""

_NOTHING = -9.0e15
_PART = (32, 256)


def read_classes(path: Path | str, grid: Grid, window: Window, band: int = 1) -> NDArray[np.int64]:
    """[rows, cols] the class that covers most of each cell, the lowest of equals; -1 where most of it has none.

    Raises BadSource where the file is no raster or has no reference system.
    """
    found = np.empty(window.shape, np.int64)
    with _open(path, band) as source:
        for part in _parts(window):
            points = _points(source, grid, part, band)
            classes = np.where(points == _NOTHING, -1, points).astype(np.int64)
            found[part.slices(window)] = _most(classes).reshape(part.shape)
    return found


def read_means(path: Path | str, grid: Grid, window: Window, band: int = 1) -> Floats:
    """[rows, cols] area mean over each cell, with the file's scale and offset applied.

    NaN where less than half of a cell has data. Raises BadSource as `read_classes` does.
    """
    found = np.empty(window.shape, np.float64)
    with _open(path, band) as source:
        scale, offset = source.scales[band - 1], source.offsets[band - 1]
        for part in _parts(window):
            points = _points(source, grid, part, band)
            there = (points != _NOTHING) & np.isfinite(points)
            count = there.sum(axis=1)
            total = np.where(there, points, 0.0).sum(axis=1)
            enough = count >= ENOUGH * SUB**2
            mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=enough)
            found[part.slices(window)] = (mean * scale + offset).reshape(part.shape)
    return found


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


def _parts(window: Window) -> Iterator[Window]:
    for row in range(window.row0, window.row1, _PART[0]):
        for col in range(window.col0, window.col1, _PART[1]):
            yield Window(row, min(row + _PART[0], window.row1), col, min(col + _PART[1], window.col1))


def _points(source: Any, grid: Grid, window: Window, band: int) -> Floats:
    """[cells, SUB * SUB] values of the raster at the points of each cell."""
    from rasterio import band as band_of
    from rasterio.enums import Resampling
    from rasterio.transform import Affine
    from rasterio.warp import reproject

    rows, cols = window.shape
    a, _, c, _, e, f = grid.affine(window)
    target = np.full((rows * SUB, cols * SUB), _NOTHING)
    reproject(
        band_of(source, band),
        target,
        src_nodata=source.nodata,
        dst_crs=grid.crs,
        dst_transform=Affine(a / SUB, 0, c, 0, e / SUB, f),
        dst_nodata=_NOTHING,
        resampling=Resampling.nearest,
    )
    cells = target.reshape(rows, SUB, cols, SUB).transpose(0, 2, 1, 3)
    return np.asarray(cells.reshape(rows * cols, SUB * SUB), np.float64)


def _most(points: NDArray[np.int64]) -> NDArray[np.int64]:
    small = points.max() < 256
    classes, number = (np.arange(-1, 256), points + 1) if small else np.unique(points, return_inverse=True)
    cells = points.shape[0]
    index = np.arange(cells)[:, None] * classes.size + number.reshape(points.shape)
    count = np.bincount(index.ravel(), minlength=cells * classes.size).reshape(cells, classes.size)
    return np.asarray(classes[count.argmax(axis=1)], np.int64)
