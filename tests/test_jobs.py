"""Jobs over HTTP: results like those of POST /v1/series, cancelling, idempotency, expiry, exports, webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
import xarray as xr
from fieldflux.app.database import Database, database_url
from fieldflux.app.jobs import hook, pace
from fieldflux.app.jobs.worker import Worker
from fieldflux.app.problems import Refused
from fieldflux.app.settings import Jobs, Settings
from fieldflux.app.workspace import Workspace
from fieldflux.tiles.cube import Cube
from sqlalchemy import text

from .serving import serving, settings_of, square, toy_home, toy_registry

Json = dict[str, Any]
BOWTIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
ASKED: Json = {"years": [2020], "variables": ["nee"], "step": "month"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("jobs"), years=(2019, 2020))


@pytest.fixture(scope="module")
def cube(home: Path) -> Cube:
    return Workspace(settings_of(home), toy_registry(home / "checkpoints")).cube("toy")


@pytest.fixture(scope="module")
def settings(home: Path) -> Settings:
    return settings_of(home, jobs=Jobs(workers=1, batch=50, nice=0), webhook_hosts=("localhost+private", "example.org"))


@pytest.fixture(scope="module")
def client(home: Path, settings: Settings) -> Iterator[httpx.Client]:
    with serving(settings, toy_registry(home / "checkpoints")) as found:
        yield found


def fields(cube: Cube, count: int) -> list[Json]:
    """So many small fields, each another one, of one to three cells."""
    return [
        {
            "type": "Feature",
            "id": f"field-{i}",
            "properties": {},
            "geometry": square(cube, 84 + i % 36, 107 + i // 36, 1, 1 + i % 3),
        }
        for i in range(count)
    ]


def body_of(features: list[Json], **more: Any) -> Json:
    return {"kind": "series", "features": {"type": "FeatureCollection", "features": features}, **ASKED, **more}


def send(client: httpx.Client, body: Json, **headers: str) -> Json:
    reply = client.post("/v1/jobs", json=body, headers=headers)
    assert reply.status_code == 202, reply.text
    found: Json = reply.json()
    assert reply.headers["location"] == f"/v1/jobs/{found['id']}"
    return found


def until(look: Callable[[], Json], wanted: Callable[[Json], bool], seconds: float = 250.0) -> Json:
    end = time.monotonic() + seconds
    while True:
        found = look()
        if wanted(found):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.1)


def ended(client: httpx.Client, job: str) -> Json:
    return until(lambda: client.get(f"/v1/jobs/{job}").json(), lambda j: j["state"] not in ("queued", "running"))


def all_results(client: httpx.Client, job: str, limit: int = 300) -> list[Json]:
    items, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/v1/jobs/{job}/results", params={"limit": limit, "cursor": cursor}).json()
        items += page["items"]
        cursor = page["next"]
    return items


@pytest.fixture(scope="module")
def thousand(client: httpx.Client, cube: Cube) -> tuple[list[Json], Json, Json]:
    """A thousand fields, two of them not to be answered: what was sent, the dry run, and the job when it is done."""
    features = fields(cube, 1000)
    features[7] = {"type": "Feature", "id": "crossed", "properties": {}, "geometry": BOWTIE}
    features[8] = {"type": "Feature", "id": 8, "properties": {}, "geometry": None}
    body = body_of(features)
    client.post("/v1/jobs?dry_run=true", json=body_of(features[:20]))  # libraries and compiled code come once
    dry = client.post("/v1/jobs?dry_run=true", json=body)
    assert dry.status_code == 200
    job = send(client, body)
    assert job["state"] == "queued"
    return features, dry.json(), ended(client, job["id"])


def test_a_job_ends_with_every_feature_counted(thousand: tuple[list[Json], Json, Json]) -> None:
    _, dry, job = thousand
    assert job["state"] == "done", job
    assert job["progress"] | {"batches_running": 0} == {
        "unit": "features", "done": 1000, "total": 1000, "fraction": 1.0, "batches_done": 20, "batches": 20,
        "batches_running": 0,
    }  # fmt: skip
    assert sum(job["counts"].values()) == 1000
    assert job["counts"]["FAILED"] >= 2
    assert job["created"] <= job["started"] <= job["finished"] < job["expires"]
    assert [each["index"] for each in dry["rejected"]][:2] == [7, 8]
    assert dry["cost"]["cell_years_to_compute"] == 0
    assert dry["cost"]["values"] == 1000 * 12


def test_results_are_those_of_series(client: httpx.Client, thousand: tuple[list[Json], Json, Json]) -> None:
    features, _, job = thousand
    items = all_results(client, job["id"])
    assert [item["index"] for item in items] == list(range(1000))
    for begin in (0, 450):
        part = features[begin : begin + 60]
        collection = {"type": "FeatureCollection", "features": part}
        direct = client.post("/v1/series", json={"features": collection, **ASKED}).json()
        for there, here in zip(direct["features"], items[begin : begin + 60], strict=True):
            assert {**there, "index": 0, "problem": 0} == {**here, "index": 0, "problem": 0}
            assert there.get("problem", {}).get("detail") == here.get("problem", {}).get("detail")


def test_files_hold_every_feature_once(client: httpx.Client, thousand: tuple[list[Json], Json, Json]) -> None:
    _, _, job = thousand
    at = f"/v1/jobs/{job['id']}/results"
    reply = client.get(f"{at}.parquet")
    table = pq.read_table(io.BytesIO(reply.content))
    rows = table.to_pylist()
    assert list(dict.fromkeys(row["feature"] for row in rows)) == list(range(1000))
    assert len({(row["feature"], row["step"], row["time"]) for row in rows}) == len(rows)
    assert table.schema.field("nee").metadata[b"unit"] == b"gC m-2"
    assert "statement" in orjson.loads(table.schema.metadata[b"fieldflux"])
    items = {item["index"]: item for item in all_results(client, job["id"])}
    months = [row for row in rows if row["feature"] == 500 and row["step"] == "month"]
    assert [row["nee"] for row in months] == items[500]["values"]["nee"]
    assert rows[0]["area_ha"] == items[0]["area_ha"]
    failed = [row for row in rows if row["feature"] == 7]
    assert len(failed) == 1
    assert "crosses" in failed[0]["problem"]
    whole = client.get(f"{at}.json").json()
    assert [feature["index"] for feature in whole["features"]] == list(range(1000))
    assert whole["counts"] == job["counts"]
    lines = client.get(f"{at}.ndjson").text.splitlines()
    assert len(lines) == len(rows) + 1
    plain = [line for line in client.get(f"{at}.csv").text.splitlines() if not line.startswith("#")]
    assert len(plain) == len(rows) + 1
    assert plain[0].startswith("feature,id,external_id,feature_status,area_ha (ha)")
    refused = client.get(f"{at}.nc")
    assert refused.status_code == 406


def test_ranges_and_tags(client: httpx.Client, thousand: tuple[list[Json], Json, Json]) -> None:
    at = f"/v1/jobs/{thousand[2]['id']}/results.csv"
    whole = client.get(at)
    assert whole.headers["x-fieldflux-complete"] == "true"
    part = client.get(at, headers={"Range": "bytes=100-299", "If-Range": whole.headers["etag"]})
    assert part.status_code == 206
    assert part.content == whole.content[100:300]
    assert client.get(at, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    named = client.get(thousand[2]["links"]["files"]["results.parquet"])
    assert named.content == client.get(at.replace(".csv", ".parquet")).content


def test_failures_are_listed(client: httpx.Client, thousand: tuple[list[Json], Json, Json]) -> None:
    at = f"/v1/jobs/{thousand[2]['id']}/failures"
    first = client.get(at, params={"limit": 1}).json()
    assert first["items"][0]["id"] == "crossed"
    assert first["items"][0]["problem"]["code"] == "invalid-geometry"
    second = client.get(at, params={"limit": 1, "cursor": first["next"]}).json()
    assert second["items"][0]["id"] == 8


def test_the_dry_run_tells_the_cost(thousand: tuple[list[Json], Json, Json]) -> None:
    _, dry, job = thousand
    batches = job["cost"]["batches"]
    assert dry["cost"]["batches"] == batches
    ratio = dry["cost"]["work_seconds"] / job["work_seconds"]
    # Times of the wall, on a machine with other work.
    assert 1 / 8 < ratio < 8, (dry["cost"], job["work_seconds"])
    low, high = dry["cost"]["work_seconds_range"]
    assert low < dry["cost"]["work_seconds"] < high
    assert low / 3 < job["work_seconds"] < 3 * high
    assert dry["cost"]["seconds_range"][0] < dry["cost"]["seconds"] < dry["cost"]["seconds_range"][1]


def test_estimates_learn_from_batches(
    client: httpx.Client, cube: Cube, thousand: tuple[list[Json], Json, Json]
) -> None:
    """By model and step, of every batch that counted but its worker's first, apart from the one that joins them."""
    _, before, job = thousand
    again = client.post("/v1/jobs?dry_run=true", json=body_of(fields(cube, 1000))).json()["cost"]
    assert again["pace"]["name"] == "series toy/1 month"
    assert before["cost"]["pace"]["batches"] < again["pace"]["batches"] >= job["cost"]["batches"] - 1
    low, high = before["cost"]["work_seconds_range"]
    assert again["work_seconds_range"][1] / again["work_seconds_range"][0] < high / low
    other = client.post("/v1/jobs?dry_run=true", json=body_of(fields(cube, 100), step="day")).json()["cost"]
    assert other["pace"] == {
        "name": "series toy/1 day",
        "expected_seconds": other["pace"]["expected_seconds"],
        "factor": 2.0,
        "batches": 0,
    }


