"""The short way of usual questions gives the answers of the long one, whatever is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fieldflux.tiles.cube import Cube
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .serving import serving, settings_of, square, toy_registry
from .toy_world import cube, home

__all__ = ["cube", "home"]


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as found:
        yield found


days = st.sampled_from(["2020-07-01", "2020-07-31", "2020-02-30", "20200701", "2020-07-01T00:00:00", "1593561600", ""])
odd: Any = st.none() | st.booleans() | st.integers(-3, 3000) | st.floats(0, 2) | st.text(max_size=4) | st.just([])
members = st.fixed_dictionaries(
    {},
    optional={
        "first": days | odd,
        "last": days | odd,
        "years": st.lists(st.sampled_from([2019, 2020, "2020", 2020.0, 2020.5, True]), max_size=2) | odd,
        "variables": st.lists(st.sampled_from(["gpp", "nee", "yield", "no"]), max_size=2) | odd,
        "step": st.sampled_from(["day", "month", "MONTH"]) | odd,
        "intervals": st.sampled_from([True, False, 0, "yes", "true"]) | odd,
        "level": st.sampled_from([0.9, 0.5, "0.9", 1, 0]) | odd,
        "statistics": st.lists(st.sampled_from(["std", "q05", {"quantile": 0.5}, {"quantile": "0.5"}]), max_size=2),
        "units": st.dictionaries(st.sampled_from(["nee", "gpp"]), st.sampled_from(["tCO2 ha-1", "kg", 3]), max_size=1),
        "cube": odd,
        "extra": odd,
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members)
@example({"years": [2020], "step": "month"})
@example({"first": 1593561600, "last": "2020-07-31"})
@example({"level": float("nan")})
def test_the_short_way_answers_as_the_long_one(client: httpx.Client, cube: Cube, more: dict[str, Any]) -> None:
    body = json.dumps({"geometry": square(cube, 100, 120, 2, 2), **more})
    headers = {"Content-Type": "application/json"}
    short = client.post("/v1/series", content=body, headers=headers)
    # An address with a query goes FastAPI's way.
    long = client.post("/v1/series?f=json", content=body, headers=headers)
    assert short.status_code == long.status_code, (short.text[:300], long.text[:300])
    assert short.json() == long.json()


def test_other_kinds_of_bodies_go_the_long_way(client: httpx.Client, cube: Cube) -> None:
    asked = {"geometry": square(cube, 100, 120, 2, 2), "years": [2020], "step": "year"}
    whole = client.post("/v1/series", json=asked).json()
    for media in ("application/geo+json", "application/json; charset=utf-8"):
        found = client.post("/v1/series", content=json.dumps(asked), headers={"Content-Type": media})
        assert found.status_code == 200, found.text
        assert found.json() == whole
    text = client.post("/v1/series", content=json.dumps(asked), headers={"Content-Type": "text/plain"})
    assert text.status_code == 422
