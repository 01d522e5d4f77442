"""Polygons on the grid: exact fractions, and a defined answer for every odd polygon."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from fieldflux.tiles.grid import Grid, Window
from fieldflux.tiles.lru import Lru
from fieldflux.tiles.rings import to_cells
from fieldflux.tiles.zonal import EDGE_DEGREES, BadGeometry, Limits, cell_polygon, coverage, read_shape
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon, box, mapping

GRID = Grid()
WINDOW = Window(4096, 4352, 10112, 10368)
MIDDLE = GRID.to_lonlat(*GRID.centres(4224, 10240))
LON, LAT = float(MIDDLE[0]), float(MIDDLE[1])
CELL = GRID.cell_area_m2


def on_plane(points: list[tuple[float, float]]) -> Polygon:
    """A polygon given in columns and rows of the grid, from the middle of the window, in longitude and latitude."""
    at = np.array(points) + np.array([10240, 4224])
    lon, lat = GRID.to_lonlat(GRID.x0 + at[:, 0] * GRID.size, GRID.y0 - at[:, 1] * GRID.size)
    return Polygon(np.column_stack([lon, lat]))


def star(seed: int, corners: int, radius: float) -> Polygon:
    """A star-shaped polygon, in degrees, somewhere in the window: never crossing itself."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    # no gap of half a turn: the middle stays inside
    angle = np.concatenate([angle, np.linspace(0, 2 * np.pi, 4, endpoint=False)])
    angle.sort()
    r = radius * rng.uniform(0.3, 1.0, angle.size)
    x0, y0 = LON + rng.uniform(-0.1, 0.1), LAT + rng.uniform(-0.1, 0.1)
    return Polygon(np.column_stack([x0 + r * np.cos(angle), y0 + r * np.sin(angle)]))


def dense(cover: Any) -> np.ndarray:
    out = np.zeros(WINDOW.shape)
    out[cover.rows - WINDOW.row0, cover.cols - WINDOW.col0] = cover.fraction
    return out


stars = st.builds(star, st.integers(0, 10_000), st.integers(0, 12), st.sampled_from([0.0005, 0.004, 0.03, 0.12]))


def test_a_rectangle_by_hand() -> None:
    # 2.5 cells wide and 1.5 high, from a cell's corner: two whole cells, halves, and a quarter
    cover = coverage(on_plane([(0, 0), (2.5, 0), (2.5, 1.5), (0, 1.5)]), GRID, WINDOW)
    assert cover.rows.tolist() == [4224, 4224, 4224, 4225, 4225, 4225]
    assert cover.cols.tolist() == [10240, 10241, 10242] * 2
    assert cover.fraction == pytest.approx([1, 1, 0.5, 0.5, 0.5, 0.25], abs=5e-5)
    assert cover.area_m2 == pytest.approx(3.75 * 62_500, rel=1e-5)
    assert cover.covered_fraction == pytest.approx(1, abs=1e-7)
    assert cover.flags == ()


