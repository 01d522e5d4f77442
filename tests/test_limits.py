"""Rates, quotas and usage; lengths of addresses and header fields; what may be believed of proxies."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import uvicorn
from fieldflux.app.accounts.limits import Allowances
from fieldflux.app.accounts.meter import Meter
from fieldflux.app.accounts.used import used
from fieldflux.app.database import Database, database_url
from fieldflux.app.observe.request import Finished
from fieldflux.app.server import create_app
from fieldflux.app.settings import Jobs, Rates
from fieldflux.app.wire import limited_http
from hypothesis import given
from hypothesis import strategies as st

from .serving import serving, settings_of, toy_home, toy_registry

DAY = 86_400


@dataclass
class Clock:
    """A clock that is turned by hand; it begins at noon."""

    now: float = 1000.5 * DAY

    def __call__(self) -> float:
        return self.now


def allowances(clock: Clock, **rates: float) -> Allowances:
    return Allowances(Rates(**rates), clock, clock)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 40)), max_size=60))
def test_over_any_time_no_more_is_let_through_than_was_saved_up_and_came_back(steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    found = allowances(clock, per_second=3, burst=20, daily=1e9)
    began, granted, largest = clock.now, 0.0, 0.0
    for pause, cost in steps:
        clock.now += pause
        verdict = found.take("key_a", cost)
        if verdict.refused:
            assert verdict.refused == ("burst",)
            # To come back when it was said is enough.
            clock.now += verdict.wait
            assert not found.take("key_a", cost).refused
        granted, largest = granted + cost, max(largest, cost)
        assert granted <= 20 + 3 * (clock.now - began) + max(0.0, largest - 20) + 1e-6


def test_the_day_begins_anew_at_midnight() -> None:
    clock = Clock()
    found = allowances(clock, per_second=100, burst=100, daily=100)
    assert not found.take("key_a", 80).refused
    refused = found.take("key_a", 30)
    assert refused.refused == ("day",)
    assert refused.wait == DAY // 2
    assert not found.take("key_b", 30).refused
    assert found.left("key_a").endswith(f'"day";r=20;t={DAY // 2}')
    clock.now += refused.wait
    assert not found.take("key_a", 30).refused


def finished(key: str, cost: float = 1.0, tenant: str = "acme", sent: int = 10) -> Finished:
    return Finished("id", "GET", "/v1/x", 200, tenant, key, "tile", cost, time.time(), 0.001, {}, sent, "")


def sums(database: Database, tenant: str = "acme") -> tuple[int, float, int]:
    from datetime import date

    rows = used(database, tenant, "", date(2000, 1, 1), date(2100, 1, 1))
    return sum(r["requests"] for r in rows), sum(r["cost"] for r in rows), sum(r["bytes"] for r in rows)


def test_servers_of_one_database_settle_what_they_let_through(tmp_path: Path) -> None:
    rates = Rates(per_second=0.001, burst=100, daily=1000)
    servers = []
    for _ in range(2):
        found = Allowances(rates)
        servers.append((found, Meter(Database(database_url("", tmp_path)), tmp_path, found)))
    for found, meter in servers:
        assert not found.take("key_a", 80).refused
        meter(finished("key_a", 80))
    for _, meter in servers:
        assert meter.flush()
    # The second heard of the first: 160 of 100 were used, and the debt is known to all who ask next.
    assert servers[1][0].state("key_a") == (pytest.approx(-60, abs=1), pytest.approx(160))
    assert servers[0][0].take("key_a", 1).refused == ()
    servers[0][1](finished("key_a", 1))
    assert servers[0][1].flush()
    assert servers[0][0].take("key_a", 1).refused == ("burst",)
    assert sums(servers[0][1].database) == (3, 161.0, 30)


def test_usage_waits_for_the_database_and_is_counted_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    away = Meter(Database("sqlite:////proc/nowhere/x.db"), home)
    away(finished("key_a"))
    assert not away.flush()
    away(finished("key_a"))
    away.stop()
    (left,) = home.glob("usage-use_*.json")
    text = left.read_text()
    database = Database(database_url("", home))
    for _ in range(2):
        # The second time, as if the file had not been deleted before a kill.
        left.write_text(text)
        back = Meter(database, home, every=0.05)
        back.start()
        until = time.monotonic() + 20
        while left.exists() and time.monotonic() < until:
            time.sleep(0.02)
        back.stop()
        assert sums(database) == (2, 2.0, 20)
    assert sum(row[4] for batch in json.loads(text) for row in batch["rows"]) == 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"), run_years=(2020,))


TILE = "/v1/tiles/gpp/2020-07-01/10/245/379.png"


def test_a_caller_who_asks_too_much_is_told_when_to_come_back(home: Path) -> None:
    rates = Rates(per_second=2, burst=10, daily=400, by_address=True)
    with serving(settings_of(home, rates=rates), toy_registry(home / "checkpoints")) as client:
        first = client.get(TILE)
        assert first.status_code == 200
        assert first.headers["ratelimit-policy"] == '"burst";q=10;w=5, "day";q=400;w=86400'
        # Half a second gives a unit back.
        assert re.fullmatch(r'"burst";r=(9|10);t=[01], "day";r=399;t=\d+', first.headers["ratelimit"])
        replies = [client.get(TILE) for _ in range(40)]
        refused = next(r for r in replies if r.status_code == 429)
        assert refused.json()["type"] == "/problems/rate-limited"
        assert refused.json()["violated-policies"] == ["burst"]
        wait = int(refused.headers["retry-after"])
        assert 1 <= wait <= 5
        # Pages and signs of life are not limited.
        assert client.get("/livez").status_code == 200
        time.sleep(wait)
        assert client.get(TILE).status_code == 200
    short = Rates(per_second=100, burst=100, daily=3, by_address=True)
    with serving(settings_of(home, rates=short), toy_registry(home / "checkpoints")) as client:
        *_, refused = [client.get(TILE) for _ in range(4)]
        assert refused.status_code == 429
        assert refused.json()["type"] == "/problems/quota-exhausted"
        assert int(refused.headers["retry-after"]) <= DAY


def test_a_series_costs_by_its_cells_and_days(home: Path) -> None:
    def box(width: float) -> dict[str, object]:
        ring = [[-93.3, 42], [-93.3 + width, 42], [-93.3 + width, 42.1], [-93.3, 42.1], [-93.3, 42]]
        return {"geometry": {"type": "Polygon", "coordinates": [ring]}, "years": [2020], "variables": ["gpp", "et"]}

    rates = Rates(per_second=0.01, burst=1000, daily=1e6, by_address=True)
    with serving(settings_of(home, rates=rates), toy_registry(home / "checkpoints")) as client:
        left = [1000]
        for width in (0.1, 0.2):
            reply = client.post("/v1/series", json=box(width))
            left.append(int(reply.headers["ratelimit"].split("r=")[1].split(";")[0]))
        costs = [before - after for before, after in pairwise(left)]
        # 0.1 degrees each way are 91 km2, 1,470 cells: 1 + 1,470 * 366 * 2 / 250,000 units.
        assert costs == [pytest.approx(5.3, abs=1), pytest.approx(9.6, abs=1)]


def test_a_job_costs_by_its_fields_and_is_not_made_where_they_are_too_many(home: Path) -> None:
    def fields(count: int) -> dict[str, object]:
        features = []
        for i in range(count):
            west = -93.3 + 0.003 * i
            ring = [[west, 42], [west + 0.002, 42], [west + 0.002, 42.002], [west, 42.002], [west, 42]]
            outline = {"type": "Polygon", "coordinates": [ring]}
            features.append({"type": "Feature", "id": i, "geometry": outline, "properties": {}})
        return {"kind": "series", "features": features, "years": [2020], "variables": ["gpp"], "step": "year"}

    rates = Rates(per_second=0.01, burst=1000, daily=100, by_address=True)
    settings = settings_of(home, rates=rates, jobs=Jobs(workers=0))
    with serving(settings, toy_registry(home / "checkpoints")) as client:

        def spent() -> float:
            items = client.get("/v1/usage").json()["items"]
            return float(sum(item["cost"] for item in items if item["class"] == "jobs"))

        costs = [spent()]
        dry = client.post("/v1/jobs?dry_run=true", json=fields(20)).json()
        costs.append(spent())
        for _ in range(2):
            reply = client.post("/v1/jobs", json=fields(20), headers={"Idempotency-Key": "twice"})
            assert reply.status_code in (200, 202)
            costs.append(spent())
        assert dry["cost"]["units"] == pytest.approx(20 + dry["cost"]["cell_days_to_read"] / 250_000, abs=0.01)
        told = [after - before for before, after in pairwise(costs)]
        # The second time, the job was there already.
        assert told == [pytest.approx(7), pytest.approx(5 + dry["cost"]["units"], abs=0.01), pytest.approx(5)]
        refused = client.post("/v1/jobs", json=fields(90))
        assert refused.status_code == 429
        assert refused.json()["type"] == "/problems/quota-exhausted"
        assert refused.json()["cost"] > 90
        assert len(client.get("/v1/jobs").json()["items"]) == 1


def test_usage_over_http_counts_each_request(home: Path) -> None:
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as client:
        before = client.get("/v1/usage").json()
        sent = sum(len(client.get(TILE).content) for _ in range(3))
        client.get("/livez")
        after = client.get("/v1/usage").json()
        tiles = [sum(i["requests"] for i in u["items"] if i["class"] == "tile") for u in (before, after)]
        assert tiles[1] - tiles[0] == 3
        held = [sum(i["bytes"] for i in u["items"] if i["class"] == "tile") for u in (before, after)]
        assert held[1] - held[0] == sent
        assert after["costs"]["tile"].startswith("1")
        assert client.get("/v1/usage?first=2020-01-01&last=2019-01-01").status_code == 422
        client.get(TILE)
    # A clean stop loses nothing.
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as client:
        stopped = client.get("/v1/usage").json()
        assert sum(i["requests"] for i in stopped["items"] if i["class"] == "tile") == tiles[1] + 1


@pytest.fixture(scope="module")
def port(home: Path) -> Iterator[int]:
    """A server with the protocol and the trust in proxies that `fieldflux serve` gives it."""
    app = create_app(settings_of(home, cors=("https://map.example",)), toy_registry(home / "checkpoints"))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", http=limited_http(32_768), forwarded_allow_ips=["127.0.0.1"])
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join(20)


def test_addresses_and_header_fields_have_a_length(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        long = client.get("/v1/variables?x=" + "y" * 9000)
        assert long.status_code == 414
        assert long.json()["type"] == "/problems/address-too-long"
        assert long.json()["allowed"] == 8192
        wide = client.get("/v1/variables", headers={f"X-{n}": "v" * 1000 for n in range(40)})
        assert wide.status_code == 431
        assert wide.json()["type"] == "/problems/headers-too-long"
        assert client.get("/problems/headers-too-long").status_code == 200


def test_what_the_parser_refuses_is_a_problem_too(port: int) -> None:
    # An address longer than the parser takes, in one piece, as a fuzz of the API has found; and no HTTP at all.
    endless = b"GET /v1/fields?external_id=" + b"y" * 65_600 + b" HTTP/1.1\r\nHost: here\r\n\r\n"
    for sent, codes in ((endless, {414, 431}), (b"what is this\r\n\r\n", {400})):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
            raw.sendall(sent)
            head, _, body = raw.makefile("rb").read().partition(b"\r\n\r\n")
        assert int(head.split()[1]) in codes
        assert b"Content-Type: application/problem+json" in head
        assert json.loads(body)["type"] in (
            "/problems/address-too-long",
            "/problems/headers-too-long",
            "/problems/bad-request",
        )


def test_large_bodies_are_no_header_fields(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for size in (40_000, 300_000):
            reply = client.post("/v1/series", content=b" " * size + b"{}")
            assert reply.status_code == 422, reply.text


def test_a_header_without_an_end_is_cut_short(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        wire.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: ")
        answer = b""
        sent = 0
        try:
            while not answer and sent < 5_000_000:
                wire.sendall(b"y" * 8192)
                sent += 8192
                wire.setblocking(False)
                try:
                    answer = wire.recv(4096)
                except BlockingIOError:
                    answer = b""
                wire.settimeout(20)
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert sent < 5_000_000
        assert not answer or b"431" in answer


def test_headers_of_a_trusted_proxy_and_of_browsers(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert "strict-transport-security" not in client.get("/livez").headers
        secure = client.get("/livez", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"})
        assert secure.headers["strict-transport-security"] == "max-age=31536000"
        asked = {
            "Origin": "https://map.example",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization, idempotency-key, if-match, content-type",
        }
        preflight = client.options("/v1/fields/fld_x", headers=asked)
        assert preflight.status_code == 200
        assert "PATCH" in preflight.headers["access-control-allow-methods"]
        shown = client.get("/v1/variables", headers={"Origin": "https://map.example"})
        assert {"RateLimit", "Retry-After", "ETag"} <= set(
            shown.headers["access-control-expose-headers"].replace(" ", "").split(",")
        )
        assert client.get("/v1/nothing").json()["type"] == "/problems/not-found"
        wrong = client.delete("/v1/variables")
        assert wrong.json()["type"] == "/problems/method-not-allowed"
        assert "GET" in wrong.headers["allow"]