@pytest.mark.parametrize("slow", [0.5, 5.0])
def test_a_slow_machine_is_learned(tmp_path: Path, slow: float) -> None:
    database = Database(database_url("", tmp_path))
    first = pace.pace_of(database, "series toy/1 day")
    rng = np.random.default_rng(3)
    for expected in rng.uniform(0.5, 2.0, 40):
        pace.learn(database, "series toy/1 day", expected, expected * slow * float(np.exp(rng.normal(0, 0.2))))
    found = pace.pace_of(database, "series toy/1 day")
    assert found.factor == pytest.approx(slow, rel=0.15)
    low, high = found.ends()
    assert low < slow < high
    assert high / low < first.ends()[1] / first.ends()[0]
    assert found.batches == 40
    told = pace.times(database, "series toy/1 day", 100.0, 1000, "series", 2, 3.0)
    assert told["work_seconds"] == pytest.approx(100 * slow, rel=0.25)
    assert told["seconds"] < told["work_seconds"] / 2 + 10
    assert told["work_seconds_range"][0] < 100 * slow < told["work_seconds_range"][1]
    nothing = pace.times(database, "run toy/1 year", None, 10, "run", 1, 3.0)
    assert nothing["seconds"] is None is nothing["seconds_range"]
    for wrong in ((0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)):
        pace.learn(database, "series toy/1 day", *wrong)
    assert pace.pace_of(database, "series toy/1 day") == found
    database.close()


