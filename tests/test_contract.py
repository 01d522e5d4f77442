"""The API keeps to its own description: no server error, no answer that is not documented, whatever is sent.

Schemathesis makes requests from /openapi.json: examples, random values, and wrong ones. CI takes a few of each with a
fixed seed; FIELDFLUX_CONTRACT_EXAMPLES=200 takes more, with another seed by FIELDFLUX_CONTRACT_SEED.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
import schemathesis
from fieldflux.app.openapi.describe import ANSWERS, EITHER
from fieldflux.app.openapi.shapes import SHAPES
from fieldflux.app.settings import Jobs, Limits
from fieldflux.tiles.cube import Cube, open_cube
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .serving import Json, serving, settings_of, square, toy_home, toy_registry

EXAMPLES = int(os.environ.get("FIELDFLUX_CONTRACT_EXAMPLES", "2"))
SEED = int(os.environ.get("FIELDFLUX_CONTRACT_SEED", "1"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MEANT = {501, 503, 507}
"""Server errors that are meant, documented, and say what to do: not computed yet, no database, a full disk."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"), years=(2019, 2020))


@pytest.fixture(scope="module")
def cube(home: Path) -> Cube:
    return open_cube(home / "cubes" / "toy.zarr")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home, jobs=Jobs(workers=0, open_jobs=5)), toy_registry(home / "checkpoints")) as found:
        yield found


def wrongs_of(operation: Any, mode: Any, base: str) -> tuple[int, dict[str, str]]:
    """How many requests were sent, and what was wrong with the answers: kind of fault -> the first one."""
    documented = {str(code) for code in operation.definition.raw.get("responses", {})}
    wrong: dict[str, str] = {}
    sent = 0

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        nonlocal sent
        sent += 1
        response = case.call(base_url=base)
        if response.status_code in MEANT and str(response.status_code) in documented:
            return
        # Schemathesis holds every answer against the schema of the first media type that is documented.
        content = operation.definition.raw.get("responses", {}).get(str(response.status_code), {}).get("content", {})
        first = next(iter(content), "")
        of_first = response.headers.get("content-type", [""])[0].split(";")[0] == first
        checks = CHECKS if of_first or response.status_code >= 300 else CHECKS[:-1]
        try:
            case.validate_response(response, checks=checks)
        except FailureGroup as group:
            told = (
                f"{case.method} {case.formatted_path} {case.query} {str(case.body)[:200]} -> {response.content[:300]!r}"
            )
            for each in group.exceptions:
                key = f"{operation.label}: {type(each).__name__} {response.status_code}"
                wrong.setdefault(key, f"{str(each)[:300]} | {told}")

    try:
        send()
    except (Unsatisfiable, schemathesis.errors.InvalidSchema) as error:
        # An operation without parameters has no wrong requests.
        if mode == schemathesis.GenerationMode.POSITIVE:
            wrong[f"{operation.label}: {type(error).__name__}"] = str(error)[:300]
    return sent, wrong


def test_every_operation_keeps_to_its_description(client: httpx.Client) -> None:
    schema = schemathesis.openapi.from_url(str(client.base_url.join("/openapi.json")))
    base = str(client.base_url).rstrip("/")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 60
    wrong: dict[str, str] = {}
    sent = 0
    for operation in operations:
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            count, found = wrongs_of(operation, mode, base)
            sent += count
            wrong |= found
    assert client.get("/livez").status_code == 200
    assert not wrong, "\n".join(f"{key}\n    {said}" for key, said in sorted(wrong.items()))
    assert sent > 2 * len(operations)


