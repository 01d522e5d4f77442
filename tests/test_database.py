"""The database: its schema on SQLite and PostgreSQL, writers at the same time, and what is said when it is away."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fieldflux.app.carbon.tables import metadata as carbon
from fieldflux.app.database import Database, DatabaseFault, database_url
from fieldflux.app.fields.tables import metadata
from fieldflux.app.ids import new_id, new_ids
from fieldflux.app.jobs.tables import metadata as jobs
from fieldflux.app.paging import from_cursor, to_cursor
from fieldflux.app.problems import Refused
from fieldflux.app.schema import STEPS
from fieldflux.app.settings import Settings
from sqlalchemy import inspect, text


def test_steps_make_what_the_tables_declare(database: Database) -> None:
    database.check()
    with database.read() as connection:
        found = inspect(connection)
        for table in (*metadata.tables.values(), *carbon.tables.values(), *jobs.tables.values()):
            columns = {c["name"]: c for c in found.get_columns(table.name)}
            assert set(columns) == {c.name for c in table.columns}, table.name
            keys = found.get_pk_constraint(table.name)["constrained_columns"]
            assert set(keys) == {c.name for c in table.primary_key.columns}
            for column in table.columns:
                if not column.primary_key:
                    assert columns[column.name]["nullable"] == column.nullable, f"{table.name}.{column.name}"


def test_schema_is_applied_once_by_many(database: Database) -> None:
    many = [Database(database.url) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        said = set(pool.map(Database.check, many))
    assert len(said) == 1
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM schema_steps")) == len(STEPS)
    for one in many:
        one.close()


def test_schema_is_applied_once_by_processes(tmp_path: Path) -> None:
    code = f"from fieldflux.app.database import Database; print(Database({database_url('', tmp_path)!r}).check())"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate(timeout=60)[0] for p in running] == [f"SQLite, schema {len(STEPS)}\n"] * 2


def test_a_newer_schema_is_refused(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO schema_steps VALUES (9999, 'later', 'x')"))
    with pytest.raises(DatabaseFault, match=r"step 9999 .* newer version") as told:
        Database(database.url).check()
    assert told.value.code == "bad-database"


def test_writers_take_turns(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO field_changes VALUES ('t', 0)"))

    def add(_: int) -> None:
        for _ in range(10):
            with database.begin() as connection:
                lock = " FOR UPDATE" if database.is_postgres else ""
                number = connection.scalar(text(f"SELECT number FROM field_changes WHERE tenant = 't'{lock}"))
                connection.execute(text("UPDATE field_changes SET number = :n"), {"n": number + 1})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))
    with database.read() as connection:
        assert connection.scalar(text("SELECT number FROM field_changes")) == 60


def test_an_exception_rolls_back(database: Database) -> None:
    def fail() -> None:
        with database.begin() as connection:
            connection.execute(text("INSERT INTO field_changes VALUES ('t', 1)"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM field_changes")) == 0


def test_a_database_that_goes_away_and_comes_back(postgres: str, tmp_path: Path) -> None:
    database = Database(database_url(postgres, tmp_path))
    database.check()
    with database.read() as connection:
        mine = connection.scalar(text("SELECT pg_backend_pid()"))
    other = Database(database.url)
    with other.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": mine})
    # The connection that was cut is noticed, and another one is taken.
    assert database.check().startswith("PostgreSQL")

    def cut_off() -> None:
        with database.begin() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            with other.begin() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            connection.execute(text("INSERT INTO field_changes VALUES ('t', 1)"))

    with pytest.raises(DatabaseFault) as told:
        cut_off()
    assert told.value.code == "database-unavailable"
    assert database.check().startswith("PostgreSQL")
    other.close()
    database.close()


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    away = Database(database_url(f"postgresql://secret:word@/x?host={tmp_path}", tmp_path))
    with pytest.raises(DatabaseFault) as told:
        away.check()
    assert told.value.code == "database-unavailable"
    assert "secret" not in str(told.value)
    with pytest.raises(DatabaseFault, match="begins with 'mysql'") as told:
        database_url("mysql://me:secret@there/x", tmp_path)
    assert "secret" not in str(told.value)


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "fieldflux.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DatabaseFault) as told:
        Database(database_url("", tmp_path)).check()
    assert told.value.code == "bad-database"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseFault) as told:
        Database(database_url("", tmp_path / "file" / "home")).check()
    assert told.value.code == "read-only"


def test_address_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIELDFLUX_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgres://plain/x")
    assert Settings().database_url == "postgres://plain/x"
    monkeypatch.setenv("FIELDFLUX_DATABASE_URL", "postgres://own/x")
    assert Settings().database_url == "postgres://own/x"
    assert Settings(database_url="").database_url == ""


def test_ids_sort_by_time() -> None:
    ids = new_ids("fld", 1000)
    assert ids == sorted(set(ids))
    assert all(len(i) == 30 for i in ids)
    assert new_id("fld")[:13] >= ids[0][:13]


@pytest.mark.parametrize("given", ["x", "e30", "WzEsMl0", "W251bGxd", "%%%", "é", "A" * 300])
def test_other_text_is_no_cursor(given: str) -> None:
    with pytest.raises(Refused) as told:
        from_cursor(given)
    assert told.value.code == "invalid-cursor"


def test_cursors() -> None:
    assert from_cursor("") is None
    assert from_cursor(to_cursor("fld_1")) == ("fld_1",)
    assert from_cursor(to_cursor(7, 2), int, 2) == (7, 2)
    for wrong in (to_cursor("a", 2), to_cursor(7, 2), to_cursor("a\0"), "no cursor"):
        with pytest.raises(Refused, match="is no cursor"):
            from_cursor(wrong)
