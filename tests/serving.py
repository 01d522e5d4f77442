"""A real server on loopback for tests: the application under uvicorn, over the toy cube, model and store."""

from __future__ import annotations

import atexit
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import uvicorn
from fieldflux.app.server import create_app
from fieldflux.app.settings import Settings
from fieldflux.app.wire import limited_http
from fieldflux.app.workspace import Workspace
from fieldflux.models.checkpoint import read_card, write_checkpoint
from fieldflux.models.registry import Registry
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.run import run

from .toy_cube import GRID, build_toy
from .toy_model import ToyModel

Json = dict[str, Any]


@dataclass(frozen=True)
class ToyRegistry(Registry):
    """A registry whose folders hold a card of the toy model, which is code of the tests."""

    toy: ToyModel = field(default_factory=ToyModel)

    def load(self, model: str, device: str = "cpu") -> Any:
        card = self.card(model)
        return self.toy if card.family == "toy" else super().load(model, device)


def toy_registry(folder: Path) -> ToyRegistry:
    """The toy model with the card that `toy_home` wrote to `folder`."""
    return ToyRegistry((folder,), ToyModel(weights=read_card(folder / "toy" / "1").weights_sha256))


def toy_home(home: Path, years: tuple[int, ...] = (2019, 2020, 2021), run_years: tuple[int, ...] | None = None) -> Path:
    """A work folder with the toy cube, the toy model's card and weights, and a store.

    run_years: years that the store holds; all by default, and no store for (). Each kind is made once by a process, and
    copied from then on.
    """
    shutil.copytree(_made(years, run_years), home, dirs_exist_ok=True)
    return home


@cache
def _made(years: tuple[int, ...], run_years: tuple[int, ...] | None) -> Path:
    kept = TemporaryDirectory(prefix="fieldflux-toy-")
    atexit.register(kept.cleanup)
    home = Path(kept.name)
    cube = build_toy(home / "cubes" / "toy.zarr", years)
    checkpoints = home / "checkpoints"
    write_checkpoint(checkpoints / "toy" / "1", ToyModel().card, {"rate": np.ones(1, np.float32)})
    if run_years != ():
        registry = toy_registry(checkpoints)
        workspace = Workspace(settings_of(home), registry)
        store = workspace.store_to_fill(workspace.place("toy", "toy"))
        report = run(registry.toy, cube, store, years=run_years)
        assert report.faults == []
    return home


def settings_of(home: Path, **more: Any) -> Settings:
    return Settings(home=home, model="toy", demo=False, **more)


@contextmanager
def serving(settings: Settings, registry: Registry | None = None) -> Iterator[httpx.Client]:
    """A client of a server that is up; it is stopped at the end, and its background work with it."""
    app = create_app(settings, registry)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        # With the protocol that `fieldflux serve` has.
        http = limited_http(settings.limits.header_bytes)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, http=http))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            until = time.monotonic() + 20
            while not server.started and time.monotonic() < until:
                time.sleep(0.01)
            assert server.started
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(20)


def square(cube: Cube, row: int, col: int, rows: int = 1, cols: int = 1, inset: float = 1e-4) -> Json:
    """GeoJSON of whole cells, drawn a little inside their edges so that rounding adds no slivers of others."""
    e = inset * cube.grid.size
    west, north = cube.grid.x0 + col * cube.grid.size + e, cube.grid.y0 - row * cube.grid.size - e
    east, south = west + cols * cube.grid.size - 2 * e, north - rows * cube.grid.size + 2 * e
    lon, lat = cube.grid.to_lonlat([west, east, east, west, west], [south, south, north, north, south])
    return {"type": "Polygon", "coordinates": [[[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]]}


__all__ = ["GRID", "ToyRegistry", "serving", "settings_of", "square", "toy_home", "toy_registry"]
