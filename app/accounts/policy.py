"""What an address asks for: a class of routes for usage and limits, the scope that it needs, and what it costs.

All is closed but what is named here as open, so that a new route needs a key until someone says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

_READING = frozenset({"GET", "HEAD"})
_OPEN_FOLDERS = frozenset({"docs", "problems", "assets", ".well-known"})
_CLOSED_FILES = frozenset({"metrics", "v1"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for an address.

    kind: class of routes; empty for pages and signs of life, which are neither counted nor limited. scope: what a key
    needs; empty for open addresses. cost: units that any request costs. door: which signed tokens in the address are
    enough to read (`who.DOORS`); empty for none.
    """

    kind: str
    scope: str
    cost: float = 1.0
    door: str = ""


OPEN = Rule("", "", 0.0)
TILE = Rule("tile", "read", 1.0, "maps")
NUMBERS = Rule("tile", "read", 4.0, "maps")
FIELD_TILE = Rule("tile", "read", 1.0, "fields")
SERIES = Rule("series", "read")
OTHER = Rule("other", "read")
MAPS = Rule("other", "read", 1.0, "maps")
CATALOGUE = Rule("other", "read", 1.0, "stac")
EDR = Rule("series", "read", 1.0, "series")
EDR_FIELDS = Rule("series", "read", 1.0, "fields")
KEYS = Rule("other", "admin")
METRICS = Rule("", "admin", 0.0)
FIELDS_READ = Rule("fields", "read")
FIELDS_WRITE = Rule("fields", "fields", 5.0)
JOBS_READ = Rule("jobs", "read")
JOBS_WRITE = Rule("jobs", "jobs", 5.0)
STORES = Rule("store", "read", 1.0, "stores")
STATEMENTS = Rule("statements", "read")
STATEMENTS_WRITE = Rule("statements", "statements", 5.0)

_MAPS = frozenset({"tiles", "snapshots", "wmts", "legend"})

COSTS: MappingProxyType[str, str] = MappingProxyType(
    {
        "tile": "1; as GeoTIFF or NumPy 4",
        "series": "1, and 1 for each field after the first, and 1 for 250,000 cells times days times variables (of a "
        "county, a year of one variable: 36)",
        "fields": "1 to read; 5 to write, and 1 for each 16 kB of the body",
        "jobs": "1 to read; 5 to send, and 1 for each field, 1 for 250,000 cells times days that are read, 1 for 100 "
        "cells times years that are computed; to ask with `dry_run` 5, and 1 for 10 fields",
        "store": "1 for each chunk",
        "statements": "1 to read; 5 to make one, and as series cost; to verify as series cost",
        "other": "1",
    }
)
"""What the classes cost, in units, as it is published. A unit is about 2 ms of one core."""

CELL_DAYS = 250_000.0
"""Cells times days times variables that one unit buys: a field's year is 10,000, a county's 9 million."""

CELL_YEARS = 100.0
"""Cells times years that one unit buys where a job computes them: it stands back for requests, and costs less."""

CHECKED = 10.0
"""Fields of a job that are checked for one unit."""

BODY_BYTES = 16_384
"""Bytes of a body of fields that one unit buys."""


def rule_of(method: str, path: str) -> Rule:
    """What holds for a request.

    >>> rule_of("GET", "/v1/tiles/gpp/2021/3/1/2.png").kind, rule_of("DELETE", "/v1/fields/fld_1").scope
    ('tile', 'fields')
    """
    parts = path.split("/", 4)
    first = parts[1] if len(parts) > 1 else ""
    if first != "v1":
        if len(parts) <= 2 and first not in _CLOSED_FILES:
            return OPEN
        return OPEN if first in _OPEN_FOLDERS else METRICS if first == "metrics" else OTHER
    second = parts[2] if len(parts) > 2 else ""
    if second in _MAPS:
        return NUMBERS if path.endswith((".tif", ".npy")) else TILE
    return _of(method, second, parts[3] if len(parts) > 3 else "", path)


def _of(method: str, second: str, third: str, path: str) -> Rule:
    reading = method in _READING
    if second == "series":
        return SERIES
    if second == "fields":
        if third == "tiles":
            return FIELD_TILE
        if path.endswith("/series"):
            return SERIES
        return FIELDS_READ if reading else FIELDS_WRITE
    if second == "jobs":
        return JOBS_READ if reading else JOBS_WRITE
    if second == "ogc":
        return TILE if "/tiles/" in path else MAPS
    if second == "edr":
        return EDR_FIELDS if "/locations" in path else EDR
    if second == "stac" or (second in ("models", "cubes") and third):
        return CATALOGUE
    if second in ("keys", "links"):
        return KEYS
    if second == "stores":
        return STORES
    if second == "statements":
        return STATEMENTS if reading or third == "verify" else STATEMENTS_WRITE
    return OTHER


def series_cost(features: int, cell_days: float) -> float:
    """Units that a series costs beyond the first one. cell_days: cells times days times variables.

    >>> series_cost(1, 500_000), series_cost(3, 0)
    (2.0, 2.0)
    """
    return max(0, features - 1) + cell_days / CELL_DAYS


def job_cost(told: Mapping[str, Any]) -> float:
    """Units that a job costs beyond the sending. told: what it takes, as `jobs.plan.Plan.cost` has it.

    >>> job_cost({"features": 200, "cell_days_to_read": 500_000, "cell_years_to_compute": 1000})
    212.0
    """
    read = told.get("cell_days_to_read", 0) + 365 * told.get("cell_years_to_read", 0)
    return float(told.get("features", 0) + read / CELL_DAYS + told.get("cell_years_to_compute", 0) / CELL_YEARS)


def check_cost(told: Mapping[str, Any]) -> float:
    """Units that the checks of a job cost, without the job."""
    return float(told.get("features", 0) / CHECKED)
