"""Usage, counted in memory and written in batches; the buckets of `limits.Allowances` are settled on the way.

A batch has an id that is written with it, so that one whose answer was lost is not counted twice. What cannot be
written waits; at a clean stop without a database it is left in the work folder, and the next start takes it up. A
server that is killed loses what it counted since the last batch: two seconds at most.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from fieldflux.app.database import Database, DatabaseFault, utc_now
from fieldflux.app.ids import new_id
from fieldflux.app.observe.request import Finished

from .limits import Allowances

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger("fieldflux")

EVERY = 2.0
SLOWEST = 60.0
_KEPT_BATCHES = timedelta(days=7)

Row: TypeAlias = tuple[str, str, str, str]
"""Tenant, id of the key, day (UTC), class of the route."""


@dataclass(slots=True)
class _Count:
    requests: int = 0
    cost: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written together. rows: tenant, key, day, class, requests, cost, bytes. spent: units by caller. used:
    when each key was last used."""

    id: str
    rows: tuple[tuple[str, str, str, str, int, float, int], ...]
    spent: Mapping[str, float]
    used: Mapping[str, str]


class Meter:
    """Counts requests, an `Observer`; a thread of its own writes them down."""

    def __init__(
        self, database: Database, home: Path, allowances: Allowances | None = None, every: float = EVERY
    ) -> None:
        """allowances: buckets to settle; None where nobody is limited. every: seconds between batches."""
        self.database = database
        self.allowances = allowances
        self._home = home
        self._every = every
        self._lock = Lock()
        self._flushing = Lock()
        self._counts: dict[Row, _Count] = {}
        self._used: dict[str, float] = {}
        self._held: list[Batch] = []
        self._day = (0, "")
        self._stop = Event()
        self._thread: Thread | None = None

    def __call__(self, request: Finished) -> None:
        if not request.kind or not request.tenant:
            return
        with self._lock:
            row = (request.tenant, request.key, self._today(request.began), request.kind)
            count = self._counts.get(row)
            if count is None:
                count = self._counts[row] = _Count()
            count.requests += 1
            count.cost += request.cost
            count.bytes += request.sent
            if request.key:
                self._used[request.key] = request.began

    def start(self) -> None:
        """Take up what an earlier process left, and write every few seconds from now on."""
        self._stop.clear()
        self._thread = Thread(target=self._run, name="meter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, or leave it in the work folder where the database is away."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if not self.flush():
            self._leave()

    def flush(self) -> bool:
        """Write all that was counted. False where the database could not; it is kept then."""
        with self._flushing:
            batch = self._collect()
            if batch is not None:
                self._held.append(batch)
            while self._held:
                try:
                    self._write(self._held[0])
                except DatabaseFault as error:
                    log.debug("usage waits: %s", error)
                    return False
                self._held.pop(0)
            return True

    def _run(self) -> None:
        self._take_up()
        self._clean()
        wait = self._every
        while not self._stop.wait(wait):
            try:
                wrote = self.flush()
            except Exception:
                log.exception("usage could not be written")
                wrote = False
            if wrote:
                wait = self._every
            elif wait < SLOWEST:
                if wait == self._every:
                    log.warning("usage waits for the database, and is kept meanwhile")
                wait = min(SLOWEST, 2 * wait)

    def _collect(self) -> Batch | None:
        with self._lock:
            counts, self._counts = self._counts, {}
            used, self._used = self._used, {}
        spent = self.allowances.collect() if self.allowances else {}
        if not counts and not spent:
            return None
        # In one order everywhere: two servers that write the same rows cannot wait for each other.
        rows = tuple((*row, c.requests, c.cost, c.bytes) for row, c in sorted(counts.items()))
        times = {key: _moment(at) for key, at in sorted(used.items())}
        return Batch(new_id("use"), rows, dict(sorted(spent.items())), times)

    def _write(self, batch: Batch) -> None:
        with self.database.begin() as connection:
            if not _first_time(connection, batch.id):
                return
            for row in batch.rows:
                _add(connection, row)
            for key, at in batch.used.items():
                _touch(connection, key, at)
            settled = self._settle(connection, batch.spent) if self.allowances else {}
        for who, (level, used, day) in settled.items():
            assert self.allowances is not None
            self.allowances.correct(who, level, used, day)

    def _settle(self, connection: Connection, spent: Mapping[str, float]) -> dict[str, tuple[float, float, int]]:
        """Take what was spent from the shared buckets; what is in them then, what the day has used, and which day."""
        assert self.allowances is not None
        rates = self.allowances.rates
        found: dict[str, tuple[float, float, int]] = {}
        # Addresses are of one process: the database has nothing of them.
        keys = [who for who in spent if who.startswith("key_")]
        if not keys:
            return found
        now = _clock(connection)
        used = _used_on(connection, keys, _day(now))
        for who in keys:
            level, filled = _shared(connection, who, rates.burst, now)
            level = min(rates.burst, level + max(0.0, now - filled) * rates.per_second) - spent[who]
            _set(connection, who, level, now)
            found[who] = (level, used.get(who, 0.0), int(now) // 86_400)
        return found

    def _leave(self) -> None:
        path = self._home / f"usage-{self._held[0].id}.json"
        try:
            path.write_text(json.dumps([asdict(batch) for batch in self._held]))
            log.warning("usage: the database is away; %d batches wait in %s", len(self._held), path.name)
            self._held.clear()
        except OSError as error:
            requests = sum(row[4] for batch in self._held for row in batch.rows)
            log.error("usage of %d requests is lost: neither database nor work folder: %s", requests, error.strerror)

    def _take_up(self) -> None:
        for path in sorted(self._home.glob("usage-use_*.json")):
            try:
                batches = [
                    Batch(b["id"], tuple(tuple(row) for row in b["rows"]), b["spent"], b["used"])
                    for b in json.loads(path.read_text())
                ]
                for batch in batches:
                    self._write(batch)
                path.unlink()
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("usage in %s waits: %s", path.name, error)

    def _clean(self) -> None:
        from .tables import allowances, batches

        before = _text(datetime.now(UTC) - _KEPT_BATCHES)
        try:
            with self.database.begin() as connection:
                connection.execute(batches.delete().where(batches.c.applied < before))
                connection.execute(allowances.delete().where(allowances.c.filled < time.time() - 86_400))
        except DatabaseFault as error:
            log.debug("old batches stay: %s", error)

    def _today(self, at: float) -> str:
        number = int(at) // 86_400
        if self._day[0] != number:
            self._day = (number, _day(at))
        return self._day[1]


def _moment(at: float) -> str:
    return _text(datetime.fromtimestamp(at, UTC))


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _insert(connection: Connection, table: Any) -> Any:
    """INSERT with ON CONFLICT, which both databases have, each in a module of its own."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert

        return insert(table)
    from sqlalchemy.dialects.sqlite import insert as insert_here

    return insert_here(table)


def _first_time(connection: Connection, id: str) -> bool:
    from .tables import batches

    done = connection.execute(_insert(connection, batches).values(id=id, applied=utc_now()).on_conflict_do_nothing())
    return bool(done.rowcount)


def _add(connection: Connection, row: tuple[str, str, str, str, int, float, int]) -> None:
    from .tables import usage

    names = ("tenant", "api_key", "day", "route_class", "requests", "cost", "bytes")
    statement = _insert(connection, usage).values(dict(zip(names, row, strict=True)))
    more = {name: usage.c[name] + statement.excluded[name] for name in names[4:]}
    connection.execute(statement.on_conflict_do_update(index_elements=names[:4], set_=more))


def _touch(connection: Connection, key: str, at: str) -> None:
    from sqlalchemy import or_

    from .tables import keys

    later = or_(keys.c.last_used.is_(None), keys.c.last_used < at)
    connection.execute(keys.update().where(keys.c.id == key, later).values(last_used=at))


def _clock(connection: Connection) -> float:
    """Seconds since 1970: the database's own where it is a server, since servers' clocks differ."""
    from sqlalchemy import text

    if connection.dialect.name == "postgresql":
        return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
    return time.time()


def _used_on(connection: Connection, keys: list[str], day: str) -> dict[str, float]:
    from sqlalchemy import func, select

    from .tables import usage

    query = (
        select(usage.c.api_key, func.sum(usage.c.cost))
        .where(usage.c.api_key.in_(keys), usage.c.day == day)
        .group_by(usage.c.api_key)
    )
    return {str(row[0]): float(row[1]) for row in connection.execute(query)}


def _shared(connection: Connection, who: str, burst: float, now: float) -> tuple[float, float]:
    from sqlalchemy import select

    from .tables import allowances

    connection.execute(
        _insert(connection, allowances).values(who=who, level=burst, filled=now).on_conflict_do_nothing()
    )
    row = connection.execute(
        select(allowances.c.level, allowances.c.filled).where(allowances.c.who == who).with_for_update()
    ).one()
    return float(row[0]), float(row[1])


def _set(connection: Connection, who: str, level: float, now: float) -> None:
    from .tables import allowances

    connection.execute(allowances.update().where(allowances.c.who == who).values(level=level, filled=now))
