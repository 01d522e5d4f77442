"""Answers in the formats of others, over a real server: the same figures in each, read by others' libraries."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
from covjson_pydantic.coverage import Coverage, CoverageCollection
from fieldflux.app.formats.negotiate import FORMATS, format_of
from fieldflux.app.problems import Refused
from fieldflux.tiles.cube import Cube, open_cube
from shapely.geometry import shape

from .serving import Json, serving, settings_of, square, toy_home, toy_registry
from .toy_cube import UNKNOWN

BODY: Json = {"variables": ["nee", "et", "yield"], "years": [2020], "step": "month", "statistics": ["std", "q95"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"), years=(2019, 2020))


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as found:
        yield found


@pytest.fixture(scope="module")
def cube(home: Path) -> Cube:
    return open_cube(home / "cubes" / "toy.zarr")


@pytest.fixture(scope="module")
def features(cube: Cube) -> list[Json]:
    bad = {"type": "Point", "coordinates": [-93, 42]}
    outlines = [square(cube, 100, 130, 2, 2), bad, square(cube, *UNKNOWN, 1, 2)]
    return [
        {"type": "Feature", "id": name, "properties": {}, "geometry": outline}
        for name, outline in zip(("north", "point", "half"), outlines, strict=True)
    ]


@pytest.fixture(scope="module")
def answer(client: httpx.Client, features: list[Json]) -> Json:
    found: Json = client.post("/v1/series", json={"features": features, **BODY}).json()
    return found


def get(client: httpx.Client, features: list[Json], f: str, **more: Any) -> httpx.Response:
    reply = client.post("/v1/series", params={"f": f}, json={"features": features, **BODY, **more})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].split(";")[0] == FORMATS[f].media
    return reply


def test_csv_holds_every_row_and_tells_what_failed(client: httpx.Client, features: list[Json], answer: Json) -> None:
    text = get(client, features, "csv").text
    known = [line for line in text.splitlines() if line.startswith("#")]
    assert any("feature 1: FAILED (invalid-geometry)" in line for line in known)
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    months = [r for r in rows if r["step"] == "month"]
    assert [(r["feature"], r["time"]) for r in months[:2]] == [("0", "2020-01"), ("0", "2020-02")]
    assert len(months) == 24
    north = [float(r["nee (gC m-2)"]) for r in months[:12]]
    assert north == answer["features"][0]["values"]["nee"]
    assert [float(r["nee_std (gC m-2)"]) for r in months[:12]] == answer["features"][0]["statistics"]["nee"]["std"]
    assert months[1]["first"] == "2020-02-01"
    assert months[1]["last"] == "2020-02-29"
    years = [r for r in rows if r["step"] == "year"]
    assert [float(r["yield (gC m-2 yr-1)"]) for r in years][:1] == answer["features"][0]["years"]["values"]["yield"]
    assert years[0]["nee (gC m-2)"] == ""
    (failed,) = [r for r in rows if r["feature"] == "1"]
    assert failed["status"] == "FAILED"
    assert "Point" in failed["problem"]


def test_lines_of_json_are_the_same_rows(client: httpx.Client, features: list[Json], answer: Json) -> None:
    about, *rows = (json.loads(line) for line in get(client, features, "ndjson").text.splitlines())
    assert about["about"]["units"]["nee"] == "gC m-2"
    assert [f["status"] for f in about["about"]["features"]] == ["OK", "FAILED", "PARTIAL"]
    assert len(rows) == 24 + 2 + 1
    assert [r["nee"] for r in rows if r["id"] == "half" and r["step"] == "month"] == answer["features"][2]["values"][
        "nee"
    ]
    assert rows[0]["nee_low"] == answer["features"][0]["intervals"]["nee"]["low"][0]


def test_parquet_has_types_units_and_hashes(client: httpx.Client, features: list[Json], answer: Json) -> None:
    table = pq.read_table(io.BytesIO(get(client, features, "parquet").content))
    assert str(table.schema.field("first").type) == "date32[day]"
    assert table.schema.field("nee").metadata[b"unit"] == b"gC m-2"
    assert table.schema.field("nee_total").metadata[b"unit"] == b"tC"
    about = json.loads(table.schema.metadata[b"fieldflux"])
    assert about["weights_sha256"] == answer["weights_sha256"]
    assert about["cube_hash"] == answer["cube_hash"]
    frame = table.to_pandas()
    north = frame[(frame["id"] == "north") & (frame["step"] == "month")]
    assert north["nee"].tolist() == answer["features"][0]["values"]["nee"]
    assert frame.loc[frame["step"] == "year", "nee"].isna().all()
    assert frame.loc[frame["status"] == "FAILED", "problem"].str.contains("Point").all()


def test_geojson_has_each_outline_with_its_columns(client: httpx.Client, features: list[Json], answer: Json) -> None:
    reply = get(client, features, "geojson")
    assert reply.headers["content-type"] == "application/geo+json"
    found = reply.json()
    assert found["type"] == "FeatureCollection"
    assert found["fieldflux:about"]["weights_sha256"] == answer["weights_sha256"]
    assert len(found["features"]) == len(answer["features"])
    for feature, told in zip(found["features"], answer["features"], strict=True):
        assert {name: feature["properties"].get(name) for name in told} == told
    north = found["features"][0]
    assert north["id"] == north["properties"]["label"] == "north"
    assert shape(north["geometry"]).equals(shape(features[0]["geometry"]))
    # What is no polygon has its problem, and none of its own.
    failed = next(f for f in found["features"] if f["properties"]["status"] == "FAILED")
    assert failed["geometry"] is None
    assert failed["properties"]["problem"]["code"] == "invalid-geometry"
    alone = client.post("/v1/series?f=geojson", json={"geometry": features[0], "years": [2020], "variables": ["gpp"]})
    assert [f["properties"]["parameter-name"] for f in alone.json()["features"]] == [["gpp"]]


def test_coverages_are_valid(client: httpx.Client, features: list[Json], answer: Json, cube: Cube) -> None:
    text = get(client, features, "covjson").text
    found = CoverageCollection.model_validate_json(text)
    assert [c.id for c in found.coverages] == ["north", "north/years", "half", "half/years"]
    plain = json.loads(text)
    assert plain["coverages"][0]["ranges"]["nee"]["values"] == answer["features"][0]["values"]["nee"]
    assert plain["fieldflux:problems"][0]["code"] == "invalid-geometry"
    one = client.post(
        "/v1/series?f=covjson", json={"geometry": features[0], "years": [2020], "variables": ["gpp"]}
    ).text
    single = Coverage.model_validate_json(one)
    assert single.domain.domainType.value == "PolygonSeries"  # type: ignore[union-attr]
    apart = {"type": "MultiPolygon", "coordinates": [square(cube, r, 130)["coordinates"] for r in (90, 100)]}
    refused = client.post("/v1/series?f=covjson", json={"geometry": apart, "years": [2020]})
    assert refused.status_code == 406
    assert "several parts" in refused.json()["detail"]


def test_netcdf_is_time_series_of_stations(client: httpx.Client, features: list[Json], answer: Json) -> None:
    content = get(client, features, "netcdf").content
    with xr.open_dataset(io.BytesIO(content), engine="h5netcdf") as found:
        assert found.attrs["Conventions"] == "CF-1.11"
        assert found.attrs["featureType"] == "timeSeries"
        assert found["station_id"].attrs["cf_role"] == "timeseries_id"
        assert found["station_id"].values.tolist() == ["north", "half"]
        assert found["nee"].dims == ("station", "time")
        assert found["nee"].values[0].tolist() == answer["features"][0]["values"]["nee"]
        assert found["nee"].attrs["units"] == "g m-2"
        assert found["yield"].dims == ("station", "year")
        assert str(found["time"].values[1])[:10] == "2020-02-01"
        assert (found["time_bnds"].values[:-1, 1] == found["time_bnds"].values[1:, 0]).all()
        for name in found["nee"].attrs["ancillary_variables"].split():
            assert found[name].shape == found["nee"].shape
        lons = [x for x, _ in features[0]["geometry"]["coordinates"][0]]
        assert min(lons) < float(found["lon"][0]) < max(lons)
        assert json.loads(found.attrs["fieldflux"])["features"][1]["status"] == "FAILED"
        assert np.isfinite(found["area"].values).all()
    nothing = client.post("/v1/series?f=netcdf", json={"features": features[1:2], **BODY})
    assert nothing.status_code == 406


def test_the_format_is_that_of_the_address_then_of_accept(client: httpx.Client, features: list[Json]) -> None:
    body = {"geometry": features[0], "years": [2020], "variables": ["nee"], "step": "year"}
    for accept, media in (
        ("text/csv", "text/csv"),
        ("*/*", "application/json"),
        ("text/*;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("application/json;q=0.1, text/csv;q=0.9", "text/csv"),
        ("application/vnd.cov+json", "application/prs.coverage+json"),
    ):
        reply = client.post("/v1/series", json=body, headers={"Accept": accept})
        assert reply.headers["content-type"].split(";")[0] == media
        assert "Accept" in reply.headers["vary"]
    both = client.post("/v1/series?f=csv", json=body, headers={"Accept": "application/json"})
    assert both.headers["content-type"].startswith("text/csv")
    for refused in (
        client.post("/v1/series", json=body, headers={"Accept": "image/png"}),
        client.post("/v1/series?f=xlsx", json=body),
    ):
        assert refused.status_code == 406
        assert {"f": "parquet", "media": "application/vnd.apache.parquet"} in refused.json()["allowed"]
    assert format_of("", None).name == "json"
    with pytest.raises(Refused):
        format_of("", "application/json;q=0")


def test_an_address_is_answered_with_304_until_something_changes(client: httpx.Client, features: list[Json]) -> None:
    outline = features[0]["geometry"]["coordinates"][0]
    wkt = f"POLYGON(({', '.join(f'{x!r} {y!r}' for x, y in outline)}))"
    asked = {"geometry": wkt, "years": "2020", "variables": "nee", "step": "year", "units": "nee:tCO2 ha-1"}
    plain = {"Accept-Encoding": "identity"}  # compressed on the way, the tag is weak
    first = client.get("/v1/series", params=asked, headers=plain)
    assert first.status_code == 200, first.text
    tag = first.headers["etag"]
    assert not tag.startswith("W/")
    body = {"geometry": features[0], "years": [2020], "variables": ["nee"], "step": "year"}
    posted = client.post("/v1/series", json={**body, "units": {"nee": "tCO2 ha-1"}}, headers=plain)
    assert posted.json()["values"] == first.json()["values"]
    assert posted.headers["etag"] == tag
    again = client.get("/v1/series", params=asked, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert "series" not in again.headers["server-timing"]
    for other in ({"years": "2019"}, {"units": ""}, {"f": "csv"}, {"statistics": "std"}, {"step": "period"}):
        changed = client.get("/v1/series", params={**asked, **other}, headers={"If-None-Match": tag})
        assert changed.status_code == 200, changed.text
        assert changed.headers["etag"] != tag
    lon, lat = zip(*outline, strict=True)
    box = ",".join(repr(v) for v in (min(lon), min(lat), max(lon), max(lat)))
    assert client.get("/v1/series", params={"bbox": box, "years": "2020"}).status_code == 200
    for wrong in (
        {},
        {"bbox": box, "geometry": wkt},
        {"bbox": "1,2,3"},
        {"geometry": "POLYGON(("},
        {"bbox": "3,1,2,4"},
    ):
        refused = client.get("/v1/series", params=wrong)
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-geometry")
