"""The database of what users register: fields, jobs, keys, usage. SQLite in the work folder, or PostgreSQL.

Statements are SQLAlchemy Core. Calls block: they run in worker threads (`anyio.to_thread`), never on the event loop.

    def count(database: Database, tenant: str) -> int:
        with database.read() as connection:
            return connection.scalar(select(func.count()).where(fields.c.tenant == tenant))
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from fastapi import Request
    from sqlalchemy import Connection, Engine

log = logging.getLogger("fieldflux")

BUSY_MS = 10_000
"""How long a writer waits for another one of SQLite."""
_DAMAGED = ("not a database", "malformed")
LOCK_KEY = 4_907_661
"""PostgreSQL's advisory lock under which the schema is changed; any number that nobody else uses."""


class DatabaseFault(ValueError):
    """The database cannot be used now, or never could be.

    code: "database-unavailable" (it may come back), "bad-database", "read-only" or "disk-full".
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.members: Mapping[str, object] = {}


class Database:
    """A database, opened when it is first used, and again after it was away. Safe between threads and processes."""

    def __init__(self, url: str) -> None:
        """url: as `database_url` gives it. Nothing is opened yet."""
        self.url = url
        self._lock = Lock()
        self._engine: Engine | None = None

    @property
    def is_postgres(self) -> bool:
        return self.url.startswith("postgresql")

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end, rolled back by an exception.

        SQLite has one writer at a time, which holds its lock from the beginning. Raises DatabaseFault.
        """
        with self._faults(), self._opened().connect() as connection:
            connection.execution_options(fieldflux_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one state of the database, and no lock. Raises DatabaseFault."""
        with self._faults(), self._opened().connect() as connection, connection.begin():
            yield connection

    def check(self) -> str:
        """What it is and its schema's number, as a sentence. Raises DatabaseFault where it cannot be used."""
        from sqlalchemy import text

        with self.read() as connection:
            number = connection.scalar(text("SELECT max(number) FROM schema_steps"))
        return f"{'PostgreSQL' if self.is_postgres else 'SQLite'}, schema {number}"

    def close(self) -> None:
        """Close its connections. It opens again when it is used again."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _opened(self) -> Engine:
        with self._lock:
            if self._engine is None:
                engine = _engine(self.url)
                try:
                    _upgrade(engine)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine

    @contextmanager
    def _faults(self) -> Iterator[None]:
        from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
        from sqlalchemy.exc import TimeoutError as PoolTimeout

        try:
            yield
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
            raise _fault(error) from error
        except DBAPIError as error:
            damaged = any(word in str(error.orig).lower() for word in _DAMAGED)
            if not (error.connection_invalidated or damaged):
                raise
            raise _fault(error) from error


def database_url(given: str, home: Path) -> str:
    """The address for SQLAlchemy: of a PostgreSQL as its users write it, or of the file in the work folder if empty.

    Raises DatabaseFault (bad-database) for another kind of database.

    >>> database_url("postgres://me@there/fields", Path())
    'postgresql+psycopg://me@there/fields'
    """
    if not given:
        return f"sqlite:///{(home / 'fieldflux.db').absolute()}"
    scheme, separator, rest = given.partition("://")
    if separator and scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"
    if separator and scheme == "sqlite":
        return given
    # Only the scheme is repeated: the rest may hold a password.
    raise DatabaseFault(
        "bad-database",
        f"The database's address begins with '{scheme[:20] if separator else ''}'; it must be postgresql://… or "
        f"sqlite:///…. Correct FIELDFLUX_DATABASE_URL, or leave it out for a file in the work folder.",
    )


def database_of(request: Request) -> Database:
    """The application's database."""
    found: Database = request.app.state.database
    return found


def utc_now() -> str:
    """This moment as times are kept in the database: "2026-05-31T12:00:00.000Z", which sorts as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event

    if url.startswith("postgresql"):
        return create_engine(
            url,
            pool_size=8,
            max_overflow=8,
            pool_timeout=10,
            pool_pre_ping=True,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            connect_args={"connect_timeout": 5},
        )
    path = url.removeprefix("sqlite:///")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseFault("read-only", f"The database's folder cannot be made: {error.strerror}.") from error
    engine = create_engine(
        url, pool_size=8, max_overflow=8, pool_timeout=10, json_serializer=_dumps, json_deserializer=orjson.loads
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        # The driver would begin transactions by itself, and too late: only at the first write.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A reader that turns writer midway fails at once where another one writes; a writer from the start waits.
        writes = connection.get_execution_options().get("fieldflux_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _dumps(value: Any) -> str:
    # Not inside another function: the driver keeps a class for each closure, for ever.
    return orjson.dumps(value).decode()


def _upgrade(engine: Engine) -> None:
    """Apply the steps of the schema that the database lacks; one process at a time, all of them or none."""
    from sqlalchemy import text

    from .schema import STEPS, statements

    with engine.connect() as connection:
        connection.execution_options(fieldflux_writes=True)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            connection.execute(
                text(
                    "CREATE TABLE IF NOT EXISTS schema_steps "
                    "(number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied TEXT NOT NULL)"
                )
            )
            found = connection.execute(text("SELECT number, name FROM schema_steps")).all()
            applied = {int(row[0]): str(row[1]) for row in found}
            for number, name in applied.items():
                if number > len(STEPS) or STEPS[number - 1].name != name:
                    raise DatabaseFault(
                        "bad-database",
                        f"The database has step {number} ('{name}') of a schema; this version, whose last step is "
                        f"{len(STEPS)}, does not know it. Run the newer version, or give this one another database.",
                    )
            for number, step in enumerate(STEPS, 1):
                if number in applied:
                    continue
                log.info("database: step %d, %s", number, step.name)
                for statement in statements(step, engine.dialect.name):
                    connection.execute(text(statement))
                connection.execute(
                    text("INSERT INTO schema_steps VALUES (:number, :name, :applied)"),
                    {"number": number, "name": step.name, "applied": utc_now()},
                )


def _fault(error: Exception) -> DatabaseFault:
    """What a driver's error means, without its statement and values."""
    said = str(getattr(error, "orig", None) or error).splitlines()[0].lower()
    if "readonly" in said or "read-only" in said or "unable to open database file" in said:
        return DatabaseFault("read-only", "The database cannot be written: its file or its folder is read-only.")
    if "disk is full" in said or "no space left" in said or "disk i/o error" in said:
        return DatabaseFault("disk-full", "The database's disk is full.")
    if any(word in said for word in _DAMAGED):
        return DatabaseFault("bad-database", "The database's file is damaged, or is no SQLite database.")
    if "locked" in said or "busy" in said:
        return DatabaseFault("database-unavailable", f"Others wrote to the database for {BUSY_MS // 1000} s on end.")
    log.error("database: %s", said)
    return DatabaseFault("database-unavailable", "The database does not answer.")
