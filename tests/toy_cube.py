"""A small cube for tests of the engine, written through the cube's own writer: 3 weather cells, some soils, 2 crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.cubefile import About, CubeWriter, days_of
from fieldflux.tiles.grid import Grid, Window

GRID = Grid(rows=3200, cols=3200, block=32, chunk=8)
WINDOW = Window(70, 125, 100, 150)
"""Rows in blocks 2 and 3, columns in blocks 3 and 4, edges in the middle of blocks."""
HOLE = Window(64, 80, 96, 104)
"""Cells without soil: chunk (0, 0) and (1, 0) of the store hold none that can be run."""
UNKNOWN = (90, 120)
"""A cell with a crop that the toy model does not know, in 2020."""


def build_toy(path: Path, years: tuple[int, ...] = (2019, 2020, 2021), given: bool = True, seed: int = 1) -> Cube:
    """Build and open the cube."""
    rng = np.random.default_rng(seed)
    rows, cols = WINDOW.shape
    days = days_of(years)
    day = (days - days[0]).astype(float)
    season = -np.cos(2 * np.pi * (day - 15) / 365.25)
    warm = np.array([[0.0], [1.0], [2.0]])
    about = About("toy", "Toy cube", "Made in code for tests.", "Apache-2.0", synthetic=True)
    with CubeWriter(path, about, GRID, WINDOW, years) as cube:
        tmean = 10.0 + 13.0 * season + warm + rng.normal(0, 2, (3, days.size))
        srad = np.clip(14.0 + 9.0 * season + rng.normal(0, 2, (3, days.size)), 0.5, 35)
        precip = np.where(rng.random((3, days.size)) < 0.3, rng.exponential(8, (3, days.size)), 0.0)
        cube.weather({"tmean": tmean, "srad": srad, "precip": precip}, [-93.0, -92.8, -92.6], [42.0, 42.0, 42.0])
        cube.weather_index(np.broadcast_to(np.minimum(np.arange(cols) // 20, 2), (rows, cols)))
        soil = np.add.outer(np.arange(rows) // 28, 2 * (np.arange(cols) // 25))
        clay = np.choose(soil, [150.0, 220.0, 300.0, 380.0])
        clay[HOLE.intersect(WINDOW).slices(WINDOW)] = np.nan  # type: ignore[union-attr]
        cube.static("clay", clay)
        patches = np.add.outer(8 * (np.arange(rows) // 7), np.arange(cols) // 7)
        cube.static("soc_content", rng.uniform(12, 30, 64).round(1)[patches])
        fields = np.add.outer(np.arange(rows) // 6, np.arange(cols) // 6) % 2
        crop = np.stack([np.where((fields + y) % 2, 5, 1) for y in range(len(years))])
        crop[years.index(2020)][UNKNOWN[0] - WINDOW.row0, UNKNOWN[1] - WINDOW.col0] = 24
        cube.annual("crop", crop)
        cube.annual("tillage", np.broadcast_to(0.5, crop.shape))
        if given:
            cube.gpp(np.clip(8.0 + 7.0 * season, 0, None)[None] + rng.normal(0, 0.3, (1, days.size)).clip(0))
            unit = np.full(crop.shape, -1)
            unit[1, :10, -10:] = 0
            cube.gpp_unit(unit)
        cube.finish()
    return open_cube(path)
