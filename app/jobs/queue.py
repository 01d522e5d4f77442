"""The queue of batches: who does which, for how long, and what came of it. One transaction for each change.

A worker holds a batch by a lease, which its heartbeats renew. A lease that ran out is anybody's: the batch is done
again, in files of its own, and whoever held it before is told that it is no longer theirs when they hand it in. So a
batch counts once, whoever is killed and whenever.
"""

from __future__ import annotations

import socket
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from fieldflux.app.database import Database, utc_now
from fieldflux.app.ids import new_id
from fieldflux.app.settings import Jobs

from .hook import announce

if TYPE_CHECKING:
    from sqlalchemy import Connection

JOIN = "join"
"""`given` of the last batch, which makes one file of all the others."""
OPEN = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Claim:
    """A batch in a worker's hands. attempt: which try it is; it is in the names of the files, see `files.py`.

    given: what the plan gave it. last: it is the join of all others; done: their numbers and the tries that count.
    """

    job: str
    tenant: str
    kind: str
    number: int
    attempt: int
    items: int
    ask: Mapping[str, Any]
    given: Any
    worker: str
    last: bool = False
    done: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch: items by status, its bytes, and details that are kept (failures, files)."""

    ok: int = 0
    partly: int = 0
    failed: int = 0
    bytes: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


def worker_name(token: str) -> str:
    """A worker's name: its machine, then what only it has."""
    return f"{socket.gethostname()[:40]}:{token}"


def now_of(connection: Connection) -> float:
    """Seconds since 1970 by the database's clock: machines that share it need not agree on the time."""
    from sqlalchemy import text

    if connection.dialect.name == "postgresql":
        return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
    return time.time()


def packed(content: Any) -> bytes:
    """Plain values as compressed JSON."""
    return zlib.compress(orjson.dumps(content), 3)


def unpacked(content: bytes) -> Any:
    """What `packed` was given."""
    return orjson.loads(zlib.decompress(content))


def claim(database: Database, worker: str, rules: Jobs) -> Claim | None:
    """The next batch to do, leased to this worker; None where there is none. Raises DatabaseFault.

    Jobs take turns: the one that waited longest is served next, so that a large one does not hold up a small one.
    """
    from sqlalchemy import or_, select, update

    from .tables import batches, jobs

    b = batches.c
    with database.begin() as connection:
        now = now_of(connection)
        free = or_(b.state == "queued", (b.state == "running") & (b.lease < now))
        query = (
            select(b.job, b.number, b.attempts, b["items"].label("size"), b.given)
            .join(jobs, jobs.c.id == b.job)
            .where(jobs.c.state.in_(OPEN), free)
            .order_by(jobs.c.served, b.job, b.number)
            .limit(1)
            .with_for_update(of=batches, skip_locked=True)
        )
        row = connection.execute(query).first()
        if row is None:
            return None
        attempt = row.attempts + 1
        mine = (b.job == row.job, b.number == row.number)
        if attempt > rules.attempts:
            connection.execute(update(batches).where(*mine).values(state="failed"))
        else:
            held = {"state": "running", "worker": worker, "lease": now + rules.lease_seconds, "attempts": attempt}
            connection.execute(update(batches).where(*mine).values(progress=0, **held))
    if attempt > rules.attempts:
        stop(
            database,
            row.job,
            "failed",
            f"Batch {row.number + 1} was begun {rules.attempts} times and never came to its end: its worker was killed "
            f"each time, most likely because memory ran out. What the others did is kept.",
            rules,
        )
        return None
    with database.begin() as connection:
        started = _started(connection, row.job, now)
        job = connection.execute(select(jobs).where(jobs.c.id == row.job)).first()
        if job is None:
            return None
        if started:
            announce(connection, job, "job.started", now)
        given = unpacked(row.given)
        done = connection.execute(
            select(b.number, b.attempts).where(b.job == row.job, b.state == "done").order_by(b.number)
        ).all()
    last = given == JOIN
    others = tuple((n, a) for n, a in done) if last else ()
    return Claim(row.job, job.tenant, job.kind, row.number, attempt, row.size, job.ask, given, worker, last, others)


