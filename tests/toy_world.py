"""Fixtures for modules that ask a server of the toy cube of two years: its work folder, and the cube."""

from __future__ import annotations

from pathlib import Path

import pytest
from fieldflux.tiles.cube import Cube, open_cube

from .serving import toy_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"), years=(2019, 2020))


@pytest.fixture(scope="module")
def cube(home: Path) -> Cube:
    return open_cube(home / "cubes" / "toy.zarr")
