"""Jobs when processes are killed, on both databases: every feature once, nothing lost, nothing doubled."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from fieldflux.app.database import Database, database_url
from fieldflux.app.jobs import queue
from fieldflux.app.jobs.plan import Plan
from fieldflux.app.settings import Jobs
from fieldflux.app.workspace import Workspace
from fieldflux.tiles.cube import Cube
from sqlalchemy import text

from .postgres import away
from .serving import serving, settings_of, square, toy_home, toy_registry
from .test_jobs import all_results, body_of, ended, fields, send, until

BATCH = 10
RULES = Jobs(lease_seconds=60.0, attempts=3)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("killed"), years=(2019, 2020), run_years=(2020,))


@pytest.fixture(scope="module")
def cube(home: Path) -> Cube:
    return Workspace(settings_of(home), toy_registry(home / "checkpoints")).cube("toy")


@contextlib.contextmanager
def server(home: Path, url: str, port: int, workers: int = 1) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """`fieldflux serve` as a process of its own, with its worker processes."""
    env = {
        **os.environ,
        "FIELDFLUX_HOME": str(home),
        "FIELDFLUX_MODEL": "toy",
        "FIELDFLUX_DEMO": "0",
        "FIELDFLUX_DATABASE_URL": url,
        "FIELDFLUX_JOBS__WORKERS": str(workers),
        "FIELDFLUX_JOBS__BATCH": str(BATCH),
        "FIELDFLUX_JOBS__NICE": "0",
        "FIELDFLUX_JOBS__LEASE_SECONDS": "2",
    }
    command = [sys.executable, "-m", "fieldflux.app", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            end = time.monotonic() + 120
            while True:
                try:
                    client.get("/livez")
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    assert time.monotonic() < end
                    time.sleep(0.1)
            yield client, process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def workers_of(pid: int) -> list[int]:
    """Process ids of a server's workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"fieldflux.app.jobs.worker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds worker processes in /proc")
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_worker_and_server_are_killed_in_the_middle(
    request: pytest.FixtureRequest, home: Path, cube: Cube, kind: str
) -> None:
    url = request.getfixturevalue("postgres") if kind == "postgres" else ""
    port = free_port()
    count = 16 * BATCH

    def batches(client: httpx.Client, job: str, least: int) -> dict[str, Any]:
        return until(
            lambda: client.get(f"/v1/jobs/{job}").json(),
            lambda j: j["progress"]["batches_done"] >= least or j["state"] == "done",
        )

    with server(home, url, port) as (client, process):
        job = send(client, body_of(fields(cube, count), step="day"))["id"]
        assert batches(client, job, 1)["state"] == "running"
        (first,) = workers_of(process.pid)
        os.kill(first, signal.SIGKILL)
        told = batches(client, job, 4)
        assert told["state"] == "running"
        assert workers_of(process.pid) != [first]
        process.send_signal(signal.SIGKILL)
        process.wait()
    with server(home, url, port) as (client, _):
        done = ended(client, job)
        assert done["state"] == "done", done
        assert done["progress"]["done"] == count
        assert sum(done["counts"].values()) == count
        table = pq.read_table(io.BytesIO(client.get(f"/v1/jobs/{job}/results.parquet").content))
        assert table.num_rows == count * 366
        features = table.column("feature").to_numpy().reshape(count, 366)
        assert (features == np.arange(count)[:, None]).all()
        assert len(table.group_by(["feature", "time"]).aggregate([])) == count * 366
        assert [item["index"] for item in all_results(client, job)] == list(range(count))
        # What a worker left that was killed in its batch is gone.
        names = [path.name for path in (home / "jobs" / job).iterdir()]
        assert len([name for name in names if name.endswith(".json.gz")]) == count // BATCH


# The queue itself, in time that the test decides


def write(database: Database, parts: int, job: str = "job_1") -> None:
    plan = Plan("features", [(10, [{"index": i}]) for i in range(parts)], {})
    row = {
        "id": job, "tenant": "local", "kind": "series", "name": "", "state": "queued", "ask": {}, "removed": 0,
        "plan": {"unit": plan.unit, "cost": {}, "rejected": []}, "body_hash": "", "items": plan.items,
        "batches": parts, "created": "2020", "served": 0.0, "message": "",
    }  # fmt: skip
    with database.begin() as connection:
        queue.insert_job(connection, row, plan.parts)


def state_of(database: Database, job: str = "job_1") -> str:
    with database.read() as connection:
        return str(connection.scalar(text("SELECT state FROM jobs WHERE id = :id"), {"id": job}))


def claimed(database: Database, worker: str = "a") -> queue.Claim:
    held = queue.claim(database, worker, RULES)
    assert held is not None
    return held


def test_workers_at_once_do_each_batch_once(database: Database) -> None:
    write(database, 40)
    seen: list[int] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        while (held := queue.claim(database, name, RULES)) is not None:
            assert queue.finish(database, held, queue.Outcome(ok=held.items), 0.1, RULES)
            with lock:
                seen.append(held.number)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work("last")
    assert sorted(seen) == list(range(41))  # forty, and the join of all, once
    assert state_of(database) == "done"


