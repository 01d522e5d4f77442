"""A disk that is really full: a small file system in memory, filled to its last byte while a job runs."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from fieldflux.app.workspace import Workspace

from .serving import Json, settings_of, square, toy_home, toy_registry
from .test_jobs import all_results, body_of, ended, fields, send, until
from .test_jobs_kill import BATCH, free_port, server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux":
        pytest.skip("mounts a file system in memory, which is Linux's")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"may not mount a file system: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take all that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def test_nothing_is_lost_or_doubled_when_the_disk_is_full(small_disk: Path) -> None:
    home = toy_home(small_disk / "home", years=(2019, 2020), run_years=(2020,))
    cube = Workspace(settings_of(home), toy_registry(home / "checkpoints")).cube("toy")
    count = 10 * BATCH
    polygon = square(cube, 90, 110)
    early, late = ({"type": "Feature", "id": name, "properties": {}, "geometry": polygon} for name in ("early", "late"))
    with server(home, "", free_port()) as (client, _):
        assert client.post("/v1/fields", json=early).status_code == 201
        job = send(client, body_of(fields(cube, count), step="day"))["id"]
        until(lambda: state(client, job), lambda j: j["progress"]["batches_done"] >= 1)
        filler = fill(small_disk)
        refused = until(lambda: client.post("/v1/fields", json=late), lambda r: r.status_code != 201)
        assert refused.status_code == 507, refused.text
        assert refused.json()["type"] == "/problems/disk-full"
        assert client.get("/livez").status_code == 200
        # What needs no room is answered.
        series = client.post("/v1/series", json={"geometry": polygon, "years": [2020], "step": "year"})
        assert series.status_code == 200
        assert client.get("/v1/fields").json()["items"][0]["external_id"] == "early"
        time.sleep(3)  # longer than a lease
        told = state(client, job)
        assert told["state"] in ("paused", "running"), told
        assert told["progress"]["done"] < count
        filler.unlink()
        told = until(lambda: state(client, job), lambda j: j["state"] != "running")
        if told["state"] == "paused":
            assert "room" in told["message"]
            assert client.post(f"/v1/jobs/{job}/resume").status_code == 200
        done = ended(client, job)
        assert done["state"] == "done", done
        assert sum(done["counts"].values()) == count
        table = pq.read_table(io.BytesIO(client.get(f"/v1/jobs/{job}/results.parquet").content))
        assert table.num_rows == count * 366
        assert (table.column("feature").to_numpy().reshape(count, 366) == np.arange(count)[:, None]).all()
        assert [item["index"] for item in all_results(client, job)] == list(range(count))
        kept = {f["external_id"] for f in client.get("/v1/fields").json()["items"]}
        assert kept == {"early"}
        assert client.post("/v1/fields", json=late).status_code == 201


def state(client: httpx.Client, job: str) -> Json:
    found: Json = client.get(f"/v1/jobs/{job}").json()
    return found