def test_the_same_key_gives_the_same_job(client: httpx.Client, cube: Cube) -> None:
    body = body_of(fields(cube, 3), step="year")
    first = send(client, body, **{"Idempotency-Key": "once"})
    again = client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "once"})
    assert again.status_code == 200
    assert again.json()["id"] == first["id"]
    other = client.post("/v1/jobs", json=body_of(fields(cube, 4)), headers={"Idempotency-Key": "once"})
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/idempotency-mismatch"
    assert other.json()["job"] == first["id"]
    ended(client, first["id"])


def test_many_at_once_with_one_key_make_one_job(client: httpx.Client, cube: Cube) -> None:
    body = body_of(fields(cube, 2), step="year")
    found: list[str] = []

    def post() -> None:
        found.append(client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "race"}).json()["id"])

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    ended(client, found[0])


def test_cancelled_in_the_middle(client: httpx.Client, cube: Cube, home: Path) -> None:
    job = send(client, body_of(fields(cube, 400), step="day"))["id"]
    until(lambda: client.get(f"/v1/jobs/{job}").json(), lambda j: j["progress"]["batches_done"] >= 2)
    partial = client.get(f"/v1/jobs/{job}/results.parquet")
    assert partial.headers["x-fieldflux-complete"] == "false"
    cancelled = client.post(f"/v1/jobs/{job}/cancel").json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["expires"] is not None
    done = cancelled["progress"]["done"]
    assert 100 <= done < 400
    time.sleep(1.0)
    assert client.get(f"/v1/jobs/{job}").json()["progress"]["done"] == done
    assert [item["index"] for item in all_results(client, job, 1000)] == list(range(done))
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 200
    refused = client.post(f"/v1/jobs/{job}/resume")
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/job-state"
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert not (home / "jobs" / job).exists()


