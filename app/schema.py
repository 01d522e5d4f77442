"""The database's schema: steps, each applied once and never changed afterwards; what comes later is a further step.

The SQL is what SQLite and PostgreSQL both understand, but for {json} and {bytes}. JSON is kept as its text in both:
PostgreSQL's JSONB would give 6.5e16 back as an integer. Tables for queries are declared
beside the code that uses them (`fields/tables.py`); tests/test_database.py checks that they fit what the steps make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_TYPES = {
    "sqlite": {"json": "JSON", "bytes": "BLOB"},
    "postgresql": {"json": "JSON", "bytes": "BYTEA"},
}


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the schema: its name and its statements, with ';' between them."""

    name: str
    sql: str


def statements(step: Step, dialect: str) -> Iterator[str]:
    """The statements of a step for "sqlite" or "postgresql"."""
    for statement in step.sql.split(";"):
        if statement.strip():
            yield statement.strip().format(**_TYPES[dialect])


# A step's number is its place in this list.
STEPS: tuple[Step, ...] = (
    Step(
        "fields",
        """
        CREATE TABLE fields (
            id TEXT PRIMARY KEY,
            tenant TEXT NOT NULL,
            external_id TEXT,
            properties {json} NOT NULL,
            created TEXT NOT NULL,
            updated TEXT NOT NULL,
            UNIQUE (tenant, external_id)
        );
        CREATE INDEX fields_by_tenant ON fields (tenant, id);
        CREATE TABLE field_versions (
            field TEXT NOT NULL REFERENCES fields (id) ON DELETE CASCADE,
            version INTEGER NOT NULL,
            tenant TEXT NOT NULL,
            current INTEGER NOT NULL,
            valid_from TEXT NOT NULL,
            created TEXT NOT NULL,
            geometry TEXT NOT NULL,
            geometry_key TEXT NOT NULL,
            outline_key TEXT NOT NULL,
            flags {json} NOT NULL,
            area_ha DOUBLE PRECISION NOT NULL,
            west DOUBLE PRECISION NOT NULL,
            south DOUBLE PRECISION NOT NULL,
            east DOUBLE PRECISION NOT NULL,
            north DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (field, version)
        );
        CREATE INDEX field_versions_by_place ON field_versions (tenant, current, west, east, south, north, field);
        CREATE INDEX field_versions_by_outline ON field_versions (tenant, outline_key);
        CREATE INDEX field_versions_by_geometry ON field_versions (geometry_key);
        CREATE TABLE coverages (
            geometry_key TEXT NOT NULL,
            place TEXT NOT NULL,
            cells INTEGER NOT NULL,
            effective_cells DOUBLE PRECISION NOT NULL,
            covered_fraction DOUBLE PRECISION NOT NULL,
            flags {json} NOT NULL,
            content {bytes} NOT NULL,
            PRIMARY KEY (geometry_key, place)
        );
        CREATE TABLE field_changes (
            tenant TEXT PRIMARY KEY,
            number BIGINT NOT NULL
        )
        """,
    ),
    Step(
        "accounts",
        """
        CREATE TABLE api_keys (
            id TEXT PRIMARY KEY,
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            hash TEXT NOT NULL UNIQUE,
            secret TEXT NOT NULL,
            hint TEXT NOT NULL,
            scopes TEXT NOT NULL,
            created TEXT NOT NULL,
            expires TEXT,
            revoked TEXT,
            last_used TEXT
        );
        CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);
        CREATE TABLE usage_days (
            tenant TEXT NOT NULL,
            api_key TEXT NOT NULL,
            day TEXT NOT NULL,
            route_class TEXT NOT NULL,
            requests BIGINT NOT NULL,
            cost DOUBLE PRECISION NOT NULL,
            bytes BIGINT NOT NULL,
            PRIMARY KEY (tenant, api_key, day, route_class)
        );
        CREATE TABLE usage_batches (
            id TEXT PRIMARY KEY,
            applied TEXT NOT NULL
        );
        CREATE TABLE allowances (
            who TEXT PRIMARY KEY,
            level DOUBLE PRECISION NOT NULL,
            filled DOUBLE PRECISION NOT NULL
        )
        """,
    ),
    Step(
        "jobs",
        """
        CREATE TABLE jobs (
            id TEXT PRIMARY KEY,
            tenant TEXT NOT NULL,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            state TEXT NOT NULL,
            ask {json} NOT NULL,
            plan {json} NOT NULL,
            idempotency_key TEXT,
            body_hash TEXT NOT NULL,
            items INTEGER NOT NULL,
            batches INTEGER NOT NULL,
            created TEXT NOT NULL,
            started TEXT,
            finished TEXT,
            expires TEXT,
            removed INTEGER NOT NULL,
            served DOUBLE PRECISION NOT NULL,
            message TEXT NOT NULL,
            problem {json},
            webhook {json},
            UNIQUE (tenant, idempotency_key)
        );
        CREATE INDEX jobs_by_tenant ON jobs (tenant, id);
        CREATE INDEX jobs_by_state ON jobs (state, served);
        CREATE TABLE job_batches (
            job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            state TEXT NOT NULL,
            items INTEGER NOT NULL,
            given {bytes} NOT NULL,
            worker TEXT NOT NULL,
            lease DOUBLE PRECISION NOT NULL,
            attempts INTEGER NOT NULL,
            progress INTEGER NOT NULL,
            ok INTEGER NOT NULL,
            partly INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            seconds DOUBLE PRECISION NOT NULL,
            bytes BIGINT NOT NULL,
            detail {json},
            PRIMARY KEY (job, number)
        );
        CREATE INDEX job_batches_by_state ON job_batches (state, job, number);
        CREATE INDEX job_batches_by_worker ON job_batches (worker);
        CREATE TABLE job_deliveries (
            id TEXT PRIMARY KEY,
            job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            tenant TEXT NOT NULL,
            event TEXT NOT NULL,
            body TEXT NOT NULL,
            state TEXT NOT NULL,
            created TEXT NOT NULL,
            finished TEXT,
            attempts INTEGER NOT NULL,
            next_at DOUBLE PRECISION NOT NULL,
            status INTEGER,
            message TEXT NOT NULL
        );
        CREATE INDEX job_deliveries_by_time ON job_deliveries (state, next_at);
        CREATE INDEX job_deliveries_by_job ON job_deliveries (job, id);
        CREATE TABLE job_rates (
            name TEXT PRIMARY KEY,
            amount DOUBLE PRECISION NOT NULL,
            seconds DOUBLE PRECISION NOT NULL
        )
        """,
    ),
    Step(
        "carbon statements",
        """
        CREATE TABLE statements (
            id TEXT PRIMARY KEY,
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            kind TEXT NOT NULL,
            use_class TEXT NOT NULL,
            model TEXT NOT NULL,
            version INTEGER NOT NULL,
            created TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            supersedes TEXT UNIQUE,
            idempotency_key TEXT,
            body_hash TEXT NOT NULL,
            document TEXT NOT NULL,
            UNIQUE (tenant, idempotency_key)
        );
        CREATE INDEX statements_by_tenant ON statements (tenant, id);
        CREATE TABLE signing_keys (
            kid TEXT PRIMARY KEY,
            generation INTEGER NOT NULL,
            secret TEXT NOT NULL,
            public TEXT NOT NULL,
            created TEXT NOT NULL,
            retired TEXT
        )
        """,
    ),
    Step(
        "pace of jobs",
        """
        CREATE TABLE job_paces (
            name TEXT PRIMARY KEY,
            batches BIGINT NOT NULL,
            weight DOUBLE PRECISION NOT NULL,
            measured DOUBLE PRECISION NOT NULL,
            expected DOUBLE PRECISION NOT NULL,
            logs DOUBLE PRECISION NOT NULL,
            squares DOUBLE PRECISION NOT NULL
        )
        """,
    ),
)
