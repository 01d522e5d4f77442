"""Tables of statements and of the keys that sign them, for queries; the steps of the schema make them (`schema.py`)."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, Table, Text

metadata = MetaData()

statements = Table(
    "statements",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("use_class", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("supersedes", Text, unique=True),
    Column("idempotency_key", Text),
    Column("body_hash", Text, nullable=False),
    Column("document", Text, nullable=False),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("secret", Text, nullable=False),
    Column("public", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("retired", Text),
)