@settings(max_examples=60, deadline=None)
@given(stars)
def test_fractions_add_up_to_the_area(polygon: Polygon) -> None:
    cover = coverage(polygon, GRID, WINDOW)
    assert cover.fraction.min() > 0
    assert cover.fraction.max() <= 1
    assert cover.fraction.sum() * CELL == pytest.approx(cover.area_m2, rel=1e-6)
    # the plane is equal-area: it agrees with the ellipsoid
    assert cover.area_m2 / 1e4 == pytest.approx(cover.geodesic_area_ha, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(stars, st.floats(-0.8, 0.8))
def test_two_halves_add_up_to_the_whole(polygon: Polygon, where: float) -> None:
    west, south, east, north = polygon.bounds
    # a cut along a meridian, with corners on it: both halves then have the same edge on the plane
    at = (west + east) / 2 + where * (east - west) / 2
    halves = [
        polygon.intersection(box(west - 1, south - 1, at, north + 1)),
        polygon.intersection(box(at, south - 1, east + 1, north + 1)),
    ]
    whole = dense(coverage(polygon, GRID, WINDOW))
    parts = sum(dense(coverage(h, GRID, WINDOW)) for h in halves if h.area > 0)
    assert np.abs(whole - parts).max() < 1e-5


@settings(max_examples=15, deadline=None)
@given(st.builds(star, st.integers(0, 10_000), st.integers(0, 12), st.sampled_from([0.0005, 0.004, 0.03])))
def test_fractions_are_those_of_shapely_cell_by_cell(polygon: Polygon) -> None:
    cover = coverage(polygon, GRID, WINDOW)
    plane = shapely.transform(shapely.segmentize(polygon, EDGE_DEGREES), lambda points: to_cells(points, GRID))
    cells = shapely.box(cover.cols, cover.rows, cover.cols + 1, cover.rows + 1)
    exact = shapely.area(shapely.intersection(cells, plane))
    assert cover.fraction == pytest.approx(exact, abs=1e-6)
    # and no cell was left out
    assert exact.sum() == pytest.approx(plane.area, rel=1e-6)


def test_a_hole_is_not_covered() -> None:
    outer = on_plane([(0, 0), (6, 0), (6, 6), (0, 6)])
    hole = on_plane([(2, 2), (4, 2), (4, 4), (2, 4)])
    cover = coverage(Polygon(outer.exterior, [hole.exterior]), GRID, WINDOW)
    assert cover.fraction.sum() == pytest.approx(32, abs=1e-3)
    inside = (cover.rows >= 4226) & (cover.rows < 4228) & (cover.cols >= 10242) & (cover.cols < 10244)
    assert cover.fraction[inside].sum() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("gap", [1.5, 100.0], ids=["near", "far apart: computed part by part"])
def test_parts_of_a_multipolygon_are_added(gap: float) -> None:
    one = on_plane([(0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5)])
    two = on_plane([(gap, 0), (gap + 0.25, 0), (gap + 0.25, 1), (gap, 1)])
    three = on_plane([(0, 0.5), (0.5, 0.5), (0.5, 1), (0, 1)])  # shares a cell with the first
    cover = coverage(MultiPolygon([one, two, shapely.set_precision(three.buffer(-1e-9), 0)]), GRID, WINDOW)
    assert cover.cells == 2
    assert cover.fraction == pytest.approx([0.5, 0.25], abs=1e-4)
    assert cover.rows.tolist() == [4224, 4224]


def test_smaller_than_a_cell_is_answered_and_flagged() -> None:
    cover = coverage(on_plane([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]), GRID, WINDOW)
    assert (cover.cells, cover.flags) == (1, ("smaller_than_cell",))
    assert cover.fraction[0] == pytest.approx(0.25, abs=1e-5)


def test_partly_outside_is_answered_for_the_part_inside() -> None:
    edge = WINDOW.col0 - 10240
    cover = coverage(on_plane([(edge - 3, 0), (edge + 1, 0), (edge + 1, 4), (edge - 3, 4)]), GRID, WINDOW)
    assert "partly_outside" in cover.flags
    assert cover.inside_fraction == pytest.approx(0.25, abs=1e-4)
    assert cover.covered_m2 == pytest.approx(4 * CELL, rel=1e-4)
    assert cover.fraction[cover.cols == WINDOW.col0].sum() == pytest.approx(4, abs=1e-3)


def test_cells_without_inputs_are_left_out_and_told() -> None:
    mask = np.ones(WINDOW.shape, bool)
    mask[4224 - WINDOW.row0, 10240 - WINDOW.col0] = False
    square = on_plane([(0, 0), (2, 0), (2, 2), (0, 2)])
    cover = coverage(square, GRID, WINDOW, mask)
    assert cover.flags == ("partly_masked",)
    assert cover.covered_fraction == pytest.approx(0.75, abs=1e-4)
    assert (4224, 10240) not in set(zip(cover.rows.tolist(), cover.cols.tolist(), strict=True))
    with pytest.raises(BadGeometry, match="soil, crop and weather") as refused:
        coverage(square, GRID, WINDOW, np.zeros(WINDOW.shape, bool))
    assert refused.value.code == "outside-cube"


def test_a_clicked_cell_is_that_cell_alone() -> None:
    cover = coverage(cell_polygon(GRID, LON, LAT), GRID, WINDOW)
    assert (cover.rows.tolist(), cover.cols.tolist(), cover.flags) == ([4224], [10240], ())
    assert cover.fraction[0] == pytest.approx(1, abs=3e-4)


def test_a_long_edge_is_straight_in_degrees_not_on_the_plane() -> None:
    # A parallel bends on the plane: between its ends, the middle of a 0.5 degree edge lies some 80 m off the chord
    wide = box(LON - 0.25, LAT, LON + 0.25, LAT + 0.1)
    cover = coverage(wide, GRID, WINDOW)
    assert cover.area_m2 / 1e4 == pytest.approx(cover.geodesic_area_ha, rel=1e-6)
    chord = shapely.transform(wide, lambda points: to_cells(points, GRID))
    assert abs(chord.area * CELL / cover.area_m2 - 1) > 1e-6


def test_coverages_are_kept_by_geometry() -> None:
    memory = Lru(1 << 20)
    square = mapping(on_plane([(0, 0), (2, 0), (2, 2), (0, 2)]))
    first = coverage(square, GRID, WINDOW, memory=memory)
    assert coverage(square, GRID, WINDOW, memory=memory) is first
    assert coverage(square, GRID, WINDOW, memory=memory, place="another cube") is not first
    unclosed = {"type": "Polygon", "coordinates": [list(square["coordinates"][0][:-1])]}
    again = coverage(unclosed, GRID, WINDOW, memory=memory)
    assert again.flags == ("ring_closed",)
    assert np.array_equal(again.fraction, first.fraction)
    assert coverage(square, GRID, WINDOW, memory=memory).flags == ()
    with pytest.raises(ValueError, match="read-only"):
        first.fraction[0] = 0.0


def test_the_cache_is_bounded_in_bytes() -> None:
    memory = Lru(100)
    for k in range(50):
        memory.get(k, lambda: b"x" * 30, len)
    assert memory.used <= 100
    assert len(memory) == 3
    assert memory.get("large", lambda: b"x" * 200, len) == b"x" * 200
    assert memory.used <= 100


SQUARE = [[LON, LAT], [LON + 0.01, LAT], [LON + 0.01, LAT + 0.01], [LON, LAT + 0.01], [LON, LAT]]


@pytest.mark.parametrize(
    ("geometry", "code", "says"),
    [
        ({"type": "Point", "coordinates": [LON, LAT]}, "invalid-geometry", "type 'Point'"),
        ({"type": "Polygon"}, "invalid-geometry", "coordinates"),
        ({"type": "Polygon", "coordinates": []}, "invalid-geometry", "empty"),
        ({"type": "MultiPolygon", "coordinates": [[]]}, "invalid-geometry", "no rings"),
        ({"type": "Polygon", "coordinates": [[]]}, "invalid-geometry", "positions"),
        ({"type": "Polygon", "coordinates": [SQUARE[:2]]}, "invalid-geometry", "at least 3"),
        ({"type": "Polygon", "coordinates": [[["a", 1], [2, 3], [4, 5]]]}, "invalid-geometry", "as numbers"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [None, 3], [4, 5]]]}, "invalid-geometry", "as numbers"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [2, float("nan")], [4, 5]]]}, "invalid-geometry", "finite"),
        ({"type": "Feature", "geometry": None}, "invalid-geometry", "no geometry"),
        ({"type": "FeatureCollection", "features": []}, "invalid-geometry", "0 features"),
        (
            {"type": "Polygon", "coordinates": [[SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3], SQUARE[0]]]},
            "invalid-geometry",
            "crosses or touches itself at longitude",
        ),
        (
            {"type": "Polygon", "coordinates": [[SQUARE[0], SQUARE[1], SQUARE[0], SQUARE[0]]]},
            "invalid-geometry",
            "few different",
        ),
        (
            {"type": "Polygon", "coordinates": [[p[::-1] for p in SQUARE]]},
            "swapped-coordinates",
            "longitude, latitude",
        ),
        (
            {"type": "Polygon", "coordinates": [[[p[0] * 1e5, p[1] * 1e5] for p in SQUARE]]},
            "wrong-crs",
            "metres of a map projection",
        ),
        (
            {
                "type": "Polygon",
                "coordinates": [SQUARE],
                "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::26915"}},
            },
            "wrong-crs",
            "EPSG::26915",
        ),
        (mapping(box(10, 40, 11, 41)), "outside-cube", "lies outside the inputs"),
        (mapping(box(-100, 35, -90, 44)), "over-limit", "covers"),
        (mapping(star(0, 60_000, 0.05)), "over-limit", "60,005 vertices; at most 50,000"),
        (mapping(Polygon([(-120, 30), (-70, 45), (-70, 45.0001)])), "over-limit", "spans"),
    ],
)
def test_odd_polygons_are_refused_with_a_sentence(geometry: dict[str, Any], code: str, says: str) -> None:
    whole = Window(0, GRID.rows, 0, GRID.cols)
    with pytest.raises(BadGeometry, match=says) as refused:
        coverage(geometry, GRID, WINDOW if code == "outside-cube" else whole)
    assert refused.value.code == code
    assert str(refused.value).endswith(".")