def _started(connection: Connection, job: str, now: float) -> bool:
    """Note that a job was served; whether it was for the first time."""
    from sqlalchemy import update

    from .tables import jobs

    first = (jobs.c.id == job, jobs.c.state.in_(OPEN), jobs.c.started.is_(None))
    begun = connection.execute(update(jobs).where(*first).values(started=utc_now())).rowcount
    connection.execute(update(jobs).where(jobs.c.id == job, jobs.c.state.in_(OPEN)).values(state="running", served=now))
    return bool(begun)


def renew(database: Database, held: Claim, progress: int, rules: Jobs) -> bool:
    """A sign of life. False: the batch is no longer this worker's, or its job was stopped. Raises DatabaseFault."""
    from sqlalchemy import select, update

    from .tables import batches, jobs

    b = batches.c
    with database.begin() as connection:
        until = now_of(connection) + rules.lease_seconds
        mine = (b.job == held.job, b.number == held.number, b.worker == held.worker, b.attempts == held.attempt)
        kept = connection.execute(
            update(batches).where(*mine, b.state == "running").values(lease=until, progress=progress)
        ).rowcount
        state = connection.scalar(select(jobs.c.state).where(jobs.c.id == held.job))
    return bool(kept) and state in OPEN


def finish(database: Database, held: Claim, outcome: Outcome, seconds: float, rules: Jobs) -> bool:
    """Hand in a batch. False: it is no longer this worker's, and does not count. Raises DatabaseFault.

    Who hands in the last one queues the join of all; who hands in the join ends the job.
    """
    from sqlalchemy import func, insert, select, update

    from .tables import batches, jobs

    b = batches.c
    with database.begin() as connection:
        # All who hand in batches of a job take turns, so that one of them sees that it is the last.
        job = connection.execute(select(jobs).where(jobs.c.id == held.job).with_for_update()).first()
        if job is None or job.state not in OPEN:
            return False
        mine = (b.job == held.job, b.number == held.number, b.worker == held.worker, b.attempts == held.attempt)
        counted = connection.execute(
            update(batches)
            .where(*mine, b.state == "running")
            .values(
                state="done",
                ok=outcome.ok,
                partly=outcome.partly,
                failed=outcome.failed,
                bytes=outcome.bytes,
                seconds=seconds,
                progress=held.items,
                detail=dict(outcome.detail) or None,
            )
        ).rowcount
        if not counted:
            return False
        if held.last:
            ended = {"state": "done", "finished": utc_now(), "expires": _expiry(rules), "message": ""}
            connection.execute(update(jobs).where(jobs.c.id == held.job).values(**ended))
            announce(connection, job, "job.done", now_of(connection))
            return True
        left = connection.scalar(select(func.count()).where(b.job == held.job, b.state != "done"))
        if not left:
            connection.execute(insert(batches).values(**batch_row(held.job, job.batches, 0, JOIN)))
    return True


def batch_row(job: str, number: int, items: int, given: Any) -> dict[str, Any]:
    """A batch that waits."""
    counts = {"attempts": 0, "progress": 0, "ok": 0, "partly": 0, "failed": 0, "bytes": 0}
    return {
        "job": job,
        "number": number,
        "state": "queued",
        "items": items,
        "given": packed(given),
        "worker": "",
        "lease": 0.0,
        "seconds": 0.0,
        "detail": None,
        **counts,
    }


def give_back(database: Database, held: Claim, counted: bool = False) -> None:
    """Return a batch undone. counted: it was a try all the same. Raises DatabaseFault."""
    from sqlalchemy import update

    from .tables import batches

    b = batches.c
    mine = (b.job == held.job, b.number == held.number, b.worker == held.worker, b.attempts == held.attempt)
    back = {"state": "queued", "worker": "", "attempts": held.attempt - (not counted), "progress": 0}
    with database.begin() as connection:
        connection.execute(update(batches).where(*mine, b.state == "running").values(**back))


