"""Any outline, at every door that takes one: an answer, or a sentence that says what is wrong; never a failure.

FIELDFLUX_OUTLINES=500 tries more of them, with another seed by FIELDFLUX_CONTRACT_SEED; FIELDFLUX_OUTLINES_AT=<address>
at a server that runs already and has the models of soil and forecasts as well.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import shapely
from fieldflux.app.settings import Jobs, Limits
from fieldflux.tiles.cube import Cube
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from .serving import Json, serving, settings_of, square, toy_registry
from .toy_world import cube, home

__all__ = ["cube", "home"]

COUNT = int(os.environ.get("FIELDFLUX_OUTLINES", "20"))
SEED = int(os.environ.get("FIELDFLUX_CONTRACT_SEED", "1"))
AT = os.environ.get("FIELDFLUX_OUTLINES_AT", "")
LONGEST_SECONDS = 30.0


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    if AT:
        with httpx.Client(base_url=AT, timeout=60) as found:
            yield found
        return
    with serving(settings_of(home, jobs=Jobs(workers=0, open_jobs=5)), toy_registry(home / "checkpoints")) as found:
        yield found


@pytest.fixture(scope="module")
def center(client: httpx.Client) -> tuple[float, float]:
    lon, lat = client.get("/v1/cubes").json()["cubes"][0]["center"]
    return lon, lat


def told(response: httpx.Response) -> None:
    """An answer within reasonable time: data, or a problem in a sentence that can be shown."""
    asked = f"{response.request.method} {str(response.request.url)[:200]}: {response.text[:500]}"
    assert response.status_code < 500 or response.status_code in (501, 503), asked
    assert response.elapsed.total_seconds() < LONGEST_SECONDS, asked
    if response.status_code >= 400:
        assert response.headers["content-type"].startswith("application/problem+json"), asked
        detail = response.json()["detail"].strip()
        assert detail[-1] in ".!?`", asked
        assert 10 < len(detail) < 2000, asked
        assert "Traceback" not in detail, asked
        assert "Exception" not in detail, asked


YEAR = 2020


def at_every_door(client: httpx.Client, geometry: Any) -> None:
    """Send it to each operation that takes an outline."""
    feature = {"type": "Feature", "id": "f", "properties": {}, "geometry": geometry}
    told(client.post("/v1/series", json={"geometry": geometry, "years": [YEAR], "step": "year", "variables": ["nee"]}))
    told(client.post("/v1/calendar", json={"geometry": geometry}))
    told(client.post("/v1/fields", json=feature))
    told(client.patch("/v1/fields/fld_none", json={"type": "Feature", "geometry": geometry}))
    of_job = {"kind": "series", "features": [feature], "years": [YEAR], "step": "year", "variables": ["nee"]}
    told(client.post("/v1/jobs", params={"dry_run": True}, json=of_job))
    told(client.post("/v1/statements", json={"geometry": geometry, "years": [YEAR]}))
    told(client.post("/v1/soil/profile", json={"geometry": geometry}))
    told(client.post("/v1/soil/scenario", json={"geometry": geometry, "years": 2, "tillage": "none"}))
    told(client.post("/v1/forecast", json={"geometry": geometry, "issue_day": f"{YEAR}-07-01"}))
    wkt = wkt_of(geometry)
    if wkt is not None and len(wkt) < 5000:
        told(client.get("/v1/series", params={"geometry": wkt, "years": str(YEAR), "step": "year", "variables": "nee"}))
        place = client.get("/v1/edr/collections").json()["collections"][0]["id"]
        area = {"coords": wkt, "datetime": str(YEAR), "step": "year"}
        told(client.get(f"/v1/edr/collections/{place}/area", params=area))


def wkt_of(geometry: Any) -> str | None:
    try:
        return str(shapely.to_wkt(shapely.geometry.shape(geometry)))
    except Exception:
        return None


def ring_of(points: list[tuple[float, float]], center: tuple[float, float]) -> list[list[float]]:
    """A closed ring of points in cells around the middle of the cube."""
    ring = [[center[0] + x * 0.003, center[1] + y * 0.00225] for x, y in points]
    return [*ring, ring[0]] if ring else []


POINTS = st.tuples(
    st.one_of(st.integers(-3, 3).map(float), st.floats(-8, 8), st.floats(-1e-9, 1e-9)),
    st.one_of(st.integers(-3, 3).map(float), st.floats(-8, 8), st.floats(-1e-9, 1e-9)),
)
RINGS = st.lists(st.lists(POINTS, min_size=0, max_size=9), min_size=0, max_size=3)


@seed(SEED)
@settings(max_examples=COUNT, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(polygons=st.lists(RINGS, min_size=0, max_size=3), plain=st.booleans(), height=st.booleans())
def test_any_rings_near_the_fields(
    client: httpx.Client,
    center: tuple[float, float],
    polygons: list[list[list[tuple[float, float]]]],
    plain: bool,
    height: bool,
) -> None:
    """Rings by chance: self-crossing, doubled points, slivers, holes that touch, overlap or lie outside, empty ones."""
    coordinates = [[ring_of(ring, center) for ring in rings] for rings in polygons]
    if height:
        coordinates = [[[[*p, 250.0] for p in ring] for ring in rings] for rings in coordinates]
    if plain:
        geometry: Json = {"type": "Polygon", "coordinates": coordinates[0] if coordinates else []}
    else:
        geometry = {"type": "MultiPolygon", "coordinates": coordinates}
    at_every_door(client, geometry)


def box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def area(*rings: Any) -> Json:
    return {"type": "Polygon", "coordinates": list(rings)}


def around(x: float, y: float, reach: float, count: int = 4) -> list[list[float]]:
    turn = [math.tau * i / count for i in range(count)]
    ring = [[x + reach * math.cos(t), y + reach * math.sin(t)] for t in turn]
    return [*ring, ring[0]]


def odd_ones(x: float, y: float) -> dict[str, Any]:
    field = box(x, y, x + 0.01, y + 0.006)
    hole = box(x + 0.002, y + 0.001, x + 0.004, y + 0.003)
    beside = box(x + 0.01, y, x + 0.02, y + 0.006)
    return {
        "a bow": area([[x, y], [x + 0.01, y + 0.01], [x + 0.01, y], [x, y + 0.01], [x, y]]),
        "a star of 5": area([around(x, y, 0.01, 5)[i] for i in (0, 2, 4, 1, 3, 0)]),
        "a hole that touches": area(field, box(x, y + 0.001, x + 0.004, y + 0.003)),
        "a hole that touches in a point": area(field, [[x, y + 0.002], [x + 0.002, y + 0.001], [x + 0.002, y + 0.003],
                                                       [x, y + 0.002]]),
        "a hole outside": area(field, box(x + 1, y + 1, x + 1.1, y + 1.1)),
        "a hole that is all": area(field, field),
        "holes in holes": area(field, hole, box(x + 0.0025, y + 0.0015, x + 0.003, y + 0.002)),
        "the other winding": area(field[::-1], hole),
        "a spike": area([*field[:2], [x + 0.02, y], *field[1:]]),
        "a line there and back": area([[x, y], [x + 0.01, y], [x + 0.02, y], [x, y]]),
        "a sliver of a micrometre": area(box(x, y, x + 0.01, y + 1e-11)),
        "a sliver of a metre": area(box(x, y, x + 0.1, y + 1e-5)),
        "a square of a centimetre": area(box(x, y, x + 1e-7, y + 1e-7)),
        "not closed": area(field[:-1]),
        "two the same": {"type": "MultiPolygon", "coordinates": [[field], [field]]},
        "two that share an edge": {"type": "MultiPolygon", "coordinates": [[field], [beside]]},
        "a hundred pieces": {
            "type": "MultiPolygon",
            "coordinates": [[box(x + i * 1e-3, y, x + i * 1e-3 + 5e-4, y + 5e-4)] for i in range(100)],
        },
        "10 000 vertices": area(around(x, y, 0.02, 10_000)),
        "60 000 vertices": area(around(x, y, 0.02, 60_000)),
        "height": area([[*p, 300] for p in field]),
        "height and measure": area([[*p, 300, 7] for p in field]),
        "one coordinate": area([[x], [x], [x], [x]]),
        "texts": area([[str(a), str(b)] for a, b in field]),
        "nulls": area([[x, None], [x, y], [x + 1, y], [x, None]]),
        "truths": area([[True, False], [x, y], [x + 1, y], [True, False]]),
        "objects": area([{"lon": x, "lat": y}] * 4),
        "1e308": area(box(-1e308, -1e308, 1e308, 1e308)),
        "whole numbers of 60 digits": area([[10**60, y], [x, y], [x, y + 1], [10**60, y]]),
        "over the antimeridian": area(box(179.99, y, 180.01, y + 0.01)),
        "from east to west": area(box(179.99, y, -179.99, y + 0.01)),
        "the north pole": area(box(-180, 89.9, 180, 90)),
        "the south pole": area(box(-180, -90, 180, -89.9)),
        "the world": area(box(-180, -90, 180, 90)),
        "a belt at the cube's height": area(box(-180, y, 180, y + 0.01)),
        "swapped": area([p[::-1] for p in field]),
        "metres": area(box(2e5, 2e6, 2.1e5, 2.1e6)),
        "another reference system": {**area(field), "crs": {"type": "name", "properties": {"name": "EPSG:5070"}}},
        "a reference system that is none": {**area(field), "crs": {"type": "name", "properties": {"name": 7}}},
        "a reference system that is a text": {**area(field), "crs": "EPSG:4326"},
        "a reference system without properties": {**area(field), "crs": {"type": "name", "properties": None}},
        "a reference system of wrong properties": {**area(field), "crs": {"type": "name", "properties": [1]}},
        "a reference system with a long name": {**area(field), "crs": "x" * 5000},
        "a long type": {"type": "x" * 5000, "coordinates": [field]},
        "900 Features in each other": nest(area(field), 900),
        "a linked reference system": {**area(field), "crs": {"type": "link", "properties": {"href": "http://x/"}}},
        "a point": {"type": "Point", "coordinates": [x, y]},
        "an empty point": {"type": "Point", "coordinates": []},
        "a line": {"type": "LineString", "coordinates": field},
        "an empty polygon": area(),
        "an empty ring": area([]),
        "no coordinates": {"type": "Polygon"},
        "no type": {"coordinates": [field]},
        "a type that is a list": {"type": ["Polygon"], "coordinates": [field]},
        "an empty object": {},
        "a collection of geometries": {"type": "GeometryCollection", "geometries": [area(field), area(beside)]},
        "a collection of one geometry": {"type": "GeometryCollection", "geometries": [area(field)]},
        "an empty collection": {"type": "GeometryCollection", "geometries": []},
        "a Feature in a Feature": {"type": "Feature", "properties": {},
                                   "geometry": {"type": "Feature", "properties": {}, "geometry": area(field)}},
        "a Feature of a Feature of none": {"type": "Feature", "geometry": {"type": "Feature", "geometry": None}},
        "a collection of two Features": {"type": "FeatureCollection",
                                         "features": [{"type": "Feature", "geometry": area(field)}] * 2},
        "an array": [area(field)],
        "a text": "POLYGON((0 0, 1 0, 1 1, 0 0))",
        "a number": 7,
        "true": True,
        "null": None,
    }  # fmt: skip


def nest(geometry: Any, depth: int) -> Any:
    for _ in range(depth):
        geometry = {"type": "Feature", "geometry": geometry}
    return geometry


NAMES = list(odd_ones(0, 0))


@pytest.mark.parametrize("name", NAMES)
def test_odd_outlines(client: httpx.Client, center: tuple[float, float], name: str) -> None:
    at_every_door(client, odd_ones(*center)[name])


def test_a_good_one_is_answered(client: httpx.Client, center: tuple[float, float]) -> None:
    """So that the doors of the other tests are open."""
    x, y = center
    # With holes of other numbers of corners, which no array of numbers holds.
    holes = (around(x + 0.002, y + 0.002, 0.001, 3), around(x + 0.005, y + 0.003, 0.001, 7))
    geometry = area(box(x, y, x + 0.01, y + 0.006), *holes)
    for path, more in (("/v1/series", {"years": [YEAR]}), ("/v1/calendar", {})):
        assert client.post(path, json={"geometry": geometry, **more}).status_code == 200


def nested(depth: int, opened: str = "[", closed: str = "]") -> bytes:
    return (opened * depth + closed * depth).encode()


def polygon(*rings: Any, **more: Any) -> bytes:
    return json.dumps({"geometry": {"type": "Polygon", "coordinates": rings}, **more}).encode()


ODD: dict[str, bytes] = {
    "deep arrays": b'{"geometry": {"type": "Polygon", "coordinates": ' + nested(20_000) + b"}}",
    "deep objects": b'{"geometry": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}",
    "deep collections": b'{"geometry": ' + b'{"type":"GeometryCollection","geometries":[' * 3000 + b"]}" * 3000 + b"}",
    "10 000 vertices on one point": polygon([[-93.7, 42.0]] * 10_000),
    "NaN": polygon(box(math.nan, 42, -93, 43)),
    "infinity": b'{"geometry": {"type": "Polygon", "coordinates": [[[1e999,42],[-93,42],[-93,43],[1e999,42]]]}}',
    "huge numbers": b'{"geometry": {"type": "Polygon", "coordinates": [[['
    + b"9" * 4000
    + b',42],[-93,42],[-93,43],[0,0]]]}, "level": 0.9}',
    "huge years": b'{"geometry": {"type": "Polygon", "coordinates": []}, "years": [' + b"9" * 5000 + b"]}",
    "big years": b'{"geometry": {"type": "Polygon", "coordinates": []}, "years": [9223372036854775808, 0, -1]}',
    "no polygons": b'{"geometry": {"type": "MultiPolygon", "coordinates": []}}',
    "an empty collection": b'{"features": {"type": "FeatureCollection", "features": []}}',
    "empty features": b'{"features": []}',
    "features that are none": b'{"features": [{}, {"type": "Feature", "geometry": null}]}',
    "no fields": b'{"fields": []}',
    "null": b"null",
    "a lone surrogate": b'{"geometry": {"type": "Polygon", "coordinates": [[]]}, "cube": "\\ud800"}',
    "a zero": b'{"geometry": {"type": "Polygon", "coordinates": [[]]}, "cube": "\\u0000"}',
    "not UTF-8": b'{"geometry": "\xff\xfe"}',
    "nothing": b"",
}


@pytest.mark.parametrize("path", ["/v1/series", "/v1/fields", "/v1/jobs", "/v1/jobs?dry_run=true"])
@pytest.mark.parametrize("body", ODD.values(), ids=list(ODD))
def test_odd_bodies_are_told_what_is_wrong(client: httpx.Client, path: str, body: bytes) -> None:
    """The bodies of series; as fields, the geometry or the collection in them."""
    if path == "/v1/fields" and body.startswith(b'{"geometry": '):
        body = b'{"type": "Feature", "properties": {}, ' + body[1:]
    if path.startswith("/v1/jobs") and body.startswith(b'{"'):
        body = b'{"kind": "series", ' + body[1:]
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    told(response)
    assert client.get("/livez").status_code == 200


NUMBER = st.one_of(
    st.floats(-200, 200), st.sampled_from([-180.0, 180.0, 90.0, -90.0, 0.0, 1e-300, -93.7, 42.0, 1e308, -0.0])
)
POSITION = st.lists(NUMBER, min_size=0, max_size=4)
COORDINATES = st.recursive(POSITION, lambda inner: st.lists(inner, max_size=6), max_leaves=25)
GEOMETRY = st.fixed_dictionaries(
    {"type": st.sampled_from(["Polygon", "MultiPolygon", "Point", "polygon", ""]), "coordinates": COORDINATES}
)


@seed(SEED)
@settings(max_examples=40, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(shapes=st.lists(st.one_of(GEOMETRY, st.none()), max_size=4))
def test_any_geometries_in_a_collection(client: httpx.Client, cube: Cube, shapes: list[Json | None]) -> None:
    """Those that are wrong are told so one by one; the good one beside them keeps its answer."""
    features = [{"type": "Feature", "properties": {}, "geometry": g} for g in (*shapes, square(cube, 95, 120))]
    ask = {"features": features, "years": [2020], "step": "year", "variables": ["nee"]}
    response = client.post("/v1/series", json=ask)
    assert response.status_code == 200, response.text
    told = response.json()["features"]
    assert len(told) == len(features)
    assert told[-1]["status"] == "OK"
    for one in told[:-1]:
        assert one["status"] != "FAILED" or one["problem"]["detail"].endswith("."), one


def test_limits_are_answered_before_work(home: Path) -> None:
    small = settings_of(home, limits=Limits(body_bytes=2000, vertices=10))
    with serving(small, toy_registry(home / "checkpoints")) as client:
        ring = [[-93.7 + i / 1000, 42.0 + (i % 2) / 1000] for i in range(40)]
        found = client.post("/v1/series", json={"geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}})
        assert found.status_code in (413, 422)
        assert "10" in found.json()["detail"]
        found = client.post("/v1/series", content=b" " * 3000, headers={"Content-Type": "application/json"})
        assert found.status_code == 413
