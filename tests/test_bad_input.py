"""What goes wrong outside: bad requests, damaged files, disks that cannot be written. Each is a precise problem."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import httpx
import numpy as np
import pytest
from fieldflux.app import problems
from fieldflux.app.problems import KINDS, problem_of, shorten_paths
from fieldflux.app.workspace import Workspace
from fieldflux.models.checkpoint import write_checkpoint
from fieldflux.tiles.cube import Cube

from .serving import Json, serving, settings_of, square, toy_home, toy_registry
from .toy_cube import WINDOW

FIELD = (100, 130)
TILE = "/v1/tiles/gpp/2020-07-15/11/497/760.png"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def cube(home: Path) -> Cube:
    return Workspace(settings_of(home)).cube()


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    small = {"vertices": 200, "area_km2": 2000, "days": 800, "body_bytes": 20_000, "values": 3000}
    with serving(settings_of(home, limits=small), toy_registry(home / "checkpoints")) as found:
        yield found


@pytest.fixture
def damaged(home: Path, tmp_path: Path) -> Path:
    """A copy of the work folder, to be damaged."""
    return Path(shutil.copytree(home, tmp_path / "home"))


def problem(reply: httpx.Response, slug: str) -> Json:
    """The problem of a reply, which has to be of that kind, and whole."""
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    found: Json = reply.json()
    assert found["type"] == f"/problems/{slug}", found
    assert found["status"] == reply.status_code == KINDS[slug].status
    assert found["title"] == KINDS[slug].title
    assert found["detail"].endswith((".", "…"))
    assert found["instance"] == reply.request.url.path
    assert "Traceback" not in reply.text
    assert reply.headers["X-Request-Id"]
    return found


def ask(client: httpx.Client, geometry: object, **more: object) -> httpx.Response:
    return client.post("/v1/series", json={"geometry": geometry, "years": [2020], **more})


def polygon(*ring: tuple[float, float]) -> Json:
    return {"type": "Polygon", "coordinates": [[list(p) for p in ring]]}


# Requests


def test_invalid_json(client: httpx.Client) -> None:
    reply = client.post("/v1/series", content='{"geometry": ', headers={"Content-Type": "application/json"})
    assert "character 13" in problem(reply, "invalid-json")["detail"]


def test_a_missing_or_unknown_member_is_named(client: httpx.Client, cube: Cube) -> None:
    missing = problem(client.post("/v1/series", json={"years": [2020]}), "invalid-request")
    assert missing["errors"][0]["place"] == "body"
    assert "give one of `geometry`, `features` and `fields`" in missing["detail"]
    unknown = problem(ask(client, square(cube, *FIELD), colour="red"), "invalid-request")
    assert unknown["errors"][0] == {"place": "colour", "message": "Extra inputs are not permitted", "given": "red"}
    step = problem(ask(client, square(cube, *FIELD), step="week"), "invalid-request")
    assert "'day', 'month', 'season', 'year' or 'period'" in step["detail"]
    assert "'week'" in step["detail"]


def test_a_self_crossing_polygon_is_shown_where(client: httpx.Client) -> None:
    bow = polygon((-93.0, 42.0), (-92.98, 42.02), (-92.98, 42.0), (-93.0, 42.02), (-93.0, 42.0))
    detail = problem(ask(client, bow), "invalid-geometry")["detail"]
    assert "crosses" in detail
    assert "-92.99" in detail
    assert "42.01" in detail


def test_swapped_longitude_and_latitude(client: httpx.Client, cube: Cube) -> None:
    where = square(cube, *FIELD)
    where["coordinates"] = [[p[::-1] for p in where["coordinates"][0]]]
    assert "[longitude, latitude]" in problem(ask(client, where), "swapped-coordinates")["detail"]


def test_another_reference_system(client: httpx.Client, cube: Cube) -> None:
    named = {**square(cube, *FIELD), "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::5070"}}}
    assert "EPSG::5070" in problem(ask(client, named), "wrong-crs")["detail"]
    metres = polygon((2e5, 2e6), (2.1e5, 2e6), (2.1e5, 2.1e6), (2e5, 2e6))
    problem(ask(client, metres), "wrong-crs")
    same = {**square(cube, *FIELD), "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}}
    assert ask(client, same).status_code == 200


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": [-93, 42]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[-93, 42], [-93, 42.1]]]},
        {"type": "Polygon", "coordinates": [[["a", "b"], [1, 2], [2, 3], [1, 2]]]},
        {"type": "Polygon", "coordinates": 3},
        {"type": "Polygon"},
        {"type": "Feature", "geometry": None},
        {"type": "FeatureCollection", "features": []},
        {},
        polygon((-93, 42), (-92.9, 42), (-92.8, 42), (-93, 42)),
    ],
)
def test_what_is_no_polygon(client: httpx.Client, geometry: Json) -> None:
    problem(ask(client, geometry), "invalid-geometry")


def test_a_polygon_elsewhere(client: httpx.Client) -> None:
    far = polygon((2.0, 48.0), (2.01, 48.0), (2.01, 48.01), (2.0, 48.0))
    problem(ask(client, far), "outside-cube")


def test_dates(client: httpx.Client, cube: Cube) -> None:
    where = square(cube, *FIELD)

    def dates(**given: object) -> str:
        reply = client.post("/v1/series", json={"geometry": where, **given})
        detail: str = problem(reply, "invalid-dates")["detail"]
        return detail

    assert "2018-05-01" in dates(first="2018-05-01", last="2019-05-01")
    assert "2019-01-01 to 2021-12-31" in dates(first="2019-05-01", last="2022-01-01")
    assert "before" in dates(first="2020-05-02", last="2020-05-01")
    assert "2030" in dates(years=[2030])
    assert "consecutive" in dates(years=[2019, 2021])
    assert "not both" in dates(years=[2019], first="2019-05-01")
    problem(client.post("/v1/series", json={"geometry": where, "first": "2020-02-30"}), "invalid-request")
    assert "2018" in problem(client.get(TILE.replace("2020-07-15", "2018")), "invalid-dates")["detail"]
    assert "yesterday" in problem(client.get(TILE.replace("2020-07-15", "yesterday")), "invalid-dates")["detail"]
    assert "2020" in problem(client.get(TILE.replace("gpp", "yield")), "invalid-dates")["detail"]


def test_unknown_names(client: httpx.Client, cube: Cube) -> None:
    where = square(cube, *FIELD)
    assert "'npp'" in problem(ask(client, where, variables=["npp"]), "unknown-variable")["detail"]
    assert "toy/1" in problem(ask(client, where, variables=["lai"]), "unknown-variable")["detail"]
    assert "'oracle'" in problem(ask(client, where, model="oracle"), "unknown-model")["detail"]
    assert "toy" in problem(ask(client, where, cube="mars"), "unknown-cube")["detail"]
    problem(client.get(TILE.replace("gpp", "npp")), "unknown-variable")
    problem(client.get(TILE, params={"model": "toy/9"}), "unknown-model")
    problem(client.get(TILE, params={"cube": "../../etc"}), "unknown-cube")
    problem(client.get(TILE, params={"style": "plaid"}), "unknown-style")
    problem(client.get(TILE, params={"range": "3,x"}), "unknown-style")
    problem(client.get("/v1/models/oracle/1"), "unknown-model")
    problem(client.get("/v1/cubes/toy/fields"), "not-found")


def test_limits_are_told_with_what_was_given(client: httpx.Client, cube: Cube) -> None:
    turn = np.linspace(0, 2 * np.pi, 301)
    circle = [[-92.9 + 0.01 * float(np.cos(t)), 42.0 + 0.01 * float(np.sin(t))] for t in turn]
    circle[-1] = circle[0]
    found = problem(ask(client, {"type": "Polygon", "coordinates": [circle]}), "over-limit")
    assert (found["limit"], found["given"], found["allowed"]) == ("vertices", 301, 200)
    wide = polygon((-94, 41), (-92, 41), (-92, 43), (-94, 43), (-94, 41))
    assert problem(ask(client, wide), "over-limit")["limit"] == "area_km2"
    where = square(cube, *FIELD)
    long = client.post("/v1/series", json={"geometry": where, "variables": ["gpp"]})
    assert problem(long, "over-limit")["given"] == 1096
    many = client.post("/v1/series", json={"geometry": where, "years": [2019, 2020], "variables": ["gpp"] * 8})
    assert problem(many, "over-limit")["limit"] == "values"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(client: httpx.Client, chunked: bool) -> None:
    body = json.dumps({"geometry": {"type": "Polygon", "coordinates": [[[0.0, 0.0]] * 5000]}}).encode()

    def parts() -> Iterator[bytes]:
        for k in range(0, len(body), 4096):
            yield body[k : k + 4096]

    headers = {"Content-Type": "application/json"}
    reply = client.post("/v1/series", content=parts() if chunked else body, headers=headers)
    assert problem(reply, "over-limit")["limit"] == "body_bytes"


def test_addresses_and_methods(client: httpx.Client) -> None:
    problem(client.get("/v1/nothing"), "not-found")
    reply = client.put("/v1/series")
    problem(reply, "method-not-allowed")
    assert {"GET", "POST"} <= set(reply.headers["Allow"].split(", "))
    problem(client.get("/v1/series"), "invalid-geometry")
    problem(client.delete("/v1/cubes"), "method-not-allowed")
    assert client.options("/v1/stores/toy~toy~1/zarr/zarr.json").headers["Allow"] == "GET, HEAD"
    problem(client.get(TILE.replace("/11/", "/eleven/")), "invalid-request")


def test_a_fault_nobody_foresaw_tells_an_id_and_nothing_else(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry = toy_registry(home / "checkpoints")
    with serving(settings_of(home), registry) as client:
        # A broken installation: the drawing of legends cannot be imported.
        before = sys.modules.pop("fieldflux.tiles.legend", None)
        sys.modules["fieldflux.tiles.legend"] = None  # type: ignore[assignment]
        try:
            reply = client.get("/v1/legend/nee.json", headers={"X-Request-Id": "abc"})
        finally:
            del sys.modules["fieldflux.tiles.legend"]
            if before is not None:
                sys.modules["fieldflux.tiles.legend"] = before
    found = problem(reply, "internal")
    assert found["request_id"] == "abc"
    assert "legend" not in found["detail"]
    assert any("abc" in record.message and record.exc_info for record in caplog.records)


# Files


def test_a_corrupt_checkpoint(damaged: Path, cube: Cube) -> None:
    weights = damaged / "checkpoints" / "toy" / "1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with serving(settings_of(damaged)) as client:
        found = problem_check(client, "model")
        assert "sha256" in found
        assert str(damaged) not in found
    card = damaged / "checkpoints" / "toy" / "1" / "card.json"
    card.write_text("{")
    with serving(settings_of(damaged)) as client:
        assert "card.json" in problem(ask(client, square(cube, *FIELD)), "bad-checkpoint")["detail"]
        problem(client.get(TILE), "bad-checkpoint")
        problem(client.get("/v1/models/toy/1"), "bad-checkpoint")
        assert client.get("/livez").status_code == 200


def problem_check(client: httpx.Client, what: str) -> str:
    """What /readyz says of a damaged part."""
    reply = client.get("/readyz")
    assert reply.status_code == 503
    failed = [check for check in reply.json()["checks"] if not check["ok"]]
    assert [check["what"] for check in failed] == [what]
    detail: str = failed[0]["detail"]
    return detail


def shards(home: Path, year: int) -> list[Path]:
    """Data files of a year of the store, the largest first."""
    found = [p for p in (home / "stores").rglob("c/*") if p.is_file()] + [
        p for p in (home / "stores").rglob("*") if p.is_file() and f"/{year}/" in str(p) and "/c/" in str(p)
    ]
    return sorted(set(found), key=lambda p: -p.stat().st_size)


def test_a_truncated_store(damaged: Path, cube: Cube) -> None:
    cut = [p for p in shards(damaged, 2020) if f"{os.sep}2020{os.sep}" in str(p)]
    assert cut
    for path in cut:
        os.truncate(path, path.stat().st_size // 2)
    with serving(settings_of(damaged), toy_registry(damaged / "checkpoints")) as client:
        detail = problem(ask(client, square(cube, *FIELD)), "bad-store")["detail"]
        assert "2020" in detail
        assert str(damaged) not in detail
        # Other years stay readable.
        other = client.post("/v1/series", json={"geometry": square(cube, *FIELD), "years": [2019]})
        assert other.status_code == 200


def test_a_store_without_its_manifest_or_with_half_of_it(damaged: Path, cube: Cube) -> None:
    manifest = next((damaged / "stores").rglob("manifest.json"))
    manifest.write_bytes(manifest.read_bytes()[:200])
    with serving(settings_of(damaged), toy_registry(damaged / "checkpoints")) as client:
        assert "manifest.json" in problem(ask(client, square(cube, *FIELD)), "bad-store")["detail"]
        problem(client.get(TILE), "bad-store")
        assert "manifest.json" in problem_check(client, "store")


def test_a_damaged_cube(damaged: Path, cube: Cube) -> None:
    shutil.rmtree(damaged / "cubes" / "toy.zarr" / "clay")
    with serving(settings_of(damaged), toy_registry(damaged / "checkpoints")) as client:
        assert "clay" in problem(ask(client, square(cube, *FIELD)), "bad-cube")["detail"]
        listed = client.get("/v1/cubes").json()
        assert listed["cubes"] == []
        assert "clay" in listed["damaged"][0]["detail"]


def test_a_cube_without_an_input_that_the_model_needs(home: Path, cube: Cube, tmp_path: Path) -> None:
    model = toy_registry(home / "checkpoints").card("toy")
    thirsty = model.model_copy(update={"needs_daily": (*model.needs_daily, "vpd")})
    write_checkpoint(tmp_path / "toy" / "1", thirsty, {"rate": np.ones(1, np.float32)})
    settings = settings_of(home, checkpoints=(tmp_path,))
    with serving(settings) as client:
        detail = problem(ask(client, square(cube, *FIELD)), "missing-inputs")["detail"]
        assert "vpd" in detail
        assert "the cube 'toy'" in detail
        problem(client.get(TILE), "missing-inputs")


# Disks


def wait_for_trouble(client: httpx.Client) -> str:
    """What the server says of its background work once it failed."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        failed: list[str] = client.get("/v1/status").json()["queue"]["failed"]
        if failed:
            return failed[-1]
        time.sleep(0.1)
    raise AssertionError("the server reports no trouble")


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """A file system of its own, where this machine lets us mount one."""
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False)


