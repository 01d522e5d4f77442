"""GeoJSON: each polygon a Feature with its series in columns among its properties, for map programs and EDR clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fieldflux.app.collection import Collection, Feature, as_collection
from fieldflux.app.reply import dumps


def as_geojson(asked: Collection, features: Sequence[Feature]) -> bytes:
    """A FeatureCollection; what all features share, and their sum, is its member `fieldflux:about`.

    Properties are those of the JSON answer, and `label`, `datetime` and `parameter-name` as EDR names them. A feature
    without an answer has its problem there, and no geometry where none was understood.
    """
    from shapely.geometry import mapping

    about = as_collection(asked, features)
    told: list[dict[str, Any]] = []
    each = [feature for feature in features if feature.combined is None]
    for feature, body in zip(each, about.pop("features"), strict=True):
        shape, request = feature.given.shape, asked.request
        name = feature.given.id if feature.given.id is not None else feature.given.index
        labels = {
            "label": str(name),
            "datetime": f"{request.first}/{request.last}",
            "parameter-name": list(request.variables),
        }
        geometry = None if shape is None else mapping(shape.geometry)
        told.append({"type": "Feature", "id": name, "geometry": geometry, "properties": {**labels, **body}})
    return dumps({"type": "FeatureCollection", "features": told, "fieldflux:about": about})
