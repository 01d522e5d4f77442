"""Parquet: the table with typed columns; each column's unit, and what to know of the whole, in the schema."""

from __future__ import annotations

import io
from collections.abc import Sequence

import orjson
from fieldflux.app.collection import Collection, Feature
from fieldflux.models.variables import VARIABLES

from .table import Column, table_of
from .text import about_of


def as_parquet(asked: Collection, features: Sequence[Feature]) -> bytes:
    """The table. Missing values are null. `fieldflux` in the schema's metadata holds what to know, as JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = table_of(asked, features)
    arrays, fields = [], []
    for column in table.columns:
        kind = {"first": pa.date32(), "last": pa.date32(), "days": pa.int32(), "feature": pa.int32()}.get(
            column.name, pa.float64() if column.is_number else pa.string()
        )
        arrays.append(pa.array(column.values.tolist(), kind, from_pandas=column.is_number))
        fields.append(pa.field(column.name, kind, metadata=_about(column)))
    about = orjson.dumps(about_of(asked, features, table), option=orjson.OPT_SERIALIZE_NUMPY)
    schema = pa.schema(fields, metadata={"fieldflux": about, "model": asked.place.card.id})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def _about(column: Column) -> dict[str, str]:
    if not column.variable:
        return {}
    v = VARIABLES[column.variable]
    found = {"unit": column.unit, "long_name": v.long_name}
    return found | ({"sign": v.sign} if v.sign else {})