def test_registered_fields_and_a_file_of_fields(client: httpx.Client, cube: Cube) -> None:
    features = fields(cube, 5)
    for i, feature in enumerate(features):
        feature["properties"] = {"crop": "corn" if i % 2 else "soybean"}
    assert client.post("/v1/fields", json={"type": "FeatureCollection", "features": features}).status_code == 201
    by_query = send(client, {"kind": "series", "query": {"properties": {"crop": "corn"}}, **ASKED, "format": "netcdf"})
    asked = json.dumps({"kind": "series", **ASKED, "format": "csv"})
    content = json.dumps({"type": "FeatureCollection", "features": features})
    by_file = client.post("/v1/jobs", params={"ask": asked}, content=content)
    assert by_file.status_code == 202, by_file.text
    done = ended(client, by_query["id"])
    assert done["counts"] == {"OK": 2, "PARTIAL": 0, "FAILED": 0}, done
    items = all_results(client, done["id"])
    assert [item["external_id"] for item in items] == ["field-1", "field-3"]
    netcdf = client.get(f"/v1/jobs/{done['id']}/results.nc")
    with xr.open_dataset(io.BytesIO(netcdf.content), engine="h5netcdf") as data:
        assert data.sizes["station"] == 2
        assert data["nee"].values[1].tolist() == items[1]["values"]["nee"]
        assert str(data["time"].values[0])[:10] == "2020-01-01"
    assert ended(client, by_file.json()["id"])["progress"]["done"] == 5


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({"kind": "series", "years": [2020]}, "invalid-request"),
        ({"kind": "series", "features": [], "years": [2020]}, "invalid-request"),
        ({"kind": "dance"}, "invalid-request"),
        ({"kind": "run", "years": [1999]}, "invalid-dates"),
        ({"kind": "run", "bbox": [0, 0, 1, 1]}, "outside-cube"),
        ({"kind": "run", "blocks": ["nowhere"]}, "invalid-request"),
        ({"kind": "export", "variable": "snow"}, "unknown-variable"),
        ({"kind": "export", "variable": "yield", "step": "day"}, "invalid-request"),
        ({"kind": "series", "query": {}, "webhook": {"url": "http://127.0.0.1:1/"}}, "webhook-refused"),
        ({"kind": "series", "query": {}, "webhook": {"url": "http://example.org/"}}, "webhook-refused"),
    ],
)
def test_refused(client: httpx.Client, body: Json, slug: str) -> None:
    reply = client.post("/v1/jobs?dry_run=true", json=body)
    assert reply.json()["type"] == f"/problems/{slug}", reply.text
    assert 400 <= reply.status_code < 500


def test_unknown_jobs(client: httpx.Client) -> None:
    for path in ("", "/results", "/failures", "/deliveries", "/results.csv", "/results/x"):
        assert client.get(f"/v1/jobs/job_0{path}").json()["type"] == "/problems/unknown-job"