def release(database: Database, worker: str, counted: bool = True) -> int:
    """Return what a worker held that is known to be dead; how many batches. Raises DatabaseFault."""
    from sqlalchemy import update

    from .tables import batches

    b = batches.c
    back = {"state": "queued", "worker": "", "attempts": b.attempts - int(not counted), "progress": 0}
    with database.begin() as connection:
        done = connection.execute(update(batches).where(b.worker == worker, b.state == "running").values(**back))
        return int(done.rowcount)


def stop(
    database: Database,
    job: str,
    state: str,
    message: str,
    rules: Jobs,
    problem: Mapping[str, Any] | None = None,
) -> bool:
    """End or pause an open job: "failed", "cancelled" or "paused". Whether it was open. Raises DatabaseFault."""
    from sqlalchemy import select, update

    from .tables import jobs

    with database.begin() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job).with_for_update()).first()
        allowed = (*OPEN, "paused") if state == "cancelled" else OPEN
        if row is None or row.state not in allowed:
            return False
        ended = {} if state == "paused" else {"finished": utc_now(), "expires": _expiry(rules)}
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job)
            .values(state=state, message=message, problem=dict(problem) if problem else None, **ended)
        )
        announce(connection, row, f"job.{state}", now_of(connection), message)
    return True


def resume(database: Database, job: str) -> bool:
    """Let a paused or failed job go on with what is not done. Whether it was either. Raises DatabaseFault."""
    from sqlalchemy import select, update

    from .tables import batches, jobs

    with database.begin() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job).with_for_update()).first()
        if row is None or row.state not in ("paused", "failed") or row.removed:
            return False
        again = {"state": "queued", "message": "", "problem": None, "finished": None, "expires": None}
        connection.execute(update(jobs).where(jobs.c.id == job).values(**again))
        failed = (batches.c.job == job, batches.c.state.in_(("failed", "queued")))
        # Files are named by attempts: those of a batch that never ended are overwritten, which nobody has seen.
        connection.execute(update(batches).where(*failed).values(state="queued", attempts=0))
    return True


def work_waits(database: Database) -> bool:
    """Whether there is anything to do for a worker now: a batch, or a webhook that is due. Raises DatabaseFault."""
    from sqlalchemy import exists, or_, select

    from .tables import batches, deliveries, jobs

    b = batches.c
    with database.read() as connection:
        now = now_of(connection)
        free = or_(b.state == "queued", (b.state == "running") & (b.lease < now))
        batch = select(b.number).join(jobs, jobs.c.id == b.job).where(jobs.c.state.in_(OPEN), free)
        due = select(deliveries.c.id).where(deliveries.c.state == "waiting", deliveries.c.next_at <= now)
        return bool(connection.scalar(select(or_(exists(batch), exists(due)))))


def learn(database: Database, name: str, amount: float, seconds: float) -> None:
    """Note how long an amount of work took; what came before counts less and less. Raises DatabaseFault."""
    from fieldflux.app.fields.weights import upsert

    from .tables import rates

    with database.begin() as connection:
        insert = upsert(connection, rates).values(name=name, amount=amount, seconds=seconds)
        fading = {"amount": 0.8 * rates.c.amount + amount, "seconds": 0.8 * rates.c.seconds + seconds}
        connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=fading))


def rate(database: Database, name: str) -> float | None:
    """Amount of work a second, as `learn` was told; None where it was told nothing. Raises DatabaseFault."""
    from sqlalchemy import select

    from .tables import rates

    with database.read() as connection:
        row = connection.execute(select(rates.c.amount, rates.c.seconds).where(rates.c.name == name)).first()
    return row.amount / row.seconds if row is not None and row.seconds > 0 and row.amount > 0 else None


def new_job_id() -> str:
    return new_id("job")


def insert_job(connection: Connection, row: Mapping[str, Any], parts: Sequence[tuple[int, Any]]) -> None:
    """A job with its batches: items and what is given to each."""
    from sqlalchemy import insert

    from .tables import batches, jobs

    connection.execute(insert(jobs).values(**row))
    rows = [batch_row(row["id"], number, items, given) for number, (items, given) in enumerate(parts)]
    connection.execute(insert(batches), rows)


def _expiry(rules: Jobs) -> str:
    at = datetime.now(UTC) + timedelta(days=rules.keep_days)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
