"""An answer in any of the formats."""

from __future__ import annotations

from collections.abc import Sequence

from fieldflux.app.answer import as_answer
from fieldflux.app.collection import Collection, Feature, as_collection
from fieldflux.app.reply import dumps

from .negotiate import Format


def written(asked: Collection, features: Sequence[Feature], format: Format) -> bytes:
    """The answer's bytes. Raises Refused (not-acceptable) where a format cannot hold it."""
    if format.name == "csv":
        from .text import as_csv

        return as_csv(asked, features)
    if format.name == "ndjson":
        from .text import as_ndjson

        return as_ndjson(asked, features)
    if format.name == "parquet":
        from .parquet import as_parquet

        return as_parquet(asked, features)
    if format.name == "covjson":
        from .covjson import as_covjson

        return as_covjson(asked, features)
    if format.name == "geojson":
        from .geojson import as_geojson

        return as_geojson(asked, features)
    if format.name == "netcdf":
        from .netcdf import as_netcdf

        return as_netcdf(asked, features)
    if asked.alone and features[0].series is not None:
        return dumps(as_answer(asked.place, features[0].series))
    return dumps(as_collection(asked, features))
