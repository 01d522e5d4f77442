"""Tables of jobs, for queries; the steps of the schema make them (see `schema.py`).

Times that are compared are seconds since 1970 by the database's clock (`queue.now_of`); those that are shown are text.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, ForeignKey, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("ask", JSON, nullable=False),
    Column("plan", JSON, nullable=False),
    Column("idempotency_key", Text),
    Column("body_hash", Text, nullable=False),
    Column("items", Integer, nullable=False),
    Column("batches", Integer, nullable=False),
    Column("created", Text, nullable=False),
    Column("started", Text),
    Column("finished", Text),
    Column("expires", Text),
    Column("removed", Integer, nullable=False),
    Column("served", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("problem", JSON),
    Column("webhook", JSON),
)

batches = Table(
    "job_batches",
    metadata,
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("items", Integer, nullable=False),
    Column("given", LargeBinary, nullable=False),
    Column("worker", Text, nullable=False),
    Column("lease", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("ok", Integer, nullable=False),
    Column("partly", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("detail", JSON),
)

deliveries = Table(
    "job_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job", Text, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("finished", Text),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("status", Integer),
    Column("message", Text, nullable=False),
)

rates = Table(
    "job_rates",
    metadata,
    Column("name", Text, primary_key=True),
    Column("amount", Double, nullable=False),
    Column("seconds", Double, nullable=False),
)

paces = Table(
    "job_paces",
    metadata,
    Column("name", Text, primary_key=True),
    Column("batches", BigInteger, nullable=False),
    Column("weight", Double, nullable=False),
    Column("measured", Double, nullable=False),
    Column("expected", Double, nullable=False),
    Column("logs", Double, nullable=False),
    Column("squares", Double, nullable=False),
)
