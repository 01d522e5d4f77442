"""The book of jobs: made, looked up, listed, removed. Every query is one tenant's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fieldflux.app.ask import over
from fieldflux.app.database import Database, utc_now
from fieldflux.app.problems import Refused
from fieldflux.app.settings import Settings

from . import files, hook, queue
from .asked import Job, to_keep
from .plan import Plan

if TYPE_CHECKING:
    from sqlalchemy import Connection

ENDED = ("done", "failed", "cancelled")
REJECTED_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Tally:
    """What a job's batches add up to. items: done. running: batches in hand now. longest: seconds of the slowest."""

    items: int = 0
    ok: int = 0
    partly: int = 0
    failed: int = 0
    seconds: float = 0.0
    bytes: int = 0
    batches: int = 0
    running: int = 0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Made:
    """A job that was made, or that the same key had made before. secret: of its webhook, told once."""

    id: str
    new: bool
    secret: str = ""


def body_hash(*parts: bytes | str) -> str:
    """A hash of what a request asks for."""
    said = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        said.update(len(raw).to_bytes(8, "little") + raw)
    return said.hexdigest()


def known(database: Database, tenant: str, key: str, body: str) -> str | None:
    """The job that an Idempotency-Key made before. Raises Refused (idempotency-mismatch), DatabaseFault."""
    with database.read() as connection:
        return _known(connection, tenant, key, body)


def make(
    settings: Settings, database: Database, tenant: str, job: Job, planned: Plan, key: str | None, body: str
) -> Made:
    """Write a job down; from then on it is done, whatever happens.

    Raises Refused (over-limit, idempotency-mismatch, webhook-refused), DatabaseFault.
    """
    from sqlalchemy import func, select
    from sqlalchemy.exc import IntegrityError

    from .tables import jobs

    secret, webhook = "", None
    if job.webhook is not None:
        hook.check_url(job.webhook.url, settings.webhook_hosts)
        secret = hook.new_secret()
        webhook = {"url": job.webhook.url, "events": list(job.webhook.events), "secret": secret}
    row = {
        "id": queue.new_job_id(),
        "tenant": tenant,
        "kind": job.kind,
        "name": job.name,
        "state": "queued",
        "ask": to_keep(job),
        "plan": {
            "unit": planned.unit,
            "cost": dict(planned.cost),
            "rejected": list(planned.rejected[:REJECTED_SHOWN]),
        },
        "idempotency_key": key,
        "body_hash": body,
        "items": planned.items,
        "batches": len(planned.parts),
        "created": utc_now(),
        "removed": 0,
        "served": 0.0,
        "message": "",
        "webhook": webhook,
    }
    try:
        with database.begin() as connection:
            open_jobs = connection.scalar(
                select(func.count()).where(jobs.c.tenant == tenant, jobs.c.state.in_((*queue.OPEN, "paused")))
            )
            if (open_jobs or 0) >= settings.jobs.open_jobs:
                raise over("open_jobs", open_jobs or 0, settings.jobs.open_jobs, "Wait for one to end, or cancel one.")
            if key is not None:
                before = _known(connection, tenant, key, body)
                if before is not None:
                    return Made(before, False)
            queue.insert_job(connection, row, planned.parts)
    except IntegrityError:
        # Another request with the same key came first, a moment ago.
        if key is None:
            raise
        before = known(database, tenant, key, body)
        if before is None:
            raise
        return Made(before, False)
    return Made(str(row["id"]), True, secret)


def one(database: Database, tenant: str, job: str) -> dict[str, Any]:
    """A job as it is shown. Raises Refused (unknown-job), DatabaseFault."""
    with database.read() as connection:
        row = row_of(connection, tenant, job)
        tally = _tallies(connection, [job]).get(job, Tally())
        names = file_names(connection, row)
    return as_job(row, tally, names)


def page(
    database: Database, tenant: str, limit: int, before: str, state: str = "", kind: str = ""
) -> list[dict[str, Any]]:
    """Up to `limit` jobs, the newest first, from the one behind `before`. Raises DatabaseFault."""
    from sqlalchemy import select

    from .tables import jobs

    query = select(jobs).where(jobs.c.tenant == tenant)
    for column, value in ((jobs.c.state, state), (jobs.c.kind, kind)):
        if value:
            query = query.where(column == value)
    if before:
        query = query.where(jobs.c.id < before)
    with database.read() as connection:
        rows = [dict(r) for r in connection.execute(query.order_by(jobs.c.id.desc()).limit(limit)).mappings()]
        tallies = _tallies(connection, [row["id"] for row in rows])
        return [as_job(row, tallies.get(row["id"], Tally()), {}) for row in rows]


