"""Tile matrix sets (OGC 17-083r4): Web Mercator, and the grid of the cells themselves, where nothing is resampled."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from fieldflux.tiles.grid import Grid
from fieldflux.tiles.mercator import EQUATOR_M

MERCATOR = "WebMercatorQuad"
CELLS = "FieldfluxCells"
SetName: TypeAlias = Literal["WebMercatorQuad", "FieldfluxCells"]
PIXEL_M = 0.00028
"""Size of a pixel by which OGC turns cells into scales."""
SIDE = 256
MAX_ZOOM = 16
LEVELS = 4
"""Coarsest level of the grid's own set; the cells themselves are its last matrix."""


def matrix_set(name: SetName, grid: Grid) -> dict[str, Any]:
    """The definition of a set. grid: of the cube that CELLS is for."""
    return mercator() if name == MERCATOR else cells(grid)


def mercator() -> dict[str, Any]:
    """WebMercatorQuad, zoom 0 to 16."""
    half = EQUATOR_M / 2
    return {
        "id": MERCATOR,
        "title": "Web Mercator, as web maps use it",
        "uri": "http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad",
        "crs": "http://www.opengis.net/def/crs/EPSG/0/3857",
        "orderedAxes": ["X", "Y"],
        "wellKnownScaleSet": "http://www.opengis.net/def/wkss/OGC/1.0/GoogleMapsCompatible",
        "tileMatrices": [
            _matrix(str(z), EQUATOR_M / (SIDE << z), (-half, half), 1 << z, 1 << z) for z in range(MAX_ZOOM + 1)
        ],
    }


def cells(grid: Grid) -> dict[str, Any]:
    """The grid's own set: a pixel is a cell, or an area mean of 4, 16, 64 or 256 of them."""
    authority, code = crs_of(grid)
    return {
        "id": CELLS,
        "title": f"Fieldflux's own cells of {grid.size:g} m, and their means",
        "crs": f"http://www.opengis.net/def/crs/{authority}/0/{code}",
        "orderedAxes": ["X", "Y"],
        "tileMatrices": [
            _matrix(
                str(k),
                grid.size * 2 ** level_of(k),
                (grid.x0, grid.y0),
                -(-grid.cols // (SIDE << level_of(k))),
                -(-grid.rows // (SIDE << level_of(k))),
            )
            for k in range(LEVELS + 1)
        ],
    }


def level_of(matrix: int) -> int:
    """Level of the pyramid of a matrix of the grid's own set."""
    return LEVELS - matrix


def crs_of(grid: Grid) -> tuple[str, str]:
    """Authority and code of the grid's reference system.

    >>> crs_of(Grid())
    ('EPSG', '5070')
    """
    authority, _, code = grid.crs.partition(":")
    return authority, code


def _matrix(name: str, cell: float, corner: tuple[float, float], width: int, height: int) -> dict[str, Any]:
    return {
        "id": name,
        "scaleDenominator": cell / PIXEL_M,
        "cellSize": cell,
        "cornerOfOrigin": "topLeft",
        "pointOfOrigin": list(corner),
        "tileWidth": SIDE,
        "tileHeight": SIDE,
        "matrixWidth": width,
        "matrixHeight": height,
    }
