"""Fields: registered, changed, found, overlapping; their weights, series and tiles. On SQLite and PostgreSQL."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas
import httpx
import mapbox_vector_tile
import numpy as np
import pytest
import shapely
from fieldflux.app.database import Database
from fieldflux.app.fields import find, register, weights
from fieldflux.app.fields.given import Given, Rejected, Rules, check_all
from fieldflux.app.fields.overlaps import SMALLEST_HA, neighbours
from fieldflux.app.fields.uploads import read_features
from fieldflux.app.problems import KINDS, Refused
from fieldflux.app.settings import Limits
from fieldflux.app.workspace import Workspace
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.mercator import tile_at
from fieldflux.tiles.zonal import geodesic_area_ha
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .serving import Json, serving, settings_of, square, toy_home, toy_registry


@dataclass(frozen=True)
class Served:
    client: httpx.Client
    cube: Cube
    home: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = toy_home(tmp_path_factory.mktemp("fields"), run_years=(2020,))
    with serving(settings_of(home, limits=Limits(features=300)), toy_registry(home / "checkpoints")) as client:
        yield Served(client, open_cube(home / "cubes" / "toy.zarr"), home)


@pytest.fixture(scope="module")
def workspace(served: Served) -> Workspace:
    """Of the same work folder: the cube for weights, beside any database."""
    return Workspace(settings_of(served.home), toy_registry(served.home / "checkpoints"))


def feature(name: str | None, geometry: Any, **properties: Any) -> Json:
    own = {} if name is None else {"id": name}
    return {"type": "Feature", **own, "geometry": geometry, "properties": properties}


def collection(*features: Json) -> Json:
    return {"type": "FeatureCollection", "features": list(features)}


def put_in(
    workspace: Workspace, database: Database, tenant: str, *features: Json, day: date | None = None
) -> list[register.Outcome]:
    return register.register(workspace, database, tenant, check_all(features, Rules(valid_from=day)))


# --- functions, on both databases


def test_life_of_a_field(workspace: Workspace, database: Database, served: Served) -> None:
    here, there = square(served.cube, 90, 110, 2, 2), square(served.cube, 92, 110, 2, 2)
    (made,) = put_in(workspace, database, "t", feature("a", here, crop="corn"), day=date(2020, 1, 1))
    assert (made.status, made.version) == ("created", 1)
    assert put_in(workspace, database, "t", feature("a", here, crop="corn"))[0].status == "unchanged"
    assert find.change_number(database, "t") == 1
    assert put_in(workspace, database, "t", feature("a", here, crop="soy"))[0].status == "updated"
    (moved,) = put_in(workspace, database, "t", feature("a", there, crop="soy"), day=date(2021, 6, 1))
    assert (moved.status, moved.version, moved.id) == ("updated", 2, made.id)
    # What is given again, for the same day, makes no further version.
    assert put_in(workspace, database, "t", feature("a", there, crop="soy"), day=date(2021, 6, 1))[0].version == 2
    # An outline of an earlier time becomes a version, but not the current one.
    put_in(workspace, database, "t", feature("a", square(served.cube, 90, 110), crop="soy"), day=date(2019, 1, 1))
    found = find.versions_of(database, "t", made.id)
    assert [(v.version, v.valid_from, v.valid_to, v.current) for v in found] == [
        (3, date(2019, 1, 1), date(2019, 12, 31), False),
        (1, date(2020, 1, 1), date(2021, 5, 31), False),
        (2, date(2021, 6, 1), None, True),
    ]
    now = find.field(database, "t", made.id)
    assert json.loads(now.geometry) == there
    assert now.properties == {"crop": "soy"}
    assert json.loads(find.field(database, "t", made.id, version=1).geometry) == here
    with pytest.raises(Refused, match="no version 9"):
        find.field(database, "t", made.id, version=9)
    register.delete(database, "t", made.id)
    with pytest.raises(Refused, match="no field"):
        find.field(database, "t", made.id)
    with database.read() as connection:
        place = weights.place_key(workspace, served.cube)
        assert not weights.kept_keys(connection, [now.geometry_key], place)


def test_the_same_outline_from_an_earlier_day(workspace: Workspace, database: Database, served: Served) -> None:
    here = square(served.cube, 90, 110)
    (made,) = put_in(workspace, database, "t", feature("a", here), day=date(2021, 1, 1))
    assert put_in(workspace, database, "t", feature("a", here), day=date(2022, 1, 1))[0].status == "unchanged"
    assert put_in(workspace, database, "t", feature("a", here), day=date(2015, 1, 1))[0].status == "updated"
    assert [v.valid_from for v in find.versions_of(database, "t", made.id)] == [date(2015, 1, 1)]


def test_tenants_do_not_see_each_other(workspace: Workspace, database: Database, served: Served) -> None:
    here = square(served.cube, 90, 110, 2, 2)
    (mine,) = put_in(workspace, database, "mine", feature("a", here))
    (yours,) = put_in(workspace, database, "yours", feature("a", here), feature("b", here))[:1]
    assert mine.id != yours.id
    assert find.field(database, "mine", mine.id).neighbours.duplicates == ()
    assert [f.id for f in find.page(database, "mine", find.Filter(), 10)] == [mine.id]
    assert find.by_ids(database, "mine", [mine.id, yours.id]).keys() == {mine.id}
    (new,) = check_all([feature(None, here)], Rules())
    assert isinstance(new, Given)
    for forbidden in (
        lambda: find.field(database, "mine", yours.id),
        lambda: find.versions_of(database, "mine", yours.id),
        lambda: register.delete(database, "mine", yours.id),
        lambda: register.replace(workspace, database, "mine", yours.id, new),
        lambda: register.merge(workspace, database, "mine", yours.id, {"x": 1}),
    ):
        with pytest.raises(Refused) as told:
            forbidden()
        assert told.value.code == "unknown-field"
    assert find.change_number(database, "mine") == 1
    assert len(find.page(database, "yours", find.Filter(), 10)) == 2


def test_pages_hold_still_while_fields_come_and_go(workspace: Workspace, database: Database, served: Served) -> None:
    outcomes = put_in(workspace, database, "t", *(feature(f"f{i}", square(served.cube, 85 + i, 110)) for i in range(9)))
    expected = [o.id for o in outcomes]
    seen: list[str] = []
    while True:
        page = find.page(database, "t", find.Filter(), 2, seen[-1] if seen else "")
        if not page:
            break
        seen += [f.id for f in page]
        if len(seen) == 4:
            register.delete(database, "t", seen[3])
            put_in(workspace, database, "t", feature("late", square(served.cube, 99, 120)))
    assert seen[:9] == expected
    assert len(seen) == len(set(seen)) == 10


def test_filters(workspace: Workspace, database: Database, served: Served) -> None:
    cube = served.cube
    put_in(
        workspace,
        database,
        "t",
        feature("a", square(cube, 90, 105), crop="corn", n=5, deep={"x": 1}),
        feature("b", square(cube, 90, 140), crop='so"y', n="5", ok=True),
    )

    def names(**wanted: Any) -> list[str | None]:
        return [f.external_id for f in find.page(database, "t", find.Filter(**wanted), 10)]

    west = shapely.geometry.shape(square(cube, 88, 103, 5, 5)).bounds
    assert names(bbox=west) == ["a"]
    assert names(external_ids=("b", "c")) == ["b"]
    assert names(properties=(("crop", "corn"),)) == ["a"]
    assert names(properties=(("crop", 'so"y'),)) == ["b"]
    assert names(properties=(("n", "5"),)) == ["a", "b"]
    assert names(properties=(("n", "5"), ("ok", "true"))) == ["b"]
    assert names(properties=(("it's", "1"),)) == []


def test_overlaps_are_those_of_brute_force(workspace: Workspace, database: Database, served: Served) -> None:
    rng = np.random.default_rng(3)
    cube = served.cube
    boxes = [
        square(cube, int(r), int(c), int(h), int(w))
        for r, c, h, w in zip(
            rng.integers(82, 110, 40),
            rng.integers(106, 140, 40),
            rng.integers(1, 5, 40),
            rng.integers(1, 5, 40),
            strict=True,
        )
    ]
    outcomes = put_in(workspace, database, "t", *(feature(str(i), box) for i, box in enumerate(boxes)))
    ids = [o.id for o in outcomes]
    with database.read() as connection:
        found = neighbours(connection, "t", ids)
        alone = neighbours(connection, "t", ids[:1])
    shapes = [shapely.geometry.shape(box) for box in boxes]
    for i, one in enumerate(shapes):
        expected = {}
        for j, other in enumerate(shapes):
            common = one.intersection(other)
            if j != i and common.geom_type == "Polygon" and boxes[i] != boxes[j]:
                area = geodesic_area_ha(common)
                if area >= SMALLEST_HA:
                    expected[ids[j]] = round(area, 4)
        got = {o.field: o.area_ha for o in found[ids[i]].overlaps} if ids[i] in found else {}
        assert got == pytest.approx(expected, abs=2e-4)
    assert alone.get(ids[0]) == found.get(ids[0])
    assert sum(len(n.overlaps) for n in found.values()) > 20


def test_kept_weights_are_those_worked_out_now(workspace: Workspace, database: Database, served: Served) -> None:
    corners = [(101.3, 84.2), (118.9, 86.7), (112.2, 103.4), (100.7, 97.1)]
    x, y = zip(*((served.cube.grid.x0 + c * 250, served.cube.grid.y0 - r * 250) for c, r in corners), strict=True)
    ring = [[float(a), float(b)] for a, b in zip(*served.cube.grid.to_lonlat(x, y), strict=True)]
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    (made,) = put_in(workspace, database, "t", feature("a", geometry))
    assert made.given is not None
    shape = made.given.shape
    place = weights.place_key(workspace, served.cube)
    with database.read() as connection:
        kept = weights.read(connection, [shape.key], place)[shape.key]
    (fresh,) = weights.fresh(workspace, served.cube, [shape])
    assert isinstance(fresh, type(kept))
    assert fresh.cells > 100
    for name in ("rows", "cols", "fraction"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(fresh, name))
    same = {n: getattr(kept, n) for n in ("rows", "cols", "fraction")}
    assert replace(fresh, **same) == replace(kept, **same)
    told = find.field(database, "t", made.id, place=(served.cube.id, place))
    assert told.cells is not None
    assert (told.cells.cells, told.cells.effective_cells) == (fresh.cells, fresh.effective_cells)
    assert told.area_ha == pytest.approx(fresh.geodesic_area_ha, rel=1e-9)


# --- files


def _frame(served: Served) -> Any:
    shapes = [shapely.geometry.shape(square(served.cube, 90 + i, 110)) for i in range(3)]
    return geopandas.GeoDataFrame(
        {
            "id": ["p0", "p1", "p2"],
            "crop": ["corn", None, "soy"],
            "determination_datetime": ["2020-05-01T00:00:00Z"] * 3,
        },
        geometry=shapes,
        crs="EPSG:4326",
    )


def test_geoparquet(served: Served) -> None:
    body = io.BytesIO()
    _frame(served).to_crs("EPSG:5070").to_parquet(body)
    read = read_features(body.getvalue(), Limits())
    checked = check_all(read, Rules())
    assert [c.external_id for c in checked] == ["p0", "p1", "p2"]
    for one, shape in zip(checked, _frame(served).geometry, strict=True):
        assert isinstance(one, Given)
        assert one.valid_from == date(2020, 5, 1)
        assert one.shape.geometry.symmetric_difference(shape).area < 1e-9 * shape.area + 1e-12
    assert read[1]["properties"]["crop"] is None
    with pytest.raises(Refused) as told:
        read_features(body.getvalue(), Limits(features=2))
    assert told.value.code == "over-limit"
    for bad in (body.getvalue()[:-200], body.getvalue()[:200]):
        with pytest.raises(Refused) as told:
            read_features(bad, Limits())
        assert told.value.code == "invalid-upload"
    body = io.BytesIO()
    _frame(served).set_crs(None, allow_override=True).to_parquet(body)
    with pytest.raises(Refused) as told:
        read_features(body.getvalue(), Limits())
    assert told.value.code == "wrong-crs"


def _zip(folder: Path, without: str = "", prefix: str = "", more: dict[str, bytes] | None = None) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            if file.suffix != without:
                archive.write(file, prefix + file.name)
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return body.getvalue()


def test_shapefile(served: Served, tmp_path: Path) -> None:
    _frame(served).to_crs("EPSG:26915").to_file(tmp_path / "our fields.shp")
    read = read_features(_zip(tmp_path, prefix="export/"), Limits())
    assert [f["id"] for f in read] == ["p0", "p1", "p2"]
    for one, shape in zip(check_all(read, Rules()), _frame(served).geometry, strict=True):
        assert isinstance(one, Given)
        assert one.shape.geometry.symmetric_difference(shape).area < 1e-6 * shape.area
    for bad, code in (
        (_zip(tmp_path, without=".prj"), "wrong-crs"),
        (_zip(tmp_path, without=".shx"), "invalid-upload"),
        (_zip(tmp_path, without=".shp"), "invalid-upload"),
        (_zip(tmp_path, more={"other.shp": b""}), "invalid-upload"),
        (_zip(tmp_path)[:300], "invalid-upload"),
        (_zip(tmp_path).replace(b"our fields.prj", b"our fields.pry"), "wrong-crs"),
    ):
        with pytest.raises(Refused) as told:
            read_features(bad, Limits())
        assert told.value.code == code, told.value
    with pytest.raises(Refused, match="Unpacked bytes"):
        read_features(_zip(tmp_path), Limits(unpacked_bytes=1024))


def test_paths_in_a_zip_lead_nowhere(served: Served, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    _frame(served).to_file(tmp_path / "in" / "f.shp")
    target = tmp_path / "escaped"
    body = _zip(tmp_path / "in", prefix=f"../../../../../../{tmp_path}/escaped/", more={f"{target}.txt": b"x"})
    assert len(read_features(body, Limits())) == 3
    assert not target.exists()
    assert not Path(f"{target}.txt").exists()


def test_a_zip_that_grows_beyond_what_it_says(served: Served, tmp_path: Path) -> None:
    _frame(served).to_file(tmp_path / "f.shp")
    grown = tmp_path / "f.dbf"
    grown.write_bytes(grown.read_bytes() + bytes(3_000_000))
    body = bytearray(_zip(tmp_path))
    # The directory at the end says that the table unpacks to 100 bytes.
    at = body.rfind(b"f.dbf") - 46
    body[at + 24 : at + 28] = (100).to_bytes(4, "little")
    with pytest.raises(Refused):
        read_features(bytes(body), Limits(unpacked_bytes=1_000_000))


# --- over HTTP


def test_report_of_each_feature(served: Served) -> None:
    c, cube = served.client, served.cube
    sent = collection(
        feature("r1", square(cube, 82, 110, 2, 2), crop="corn"),
        feature("r2", square(cube, 83, 111, 2, 2)),
        feature("r3", {"type": "Point", "coordinates": [1, 2]}),
        feature("r1", square(cube, 82, 110)),
        feature("r4", square(cube, 82, 110, 2, 2)),
        feature("r5", square(cube, 300, 300)),
    )
    refused = c.post("/v1/fields", json=sent, params={"atomic": True})
    assert refused.status_code == 422
    assert [f["index"] for f in refused.json()["features"]] == [2, 3]
    assert c.get("/v1/fields", params={"external_id": "r1"}).json()["items"] == []
    answer = c.post("/v1/fields", json=sent)
    report = answer.json()
    assert answer.status_code == 201
    assert {k: report[k] for k in ("created", "updated", "unchanged", "rejected")} == {
        "created": 4,
        "updated": 0,
        "unchanged": 0,
        "rejected": 2,
    }
    rows = report["features"]
    assert [row["status"] for row in rows] == ["created", "created", "rejected", "rejected", "created", "created"]
    assert rows[2]["problem"]["type"] == "/problems/invalid-geometry"
    assert rows[3]["problem"]["type"] == "/problems/duplicate-id"
    assert rows[0]["flags"] == ["overlaps", "duplicate"]
    assert rows[0]["duplicates"] == [rows[4]["id"]]
    assert rows[0]["overlaps"][0]["external_id"] == "r2"
    assert rows[0]["overlaps"][0]["fraction"] == pytest.approx(0.25, abs=1e-3)
    assert rows[0]["coverage"] == {"cube": "toy", "cells": 4, "effective_cells": 3.9992, "covered_fraction": 1.0}
    assert rows[5]["flags"] == ["outside_cube"]
    again = c.post("/v1/fields", json=sent).json()
    assert (again["created"], again["unchanged"]) == (0, 4)
    for row in rows:
        if row["status"] == "created":
            assert c.delete(f"/v1/fields/{row['id']}").status_code == 204


def test_one_field_over_http(served: Served) -> None:
    c, cube = served.client, served.cube
    made = c.post("/v1/fields", json=feature("one", square(cube, 100, 110), crop="corn", sown="2020-05-01"))
    address = made.headers["location"]
    got = c.get(address)
    assert got.headers["content-type"] == "application/geo+json"
    assert got.json()["properties"] == {"crop": "corn", "sown": "2020-05-01"}
    assert c.get(address, headers={"If-None-Match": got.headers["etag"]}).status_code == 304
    changed = c.patch(address, json={"properties": {"crop": None, "n": 1}, "id": "uno"}).json()
    assert changed["properties"] == {"sown": "2020-05-01", "n": 1}
    assert changed["external_id"] == "uno"
    changed = c.patch(address, json={"geometry": square(cube, 101, 110)}, params={"valid_from": "2031-01-01"}).json()
    assert (changed["version"], changed["valid_from"]) == (2, "2031-01-01")
    assert changed["properties"] == {"sown": "2020-05-01", "n": 1}
    put = c.put(address, json=feature(None, square(cube, 102, 110)), params={"valid_from": "2032-01-01"}).json()
    assert (put["version"], put["properties"], put["external_id"]) == (3, {}, "uno")
    listed = c.get(f"{address}/versions").json()["versions"]
    assert [v["version"] for v in listed] == [1, 2, 3]
    c.post("/v1/fields", json=feature("two", square(cube, 105, 110)))
    clash = c.patch(address, json={"id": "two"})
    assert (clash.status_code, clash.json()["type"]) == (409, "/problems/duplicate-id")
    for path in ("", "/versions", "/series"):
        assert c.get(f"/v1/fields/fld_none{path}").json()["type"] == "/problems/unknown-field"
    assert c.get("/v1/fields", params={"cursor": "x"}).json()["type"] == "/problems/invalid-cursor"
    assert c.get("/v1/fields", params={"bbox": "1,2,3"}).status_code == 422
    assert c.get("/v1/fields", params={"f": "geojson"}).json()["type"] == "FeatureCollection"
    over = c.post("/v1/fields", json=collection(*[feature(None, None)] * 301))
    assert (over.status_code, over.json()["limit"]) == (413, "features")


def test_series_are_those_of_the_outline(served: Served) -> None:
    c, cube = served.client, served.cube
    first, second = square(cube, 90, 120, 2, 3), square(cube, 90, 120, 2, 2)
    address = c.post("/v1/fields", json=feature("s", first), params={"valid_from": "2020-01-01"}).headers["location"]
    c.put(address, json=feature("s", second), params={"valid_from": "2021-01-01"})
    said = {"years": "2020", "step": "year", "variables": "nee,yield"}
    for version, outline in ((1, first), (2, second), (None, second)):
        query = said if version is None else {**said, "version": str(version)}
        got = c.get(f"{address}/series", params=query)
        ask = {"geometry": outline, "years": [2020], "step": "year", "variables": ["nee", "yield"]}
        assert got.status_code == 200, got.text
        assert got.json() == c.post("/v1/series", json=ask).json()
        assert got.headers["x-fieldflux-field-version"] == str(version or 2)
    for bad in ({"years": "20"}, {"step": "eon"}, {"first": "2020-13-01"}, {"level": "high"}, {"variables": "gold"}):
        answer = c.get(f"{address}/series", params=bad)
        assert answer.status_code in (404, 422), answer.text
        assert answer.json()["type"].removeprefix("/problems/") in KINDS


def test_series_need_no_zonal_work(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts anew finds the weights in the database."""
    with serving(settings_of(served.home), toy_registry(served.home / "checkpoints")) as c:
        address = c.post("/v1/fields", json=feature("w", square(served.cube, 95, 120, 3, 3))).headers["location"]

    def nothing_new(new: list[Any], *_: Any) -> list[Any]:
        assert not new, "a coverage was worked out again"
        return []

    monkeypatch.setattr("fieldflux.tiles.zonal._coverages", nothing_new)
    with serving(settings_of(served.home), toy_registry(served.home / "checkpoints")) as c:
        answer = c.get(f"{address}/series", params={"years": "2020", "step": "month"})
        assert answer.status_code == 200, answer.text