def test_jobs_are_listed(client: httpx.Client, thousand: tuple[list[Json], Json, Json]) -> None:
    first = client.get("/v1/jobs", params={"limit": 1, "kind": "series"}).json()
    second = client.get("/v1/jobs", params={"limit": 1000, "cursor": first["next"]}).json()
    ids = [job["id"] for job in first["items"] + second["items"]]
    assert ids == sorted(ids, reverse=True)
    assert thousand[2]["id"] in ids


def test_exports(client: httpx.Client, cube: Cube) -> None:
    import rasterio

    lon, lat = cube.grid.to_lonlat(*cube.grid.centres([90, 98], [112, 120]))
    box = [float(min(lon)), float(min(lat)), float(max(lon)), float(max(lat))]
    asked = {"kind": "export", "variable": "nee", "years": [2019, 2020], "step": "month", "bbox": box}
    jobs = {f: send(client, {**asked, "format": f})["id"] for f in ("geotiff", "netcdf", "zarr")}
    done = {f: ended(client, job) for f, job in jobs.items()}
    for job in done.values():
        assert job["state"] == "done", job
        assert job["counts"] == {"OK": 24, "PARTIAL": 0, "FAILED": 0}
    links = {f: job["links"]["files"] for f, job in done.items()}
    assert sorted(links["geotiff"]) == ["nee-2019-01_2019-12.tif", "nee-2020-01_2020-12.tif"]
    july = client.get(links["geotiff"]["nee-2020-01_2020-12.tif"]).content
    with rasterio.MemoryFile(july) as memory, memory.open() as file:
        band, unit, label = file.read(7), file.units[6], file.descriptions[6]
        x, y = file.xy(4, 3)
        at = tuple(float(v[0]) for v in cube.grid.to_lonlat([x], [y]))
        assert file.tags()["sign"] == "to the atmosphere is positive"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (unit, label) == ("gC m-2", "2020-07")
    row, col = (int(v) for v in cube.grid.cell_at(x, y))
    shape = square(cube, row, col)
    direct = client.post("/v1/series", json={"geometry": shape, "years": [2020], "variables": ["nee"], "step": "month"})
    assert direct.json()["values"]["nee"][6] == pytest.approx(band[4, 3], abs=0.05), at
    with xr.open_dataset(io.BytesIO(client.get(links["netcdf"]["nee.nc"]).content), engine="h5netcdf") as data:
        assert data.sizes["time"] == 24
        assert data["nee"].values[18][4, 3] == band[4, 3]
        assert str(data["time"].values[18])[:10] == "2020-07-01"
    with zipfile.ZipFile(io.BytesIO(client.get(links["zarr"]["nee.zarr.zip"]).content)) as archive:
        assert "zarr.json" in archive.namelist()


def test_a_run_fills_the_store(tmp_path: Path) -> None:
    toy_home(tmp_path, years=(2019, 2020), run_years=(2019,))
    rules = settings_of(tmp_path, jobs=Jobs(workers=0))
    registry = toy_registry(tmp_path / "checkpoints")
    database = Database(database_url("", tmp_path))
    # A model that is code of the tests is known to this process only: the worker is one of its threads.
    worker = Worker(rules, database, "here", threading.Event(), registry)
    shape = square(worker.workspace.cube("toy"), 90, 110, 2, 2)
    (west, south), _, (east, north), *_ = shape["coordinates"][0]
    body = {"kind": "run", "years": [2019, 2020], "bbox": [west, south, east, north]}
    asked = {"geometry": shape, "years": [2020], "variables": ["nee"], "step": "month"}
    with serving(rules, registry) as client:
        on_the_spot = client.post("/v1/series", json=asked).json()
        dry = client.post("/v1/jobs?dry_run=true", json=body).json()["cost"]
        assert dry["cell_years_to_compute"] == dry["cell_years_there"] > 0
        assert dry["bytes"] > 0
        job = send(client, body)["id"]
        worker.work(idle_seconds=0.2)
        done = client.get(f"/v1/jobs/{job}").json()
        assert done["state"] == "done", done
        assert done["progress"]["unit"] == "cell-years"
        assert done["progress"]["done"] == sum(done["counts"].values()) == 2 * dry["cell_years_to_compute"]
        assert done["counts"]["FAILED"] == 0
        after = client.post("/v1/jobs?dry_run=true", json=body).json()["cost"]
        assert after["cell_years_to_compute"] == 0
        found = client.post("/v1/series", json=asked).json()
    store = worker.workspace.store(worker.workspace.place())
    assert store is not None
    assert sum(store.complete(block, 2020) for block in store.blocks) == dry["batches"] > 0
    assert (on_the_spot["origin"], found["origin"]) == ("computed", "store")
    assert found["values"]["nee"] == pytest.approx(on_the_spot["values"]["nee"], abs=0.05)
    database.close()


