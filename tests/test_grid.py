"""The grid, against pyproj, rasterio and the Cropland Data Layer itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fieldflux.tiles.grid import BadGrid, Block, Grid, Window
from hypothesis import given
from hypothesis import strategies as st

GRID = Grid()
rows_in = st.integers(0, GRID.rows - 1)
cols_in = st.integers(0, GRID.cols - 1)


def test_the_grid_covers_the_national_cropland_data_layer() -> None:
    # 153811 x 96523 pixels of 30 m
    assert GRID.cols == -(-153811 * 30 // 250)
    assert GRID.rows == -(-96523 * 30 // 250)


def test_cells_are_aligned_with_the_cropland_data_layer(data_dir: Path) -> None:
    import rasterio

    with rasterio.open(data_dir / "landcover" / "2021_30m_cdls.tif") as layer:
        assert layer.crs.to_epsg() == 5070
        left, top = layer.bounds.left, layer.bounds.top
    assert (left - GRID.x0) % 30 == 0
    assert (GRID.y0 - top) % 30 == 0
    # that sample begins on a corner of the grid as well: 75000 pixels = 9000 cells, 45000 pixels = 5400 cells
    assert GRID.cell_at(left, top) == (5400, 9000)


def test_the_affine_agrees_with_rasterio() -> None:
    from rasterio.transform import Affine, rowcol, xy

    window = Window(4160, 4320, 10080, 10240)
    transform = Affine(*GRID.affine(window))
    x, y = GRID.centres(4200, 10100)
    assert rowcol(transform, x, y) == (40, 20)
    assert xy(transform, 40, 20) == (float(x), float(y))


def test_lonlat_agrees_with_pyproj() -> None:
    from pyproj import Transformer

    lon, lat = np.array([-93.63, -91.19, -120.5]), np.array([42.03, 39.99, 37.1])
    x, y = GRID.from_lonlat(lon, lat)
    expected = Transformer.from_crs(4326, 5070, always_xy=True).transform(lon, lat)
    np.testing.assert_allclose((x, y), expected)
    np.testing.assert_allclose(GRID.to_lonlat(x, y), (lon, lat), atol=1e-9)


def test_ames_lies_in_the_block_of_the_demo() -> None:
    row, col = GRID.cell_at(*GRID.from_lonlat(-93.63, 42.03))
    assert (int(row), int(col)) == (4223, 10203)
    assert (int(row) // 256, int(col) // 256) == (16, 39)


@given(rows_in, cols_in)
def test_ids_come_back(row: int, col: int) -> None:
    number = GRID.cell_id(row, col)
    assert number == row * 18458 + col
    assert GRID.rows_cols(number) == (row, col)


@given(rows_in, cols_in)
def test_a_centre_lies_in_its_cell(row: int, col: int) -> None:
    assert GRID.cell_at(*GRID.centres(row, col)) == (row, col)


def test_a_point_on_an_edge_belongs_to_the_cell_south_and_east() -> None:
    assert GRID.cell_at(GRID.x0, GRID.y0) == (0, 0)
    assert GRID.cell_at(GRID.x0 + 250, GRID.y0 - 250) == (1, 1)
    assert GRID.cell_at(GRID.x0 - 0.01, GRID.y0 + 0.01) == (-1, -1)


def test_edges_enclose_the_bounds() -> None:
    window = Window(10, 12, 20, 23)
    x, y = GRID.edges(window)
    assert x.shape == (4,)
    assert y.shape == (3,)
    assert (x[0], y[-1], x[-1], y[0]) == window.bounds(GRID)


@given(st.integers(0, 2000), st.integers(1, 600), st.integers(0, 2000), st.integers(1, 600))
def test_blocks_tile_their_window(row: int, height: int, col: int, width: int) -> None:
    window = Window(row, row + height, col, col + width)
    blocks = window.blocks(GRID)
    parts = [part for block in blocks if (part := block.window(GRID).intersect(window))]
    assert len(parts) == len(blocks) == len(set(blocks))
    assert sum(part.size for part in parts) == window.size
    grown = window.block_aligned(GRID)
    assert grown.intersect(window) == window
    assert grown.size == len(blocks) * 256 * 256


def test_window_of_covers_a_rectangle() -> None:
    window = Window(64, 96, 128, 160)
    assert GRID.window_of(*window.bounds(GRID)) == window
    xmin, ymin, xmax, ymax = window.bounds(GRID)
    assert GRID.window_of(xmin + 1, ymin + 1, xmax + 1, ymax + 1) == Window(63, 96, 128, 161)
    assert GRID.window_of(xmin + 1, ymin + 1, xmax + 1, ymax + 1, multiple=32) == Window(32, 96, 128, 192)


def test_block_names_sort_as_blocks_do() -> None:
    assert Block(16, 39).name == "b016-039"
    assert sorted([Block(2, 0), Block(1, 9)]) == [Block(1, 9), Block(2, 0)]


def test_other_grids_are_possible() -> None:
    utm = Grid(crs="EPSG:32614", x0=500000, y0=4700000, size=100, rows=500, cols=400, block=128, chunk=32)
    assert utm.cell_area_m2 == 1e4
    lon, _ = utm.to_lonlat(500000, 4600000)
    assert lon == pytest.approx(-99.0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Grid(size=0), "cell size must be greater than 0"),
        (lambda: Grid(block=100, chunk=32), "whole number of chunks"),
        (lambda: Grid(rows=0), "at least one row"),
        (lambda: Window(5, 5, 0, 1), "at least one cell"),
        (lambda: GRID.cell_id([0, 11583], [0, 0]), r"Cell \(row 11583, column 0\) lies outside the grid"),
        (lambda: Grid(crs="EPSG:0").from_lonlat(0, 0), "No transformation"),
        (lambda: GRID.window_of(1e8, 1e8, 2e8, 2e8), "lies outside the grid"),
    ],
)
def test_what_cannot_be_is_said(wrong: object, says: str) -> None:
    with pytest.raises(BadGrid, match=says):
        wrong()  # type: ignore[operator]
