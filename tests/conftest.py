"""What several tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fieldflux.app.database import Database, database_url

from .postgres import NoPostgres, cluster, new_database

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real measurements; skips the test where there is none."""
    folder = Path(os.environ.get("FIELDFLUX_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set FIELDFLUX_DATA")
    return folder


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[str]:
    """A private PostgreSQL; skips where none can be started, with the reason."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(cluster())
        except NoPostgres as reason:
            pytest.skip(str(reason))


@pytest.fixture
def postgres(postgres_cluster: str) -> str:
    """The address of an empty database of its own."""
    return new_database(postgres_cluster)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database: of either kind, one after the other."""
    given = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    opened = Database(database_url(given, tmp_path))
    yield opened
    opened.close()
