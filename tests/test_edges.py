"""Fractions of cells from a polygon's edges: exact, and those of exactextract up to its 32 bits."""

from __future__ import annotations

import numpy as np
import shapely
from fieldflux.tiles.cutting import cut
from fieldflux.tiles.edges import covered_cells
from fieldflux.tiles.grid import Window
from fieldflux.tiles.rings import Rings
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

SIZE = 24
radii = st.lists(st.floats(0.05, 1.0), min_size=3, max_size=24)


def star(reach: list[float], turn: float, x: float, y: float) -> Polygon:
    """Corners at those distances, times 9, around a place."""
    angle = turn + np.linspace(0, 2 * np.pi, len(reach), endpoint=False)
    return Polygon(np.column_stack([x + 9 * np.array(reach) * np.cos(angle), y + 9 * np.array(reach) * np.sin(angle)]))


def by_edges(polygon: BaseGeometry) -> np.ndarray:
    rings = Rings.around(polygon)
    inward = np.where(rings.hole, -1.0, 1.0) * np.sign(rings.measured()[0])
    # A box that does not begin at zero: places are those of the grid.
    away = np.array([1000.0, 2000.0])
    box = Window(2000, 2000 + SIZE, 1000, 1000 + SIZE)
    rows, cols, fraction = covered_cells(rings.points + away, rings.first, inward, box)
    found = np.zeros((SIZE, SIZE))
    found[rows - 2000, cols - 1000] = fraction
    return found


def check(polygon: BaseGeometry) -> None:
    found = by_edges(polygon)
    assert abs(found.sum() - polygon.area) < 1e-11
    cells = shapely.box(*np.moveaxis(np.stack([*np.indices((SIZE, SIZE))[::-1]]), 0, 0), *(
        np.stack([*np.indices((SIZE, SIZE))[::-1]]) + 1
    ))  # fmt: skip
    np.testing.assert_allclose(found, shapely.area(shapely.intersection(cells, polygon)), atol=1e-11)
    ((rows, cols, theirs),) = cut([(polygon, Window(0, SIZE, 0, SIZE))])
    other = np.zeros((SIZE, SIZE))
    other[rows, cols] = theirs
    np.testing.assert_allclose(found, other, atol=2e-7)


@settings(max_examples=60, deadline=None)
@given(radii, st.floats(0, 7), st.floats(9.1, 14.9), st.floats(9.1, 14.9), st.booleans())
@example([1.0, 1.0, 1.0, 1.0], 0.0, 12.0, 12.0, True)
def test_fractions_are_the_areas_of_the_cells_that_are_covered(
    reach: list[float], turn: float, x: float, y: float, hole: bool
) -> None:
    polygon: BaseGeometry = star(reach, turn, x, y)
    inner = affinity.scale(polygon, 0.4, 0.4, origin=(x, y))
    if hole and polygon.contains(inner):
        polygon = polygon.difference(inner)
    assume(polygon.is_valid and polygon.area > 1e-3)
    check(polygon)
    check(shapely.reverse(polygon))


def test_edges_on_the_lines_of_the_grid_parts_and_corners_in_one_cell() -> None:
    check(box(2, 3, 7, 9))
    check(box(2.25, 3.5, 2.75, 3.75))
    check(MultiPolygon([box(0, 0, 3.5, 3.5), box(4.5, 0.5, SIZE, SIZE), star([0.2, 0.1, 0.2], 1.0, 2.0, 12.0)]))
    assert by_edges(box(2, 3, 7, 9))[3:9, 2:7].min() == 1.0
