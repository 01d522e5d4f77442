"""The command line, as a user runs it."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from fieldflux.app.cli import app
from fieldflux.app.runs import duration
from fieldflux.tiles.cube import Cube, open_cube
from PIL import Image
from typer.main import get_command

from .commands import environment, fieldflux, refusal
from .serving import square
from .small_cube import build_small

COMMANDS = (
    "serve",
    "verify",
    "keys link",
    "statements keys",
    "statements renew-key",
    "run",
    "series",
    "forecast",
    "tile",
    "models",
    "train",
    "evaluate",
    "cube build",
    "cube list",
    "keys create",
    "keys list",
    "keys revoke",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a small cube that the shipped model can run."""
    folder = tmp_path_factory.mktemp("home")
    build_small(folder / "cubes" / "small.zarr")
    return folder


@pytest.fixture(scope="module")
def cube(home: Path) -> Cube:
    return open_cube(home / "cubes" / "small.zarr")


@pytest.fixture(scope="module")
def field(home: Path, cube: Cube) -> Path:
    path = home / "field.geojson"
    path.write_text(json.dumps(square(cube, cube.window.row0 + 2, cube.window.col0 + 2, 2, 2)))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command: str) -> None:
    found = get_command(app)
    for name in command.split():
        found = found.commands[name]  # type: ignore[attr-defined]
    assert found.help is not None
    assert re.search(r"Example: `fieldflux " + command, found.help)
    for option in found.params:
        assert option.name == "help" or getattr(option, "help", None), (command, option.name)


def test_version_and_a_wrong_command(home: Path) -> None:
    assert fieldflux("--version", home=home).stdout.startswith("fieldflux 0.")
    assert "No such command" in fieldflux("fly", home=home, code=2).stderr


def test_models_and_cubes_are_listed(home: Path) -> None:
    assert "agroecosystem/1" in fieldflux("models", home=home).stdout
    card = fieldflux("models", "agroecosystem", home=home).stdout
    assert "Needs daily: tmean" in card
    assert "more scores, and every floor: with --all" in card
    whole = fieldflux("models", "agroecosystem", "--all", home=home).stdout
    assert "more scores" not in whole
    assert whole.count("nse") > card.count("nse")
    assert json.loads(fieldflux("models", "agroecosystem", "--json", home=home).stdout)["name"] == "agroecosystem"
    assert "small" in fieldflux("cube", "list", home=home).stdout
    assert "no model 'oracle'" in refusal(fieldflux("models", "oracle", home=home, code=2))


def test_a_run_goes_on_where_it_stopped_and_its_store_is_read(home: Path, cube: Cube, field: Path) -> None:
    first, last = cube.years[0], cube.years[-1]
    live = fieldflux("series", field, "--years", str(last), "--variables", "gpp,nee", home=home).stdout
    done = fieldflux("run", "small", "--years", str(first), home=home)
    assert "1 blocks and years were computed" in done.stderr
    again = fieldflux("run", "small", home=home)
    assert f"{len(cube.years) - 1} blocks and years were computed" in again.stderr
    assert "1 were there already" in again.stderr

    stored = fieldflux("series", field, "--years", str(last), "--variables", "gpp,nee", home=home).stdout
    notes = [line for line in stored.splitlines() if line.startswith("#")]
    assert any("model kgml-ag-carbon/1" in line for line in notes)
    assert any("origin store" in line for line in notes)
    assert any("origin computed" in line for line in live.splitlines())
    table = list(csv.DictReader(line for line in stored.splitlines() if not line.startswith("#")))
    assert len(table) == 366 if last % 4 == 0 else 365
    assert "gpp (gC m-2 d-1)" in table[0]
    assert {row["step"] for row in table} == {"day"}
    assert table[0]["time"] == f"{last}-01-01"
    # Stored or computed on the spot: the same figures.
    assert [line for line in live.splitlines() if line[0] != "#"] == [
        line for line in stored.splitlines() if line[0] != "#"
    ]
    as_json = json.loads(
        fieldflux("series", field, "--step", "year", "--format", "json", "--variables", "gpp,yield", home=home).stdout
    )
    assert as_json["time"] == [str(year) for year in cube.years]
    total = sum(float(row["gpp (gC m-2 d-1)"]) for row in table)
    assert as_json["values"]["gpp"][-1] == pytest.approx(total, abs=1e-6)

    west, south, east, north = cube.bounds_lonlat()
    place = f"{(west + east) / 2},{(south + north) / 2}"
    out = home / "gpp.png"
    fieldflux("tile", "gpp", f"{last}-07-15", "--at", place, "--zoom", "12", "-o", out, home=home)
    picture = np.asarray(Image.open(out).convert("RGBA"))
    assert picture.shape == (512, 512, 4)
    assert (picture[..., 3] > 0).any()


