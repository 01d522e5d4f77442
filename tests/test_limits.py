"""Rates, quotas and usage."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from fieldflux.app.accounts.limits import Allowances
from fieldflux.app.accounts.meter import Meter
from fieldflux.app.accounts.used import used
from fieldflux.app.database import Database, database_url
from fieldflux.app.observe.request import Finished
from fieldflux.app.settings import Rates
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