def test_totals_of_parts_are_the_total_of_the_whole(served: Served) -> None:
    c, cube = served.client, served.cube
    e, size = 1e-4, 250.0
    x0, y0 = cube.grid.x0 + 130 * size, cube.grid.y0 - 90 * size
    cuts = [e * size, 1.3 * size, 2.05 * size, 4 * size - e * size]

    def box(x1: float, x2: float, y1: float, y2: float) -> Json:
        lon, lat = cube.grid.to_lonlat([x0 + x for x in (x1, x2, x2, x1)], [y0 - y for y in (y2, y2, y1, y1)])
        ring = [[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]
        return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}

    spans = list(pairwise(cuts))
    parts = [box(*across, *down) for across in spans for down in spans]
    # Corners of parts on its edges stay: a straight line in degrees is not one on the plane.
    whole = shapely.geometry.mapping(shapely.unary_union([shapely.geometry.shape(part) for part in parts]))
    report = c.post(
        "/v1/fields", json=collection(*(feature(f"part{i}", p) for i, p in enumerate([*parts, whole])))
    ).json()
    totals = []
    for row in report["features"]:
        query = {"years": "2020", "step": "year", "variables": "nee,gpp"}
        totals.append(c.get(f"/v1/fields/{row['id']}/series", params=query).json()["totals"]["nee"]["value"][0])
    assert len(totals) == 10
    assert sum(totals[:-1]) == pytest.approx(totals[-1], rel=1e-5)
    # Parts that share an edge do not overlap, but each lies in the whole.
    assert [len(row["overlaps"]) for row in report["features"]] == [1] * 9 + [9]