def test_ctrl_c_stops_a_run_cleanly(home: Path, cube: Cube, tmp_path: Path) -> None:
    (tmp_path / "cubes").symlink_to(home / "cubes")
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldflux.app", "run", "small"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    until = time.monotonic() + 120
    while not list((tmp_path / "stores").glob("*/*/manifest.json")) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said
    # Quick machines may be done before the signal comes.
    assert process.returncode in (0, 130)
    if process.returncode == 130:
        assert "goes on where it stopped" in said
    done = fieldflux("run", "small", home=tmp_path)
    assert f"{len(cube.years)} " in done.stderr or "were there already" in done.stderr


def test_refusals_are_sentences(home: Path, field: Path, tmp_path: Path) -> None:
    def sentence(*arguments: str | Path) -> str:
        return refusal(fieldflux(*arguments, home=home, code=2))

    assert "no cube 'mars'" in sentence("run", "mars")
    assert "zarr.json is missing" in sentence("run", tmp_path / "none.zarr")
    assert "2018-2020" in sentence("run", "small", "--years", "soon")
    assert "no block 'b1'" in sentence("run", "small", "--blocks", "b1")
    assert "cannot be read" in sentence("series", tmp_path / "none.geojson")
    (tmp_path / "bad.geojson").write_text("{")
    assert "not JSON" in sentence("series", tmp_path / "bad.geojson")
    assert "level: Input should be less than 1; given: 3.0." in sentence("series", field, "--level", "3")
    assert "before the first" in sentence("series", field, "--first", "2021-02-01", "--last", "2021-01-01")
    assert "'npp'" in sentence("series", field, "--variables", "npp")
    assert "longitude,latitude" in sentence("tile", "gpp", "2021", "--at", "here")
    assert ".webp" in sentence("tile", "gpp", "2021", "--at", "1/0/0", "-o", "tile.gif")
    assert "cannot be written" in sentence("series", field, "-o", tmp_path / "no" / "such.csv")
    assert "no cube 'mars'" in sentence("cube", "build", "mars")
    assert "--data" in sentence("evaluate", "agroecosystem")


def test_serve_comes_up_and_ends_cleanly(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldflux.app", "serve", "--port", "0", "--no-demo"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env=environment(home),
    )
    assert process.stderr is not None
    try:
        found = re.search(r"http://localhost:(\d+)/", process.stderr.readline())
        assert found
        with httpx.Client(base_url=f"http://127.0.0.1:{found[1]}", timeout=30) as client:
            until = time.monotonic() + 30
            while True:
                try:
                    assert client.get("/livez").status_code == 200
                    break
                except httpx.TransportError:
                    assert time.monotonic() < until
                    time.sleep(0.05)
            assert client.get("/v1/cubes").json()["default"] == "small"
            taken = fieldflux("serve", "--port", found[1], "--no-demo", home=home, code=2)
            assert "another program listens there" in refusal(taken)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert "Traceback" not in said


def test_durations_are_words() -> None:
    assert [duration(s) for s in (0.4, 59, 61, 3725)] == ["0 s", "59 s", "1 min 1 s", "1 h 2 min"]
