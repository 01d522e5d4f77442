"""Attributes by which other programs find a Zarr group's place: the conventions `proj:`, `spatial:` and `multiscales`.

They are drafts of github.com/zarr-conventions; CF's grid mapping stands beside them for those who know that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .grid import Grid, Window

_AT = "https://raw.githubusercontent.com/zarr-conventions"
_PAGE = "https://github.com/zarr-conventions"


def placed(grid: Grid, window: Window, level: int = 0) -> dict[str, Any]:
    """Attributes of a group whose arrays are the cells of `window`, at a level of the pyramid."""
    return {"zarr_conventions": [_PROJ, _SPATIAL], **_where(grid, window, level)}


def multiscales(grid: Grid, window: Window, levels: Sequence[int]) -> dict[str, Any]:
    """Attributes of a group that holds the cells themselves, and groups `level1`, `level2`, … of their area means."""
    means = [
        {
            "asset": f"level{level}",
            "derived_from": "." if level == 1 else f"level{level - 1}",
            "transform": {"scale": [2.0, 2.0], "translation": [0.0, 0.0]},
            **_shape(grid, window, level),
        }
        for level in levels
    ]
    layout = [{"asset": ".", **_shape(grid, window, 0)}, *means]
    return {
        "zarr_conventions": [_MULTISCALES, _PROJ, _SPATIAL],
        "multiscales": {"layout": layout, "resampling_method": "average"},
        **_where(grid, window, 0),
    }


def _where(grid: Grid, window: Window, level: int) -> dict[str, Any]:
    xmin, ymin, xmax, ymax = window.bounds(grid)
    crs = {"proj:code": grid.crs} if grid.crs.partition(":")[2].isdigit() else {"proj:wkt2": grid.crs}
    return {
        **crs,
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": [xmin, ymin, xmax, ymax],
        "spatial:registration": "pixel",
        **_shape(grid, window, level),
    }


def _shape(grid: Grid, window: Window, level: int) -> dict[str, Any]:
    xmin, _, _, ymax = window.bounds(grid)
    size = grid.size * 2**level
    rows, cols = (n >> level for n in window.shape)
    return {"spatial:shape": [rows, cols], "spatial:transform": [size, 0.0, xmin, 0.0, -size, ymax]}


_PROJ = {
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "schema_url": "https://raw.githubusercontent.com/zarr-experimental/geo-proj/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-experimental/geo-proj/blob/v1/README.md",
    "description": "Coordinate reference system information for geospatial data",
}
_SPATIAL = {
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial",
    "schema_url": f"{_AT}/spatial/refs/tags/v1/schema.json",
    "spec_url": f"{_PAGE}/spatial/blob/v1/README.md",
    "description": "Spatial coordinate information",
}
_MULTISCALES = {
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "schema_url": f"{_AT}/multiscales/refs/tags/v1/schema.json",
    "spec_url": f"{_PAGE}/multiscales/blob/v1/README.md",
    "description": "Multiscale layout of zarr datasets",
}