def test_swapped_coordinates_that_would_be_inside_are_told() -> None:
    # at longitudes within 90 degrees, swapped coordinates are still a place on Earth
    grid = Grid(crs="EPSG:3035", x0=2_600_000.0, y0=5_500_000.0, rows=4000, cols=4000, size=1000.0)
    germany = box(10.0, 50.0, 10.1, 50.1)
    assert coverage(germany, grid, Window(0, 4000, 0, 4000)).cells > 50
    swapped = shapely.transform(germany, lambda p: p[:, ::-1])
    with pytest.raises(BadGeometry, match="swapped it would be inside") as refused:
        coverage(swapped, grid, Window(2000, 3000, 1000, 2000))
    assert refused.value.code == "swapped-coordinates"


def test_limits_are_told_as_numbers() -> None:
    with pytest.raises(BadGeometry) as refused:
        read_shape({"type": "Polygon", "coordinates": [SQUARE]}, Limits(vertices=4))
    assert refused.value.members == {"limit": "vertices", "given": 5, "allowed": 4}


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326", "urn:ogc:def:crs:EPSG::4326"])
def test_wgs84_may_be_said(name: str) -> None:
    source = {
        "type": "Feature",
        "properties": {},
        "crs": {"type": "name", "properties": {"name": name}},
        "geometry": {"type": "Polygon", "coordinates": [[[*p, 300.0] for p in SQUARE]]},
    }
    shape = read_shape(source)
    assert not shape.geometry.has_z
    assert shape.flags == ()


def test_an_outline_that_zigzags_over_the_earth_is_refused_quickly() -> None:
    x = np.linspace(-179, 179, 20_000)
    top, bottom = (
        np.column_stack([x, np.where(np.arange(x.size) % 2, 80.0, -79.0)]),
        np.array([[179, -80], [-179, -80.0]]),
    )
    zigzag = Polygon(np.vstack([top, bottom]))
    with pytest.raises(BadGeometry) as refused:
        coverage(zigzag, GRID, WINDOW)
    assert refused.value.code == "over-limit"
