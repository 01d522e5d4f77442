"""Tables of fields, for queries; the steps of the schema make them (see `schema.py`)."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, ForeignKey, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

fields = Table(
    "fields",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("external_id", Text),
    Column("properties", JSON, nullable=False),
    Column("created", Text, nullable=False),
    Column("updated", Text, nullable=False),
)

versions = Table(
    "field_versions",
    metadata,
    Column("field", Text, ForeignKey("fields.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("current", Integer, nullable=False),
    Column("valid_from", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("geometry", Text, nullable=False),
    Column("geometry_key", Text, nullable=False),
    Column("outline_key", Text, nullable=False),
    Column("flags", JSON, nullable=False),
    Column("area_ha", Double, nullable=False),
    Column("west", Double, nullable=False),
    Column("south", Double, nullable=False),
    Column("east", Double, nullable=False),
    Column("north", Double, nullable=False),
)

coverages = Table(
    "coverages",
    metadata,
    Column("geometry_key", Text, primary_key=True),
    Column("place", Text, primary_key=True),
    Column("cells", Integer, nullable=False),
    Column("effective_cells", Double, nullable=False),
    Column("covered_fraction", Double, nullable=False),
    Column("flags", JSON, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

changes = Table(
    "field_changes",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