def test_vector_tiles(served: Served) -> None:
    c, cube = served.client, served.cube
    donut = square(cube, 110, 105, 4, 4)
    donut["coordinates"].append(square(cube, 111, 106, 2, 2)["coordinates"][0][::-1])
    address = c.post("/v1/fields", json=feature("donut", donut)).headers["location"]
    lon, lat = donut["coordinates"][0][0]
    at = tile_at(lon, lat, 13)
    url = f"/v1/fields/tiles/13/{at.x}/{at.y}.mvt"
    said = {"variable": "gpp", "when": "2020-07-01"}
    got = c.get(url, params=said)
    assert got.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    layer = mapbox_vector_tile.decode(got.content, default_options={"y_coord_down": True})["fields"]
    (mine,) = [f for f in layer["features"] if f["properties"]["external_id"] == "donut"]
    day = c.get(f"{address}/series", params={"first": "2020-07-01", "last": "2020-07-01", "variables": "gpp"}).json()
    assert mine["properties"]["value"] == pytest.approx(day["values"]["gpp"][0], abs=2e-3)
    polygon = shapely.geometry.shape(mine["geometry"])
    assert polygon.is_valid
    assert len(polygon.interiors) == 1
    # Outer rings turn one way, holes the other, as the specification says.
    assert shapely.is_ccw(polygon.exterior)
    assert not shapely.is_ccw(polygon.interiors[0])
    bounds = shapely.box(-64, -64, 4160, 4160)
    side, n = 4096.0, float(1 << 13)

    def units(points: Any) -> Any:
        y = (0.5 - np.arcsinh(np.tan(np.radians(points[:, 1]))) / (2 * np.pi)) * n - at.y
        return np.column_stack([((points[:, 0] / 360 + 0.5) * n - at.x) * side, y * side])

    expected = shapely.transform(shapely.geometry.shape(donut), units).intersection(bounds)
    assert polygon.symmetric_difference(expected).area < 2 * expected.length
    tag = got.headers["etag"]
    assert c.get(url, params=said, headers={"If-None-Match": tag}).status_code == 304
    c.patch(address, json={"properties": {"n": 1}})
    assert c.get(url, params=said, headers={"If-None-Match": tag}).status_code == 200
    assert c.get("/v1/fields/tiles/13/0/0.mvt").status_code == 204
    about = c.get("/v1/fields/tiles/tilejson.json", params=said).json()
    assert about["vector_layers"][0]["fields"].keys() == {"id", "external_id", "area_ha", "value"}
    filled = about["tiles"][0].format(z=13, x=at.x, y=at.y)
    assert c.get(filled).content == c.get(url, params=said).content
    assert c.get(url, params={**said, "when": "soon"}).status_code == 422
    assert c.get("/v1/fields/tiles/3/9/9.mvt").status_code == 404


