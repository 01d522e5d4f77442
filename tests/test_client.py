"""The Python client against a real server: what it returns are the server's numbers, and its errors the server's."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import httpx
import numpy as np
import pandas as pd
import pytest
from fieldflux.app.client import AsyncClient, Client, FluxError
from fieldflux.app.settings import Jobs, Rates
from fieldflux.tiles.cube import Cube
from shapely.geometry import Point, shape

from .serving import Json, serving, settings_of, square, toy_registry
from .toy_world import cube, home

__all__ = ["cube", "home"]


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home, jobs=Jobs(workers=1)), toy_registry(home / "checkpoints")) as found:
        yield found


@pytest.fixture(scope="module")
def flux(server: httpx.Client) -> Iterator[Client]:
    with Client(str(server.base_url)) as client:
        yield client


@pytest.fixture(scope="module")
def frame(cube: Cube) -> gpd.GeoDataFrame:
    """Three fields, in the grid's own projection."""
    shapes = [shape(square(cube, 95, 115 + 3 * i, 2, 2)) for i in range(3)]
    lonlat = gpd.GeoDataFrame({"crop": ["corn", "soy", "corn"]}, index=["a", "b", "c"], geometry=shapes, crs=4326)
    return lonlat.to_crs(5070)


def test_one_polygon_is_the_table_that_the_server_gives(flux: Client, server: httpx.Client, cube: Cube) -> None:
    field = square(cube, 95, 120, 3, 3)
    asked: Json = {"years": [2020], "variables": ["nee", "yield"], "step": "month", "statistics": ["std"]}
    found = flux.series(field, **asked)
    frame = found.to_pandas()
    said = server.post("/v1/series?f=csv", json={"geometry": field, **asked}).text
    table = pd.read_csv(io.StringIO(said), comment="#")
    of_months = table[table["step"] == "month"].reset_index(drop=True)
    assert list(frame.index.strftime("%Y-%m")) == list(of_months["time"])
    for column in of_months.columns[of_months.columns.str.startswith("nee")]:
        assert np.array_equal(frame[column.split(" ")[0]], of_months[column], equal_nan=True)
    assert {"nee", "nee_low", "nee_high", "nee_std", "nee_total", "nee_total_low", "nee_valid_fraction"} <= set(frame)
    assert (frame["nee_low"] <= frame["nee"]).all()
    assert frame.attrs["units"]["nee"] == "gC m-2"
    assert frame.attrs["units"]["nee_total"] == "tC"
    assert (frame["status"] == "OK").all()
    yearly = found.to_pandas(yearly=True)
    assert list(yearly.index) == [pd.Timestamp("2020-01-01")]
    assert yearly["yield"].iloc[0] == pytest.approx(table[table["step"] == "year"]["yield (gC m-2 yr-1)"].iloc[0])
    assert "synthetic_inputs" in found.notes


def test_days_as_xarray_with_yearly_variables_beside(flux: Client, cube: Cube) -> None:
    one = flux.series(shape(square(cube, 95, 120)), years=(2019, 2020), variables=["gpp", "reco", "nee", "yield"])
    data = one.to_xarray()
    assert dict(data.sizes) == {"time": 731, "year": 2}
    assert data["time"].values[59] == np.datetime64("2019-03-01")
    assert data["nee"].values == pytest.approx(data["reco"].values - data["gpp"].values, abs=1.01e-5)
    assert data["nee"].attrs == {"units": "gC m-2 d-1", "sign": "to the atmosphere is positive"}
    assert data["yield_low"].dims == ("year",)
    assert data.attrs["model"] == "toy/1"
    assert data.attrs["interval_level"] == 0.9


