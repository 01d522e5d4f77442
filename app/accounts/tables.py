"""Tables of keys, usage and allowances, for queries; the steps of the schema make them (see `schema.py`)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, MetaData, Table, Text

metadata = MetaData()

keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("secret", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("expires", Text),
    Column("revoked", Text),
    Column("last_used", Text),
)

usage = Table(
    "usage_days",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("api_key", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("route_class", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("cost", Double, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

batches = Table(
    "usage_batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("applied", Text, nullable=False),
)

allowances = Table(
    "allowances",
    metadata,
    Column("who", Text, primary_key=True),
    Column("level", Double, nullable=False),
    Column("filled", Double, nullable=False),
)
