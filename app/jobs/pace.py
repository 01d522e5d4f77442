"""How fast this server's workers are, learned from every batch that they finish, by model and step.

A plan first tells what a batch should take (`expected`: from samples, or from the pace of runs and exports). How much
longer batches took than that is kept: workers stand back for the server, share its cores, and begin with cold memories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any

from fieldflux.app.database import Database

if TYPE_CHECKING:
    from .queue import Claim

FADING = 0.9
"""What a batch counts after the next one."""
PRIOR_FACTOR = 2.0
PRIOR_SPREAD = 0.8
"""Before anything is measured: twice what is expected, and a factor of 4 to either side of it."""
LEAST_SPREAD = 0.15
"""Batches of one job have more in common with each other than with those of the next one."""
Z90 = 1.645
START_EXPECTED = 1.0
JOIN_EXPECTED = 0.001
"""Seconds: of a worker's first batch beyond others (libraries, compiled code); of each item in the last batch."""
LOADING = "start"


@dataclass(frozen=True, slots=True)
class Pace:
    """factor: seconds measured for one expected. spread: standard deviation of its logarithm. batches: measured."""

    factor: float = PRIOR_FACTOR
    spread: float = PRIOR_SPREAD
    batches: int = 0

    def ends(self) -> tuple[float, float]:
        """Factors between which 90 % of jobs are taken to lie."""
        width = exp(Z90 * self.spread)
        return self.factor / width, self.factor * width


def name_of(kind: str, model: str, step: str) -> str:
    """Under which name a pace is kept, as in "series kgml-ag-carbon/1 day"."""
    return f"{kind} {model} {step}"


def pace_of(database: Database, name: str) -> Pace:
    """What was learned; twice what is expected, within a wide range, where nothing was. Raises DatabaseFault."""
    from sqlalchemy import select

    from .tables import paces

    p = paces.c
    with database.read() as connection:
        row = connection.execute(
            select(p.batches, p.weight, p.measured, p.expected, p.logs, p.squares).where(p.name == name)
        ).first()
    if row is None or row.expected <= 0 or row.measured <= 0:
        return Pace()
    mean = row.logs / row.weight
    seen = max(row.squares / row.weight - mean**2, LEAST_SPREAD**2)
    # The prior counts as one batch.
    spread = sqrt((row.weight * seen + PRIOR_SPREAD**2) / (row.weight + 1.0))
    return Pace(row.measured / row.expected, spread, row.batches)


def learn(database: Database, name: str, expected: float, measured: float) -> None:
    """Note a batch. expected, measured: seconds, above 0. Raises DatabaseFault."""
    from fieldflux.app.fields.weights import upsert

    from .tables import paces

    if expected <= 0 or measured <= 0:
        return
    ratio = log(measured / expected)
    new = {"weight": 1.0, "measured": measured, "expected": expected, "logs": ratio, "squares": ratio**2}
    fading = {key: FADING * paces.c[key] + value for key, value in new.items()}
    with database.begin() as connection:
        insert = upsert(connection, paces).values(name=name, batches=1, **new)
        connection.execute(
            insert.on_conflict_do_update(index_elements=["name"], set_={**fading, "batches": paces.c.batches + 1})
        )


def learn_batch(database: Database, held: Claim, seconds: float, first: bool) -> None:
    """Note a batch that counted. first: of its worker process, which then loads what others find loaded.

    Raises DatabaseFault.
    """
    from sqlalchemy import select

    from .tables import jobs

    with database.read() as connection:
        row = connection.execute(select(jobs.c.plan, jobs.c["items"]).where(jobs.c.id == held.job)).first()
    told: Mapping[str, Any] | None = None if row is None else row[0]["cost"].get("pace")
    if row is None or told is None or not row[1]:
        return
    if held.last:
        learn(database, f"join {held.kind}", JOIN_EXPECTED * row[1], seconds)
        return
    expected = told["expected_seconds"]
    if expected is None or held.kind != "series":
        return
    share = expected * held.items / row[1]
    if first:
        beyond = seconds - pace_of(database, told["name"]).factor * share
        learn(database, LOADING, START_EXPECTED, max(beyond, 0.05))
    else:
        learn(database, told["name"], share, seconds)


def times(
    database: Database, name: str, expected: float | None, items: int, kind: str, workers: int, process_seconds: float
) -> dict[str, Any]:
    """What a plan tells of time: seconds of work, and of waiting for it, each with the range that 90 % of jobs are
    taken to lie in; None where nothing of the kind was ever measured.

    expected: seconds of work before the factor. workers: that share it. process_seconds: that a worker's process takes
    to begin. Raises DatabaseFault.
    """
    # Runs and exports are told by a pace that their workers measured already.
    pace = pace_of(database, name) if kind == "series" else Pace(1.0, PRIOR_SPREAD / 2)
    told = {
        "name": name,
        "expected_seconds": None if expected is None else round(expected, 4),
        "factor": round(pace.factor, 3),
        "batches": pace.batches,
    }
    if expected is None:
        return dict.fromkeys(("work_seconds", "work_seconds_range", "seconds", "seconds_range")) | {"pace": told}
    start, join = pace_of(database, LOADING), pace_of(database, f"join {kind}")
    beyond = START_EXPECTED * workers, JOIN_EXPECTED * items

    def summed(factors: tuple[float, float, float]) -> tuple[float, float]:
        work, load, last = expected * factors[0], beyond[0] * factors[1], beyond[1] * factors[2]
        return work + load + last, (work + load) / workers + last + process_seconds

    low, middle, high = (
        summed(factors)
        for factors in zip(*((p.ends()[0], p.factor, p.ends()[1]) for p in (pace, start, join)), strict=True)
    )
    return {
        "work_seconds": round(middle[0], 3),
        "work_seconds_range": [round(low[0], 3), round(high[0], 3)],
        "seconds": round(middle[1], 1),
        "seconds_range": [round(low[1], 1), round(high[1], 1)],
        "pace": told,
    }