def test_a_frame_in_any_projection_keeps_its_names(flux: Client, frame: gpd.GeoDataFrame) -> None:
    found = flux.series(frame, years=[2020], variables=["nee"], step="season", intervals=False)
    table = found.to_pandas()
    assert list(table.index.get_level_values("feature").unique()) == ["a", "b", "c"]
    assert [f"{day:%m-%d}" for day in table.loc["a"].index] == ["01-01", "03-01", "06-01", "09-01", "12-01"]
    alone = flux.series(frame.to_crs(4326).geometry["b"], years=[2020], variables=["nee"], step="season")
    assert table.loc["b"]["nee"].tolist() == pytest.approx(alone.to_pandas()["nee"].tolist(), abs=1e-3)
    data = found.to_xarray()
    assert data["nee"].sel(feature="b").values.tolist() == table.loc["b"]["nee"].tolist()
    assert data["area"].values == pytest.approx(4 * 6.25, rel=0.01)
    with pytest.raises(ValueError, match="no CRS"):
        flux.series(frame.set_crs(None, allow_override=True))


def test_many_polygons_are_asked_for_in_parts_and_none_is_lost(flux: Client, cube: Cube) -> None:
    shapes = [shape(square(cube, 84 + i % 30, 107 + i // 30)) for i in range(120)]
    shapes[7] = Point(0, 0)
    found = flux.series(shapes, years=[2020], variables=["yield"], step="year")
    assert found.names == list(range(120))
    assert [name for name, _ in found.failures] == [7]
    with pytest.warns(UserWarning, match=r"1 of 120 polygons have no values\. 7: .*Point"):
        table = found.to_pandas()
    assert len(table) == 119
    data = found.to_xarray()
    assert data.sizes["feature"] == 120
    assert np.isnan(data["yield"].sel(feature=7)).all()
    assert data["status"].sel(feature=7) == "FAILED"


def test_errors_are_the_servers_sentences(flux: Client, cube: Cube) -> None:
    with pytest.raises(FluxError) as told:
        flux.series(square(cube, 95, 120), years=[1990])
    assert (told.value.status, told.value.code) == (422, "invalid-dates")
    assert "1990 lies outside" in str(told.value)
    assert told.value.request_id in str(told.value)
    assert told.value.request_id
    with pytest.raises(FluxError) as told:
        flux.model("nothing/1")
    assert told.value.code == "unknown-model"
    with pytest.raises(ValueError, match="given: int"):
        flux.series(5)
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(httpx.ConnectError):
        nobody.models()


def test_registered_fields_page_by_page(flux: Client, frame: gpd.GeoDataFrame) -> None:
    for held in flux.fields():
        flux.delete_field(held["id"])
    report = flux.register_fields(frame)
    assert report["created"] == 3
    listed = list(flux.fields())
    assert [f["external_id"] for f in listed] == ["a", "b", "c"]
    # more pages than one
    assert list(flux._pages("/v1/fields", {"limit": 2})) == listed
    again = gpd.GeoDataFrame.from_features(flux.fields(property={"crop": "corn"}), crs=4326)
    assert again["crop"].tolist() == ["corn", "corn"]
    names = [f["id"] for f in listed]
    found = flux.field_series(names, years=[2020], variables=["nee"], step="year")
    assert found.names == ["a", "b", "c"]
    direct = flux.series(frame, years=[2020], variables=["nee"], step="year")
    assert found.to_pandas()["nee"].tolist() == direct.to_pandas()["nee"].tolist()
    assert flux.field(names[0])["properties"] == {"crop": "corn"}
    flux.delete_field(names[0])
    with pytest.raises(FluxError, match="unknown-field"):
        flux.field(names[0])


def test_a_job_from_its_cost_to_its_results(flux: Client, frame: gpd.GeoDataFrame, tmp_path: Path) -> None:
    asked: Json = {"years": [2020], "variables": ["nee"], "step": "month"}
    assert flux.cost(frame, **asked)["items"] == 3
    seen: list[int] = []
    job = flux.wait(flux.submit(frame, **asked), lambda j: seen.append(j.done))
    assert (job.state, job.done, job.total) == ("done", 3, 3)
    assert seen[-1] == 3
    found = flux.results(job)
    assert found.names == ["a", "b", "c"]
    assert found.to_pandas()["nee"].tolist() == flux.series(frame, **asked).to_pandas()["nee"].tolist()
    table = pd.read_parquet(flux.download(job, "parquet", tmp_path / "found.parquet"))
    assert len(table) == 36
    assert [each["id"] for each in flux.jobs(state="done")] == [job.id]
    with pytest.raises(FluxError, match="nothing"):
        flux.download(job, "nothing.tif", tmp_path / "nothing.tif")
    assert not list(tmp_path.glob("nothing*"))


def test_tiles_models_cubes(flux: Client, cube: Cube) -> None:
    west, south, east, north = cube.bounds_lonlat()
    (told,) = flux.cubes()
    assert told["bounds"] == [west, south, east, north]
    assert flux.models()[0]["id"] == "toy/1"
    assert flux.model("toy/1")["name"] == "toy"
    assert {"nee", "gpp"} <= {v["name"] for v in flux.variables()}
    assert flux.limits()["series_features"] == 100
    from fieldflux.tiles.mercator import tile_at

    at = tile_at((west + east) / 2, (south + north) / 2, 10)
    assert flux.tile("nee", "2020-07-15", 10, at.x, at.y)[:8] == b"\x89PNG\r\n\x1a\n"
    # by a redirect
    values = np.load(io.BytesIO(flux.tile("nee", "latest", 10, at.x, at.y, "npy")))
    assert np.isfinite(values).any()


def test_async_does_the_same(server: httpx.Client, flux: Client, frame: gpd.GeoDataFrame, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncClient(str(server.base_url)) as other:
            shapes = list(frame.to_crs(4326).geometry)
            one, two = await asyncio.gather(
                *(other.series(s, years=[2020], variables=["nee"], step="year") for s in shapes[:2])
            )
            assert one.to_pandas()["nee"].tolist() != two.to_pandas()["nee"].tolist()
            both = await other.series(shapes[:2], years=[2020], variables=["nee"], step="year")
            assert both.to_pandas()["nee"].tolist() == pytest.approx(
                [one.to_pandas()["nee"].iloc[0], two.to_pandas()["nee"].iloc[0]], abs=1e-2
            )
            report = await other.register_fields(frame)
            assert report["created"] + report["unchanged"] == 3
            names = [f["id"] async for f in other.fields()]
            assert (await other.field(names[0]))["id"] == names[0]
            told = await other.field_series(names, years=[2020], variables=["nee"])
            assert len(told.features) == 3
            asked: Json = {"query": {}, "years": [2020], "variables": ["nee"], "step": "year"}
            assert (await other.cost(**asked))["items"] == 3
            job = await other.wait(await other.submit(**asked))
            assert len((await other.results(job)).features) == 3
            file = await other.download(job, "csv", tmp_path / "found.csv")
            assert file.read_text().count("\n") > 3
            assert job.id in [each["id"] async for each in other.jobs()]
            assert [m["id"] for m in await other.models()] == [m["id"] for m in flux.models()]
            assert (await other.cubes())[0]["id"] == "toy"
            await other.delete_field(names[0])
            with pytest.raises(FluxError, match="unknown-field"):
                await other.field(names[0])

    asyncio.run(work())


def test_it_waits_as_long_as_the_server_says(home: Path, cube: Cube) -> None:
    """Against the server's own limits: a bucket that is soon empty and soon full."""
    rates = Rates(per_second=0.5, burst=4, by_address=True)

    def ask_often(flux: Client) -> None:
        for _ in range(20):
            flux.series(square(cube, 95, 120), years=[2020], step="year")

    with serving(settings_of(home, rates=rates), toy_registry(home / "checkpoints")) as server:
        address = str(server.base_url)
        with Client(address, patience=0) as hasty, pytest.raises(FluxError, match="rate-limited"):
            ask_often(hasty)
        begun = time.monotonic()
        with Client(address, patience=60) as patient:
            assert patient.series(square(cube, 95, 120), years=[2020], step="year").alone
        assert time.monotonic() - begun > 0.5


def test_the_key_is_sent(home: Path) -> None:
    with serving(settings_of(home, accounts=True), toy_registry(home / "checkpoints")) as server:
        address = str(server.base_url)
        with Client(address) as without, pytest.raises(FluxError, match="401 no-key"):
            without.models()
        with Client(address, key="ff_wrong") as wrong, pytest.raises(FluxError, match="401 invalid-key"):
            wrong.models()
