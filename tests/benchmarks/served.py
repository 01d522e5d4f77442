"""A work folder with a cube of 512 x 512 cells and a store of made-up numbers, an ensemble of five; run with HOME and
PORT, its server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.app.server import create_app
from fieldflux.app.workspace import Workspace
from fieldflux.models.checkpoint import read_card, write_checkpoint
from fieldflux.tiles.cube import open_cube
from fieldflux.tiles.cubefile import About, CubeWriter, days_of
from fieldflux.tiles.grid import Grid
from fieldflux.tiles.manifest import Record
from fieldflux.tiles.store import Store, open_store

from tests.serving import ToyRegistry, settings_of
from tests.toy_model import ToyModel

from .synthetic import WINDOW, year_data

YEAR = 2020
MEMBERS = 5


def make_home(home: Path) -> Store:
    """The folder, unless it is there; its store, every cell of the year computed."""
    if not (home / "done").exists():
        build_cube(home / "cubes" / "bench.zarr")
        card = ToyModel(MEMBERS).card
        write_checkpoint(home / "checkpoints" / "toy" / "1", card, {"rate": np.ones(1, np.float32)})
        workspace = Workspace(settings_of(home), registry(home))
        store = workspace.store_to_fill(workspace.place("bench", "toy"))
        for block in store.window.blocks(store.grid):
            cells = store.grid.block**2
            record = Record(name=block.name, year=YEAR, made="now", seconds=0, cells=cells, computed=cells)
            data = year_data(store, block, YEAR)
            store.write_block(block, YEAR, data, record, None)
        (home / "done").touch()
    (path,) = (home / "stores").glob("*/*.zarr")
    return open_store(path)


def build_cube(path: Path) -> None:
    rows, cols = WINDOW.shape
    days = days_of((YEAR,))
    about = About("bench", "Benchmark", "Made in code for benchmarks.", "Apache-2.0", synthetic=True)
    with CubeWriter(path, about, Grid(), WINDOW, (YEAR,)) as cube:
        weather = {"tmean": 10.0, "srad": 14.0, "precip": 2.0}
        cube.weather({name: np.full((1, days.size), value) for name, value in weather.items()}, [-93.0], [42.0])
        cube.weather_index(np.zeros((rows, cols), int))
        cube.static("clay", np.full((rows, cols), 220.0))
        cube.static("soc_content", np.full((rows, cols), 20.0))
        cube.annual("crop", np.ones((1, rows, cols), int))
        cube.annual("tillage", np.full((1, rows, cols), 0.5))
        cube.finish()
    assert open_cube(path).window == WINDOW


def registry(home: Path) -> ToyRegistry:
    weights = read_card(home / "checkpoints" / "toy" / "1").weights_sha256
    return ToyRegistry((home / "checkpoints",), ToyModel(MEMBERS, weights=weights))


def app(home: Path) -> Any:
    return create_app(settings_of(home), registry(home))


if __name__ == "__main__":
    import uvicorn
    from fieldflux.app.memory import give_back
    from fieldflux.app.settings import Limits
    from fieldflux.app.wire import limited_http

    # As `fieldflux serve` does, with the toy model beside it.
    give_back()
    http = limited_http(Limits().header_bytes)
    uvicorn.run(app(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning", access_log=False, http=http)
