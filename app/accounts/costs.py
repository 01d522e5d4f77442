"""What a series costs, before it is worked out: from its area, days and variables."""

from __future__ import annotations

from math import cos, radians
from typing import TYPE_CHECKING

from .policy import series_cost

if TYPE_CHECKING:
    from fieldflux.app.collection import Collection
    from fieldflux.tiles.zonal import Shape

_KM_PER_DEGREE = 111.2


def cells_of(shape: Shape, cell_km2: float) -> float:
    """About how many cells a polygon has, one at least."""
    _, south, _, north = shape.geometry.bounds
    km2 = shape.geometry.area * _KM_PER_DEGREE**2 * cos(radians((south + north) / 2))
    return max(1.0, float(km2 / cell_km2))


def cost_of(asked: Collection) -> float:
    """Units beyond the first one. Areas are worked out within a few percent: no limit needs more."""
    request = asked.request
    days = (request.last - request.first).days + 1
    cell_km2 = (asked.place.cube.grid.size / 1000) ** 2
    cells = 0.0
    for given in asked.given:
        if given.shape is not None:
            cells += cells_of(given.shape, cell_km2)
    return series_cost(len(asked.given), cells * days * len(request.variables))
