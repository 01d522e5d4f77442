"""Cubes: what is written is what is read, only what is needed is read, and damage is noticed."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fieldflux.models.contract import Needs, check_inputs
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.cells import identical
from fieldflux.tiles.cube import BadCube, OutsideCube, open_cube
from fieldflux.tiles.cubefile import About, CubeNotWritten, CubeWriter
from fieldflux.tiles.grid import Grid, Window

WINDOW = Window(1000, 1007, 2000, 2009)
YEARS = (2019, 2020, 2021)
DAYS = 365 + 366 + 365
STATIC = ("latitude", "bulk_density", "sand", "silt", "clay", "field_capacity", "wilting_point", "ksat", "soc_content")


def contents() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    shape = WINDOW.shape
    weather = {"tmean": (0, 20), "precip": (0, 10), "srad": (1, 30)}
    index = rng.integers(0, 3, shape)
    index[0, 0] = -1
    unit = rng.integers(-1, 2, (3, *shape))
    static = {name: rng.uniform(0.1, 0.5, shape) for name in STATIC}
    static["sand"][6, 8] = np.nan
    given = rng.uniform(0, 20, (2, DAYS))
    given[0, 5] = np.nan
    return {
        "daily": {**{n: rng.uniform(*r, (3, DAYS)) for n, r in weather.items()}, "co2": np.linspace(410, 416, DAYS)},
        "index": index,
        "static": static,
        "ph": np.full(shape, np.nan),
        "crop": rng.choice([1, 5, 0, 176], (3, *shape)),
        "sowing_doy": rng.integers(100, 150, (3, *shape)),
        "given": given,
        "unit": unit,
        "layers": rng.uniform(0, 900, (2, *shape)),
    }


def write(path: Path, held: dict[str, Any], title: str = "A test", expected: Any = None) -> Path:
    about = About("test", title, "Made for a test.", "CC0", notes=["nothing"])
    with CubeWriter(path, about, Grid(), WINDOW, YEARS) as cube:
        cube.weather(held["daily"], [-93.0, -92.0, -91.0], [42.0, 42.0, 42.0], ["a", "b", "c"])
        cube.weather_index(held["index"])
        for name, values in held["static"].items():
            cube.static(name, values)
        cube.static("ph", held["ph"])
        cube.layers([0, 0.1], [0.1, 0.3])
        cube.by_layer("sand", held["layers"])
        cube.annual("crop", held["crop"])
        cube.annual("sowing_doy", held["sowing_doy"])
        if expected is not None:
            cube.annual("yield_expected", expected)
        cube.gpp(held["given"])
        cube.gpp_unit(held["unit"])
        cube.outline({"type": "Point", "coordinates": [-93, 42]})
        return cube.finish()


@pytest.fixture(scope="module")
def held() -> dict[str, Any]:
    return contents()


@pytest.fixture(scope="module")
def path(held: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("cubes") / "test.zarr", held)


def test_forcing_gives_back_what_was_written(path: Path, held: dict[str, Any]) -> None:
    cube = open_cube(path)
    rows, cols = WINDOW.cells()
    forcing = cube.forcing(rows, cols, YEARS)
    assert (forcing.cells, forcing.days, forcing.years) == (63, DAYS, YEARS)
    assert forcing.start.isoformat() == "2019-01-01"
    assert forcing.end.isoformat() == "2021-12-31"
    r, c = rows - WINDOW.row0, cols - WINDOW.col0
    index = held["index"][r, c]
    for name in ("tmean", "precip", "srad"):
        expected = np.where(index[:, None] < 0, np.nan, held["daily"][name][index])
        np.testing.assert_array_equal(forcing.daily[name][forcing.weather], expected.astype(np.float32))
    assert np.isnan(forcing.daily["co2"][forcing.weather[0]]).all()
    np.testing.assert_array_equal(forcing.daily["co2"][forcing.weather[1]], held["daily"]["co2"].astype(np.float32))
    for name in STATIC:
        np.testing.assert_array_equal(forcing.static[name], held["static"][name][r, c].astype(np.float32))
    np.testing.assert_array_equal(forcing.annual["crop"], held["crop"][:, r, c].T)
    np.testing.assert_array_equal(forcing.annual["sowing_doy"], held["sowing_doy"][:, r, c].T)
    unit = held["unit"][:, r, c].T
    assert forcing.gpp_given is not None
    assert forcing.gpp_unit is not None
    np.testing.assert_array_equal(forcing.gpp_unit >= 0, unit >= 0)
    got = forcing.gpp_given[forcing.gpp_unit[unit >= 0]]
    np.testing.assert_array_equal(got, held["given"].astype(np.float32)[unit[unit >= 0]])


def test_only_the_rows_that_are_needed_come_and_each_once(path: Path, held: dict[str, Any]) -> None:
    cube = open_cube(path)
    index = held["index"]
    where = np.argwhere(index == 2)[:4]
    forcing = cube.forcing(where[:, 0] + WINDOW.row0, where[:, 1] + WINDOW.col0, [2020])
    assert forcing.daily["tmean"].shape == (1, 366)
    assert forcing.daily["co2"].shape == (1, 366)
    assert forcing.weather.tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(
        forcing.daily["tmean"][0], held["daily"]["tmean"][2, 365 : 365 + 366].astype(np.float32)
    )
    none = np.argwhere(held["unit"][1] == -1)[:2]
    alone = cube.forcing(none[:, 0] + WINDOW.row0, none[:, 1] + WINDOW.col0, [2020])
    assert alone.gpp_given is None
    assert "gpp_given" not in alone.names()


def test_scattered_cells_equal_those_of_the_block(path: Path) -> None:
    cube = open_cube(path)
    rows, cols = WINDOW.cells()
    whole = cube.forcing(rows, cols, [2019])
    pick = np.array([62, 3, 3, 17])
    few = cube.forcing(rows[pick], cols[pick], [2019])
    np.testing.assert_array_equal(few.static["clay"], whole.static["clay"][pick])
    np.testing.assert_array_equal(few.annual["crop"], whole.annual["crop"][pick])
    np.testing.assert_array_equal(few.daily["srad"][few.weather], whole.daily["srad"][whole.weather[pick]])


def test_far_apart_cells_are_read_one_by_one(tmp_path: Path) -> None:
    window = Window(0, 400, 0, 300)
    rows, cols = window.cells()
    number = (rows * 1000.0 + cols).reshape(window.shape) / 1e6
    with CubeWriter(tmp_path / "wide.zarr", About("w", "w", "w", "w"), Grid(), window, [2021]) as cube:
        cube.weather({"tmean": np.zeros((1, 365))}, [0.0], [0.0])
        cube.weather_index(np.zeros(window.shape))
        cube.static("bulk_density", 0.1 + number)
        cube.annual("crop", np.ones((1, *window.shape)))
        cube.annual("tillage", number[None])
        path = cube.finish()
    forcing = open_cube(path).forcing([0, 399, 255, 256], [299, 0, 127, 128], [2021])
    expected = np.array([299, 399000, 255127, 256128]) / 1e6
    np.testing.assert_allclose(forcing.static["bulk_density"], 0.1 + expected, rtol=1e-6)
    np.testing.assert_allclose(forcing.annual["tillage"][:, 0], expected, rtol=1e-6)


def test_an_expected_yield_comes_back_missing_where_it_is_unknown_and_sets_cells_apart(tmp_path: Path) -> None:
    held = contents()
    held["crop"][:], held["index"][:] = 1, 0
    held["static"] = {name: np.full(WINDOW.shape, 0.3) for name in STATIC}
    held["unit"][:], held["sowing_doy"][:] = -1, 120
    expected = np.full((3, *WINDOW.shape), np.nan)
    expected[1, 2:4], expected[2, 3] = 400.0, 450.0
    path = write(tmp_path / "plain.zarr", held)
    with_it = write(tmp_path / "expected.zarr", held, expected=expected)
    rows, cols = WINDOW.cells()
    assert "yield_expected" not in open_cube(path).available()
    assert len(identical(open_cube(path).forcing(rows, cols, YEARS))[1]) == 1
    cube = open_cube(with_it)
    assert cube.available()["yield_expected"] == VARIABLES["yield_expected"].unit
    assert cube.mask().all(), "a cell runs without it"
    assert cube.hash != open_cube(path).hash
    forcing = cube.forcing(rows, cols, YEARS)
    np.testing.assert_array_equal(forcing.annual["yield_expected"], expected.reshape(3, -1).T.astype(np.float32))
    group, first = identical(forcing)
    assert len(first) == 3, "unknown, known in a year, known in two"
    of_row = group.reshape(WINDOW.shape)
    assert (of_row == of_row[:, :1]).all()
    assert of_row[0, 0] == of_row[6, 0]
    assert len({int(of_row[k, 0]) for k in (0, 2, 3)}) == 3


def test_the_mask_is_where_weather_and_needed_soil_are(path: Path) -> None:
    expected = np.ones(WINDOW.shape, bool)
    expected[0, 0] = expected[6, 8] = False
    np.testing.assert_array_equal(open_cube(path).mask(), expected)


def test_what_it_says_of_itself(path: Path) -> None:
    cube = open_cube(path)
    assert (cube.id, cube.title, cube.statement, cube.licence) == ("test", "A test", "Made for a test.", "CC0")
    assert cube.notes == ("nothing",)
    assert not cube.synthetic
    assert cube.years == YEARS
    assert cube.outline() == {"type": "Point", "coordinates": [-93, 42]}
    assert cube.fields() is None
    assert cube.documents() == {"outline.geojson", "weather_names.json"}
    assert cube.weather_names() == ["a", "b", "c"]
    available = cube.available()
    assert available["srad"] == "MJ m-2 d-1"
    assert "gpp_given" in available
    assert "ph" not in available, "an input without any value is not there"
    check_inputs("m", Needs(("srad",), ("crop",), STATIC), available, "the cube")
    west, south, east, north = cube.bounds_lonlat()
    assert (east - west) > 0.02
    assert (north - south) > 0.015


def test_it_crosses_into_another_process_by_its_path(path: Path) -> None:
    again = pickle.loads(pickle.dumps(open_cube(path)))
    np.testing.assert_array_equal(again.crops(2020), open_cube(path).crops(2020))


def test_plain_xarray_opens_it(path: Path, held: dict[str, Any]) -> None:
    import warnings

    import xarray as xr

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xr.open_zarr(path, consolidated=False)
    assert data.tmean.dims == ("weather", "time")
    assert data.time.values[365 + 59] == np.datetime64("2020-02-29")
    assert data.sand_by_layer.dims == ("layer", "y", "x")
    assert data.tmean.attrs["units"] == "degC"
    np.testing.assert_array_equal(data.crop.values, held["crop"])
    x, y = Grid().centres(WINDOW.row0, WINDOW.col0)
    assert (float(data.x[0]), float(data.y[0])) == (float(x), float(y))


def test_the_hash_is_that_of_the_content(path: Path, held: dict[str, Any], tmp_path: Path) -> None:
    first = open_cube(path).hash
    assert open_cube(write(tmp_path / "again.zarr", held, title="Other words")).hash == first
    changed = {**held, "crop": held["crop"].copy()}
    changed["crop"][1, 2, 3] = 36
    assert open_cube(write(tmp_path / "changed.zarr", changed)).hash != first


def test_a_failed_build_leaves_the_old_cube_and_no_rubbish(held: dict[str, Any], tmp_path: Path) -> None:
    target = write(tmp_path / "kept.zarr", held)
    before = open_cube(target).hash
    wrong = {**held, "static": {**held["static"], "sand": np.full(WINDOW.shape, 5000.0)}}
    with pytest.raises(CubeNotWritten, match=r"sand has 63 values outside 0 to 1000 g kg-1, the first of them 5000"):
        write(target, wrong)
    assert open_cube(target).hash == before
    assert [p.name for p in tmp_path.iterdir()] == ["kept.zarr"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"daily": {"tmean": np.zeros((3, 365))}}, r"tmean has the shape \[3, 365\]"),
        ({"index": np.full(WINDOW.shape, 7)}, "points at row 7, but there are 3 weather cells"),
        ({"crop": np.zeros((2, *WINDOW.shape))}, r"crop has the shape \[2, 7, 9\]"),
        ({"daily": {"srad": np.full((3, DAYS), 250.0)}}, "srad has 3288 values outside 0 to 45 MJ m-2 d-1"),
    ],
)
def test_wrong_content_is_refused_with_a_sentence(
    change: dict[str, Any], says: str, held: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(CubeNotWritten, match=says):
        write(tmp_path / "wrong.zarr", {**held, **change})


def test_a_cube_without_a_crop_map_is_not_finished(tmp_path: Path) -> None:
    with CubeWriter(tmp_path / "c.zarr", About("c", "c", "c", "c"), Grid(), WINDOW, [2021]) as cube:
        cube.weather({"tmean": np.zeros((1, 365))}, [0.0], [0.0])
        cube.weather_index(np.zeros(WINDOW.shape))
        with pytest.raises(CubeNotWritten, match="no crop"):
            cube.finish()


@pytest.mark.parametrize(
    ("rows", "cols", "years", "says"),
    [
        (
            [999],
            [2000],
            [2020],
            r"Cell \(row 999, column 2000\) lies outside the cube 'test', whose rows are 1000 to 1006",
        ),
        ([1000], [2009], [2020], "columns 2000 to 2008"),
        ([1000], [2000], [2018], "has no year 2018; it covers 2019 to 2021"),
        ([1000], [2000], [2019, 2021], "consecutive"),
        ([1000], [2000], [], "consecutive"),
        ([1000, 1001], [2000], [2020], "as many rows as columns"),
        ([], [], [2020], "at least one"),
    ],
)
def test_asking_for_what_is_not_there(
    path: Path, rows: list[int], cols: list[int], years: list[int], says: str
) -> None:
    with pytest.raises(BadCube, match=says):
        open_cube(path).forcing(rows, cols, years)
    assert issubclass(OutsideCube, BadCube)


def test_damage_is_noticed(path: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCube, match="There is no input cube at"):
        open_cube(tmp_path)
    lost = shutil.copytree(path, tmp_path / "lost")
    shutil.rmtree(lost / "clay")
    with pytest.raises(BadCube, match="its arrays clay are missing"):
        open_cube(lost)
    chunkless = shutil.copytree(path, tmp_path / "chunkless")
    shutil.rmtree(chunkless / "clay" / "c")
    with pytest.raises(BadCube, match=r"(?s)array 'clay' .* cannot be read.*build it again"):
        open_cube(chunkless).forcing([1000], [2000], [2020])
    cut = shutil.copytree(path, tmp_path / "cut")
    chunk = next(p for p in (cut / "tmean" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:40])
    with pytest.raises(BadCube, match="array 'tmean'"):
        open_cube(cut).forcing([1003], [2003], [2020])
    broken = shutil.copytree(path, tmp_path / "broken")
    text = (broken / "zarr.json").read_text()
    (broken / "zarr.json").write_text(text[: len(text) // 2])
    with pytest.raises(BadCube, match="manifest is damaged"):
        open_cube(broken)
    other = shutil.copytree(path, tmp_path / "other")
    stated = json.loads(text)
    stated["attributes"]["fieldflux"]["format"] = 99
    (other / "zarr.json").write_text(json.dumps(stated))
    with pytest.raises(BadCube, match="has format 99"):
        open_cube(other)


def test_a_place_that_cannot_be_written(held: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CubeNotWritten, match="cannot be written"):
        write(tmp_path / "file" / "cube.zarr", held)
