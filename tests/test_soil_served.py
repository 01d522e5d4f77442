"""The soil-carbon model over HTTP: series, tiles, store, profile and scenarios of a real server with its checkpoint."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path

import httpx
import numpy as np
import pytest
import xarray as xr
from fieldflux.app.client import Client
from fieldflux.app.picture import tile_at
from fieldflux.app.settings import Limits, Settings
from fieldflux.models.contract import Forcing, Responds, Scenario
from fieldflux.models.registry import Registry
from fieldflux.models.variables import VARIABLES, of_record
from fieldflux.tiles.cells import CellResult, run_cells, taken
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.cubefile import About, CubeWriter
from fieldflux.tiles.grid import Grid, Window
from fieldflux.tiles.run import run
from fieldflux.tiles.store import create_store
from hypothesis import given, settings
from hypothesis import strategies as st

from .serving import Json, serving, settings_of, square, toy_home, toy_registry
from .small_forcing import MAIZE, SOYBEAN, small_forcing

MODEL = "binn-soil-carbon"
GRID = Grid(block=32, chunk=8)
WINDOW = Window(4160, 4168, 9984, 9992)
LAYERS = ("soc_0_5", "soc_5_15", "soc_15_30", "soc_30_60", "soc_60_100")
WOODS, BARE, SALTY = (7, 0), (7, 7), (0, 7)
"""Cells with trees, without a soil, and with a soil unlike any that the model saw."""


def build(path: Path) -> Cube:
    """Two fields, three soils, two years; one cell is woods, one has no clay, one is outside the domain."""
    forcing = small_forcing([[MAIZE, SOYBEAN], [SOYBEAN, MAIZE]])
    rows, cols = WINDOW.shape
    field = np.add.outer(np.arange(rows) // 2, np.arange(cols) // 4) % 2
    crop = np.moveaxis(np.asarray(forcing.annual["crop"])[field], -1, 0)
    crop[:, WOODS[0], WOODS[1]] = 141
    soil = np.add.outer(np.zeros(rows, int), np.arange(cols) // 3)
    clay, sand = (np.choose(soil, values).astype(float) for values in ((150.0, 240.0, 330.0), (500.0, 350.0, 200.0)))
    clay[BARE], clay[SALTY] = np.nan, 900.0
    about = About("soils", "Soils", "Made in code for tests.", "Apache-2.0", synthetic=True)
    with CubeWriter(path, about, GRID, WINDOW,
                    forcing.years) as cube:  # fmt: skip
        lon, lat = GRID.to_lonlat(*GRID.centres([WINDOW.row0], [WINDOW.col0]))
        cube.weather(dict(forcing.daily), lon, lat)
        cube.weather_index(np.zeros((rows, cols), np.int64))
        for name in ("latitude", "bulk_density"):
            cube.static(name, np.full((rows, cols), forcing.static[name][0]))
        cube.static("clay", clay)
        cube.static("sand", sand)
        cube.annual("crop", crop)
        cube.annual("tillage", np.full(crop.shape, 0.5))
        cube.annual("residue_removed", np.zeros(crop.shape))
        cube.finish()
    return open_cube(path)


@dataclass(frozen=True)
class Served:
    """A server over the cube, and what the model says of all its cells, without a server."""

    http: httpx.Client
    cube: Cube
    truth: CellResult
    forcing: Forcing

    def ask(self, where: Json, *names: str, **more: object) -> Json:
        body = {"geometry": where, "variables": names, "model": MODEL, **more}
        found: Json = self.http.post("/v1/series", json=body).raise_for_status().json()
        return found

    def soil(self, what: str, where: Json, **more: object) -> Json:
        found: Json = self.http.post(f"/v1/soil/{what}", json={"geometry": where, **more}).raise_for_status().json()
        return found

    def cell(self, name: str, row: int, col: int) -> np.ndarray:
        """[member] of the model itself."""
        rows, cols = np.nonzero(self.cube.mask())
        return self.truth.annual[name][:, np.flatnonzero((rows == row) & (cols == col))[0], 0]


@cache
def _model() -> Responds:
    found = Registry().load(MODEL)
    assert isinstance(found, Responds)
    return found


@pytest.fixture(scope="module")
def few(served: Served) -> Forcing:
    """Three cells: two soils of crops, and the woods."""
    return taken(served.forcing, np.array([20, 25, 55]))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("soil")
    cube = build(home / "cubes" / "soils.zarr")
    record = cube.as_record()
    rows, cols = np.nonzero(cube.mask())
    rows, cols = rows + WINDOW.row0, cols + WINDOW.col0
    truth = run_cells(Registry().load(MODEL), record, rows, cols, record.years)
    with serving(Settings(home=home, model="agroecosystem", demo=False)) as http:
        yield Served(http, cube, truth, record.forcing(rows, cols, record.years))


def place(row: int, col: int, rows: int = 1, cols: int = 1) -> Json:
    return square_of(row + WINDOW.row0, col + WINDOW.col0, rows, cols)


def square_of(row: int, col: int, rows: int, cols: int) -> Json:
    @dataclass
    class Gridded:
        grid: Grid

    return square(Gridded(GRID), row, col, rows, cols)  # type: ignore[arg-type]


def test_the_model_is_listed_with_its_card_and_units(served: Served) -> None:
    listed = {m["id"]: m for m in served.http.get("/v1/models").json()["models"]}
    assert of_record(listed[f"{MODEL}/1"]["outputs"])
    assert "tillage" in listed[f"{MODEL}/1"]["answers"]
    said = {v["name"]: v for v in served.http.get("/v1/variables").json()["variables"]}
    assert said["soc_30"]["unit"] == "gC m-2"
    assert said["soc_30"]["period"] == "static"


def test_layers_add_up_and_stocks_have_intervals(served: Served) -> None:
    found = served.ask(place(2, 0, 4, 8), *LAYERS, "soc_30", "soc_100")
    value = {name: column[0] for name, column in found["values"].items()}
    assert value["soc_30"] == pytest.approx(sum(value[n] for n in LAYERS[:3]), abs=0.03)
    assert value["soc_100"] == pytest.approx(sum(value[n] for n in LAYERS), abs=0.05)
    for name in ("soc_30", "soc_100", *LAYERS):
        ends = found["intervals"][name]
        assert 0 < ends["low"][0] < value[name] < ends["high"][0]
    # errors are of logarithms: as many times more as less
    ends = found["intervals"]["soc_30"]
    assert ends["high"][0] / value["soc_30"] == pytest.approx(value["soc_30"] / ends["low"][0], rel=1e-4)
    assert found["interval_basis"]["soc_30"][0]["method"] == "conformal"
    assert found["totals"]["soc_30"]["value"][0] == pytest.approx(value["soc_30"] * found["covered_ha"] / 100, rel=1e-6)
    assert found["record"] == ["2019-01-01", "2020-12-31"]
    assert {"whole_record", "middle_value", "assumed_gravel"} <= set(found["flags"])


def test_means_are_by_area_and_members_are_averaged_first(served: Served) -> None:
    """Half a cell of one soil, one of another."""
    west, east = served.cell("soil_residence", 4, 2), served.cell("soil_residence", 4, 3)
    ring = place(4, 2, 1, 2)["coordinates"][0]
    middle = (np.array(place(4, 2)["coordinates"][0][0]) + np.array(place(4, 2)["coordinates"][0][1])) / 2
    low = (np.array(place(4, 2)["coordinates"][0][3]) + np.array(place(4, 2)["coordinates"][0][2])) / 2
    ring = [middle.tolist(), ring[1], ring[2], low.tolist(), middle.tolist()]
    found = served.ask({"type": "Polygon", "coordinates": [ring]}, "soil_residence")
    assert abs(float(west.mean() - east.mean())) > 1.0
    members = (0.5 * west + east) / 1.5
    assert found["values"]["soil_residence"][0] == pytest.approx(float(members.mean()), rel=2e-3)
    ends = found["intervals"]["soil_residence"]
    half = 1.6449 * members.std(ddof=1)
    assert (ends["high"][0] - ends["low"][0]) / 2 == pytest.approx(float(half), rel=2e-2)


def test_dates_do_not_matter_and_are_not_refused(served: Served) -> None:
    where = place(3, 3, 2, 2)
    asked = [
        served.ask(where, "soc_30", **when) for when in ({}, {"years": [2019]}, {"first": "2019-06-01", "step": "day"})
    ]
    assert asked[0]["values"] == asked[1]["values"] == asked[2]["values"]
    body = {"geometry": where, "variables": ["soc_30"], "model": MODEL}
    table = served.http.post("/v1/series?f=csv", json=body).text.splitlines()
    assert table[-1].startswith("record,2020,2019-01-01,2020-12-31,731,")


def test_tiles_hold_the_models_values(served: Served) -> None:
    lon, lat = GRID.to_lonlat(*GRID.centres([WINDOW.row0 + 4], [WINDOW.col0 + 4]))
    z, x, y = tile_at(float(lon[0]), float(lat[0]), 15)
    address = f"/v1/tiles/soc_30/2019-07-15/{z}/{x}/{y}"
    before = served.ask(place(2, 0, 4, 8), "soc_30", "soil_transfer")
    assert before["origin"] == "computed"
    for _ in range(200):
        tile = served.http.get(f"{address}.npy?model={MODEL}")
        if "x-fieldflux-missing" not in tile.headers:
            break
        time.sleep(0.1)
    values = np.unique(np.load(io.BytesIO(tile.content)))
    values = values[np.isfinite(values)]
    cells = np.unique(served.truth.annual["soc_30"].mean(0)[:, 0])
    assert values.size
    assert all(np.abs(cells / v - 1).min() < 1e-4 for v in values)
    assert tile.headers["x-fieldflux-time"] == "2020"
    assert tile.headers["x-fieldflux-unit"] == "gC m-2"
    again = served.http.get(f"{address}.npy?model={MODEL}", headers={"If-None-Match": tile.headers["etag"]})
    assert again.status_code == 304
    assert served.http.get(f"{address}.png?model={MODEL}").headers["content-type"] == "image/png"
    after = served.ask(place(2, 0, 4, 8), "soc_30", "soil_transfer")
    assert after["origin"] == "store"
    for part in ("values", "intervals", "totals"):
        assert after[part] == before[part]
    refused = served.http.get(f"/v1/tiles/soc_30/2020/minus/2019/{z}/{x}/{y}.png?model={MODEL}")
    assert refused.status_code == 422
    assert "one value for the whole record" in refused.json()["detail"]
    told = served.http.get(f"/v1/tiles/soc_30/tilejson.json?model={MODEL}").json()
    assert told["time"]["record"] == ["2019-01-01", "2020-12-31"]
    assert told["legend"]["unit"] == "gC m-2"


def test_a_run_makes_a_plain_zarr(served: Served, tmp_path: Path) -> None:
    record, model = served.cube.as_record(), Registry().load(MODEL)
    store = create_store(tmp_path / "soil.zarr", model, record)
    report = run(model, record, store)
    assert report.faults == []
    assert report.computed == 1
    year = xr.open_zarr(tmp_path / "soil.zarr", group="2020")
    assert year["soc_30"].attrs["units"] == "gC m-2"
    assert "standard_name" in year["soc_30"].attrs
    rows, cols = np.nonzero(served.cube.mask())
    written = year["soc_30"].values[rows + WINDOW.row0 - store.window.row0, cols + WINDOW.col0 - store.window.col0]
    np.testing.assert_allclose(written, served.truth.annual["soc_30"][:, :, 0].mean(0), rtol=1e-6)


def test_a_profile_is_the_series_by_depth(served: Served) -> None:
    where = place(2, 1, 3, 3)
    found, series = served.soil("profile", where), served.ask(where, *LAYERS, "soc_30", "soil_environment")
    assert found["depth"]["top"] == [0.0, 0.05, 0.15, 0.3, 0.6]
    assert found["depth"]["bottom"][-1] == 1.0
    assert found["stock"]["value"] == [series["values"][n][0] for n in LAYERS]
    assert found["density"]["value"][0] == pytest.approx(found["stock"]["value"][0] / 0.05, abs=0.01)
    assert found["stocks"]["soc_30"]["low"] == series["intervals"]["soc_30"]["low"][0]
    assert found["processes"]["soil_environment"]["value"] == series["values"]["soil_environment"][0]
    assert len(found["processes"]) == 7
    reply = served.http.post("/v1/soil/profile", json={"geometry": where})
    same = served.http.post(
        "/v1/soil/profile", json={"geometry": where}, headers={"If-None-Match": reply.headers["etag"]}
    )
    assert same.status_code == 304


def test_a_large_region_is_computed_behind_the_answer(tmp_path: Path) -> None:
    build(tmp_path / "cubes" / "soils.zarr")
    few_at_once = Settings(home=tmp_path, model="agroecosystem", demo=False, limits=Limits(live_cell_years=5))
    with serving(few_at_once) as http:
        first = http.post("/v1/soil/profile", json={"geometry": place(2, 0, 4, 8)})
        assert (first.status_code, first.headers["retry-after"]) == (503, "10")
        until = time.monotonic() + 60
        while (found := http.post("/v1/soil/profile", json={"geometry": place(2, 0, 4, 8)})).status_code == 503:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert found.status_code == 200


def test_signs_of_scenarios(served: Served) -> None:
    where = place(2, 0, 4, 8)

    def change(**more: object) -> float:
        gain: float = served.soil("scenario", where, years=5, **more)["columns"]["soc_change_30"]["value"][-1]
        return gain

    assert change() == 0.0
    assert change(tillage="none") > 0.0 > change(tillage="high")
    assert change(tillage="low") == 0.0  # as the inputs have it at present
    assert change(residue_removed=0.3) < 0.0 < change(cover_crop=True)
    assert change(added_carbon=300) > change(added_carbon=150) > 0.0
    assert change(tillage="none", tillage_now="none") == 0.0


def test_carbon_is_kept_count_of(served: Served) -> None:
    found = served.soil("scenario", place(2, 0, 4, 8), years=5, tillage="high", added_carbon=100)
    balance = {name: np.array(found["balance"][name]) for name in ("entered", "respired", "stored")}
    np.testing.assert_allclose(balance["entered"] - balance["respired"], balance["stored"], atol=2e-4)
    change = found["columns"]["soc_change_100"]
    assert change["low"][-1] < change["value"][-1] < change["high"][-1]
    assert change["total"]["value"][-1] == pytest.approx(change["value"][-1] * found["covered_ha"] / 100, rel=1e-6)
    stock = found["columns"]["soc_100"]["value"]
    assert stock[-1] - stock[0] == pytest.approx(change["value"][-1], abs=0.02)
    assert found["year"] == [0, 1, 2, 3, 4, 5]


def test_woods_are_not_ploughed(served: Served) -> None:
    found = served.soil("scenario", place(*WOODS), years=3, tillage="none", residue_removed=0.5)
    assert found["columns"]["soc_change_30"]["value"] == [0.0] * 4
    assert found["model_flags"]["not_cropland"] == 1.0


def test_what_cannot_be_answered_is_said(served: Served) -> None:
    def refused(what: str, **body: object) -> tuple[int, str]:
        reply = served.http.post(f"/v1/soil/{what}", json=body)
        assert reply.headers["content-type"] == "application/problem+json"
        return reply.status_code, reply.json()["detail"]

    where = place(3, 3)
    assert refused("scenario", geometry=where, tillage="deep")[0] == 422
    assert refused("scenario", geometry=where, years=1000)[0] == 422
    assert refused("profile")[0] == 422
    assert "does not give a profile" in refused("profile", geometry=where, model="agroecosystem")[1]
    assert "unknown" not in refused("profile", field="fld_nothing")[1]
    assert refused("profile", field="fld_x")[0] == 404
    status, sentence = refused("profile", geometry=place(*BARE))
    assert status == 422
    assert "input" in sentence
    assert served.ask(place(*SALTY), "soc_30")["model_flags"]["outside_domain"]["share"] == 1.0
    assert "outside_domain" not in served.ask(place(3, 3), "soc_30")["model_flags"]


def test_a_cube_without_the_inputs_is_refused(tmp_path: Path) -> None:
    home = toy_home(tmp_path, run_years=())
    registry = toy_registry(home / "checkpoints")
    with serving(settings_of(home), replace(registry, roots=(*registry.roots, *Registry().roots))) as http:
        reply = http.post(
            "/v1/soil/profile", json={"geometry": square(open_cube(home / "cubes" / "toy.zarr"), 95, 120)}
        )
    assert reply.status_code == 409
    assert "bulk_density" in reply.json()["detail"]


def test_a_registered_field_and_the_python_client(served: Served) -> None:
    where = place(2, 2, 2, 2)
    with Client(str(served.http.base_url)) as flux:
        made = flux.register_fields({"type": "Feature", "id": "mine", "properties": {}, "geometry": where})
        field = made["features"][0]["id"]
        assert flux.soil_profile(field)["stock"] == flux.soil_profile(where)["stock"]
        course = flux.soil_scenario(field, years=2, tillage="none")
        assert course["columns"]["soc_change_30"]["value"][2] > 0
        of_field = flux.field_series(field, variables=["soc_30"], model=MODEL).features[0]
        alone = flux.series(where, variables=["soc_30"], model=MODEL)
        assert of_field["values"] == alone.shared["values"]
        assert alone.to_pandas()["soc_30"].item() == of_field["values"]["soc_30"][0]


def test_openapi_tells_of_both(served: Served) -> None:
    paths = served.http.get("/openapi.json").json()["paths"]
    for what in ("profile", "scenario"):
        assert paths[f"/v1/soil/{what}"]["post"]["summary"]
    assert VARIABLES["soc_30"].digits == 0


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 800), st.integers(1, 12))
def test_more_input_is_more_carbon(few: Forcing, kept: float, less: float, added: float, years: int) -> None:
    model = _model()
    low, high = sorted((kept, less))

    def end(removed: float, more: float) -> np.ndarray:
        found = model.respond(few, Scenario(years, residue_removed=removed, added_carbon=more))
        kept_all = np.abs(found.entered - found.respired - found.stored)
        assert np.nanmax(kept_all) < 1e-8
        return np.asarray(found.stocks["soc_30"][..., -1] - found.stocks["soc_30"][..., 0])

    a, b = end(low, added), end(high, added)
    known = np.isfinite(a)
    assert (a[known] >= b[known] - 1e-9).all()
    assert (end(low, added + 50.0)[known] > a[known]).all()


def test_a_part_of_a_year_is_refused() -> None:
    part = small_forcing([[MAIZE]], days=100)
    static = {**part.static, "clay": np.full(1, 200.0), "sand": np.full(1, 400.0)}
    with pytest.raises(ValueError, match="whole years"):
        Registry().load(MODEL).predict(replace(part, static=static))
    assert part.start == date(2019, 1, 1)
