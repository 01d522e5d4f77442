"""A small cube that the agro-ecosystem model can run: 8 x 8 cells, maize and soybean in turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.cubefile import About, CubeWriter
from fieldflux.tiles.grid import Grid, Window

from .small_forcing import MAIZE, SOYBEAN, small_forcing

GRID = Grid(block=32, chunk=8)
WINDOW = Window(4160, 4168, 9984, 9992)


def build_small(path: Path, years: int = 2, first_year: int = 2019) -> Cube:
    """Build and open the cube."""
    turns = [[MAIZE if (k + y) % 2 == 0 else SOYBEAN for y in range(years)] for k in range(2)]
    forcing = small_forcing(turns, first_year)
    rows, cols = WINDOW.shape
    field = np.add.outer(np.arange(rows) // 2, np.arange(cols) // 4) % 2
    about = About("small", "Small cube", "Made in code for tests.", "Apache-2.0", synthetic=True)
    with CubeWriter(path, about, GRID, WINDOW, forcing.years) as cube:
        lon, lat = GRID.to_lonlat(*GRID.centres([WINDOW.row0], [WINDOW.col0]))
        cube.weather(dict(forcing.daily), lon, lat)
        cube.weather_index(np.zeros((rows, cols), np.int64))
        for name, values in forcing.static.items():
            cube.static(name, np.full((rows, cols), values[0]))
        for name, values in forcing.annual.items():
            cube.annual(name, np.moveaxis(values[field], -1, 0))
        cube.finish()
    return open_cube(path)