def test_a_lease_that_ran_out_is_anothers(database: Database) -> None:
    write(database, 1)
    first = claimed(database)
    assert queue.claim(database, "b", RULES) is None
    with database.begin() as connection:
        connection.execute(text("UPDATE job_batches SET lease = lease - 100"))
    second = claimed(database, "b")
    assert (second.number, second.attempt) == (first.number, first.attempt + 1)
    assert not queue.renew(database, first, 0, RULES)
    assert queue.finish(database, second, queue.Outcome(ok=10), 0.1, RULES)
    # The first one comes late: it does not count again.
    assert not queue.finish(database, first, queue.Outcome(ok=10), 0.1, RULES)
    with database.read() as connection:
        assert connection.scalar(text("SELECT sum(ok) FROM job_batches")) == 10


def test_a_batch_that_kills_its_workers_fails_its_job(database: Database) -> None:
    write(database, 2)
    for _ in range(RULES.attempts):
        held = claimed(database)
        assert held.number == 0
        assert queue.release(database, "a") == 1
    assert queue.claim(database, "a", RULES) is None
    assert state_of(database) == "failed"
    assert queue.claim(database, "a", RULES) is None
    assert queue.resume(database, "job_1")
    assert claimed(database).attempt == 1


def test_what_is_given_back_is_no_try(database: Database) -> None:
    write(database, 1)
    for _ in range(2 * RULES.attempts):
        held = claimed(database)
        assert held.attempt == 1
        queue.give_back(database, held)
    claimed(database, "dead")
    assert queue.release(database, "dead", counted=False) == 1
    assert claimed(database).attempt == 1


def test_stopped_jobs_take_no_results(database: Database) -> None:
    write(database, 2)
    held = claimed(database)
    assert queue.stop(database, "job_1", "cancelled", "", RULES)
    assert not queue.renew(database, held, 1, RULES)
    assert not queue.finish(database, held, queue.Outcome(ok=10), 0.1, RULES)
    assert queue.claim(database, "b", RULES) is None
    assert not queue.resume(database, "job_1")


def test_jobs_take_turns(database: Database) -> None:
    write(database, 3, "job_1")
    write(database, 3, "job_2")
    order = [claimed(database).job for _ in range(4)]
    assert sorted(order[:2]) == ["job_1", "job_2"]
    assert sorted(order[2:]) == ["job_1", "job_2"]


def test_a_full_disk_pauses_the_job_until_it_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fieldflux.app.jobs.worker import Worker
    from fieldflux.tiles.files import StoreFull

    settings = settings_of(tmp_path, jobs=RULES)
    database = Database(database_url("", tmp_path))
    write(database, 1)
    worker = Worker(settings, database, "a", threading.Event())

    def full(*_: object) -> None:
        raise StoreFull(f"There is no room left for the results of a job in {tmp_path}.")

    with monkeypatch.context() as patched:
        patched.setattr("fieldflux.app.jobs.work.do", full)
        worker.do(claimed(database))
    assert state_of(database) == "paused"
    with database.read() as connection:
        said = connection.scalar(text("SELECT message FROM jobs"))
    assert "no room left" in said
    assert str(tmp_path.parent) not in said
    assert "/resume" in said
    assert queue.claim(database, "a", RULES) is None
    assert queue.resume(database, "job_1")
    assert claimed(database).attempt == 1
    database.close()


def test_a_database_that_is_away_is_waited_for(postgres: str, home: Path, cube: Cube) -> None:
    """Worker and server go on when it is back; what needs no database is answered meanwhile."""
    from fieldflux.app.jobs.worker import Worker

    settings = settings_of(home, database_url=postgres, jobs=Jobs(workers=0, attempts=3))
    database = Database(database_url(postgres, home))
    write(database, 1)
    held = claimed(database)
    worker = Worker(settings, database, "a", threading.Event())
    counted: list[bool] = []

    def hand_in() -> None:
        counted.append(worker._patiently(lambda: queue.finish(database, held, queue.Outcome(ok=10), 0.1, RULES)))

    waiting = threading.Thread(target=hand_in)
    series = {"geometry": square(cube, 90, 110), "years": [2020], "step": "year"}
    with serving(settings, toy_registry(home / "checkpoints")) as client:
        assert client.get("/v1/jobs/job_1").json()["state"] == "running"
        with away(postgres):
            waiting.start()
            for reply in (client.get("/v1/jobs/job_1"), client.get("/v1/fields")):
                assert reply.status_code == 503, reply.text
                assert reply.json()["type"] == "/problems/database-unavailable"
                assert "retry-after" in reply.headers
            ready = client.get("/readyz")
            assert ready.status_code == 503
            assert [c["ok"] for c in ready.json()["checks"] if c["what"] == "database"] == [False]
            assert client.get("/livez").status_code == 200
            assert client.post("/v1/series", json=series).status_code == 200
            assert waiting.is_alive()
        waiting.join(30)
        assert counted == [True]
        assert client.get("/v1/jobs/job_1").json()["progress"]["done"] == 10
        assert client.get("/readyz").status_code == 200
    late = replace(held, attempt=7)
    assert not queue.finish(database, late, queue.Outcome(ok=10), 0.1, RULES)
    database.close()