_NUMBER = st.one_of(
    st.floats(-200, 200), st.integers(-(10**20), 10**20), st.sampled_from([0, -127.4, 47.8, 1e308, None, "1", True, []])
)
_POSITION = st.lists(_NUMBER, max_size=4)
_RING = st.lists(_POSITION, max_size=6)
_CORNER = st.tuples(st.floats(-127.44, -127.30), st.floats(47.78, 47.87)).map(list)
_REAL = st.lists(_CORNER, min_size=3, max_size=6).map(lambda ring: [[*ring, ring[0]]])
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)
_GEOMETRY = st.one_of(
    st.fixed_dictionaries({"type": st.just("Polygon"), "coordinates": _REAL}),
    st.fixed_dictionaries({"type": st.just("MultiPolygon"), "coordinates": st.lists(_REAL, max_size=2)}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Polygon", "MultiPolygon", "Point"]), "coordinates": st.lists(_RING, max_size=2)}
    ),
    _JSON,
)
_FEATURE = st.fixed_dictionaries(
    {"type": st.just("Feature"), "geometry": _GEOMETRY},
    optional={"id": _JSON, "properties": _JSON, "crs": _JSON},
)


@given(sent=st.one_of(_FEATURE, st.lists(_FEATURE, max_size=3).map(lambda f: collection(*f)), _JSON))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_geometry_is_taken_or_refused(served: Served, sent: Any) -> None:
    try:
        body = json.dumps(sent).encode()
    except UnicodeEncodeError:
        return
    answer = served.client.post("/v1/fields", content=body)
    assert answer.status_code in (200, 201, 400, 413, 422), answer.text
    said = answer.json()
    if answer.status_code >= 400:
        assert said["type"].removeprefix("/problems/") in KINDS
        assert said["detail"]
    for row in said.get("features", []):
        assert ("problem" in row) == (row.get("status", "rejected") == "rejected")


@given(properties=st.dictionaries(st.text(), _JSON, max_size=4), name=st.one_of(st.none(), st.text(max_size=210)))
@example(properties={"a": 6.467534331264826e16, "b": [1e-7, -0.0]}, name="x")
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_properties_come_back_as_they_were(
    workspace: Workspace, database: Database, served: Served, properties: Json, name: str | None
) -> None:
    (checked,) = check_all([feature(name, square(served.cube, 90, 110)) | {"properties": properties}], Rules())
    if isinstance(checked, Rejected):
        assert isinstance(checked.error, Refused)
        sent, said = json.dumps([name, properties]), str(checked.error)
        if "64 bits" in said:
            assert re.search(r"\d{19}", sent)
        else:
            assert "\\u0000" in sent or name == "" or len(name or "") > 200, said
        return
    (made,) = register.register(workspace, database, "t", [checked])
    assert find.field(database, "t", made.id).properties == properties
    register.delete(database, "t", made.id)