def fill_up(path: Path) -> None:
    """Write until there is no room left."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    assert shutil.disk_usage(path.parent).free < 4096


def test_a_full_disk(home: Path, cube: Cube, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "24m") as disk:
        for folder in ("cubes", "checkpoints"):
            shutil.copytree(home / folder, disk / folder)
        fill_up(disk / "ballast")
        with serving(settings_of(disk, limits={"live_cell_years": 100}), toy_registry(disk / "checkpoints")) as client:
            # A tile is drawn all the same; that nothing can be kept is told.
            assert client.get(TILE).status_code == 200
            assert "no room" in wait_for_trouble(client)
            # What needs no room is answered.
            assert ask(client, square(cube, *FIELD)).status_code == 200
            refused = problem(ask(client, square(cube, 80, 110, 16, 16)), "disk-full")
            assert "no room" in refused["detail"]
            # With room again, it goes on by itself.
            (disk / "ballast").unlink()
            assert problem(ask(client, square(cube, 80, 110, 16, 16)), "not-computed-yet")


def test_a_read_only_disk(home: Path, cube: Cube, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64m") as disk:
        for folder in ("cubes", "checkpoints"):
            shutil.copytree(home / folder, disk / folder)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with serving(settings_of(disk, limits={"live_cell_years": 100}), toy_registry(disk / "checkpoints")) as client:
            assert client.get(TILE).status_code == 200
            assert "cannot be written" in wait_for_trouble(client)
            assert ask(client, square(cube, *FIELD)).status_code == 200
            refused = problem(ask(client, square(cube, 80, 110, 16, 16)), "read-only")
            assert "cannot be written" in refused["detail"]


def test_a_whole_store_is_served_from_a_read_only_disk(home: Path, cube: Cube, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256m") as disk:
        shutil.copytree(home, disk, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with serving(settings_of(disk), toy_registry(disk / "checkpoints")) as client:
            assert client.get(TILE).status_code == 200
            assert ask(client, square(cube, *FIELD)).json()["origin"] == "store"
            assert client.get("/readyz").status_code == 200


# The table


def test_each_exception_of_the_table_exists_and_each_kind_is_whole() -> None:
    for name, slug in problems.EXCEPTIONS.items():
        module, _, cls = name.rpartition(".")
        found = getattr(import_module(module), cls)
        # The name is that of where it is defined, or the table would not find it.
        assert (found.__module__, found.__qualname__) == (module, cls)
        assert issubclass(found, ValueError)
        assert slug in KINDS
        made = problem_of(found("A sentence."))
        assert made is not None
        assert made.kind.slug == slug
    for kind in KINDS.values():
        assert 400 <= kind.status < 600
        assert kind.title
        assert kind.help.endswith(".")


def test_paths_are_cut_to_what_a_caller_needs() -> None:
    assert shorten_paths("No card at /srv/a/b/1/card.json: denied.") == "No card at …/1/card.json: denied."
    assert shorten_paths("GET /v1/cubes lists them.") == "GET /v1/cubes lists them."
    assert shorten_paths("gC m-2/d at 3/4") == "gC m-2/d at 3/4"


def test_the_window_of_the_toy_cube_is_that_of_these_tests() -> None:
    assert WINDOW.contains([FIELD[0]], [FIELD[1]]).all()


@pytest.mark.parametrize(
    ("path", "member"),
    [
        ("/v1/series", {"intervals": 0}),
        ("/v1/series", {"level": True}),
        ("/v1/series", {"level": "0.9"}),
        ("/v1/series", {"years": [True]}),
        ("/v1/series", {"first": 0}),
        ("/v1/series", {"first": "0"}),
        ("/v1/series", {"first": "2020-07-01T00:00:00"}),
        ("/v1/forecast", {"issue_day": 1593561600}),
        ("/v1/soil/scenario", {"residue_removed": False}),
        ("/v1/soil/scenario", {"cover_crop": 1}),
        ("/v1/statements", {"scenario": {"project": {"added_carbon": "3"}}}),
    ],
)
def test_values_are_not_taken_for_others(client: httpx.Client, cube: Cube, path: str, member: Json) -> None:
    """0 is no day of 1970 and no `false`, `true` no 1: nothing is read as what it is not."""
    found = problem(client.post(path, json={"geometry": square(cube, *FIELD), **member}), "invalid-request")
    assert found["errors"][0]["place"].split(".")[0] == next(iter(member))


def test_days_of_an_address_are_written_out(client: httpx.Client) -> None:
    for path in ("/v1/usage?last=0", "/v1/series?first=0", "/v1/series?last=1593561600"):
        assert "2021-04-01" in problem(client.get(path), "invalid-request")["detail"]


def test_no_polygon_at_all(client: httpx.Client) -> None:
    for none in ({"fields": []}, {"features": []}, {"features": {"type": "FeatureCollection", "features": []}}):
        for path in ("/v1/series", "/v1/series?f=csv", "/v1/series?f=netcdf"):
            assert (
                "at least one"
                in problem(client.post(path, json={**none, "years": [2020]}), "invalid-request")["detail"]
            )


@pytest.mark.parametrize("query", ["step=week", "parameter-name=" + ",".join(["gpp"] * 41)])
def test_what_edr_is_asked_wrongly(client: httpx.Client, cube: Cube, query: str) -> None:
    west, south, east, north = cube.bounds_lonlat()
    at = f"POINT({(west + east) / 2} {(south + north) / 2})"
    problem(client.get(f"/v1/edr/collections/toy~toy~1/position?{query}&coords={at}"), "invalid-request")


def cursor(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "given", [cursor("a", "b"), cursor(10**30, 0), cursor(-1, 0), cursor("\0"), cursor(1.5), cursor(True), "é", "AAAA"]
)
def test_cursors_that_this_server_did_not_give(client: httpx.Client, given: str) -> None:
    lists = ("/v1/fields", "/v1/jobs", "/v1/jobs/x/results", "/v1/jobs/x/failures", "/v1/keys", "/v1/statements")
    for path in lists:
        problem(client.get(path, params={"cursor": given}), "invalid-cursor")
