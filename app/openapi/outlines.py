"""Shapes of the outlines that are given: GeoJSON (RFC 7946) of areas.

They describe. What is wrong with an outline is told by where it is read, more precisely than a schema can.
"""

from __future__ import annotations

from .shapes import ANY, NUMBER, Schema, maybe, thing

POSITION: Schema = {"type": "array", "items": NUMBER, "minItems": 2, "description": "Longitude, latitude, degrees"}
RINGS: Schema = {
    "type": "array",
    "items": {"type": "array", "items": POSITION, "minItems": 4},
    "minItems": 1,
    "description": "The outer ring, then holes; the last position of each is its first",
}
AREAS: tuple[Schema, Schema] = (
    thing("A polygon", type={"const": "Polygon"}, coordinates=RINGS),
    thing(
        "Polygons that are one",
        type={"const": "MultiPolygon"},
        coordinates={"type": "array", "items": RINGS, "minItems": 1},
    ),
)
ONE = thing(
    "A Feature of one",
    {"properties": maybe({"type": "object"}), "id": ANY},
    type={"const": "Feature"},
    geometry={"anyOf": list(AREAS)},
)
OUTLINE: Schema = {
    "anyOf": [
        *AREAS,
        ONE,
        thing(
            "A collection of one Feature",
            type={"const": "FeatureCollection"},
            features={"type": "array", "items": ONE, "minItems": 1, "maxItems": 1},
        ),
    ]
}
"""Of one polygon."""
FEATURES: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "description": "A Feature of a Polygon or MultiPolygon"},
}
OUTLINES: Schema = {"anyOf": [thing("A collection", type={"const": "FeatureCollection"}, features=FEATURES), FEATURES]}
"""Of many; one that is wrong is told so in the answer, beside the others."""