def test_results_expire(home: Path, client: httpx.Client, cube: Cube, settings: Settings) -> None:
    from fieldflux.app.jobs.tidy import tidy

    job = send(client, body_of(fields(cube, 2), step="year"))["id"]
    ended(client, job)
    assert (home / "jobs" / job).is_dir()
    unfinished = home / "jobs" / ".unfinished" / "of-a-killed-worker"
    unfinished.write_bytes(b"x")
    os.utime(unfinished, (0, 0))
    database = Database(database_url("", home))
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT00:00:00.000Z")
    with database.begin() as connection:
        connection.execute(text("UPDATE jobs SET expires = :day WHERE id = :id"), {"day": yesterday, "id": job})
    tidy(settings, database)  # the server does the same every minute, and may have been first
    database.close()
    assert not unfinished.exists()
    assert not (home / "jobs" / job).exists()
    told = client.get(f"/v1/jobs/{job}").json()
    assert told["results_removed"]
    gone = client.get(f"/v1/jobs/{job}/results")
    assert gone.status_code == 410
    assert gone.json()["type"] == "/problems/results-removed"


def test_webhook(client: httpx.Client, cube: Cube) -> None:
    heard: list[tuple[dict[str, str], bytes]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            heard.append(({k.lower(): v for k, v in self.headers.items()}, content))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("localhost", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://localhost:{server.server_address[1]}/told?by=fieldflux"
        job = send(client, body_of(fields(cube, 2), webhook={"url": url, "events": ["job.started", "job.done"]}))
        secret = job["webhook"]["secret"]
        assert secret.startswith("whsec_")
        at = f"/v1/jobs/{job['id']}"
        until(
            lambda: client.get(f"{at}/deliveries").json(),
            lambda d: [each["state"] for each in d["items"]] == ["delivered"] * 2,
        )
        assert "secret" not in client.get(at).json()["webhook"]
    finally:
        server.shutdown()
    assert [json.loads(content)["type"] for _, content in heard] == ["job.started", "job.done"]
    for headers, content in heard:
        assert json.loads(content)["data"]["id"] == job["id"]
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert abs(time.time() - int(headers["webhook-timestamp"])) < 300


def test_a_webhook_never_reaches_private_addresses() -> None:
    for host in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "100.64.0.1", "localhost"):
        with pytest.raises(Refused, match="not public"):
            hook.address_of(host, 443, ("*",))
    # A name that turned private since it was allowed: looked at once more when it is called.
    due = hook.Delivery("msg_1", "job_1", "https://localhost:9/", hook.new_secret(), "{}", 0)
    assert hook.send(due, ("localhost",)) == (None, "'localhost' has an address that is not public.")
    assert hook.address_of("127.0.0.1", 80, ("127.0.0.1+private",)) == "127.0.0.1"
    with pytest.raises(Refused, match="off on this server"):
        hook.check_url("https://example.org/", ())
    with pytest.raises(Refused, match="hosts by name"):
        hook.check_url("https://example.org.evil.net/", (".example.org", "example.org"))
    hook.check_url("https://a.example.org/x", (".example.org",))
    # The example of the Standard Webhooks specification.
    assert hook.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}'
    ) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="  # fmt: skip
