"""The API keeps to its own description: no server error, no answer that is not documented, whatever is sent.

Schemathesis makes requests from /openapi.json: examples, random values, and wrong ones. CI takes a few of each with a
fixed seed; FIELDFLUX_CONTRACT_EXAMPLES=200 takes more, with another seed by FIELDFLUX_CONTRACT_SEED.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
import schemathesis
from fieldflux.app.database import Database, database_url
from fieldflux.app.jobs.worker import Worker
from fieldflux.app.openapi.describe import ANSWERS, EITHER
from fieldflux.app.openapi.shapes import SHAPES
from fieldflux.app.settings import Jobs
from fieldflux.tiles.cube import Cube
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .serving import Json, serving, settings_of, square, toy_registry
from .toy_world import cube, home

__all__ = ["cube", "home"]

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
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home, jobs=Jobs(workers=0, open_jobs=5)), toy_registry(home / "checkpoints")) as found:
        yield found


@pytest.fixture(scope="module")
def held(client: httpx.Client, home: Path, cube: Cube) -> Json:
    """What this server holds: path parameters, by the beginning of the path, so that requests reach it."""
    field = square(cube, 95, 120, 2, 2)
    feature = {"type": "Feature", "id": "f", "properties": {"crop": "corn"}, "geometry": field}
    taken = client.post("/v1/fields", json=feature).json()["features"][0]["id"]
    asked = {"kind": "series", "features": [feature], "years": [2020], "step": "year", "variables": ["nee"]}
    job = client.post("/v1/jobs", json=asked).json()["id"]
    rules = settings_of(home, jobs=Jobs(workers=0))
    database = Database(database_url("", home))
    Worker(rules, database, "contract", threading.Event(), toy_registry(home / "checkpoints")).work(idle_seconds=0.2)
    database.close()
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "done"
    statement = client.post("/v1/statements", json={"geometry": field, "years": [2019, 2020]}).json()["id"]
    key = client.post("/v1/keys", json={"name": "contract"}).json()["id"]
    place = {"collection": "toy~toy~1", "location": taken, "store": "toy~toy~1", "path": "zarr.json"}
    drawn = {"when": "2020-07-15", "other": "2020-06-15", "z": 9, "x": 75, "y": "178", "snapshot": "latest"}
    return {
        "/v1/": {"cube": "toy", "field": taken, "job": job, "statement": statement, "key": key, **place, **drawn},
        "/v1/tiles": {"name": "gpp"},
        "/v1/styles": {"name": "gpp"},
        "/v1/legend": {"name": "gpp"},
        "/v1/snapshots": {"name": "gpp"},
        "/v1/models": {"name": "toy", "version": "1"},
        "/v1/ogc": {"collection": "toy~toy~1~gpp"},
        "/v1/wmts": {"layer": "toy~toy~1~gpp", "style": "default", "time": "2020-07-15"},
        "geometry": field,
    }


def made_to_fit(case: Any, held: Json) -> None:
    """Let a request that keeps to the description be about what there is."""
    for begin, known in held.items():
        if begin != "geometry" and case.operation.path.startswith(begin):
            here = {name: value for name, value in known.items() if name in (case.path_parameters or {})}
            case.path_parameters = {**(case.path_parameters or {}), **here}
    case.query = {name: v for name, v in (case.query or {}).items() if name not in ("cube", "model", "cursor")}
    if isinstance(case.body, dict):
        fitting = {**case.body, **{name: "" for name in ("cube", "model") if name in case.body}}
        case.body = fitting | ({"geometry": held["geometry"]} if case.body.get("geometry") else {})


def wrongs_of(operation: Any, mode: Any, base: str, held: Json) -> tuple[int, dict[str, str]]:
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
        # What is deleted is another one, so that the others are still there.
        if mode == schemathesis.GenerationMode.POSITIVE and case.method != "DELETE":
            made_to_fit(case, held)
        response = case.call(base_url=base, timeout=60)
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


def test_every_operation_keeps_to_its_description(client: httpx.Client, held: Json) -> None:
    schema = schemathesis.openapi.from_url(str(client.base_url.join("/openapi.json")))
    base = str(client.base_url).rstrip("/")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 60
    wrong: dict[str, str] = {}
    sent = 0
    for operation in operations:
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            count, found = wrongs_of(operation, mode, base, held)
            sent += count
            wrong |= found
    assert client.get("/livez").status_code == 200
    assert not wrong, "\n".join(f"{key}\n    {said}" for key, said in sorted(wrong.items()))
    assert sent > 2 * len(operations)


def test_everything_is_described(client: httpx.Client) -> None:
    """Operations, parameters with the range of numbers, bodies and answers: none without words, none by default."""
    document = client.get("/openapi.json").json()
    lacking = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method} {path}"
            lacking += [f"{name}: {what}" for what in ("summary", "description", "tags") if not operation.get(what)]
            for parameter in operation.get("parameters", []):
                schemas = [parameter["schema"], *parameter["schema"].get("anyOf", [])]
                numbers = [schema for schema in schemas if schema.get("type") in ("integer", "number")]
                ends = {"minimum", "maximum", "exclusiveMinimum", "enum"}
                if not parameter.get("description") or not all(ends & set(schema) for schema in numbers):
                    lacking.append(f"{name}: {parameter['name']}")
            said = {code: response.get("description", "") for code, response in operation["responses"].items()}
            lacking += [f"{name}: {code}" for code, words in said.items() if words in ("", "Successful Response")]
            if "default" not in said:
                lacking.append(f"{name}: problems")
    assert not lacking, lacking


def test_every_json_answer_has_a_shape(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    without = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for code, response in operation["responses"].items():
                content = response.get("content", {}) if code.startswith("2") and code != "206" else {}
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
    for shape in SHAPES.values():
        jsonschema.Draft202012Validator.check_schema(shape)
        assert shape["description"]


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
