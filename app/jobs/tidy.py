"""What is over: results whose time is up, jobs nobody asks for any more, folders without a job, unfinished files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fieldflux.app.database import Database, utc_now
from fieldflux.app.settings import Settings

from . import files


def tidy(settings: Settings, database: Database) -> int:
    """Remove what has expired; how many jobs' results. Raises DatabaseFault."""
    from fieldflux.tiles.files import sweep
    from sqlalchemy import delete, select, update

    from .tables import batches, jobs

    j = jobs.c
    forgotten = (datetime.now(UTC) - timedelta(days=settings.jobs.forget_days)).strftime("%Y-%m-%dT%H:%M:%S")
    with database.begin() as connection:
        ended = j.state.in_(("done", "failed", "cancelled"))
        over = connection.scalars(select(j.id).where(ended, j.removed == 0, j.expires < utc_now()).limit(500)).all()
        if over:
            # First nobody can ask for them, then they go: a kill between leaves a folder, which goes next time.
            connection.execute(update(jobs).where(j.id.in_(over)).values(removed=1))
            connection.execute(delete(batches).where(batches.c.job.in_(over)))
        connection.execute(delete(jobs).where(ended, j.removed == 1, j.expires < forgotten))
    for job in over:
        files.remove(settings.home, job)
    # What killed workers were about to write.
    sweep(files.root_of(settings.home))
    left = files.orphans(settings.home)
    if left:
        with database.read() as connection:
            known = set(connection.scalars(select(j.id).where(j.removed == 0)))
        for job in left:
            if job not in known:
                files.remove(settings.home, job)
    return len(over)