def test_every_json_answer_has_a_shape(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    without = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for code, response in operation["responses"].items():
                content = response.get("content", {}) if code.startswith("2") else {}
                without += [
                    f"{method} {path} {kind}"
                    for kind, of in content.items()
                    if kind.endswith("json") and kind != "application/x-ndjson" and not of.get("schema")
                ]
    # The files of a store are what Zarr says they are.
    assert without == ["get /v1/stores/{store}/zarr/{path} application/json"]
    named = set(document["components"]["schemas"])
    for name in {*ANSWERS.values(), *(shape for shapes in EITHER.values() for shape in shapes)}:
        assert name in named
    listed = {f"{method} {path}" for path, operations in document["paths"].items() for method in operations}
    assert {*ANSWERS, *EITHER} <= listed
    for name, shape in SHAPES.items():
        jsonschema.Draft202012Validator.check_schema(shape)
        assert shape.get("description") or name == "Limits"


def nested(depth: int, opened: str = "[", closed: str = "]") -> bytes:
    return (opened * depth + closed * depth).encode()


def polygon(*rings: Any, **more: Any) -> bytes:
    return json.dumps({"geometry": {"type": "Polygon", "coordinates": rings}, **more}).encode()


def box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


ANGLES = [i / 10_000 * math.tau for i in range(10_000)]
CIRCLE = [[round(-93.7 + 0.02 * math.cos(a), 7), round(42 + 0.02 * math.sin(a), 7)] for a in ANGLES]
ODD: dict[str, bytes] = {
    "deep arrays": b'{"geometry": {"type": "Polygon", "coordinates": ' + nested(20_000) + b"}}",
    "deep objects": b'{"geometry": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}",
    "deep collections": b'{"geometry": ' + b'{"type":"GeometryCollection","geometries":[' * 3000 + b"]}" * 3000 + b"}",
    "10 000 vertices": polygon([*CIRCLE, CIRCLE[0]], step="year"),
    "10 000 vertices on one point": polygon([[-93.7, 42.0]] * 10_000),
    "antimeridian": polygon(box(179, 50, -179, 51)),
    "over the antimeridian": polygon(box(179, 50, 181, 51)),
    "a pole": polygon(box(-180, 89, 180, 90)),
    "the whole world": polygon(box(-180, -90, 180, 90)),
    "NaN": polygon(box(math.nan, 42, -93, 43)),
    "infinity": b'{"geometry": {"type": "Polygon", "coordinates": [[[1e999,42],[-93,42],[-93,43],[1e999,42]]]}}',
    "huge numbers": b'{"geometry": {"type": "Polygon", "coordinates": [[['
    + b"9" * 4000
    + b',42],[-93,42],[-93,43],[0,0]]]}, "level": 0.9}',
    "huge years": b'{"geometry": {"type": "Polygon", "coordinates": []}, "years": [' + b"9" * 5000 + b"]}",
    "big years": b'{"geometry": {"type": "Polygon", "coordinates": []}, "years": [9223372036854775808, 0, -1]}',
    "no rings": polygon(),
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
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"].startswith("application/problem+json"), response.text
        problem = response.json()
        assert problem["detail"].strip()[-1] in ".!?`", problem
        assert len(problem["detail"]) < 2000
    else:
        assert response.json()
    assert client.get("/livez").status_code == 200


def test_letters_of_any_script_in_a_tiles_address(client: httpx.Client) -> None:
    """`latest` is sent on with what was asked, which the target then refuses."""
    for when in ("2020-07-01", "ó\U000345e9\x0b", "a b", "50%"):
        asked = f"/v1/snapshots/latest/tiles/gpp/{quote(when, safe='')}/9/120/190.png"
        found = client.get(asked, params={"minus": "ö\U000745e9"})
        assert found.status_code == 307, found.text
        assert quote(when, safe="") in found.headers["location"]
        assert client.get(found.headers["location"]).status_code in (400, 404, 422)


def test_a_collection_without_any_series_keeps_to_the_description(client: httpx.Client) -> None:
    found = client.post("/v1/series", json={"fields": ["é\x06", "fld_none"]})
    document = client.get("/openapi.json").json()
    shape = document["paths"]["/v1/series"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(found.json(), {**shape, "components": document["components"]})
    assert found.json()["counts"] == {"OK": 0, "PARTIAL": 0, "FAILED": 2}


NUMBER = st.one_of(
    st.floats(-200, 200), st.sampled_from([-180.0, 180.0, 90.0, -90.0, 0.0, 1e-300, -93.7, 42.0, 1e308, -0.0])
)
POSITION = st.lists(NUMBER, min_size=0, max_size=4)
COORDINATES = st.recursive(POSITION, lambda inner: st.lists(inner, max_size=6), max_leaves=25)
GEOMETRY = st.fixed_dictionaries(
    {"type": st.sampled_from(["Polygon", "MultiPolygon", "Point", "polygon", ""]), "coordinates": COORDINATES}
)


@seed(SEED)
@settings(max_examples=20 * EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
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