def row_of(connection: Connection, tenant: str, job: str) -> Mapping[str, Any]:
    """A job's row. Raises Refused (unknown-job)."""
    from sqlalchemy import select

    from .tables import jobs

    row = connection.execute(select(jobs).where(jobs.c.id == job, jobs.c.tenant == tenant)).mappings().first()
    if row is None:
        raise Refused("unknown-job", f"There is no job '{job[:80]}'. Ids look like 'job_…'; GET /v1/jobs lists yours.")
    return dict(row)


def done_batches(connection: Connection, row: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Number and try of the batches that are done, in order, without the join."""
    from sqlalchemy import select

    from .tables import batches

    b = batches.c
    query = select(b.number, b.attempts).where(b.job == row["id"], b.state == "done", b.number < row["batches"])
    return [(n, a) for n, a in connection.execute(query.order_by(b.number))]


def file_names(connection: Connection, row: Mapping[str, Any]) -> dict[str, str]:
    """The files of a job that is done: name -> name in its folder."""
    from sqlalchemy import select

    from .tables import batches

    b = batches.c
    query = select(b.detail).where(b.job == row["id"], b.number == row["batches"], b.state == "done")
    found: dict[str, str] = (connection.scalar(query) or {}).get("files", {})
    return found


def failures(connection: Connection, job: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, Any]]:
    """Up to `limit` items that failed, as batch, place in it and what is wrong."""
    from sqlalchemy import select

    from .tables import batches

    b = batches.c
    query = select(b.number, b.detail).where(b.job == job, b.state == "done", b.failed > 0, b.number >= after[0])
    found: list[tuple[int, int, Any]] = []
    for number, detail in connection.execute(query.order_by(b.number)):
        listed: Sequence[Any] = (detail or {}).get("failures", ())
        found += [(number, i, each) for i, each in enumerate(listed) if (number, i) > after]
        if len(found) >= limit:
            break
    return found[:limit]


def deliveries_of(database: Database, tenant: str, job: str) -> list[dict[str, Any]]:
    """What was sent, or is to be sent, to a job's webhook. Raises Refused (unknown-job), DatabaseFault."""
    from sqlalchemy import select

    from .tables import deliveries

    with database.read() as connection:
        row_of(connection, tenant, job)
        query = select(deliveries).where(deliveries.c.job == job).order_by(deliveries.c.id)
        return [hook.as_delivery(dict(row)) for row in connection.execute(query).mappings()]


def remove(settings: Settings, database: Database, tenant: str, job: str) -> None:
    """Cancel a job and delete it with its results. Raises Refused (unknown-job), DatabaseFault."""
    from sqlalchemy import delete

    from .tables import jobs

    with database.begin() as connection:
        row_of(connection, tenant, job)
        connection.execute(delete(jobs).where(jobs.c.id == job, jobs.c.tenant == tenant))
    files.remove(settings.home, job)


def change(settings: Settings, database: Database, tenant: str, job: str, how: str) -> None:
    """Cancel or resume a job. Cancelling one that has ended by cancelling is no error.

    Raises Refused (unknown-job, job-state), DatabaseFault.
    """
    with database.read() as connection:
        row_of(connection, tenant, job)
    if how == "cancel":
        done = queue.stop(database, job, "cancelled", "Cancelled on request. What was done is kept.", settings.jobs)
    else:
        done = queue.resume(database, job)
    if done:
        return
    with database.read() as connection:
        state = row_of(connection, tenant, job)["state"]
    if how == "cancel" and state == "cancelled":
        return
    can = {
        "cancel": "Queued, running and paused jobs can be cancelled",
        "resume": "Paused and failed jobs can be resumed",
    }
    raise Refused("job-state", f"The job is {state}. {can[how]}.", state=state)


def as_job(row: Mapping[str, Any], tally: Tally, names: Mapping[str, str]) -> dict[str, Any]:
    """A job as it is sent."""
    href = f"/v1/jobs/{row['id']}"
    removed = bool(row["removed"])
    total, done = row["items"], tally.items
    left = _seconds_left(row, tally)
    eta = None if left is None else (datetime.now(UTC) + timedelta(seconds=left)).isoformat(timespec="seconds")
    hooked = row["webhook"]
    links: dict[str, Any] = {"self": href}
    if not removed:
        links |= {"results": f"{href}/results", "failures": f"{href}/failures"}
        links["files"] = {name: f"{href}/results/{name}" for name in names}
    if row["kind"] == "series" and not removed:
        links["formats"] = {f: f"{href}/results.{f}" for f in ("parquet", "csv", "ndjson", "json")}
    if hooked:
        links["deliveries"] = f"{href}/deliveries"
    return {
        "id": row["id"],
        "kind": row["kind"],
        "name": row["name"],
        "state": row["state"],
        "message": row["message"],
        "problem": row["problem"],
        "created": row["created"],
        "started": row["started"],
        "finished": row["finished"],
        "expires": row["expires"],
        "results_removed": removed,
        "progress": None
        if removed
        else {
            "unit": row["plan"]["unit"],
            "done": done,
            "total": total,
            "fraction": round(done / total, 6) if total else 1.0,
            "batches_done": tally.batches,
            "batches": row["batches"],
            "batches_running": tally.running,
        },
        "counts": None if removed else {"OK": tally.ok, "PARTIAL": tally.partly, "FAILED": tally.failed},
        "seconds_left": None if left is None else round(left, 1),
        "eta": eta,
        "work_seconds": None if removed else round(tally.seconds, 3),
        "bytes": None if removed else tally.bytes,
        "cost": row["plan"]["cost"],
        "rejected": row["plan"]["rejected"],
        "ask": row["ask"],
        "webhook": {"url": hooked["url"], "events": hooked["events"]} if hooked else None,
        "links": links,
    }


def _seconds_left(row: Mapping[str, Any], tally: Tally) -> float | None:
    """By the pace of the batches that are done, or by the plan as long as there are none; None if it waits or ended."""
    if row["state"] not in queue.OPEN:
        return None
    left = row["items"] - tally.items
    if tally.batches and tally.seconds:
        # A worker's first batch takes longer: it loads what the others find there.
        many = tally.batches > 2
        seconds = tally.seconds - tally.longest * many
        each = seconds / max(tally.ok + tally.partly + tally.failed, 1) * tally.batches / (tally.batches - many)
        return float(left * each) / max(tally.running, 1)
    seconds = row["plan"]["cost"].get("seconds")
    return None if seconds is None else float(seconds)


def _tallies(connection: Connection, names: Sequence[str]) -> dict[str, Tally]:
    from sqlalchemy import case, func, select

    from .tables import batches, jobs

    b = batches.c
    done = b.state == "done"
    real = b.number < jobs.c.batches
    query = (
        select(
            b.job,
            func.sum(case((done & real, b["items"]), (b.state == "running", b.progress), else_=0)),
            func.sum(b.ok),
            func.sum(b.partly),
            func.sum(b.failed),
            func.sum(case((done, b.seconds), else_=0.0)),
            func.sum(b.bytes),
            func.sum(case((done & real, 1), else_=0)),
            func.sum(case((b.state == "running", 1), else_=0)),
            func.max(case((done, b.seconds), else_=0.0)),
        )
        .join(jobs, jobs.c.id == b.job)
        .where(b.job.in_(list(names)))
        .group_by(b.job)
    )
    found = {}
    for job, items, ok, partly, failed, seconds, size, parts, running, longest in connection.execute(query):
        found[job] = Tally(
            items=int(items or 0),
            ok=int(ok or 0),
            partly=int(partly or 0),
            failed=int(failed or 0),
            seconds=float(seconds or 0),
            bytes=int(size or 0),
            batches=int(parts or 0),
            running=int(running or 0),
            longest=float(longest or 0),
        )
    return found


def _known(connection: Connection, tenant: str, key: str, body: str) -> str | None:
    from sqlalchemy import select

    from .tables import jobs

    j = jobs.c
    query = select(j.id, j.body_hash).where(j.tenant == tenant, j.idempotency_key == key)
    row = connection.execute(query).first()
    if row is None:
        return None
    if row.body_hash != body:
        raise Refused(
            "idempotency-mismatch", f"This Idempotency-Key made the job {row.id} by another body.", job=row.id
        )
    found: str = row.id
    return found
