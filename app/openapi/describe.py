"""Puts the shapes of answers into the description that the routes make of themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from .shapes import SHAPES, ref
from .statements import STATEMENT_SHAPES

JSON = "application/json"
GEOJSON = "application/geo+json"
COVERAGE = "application/prs.coverage+json"

ANSWERS: dict[str, str] = {
    "post /v1/fields": "Registered",
    "get /v1/fields": "Fields",
    "get /v1/fields/{field}": "Field",
    "put /v1/fields/{field}": "Field",
    "patch /v1/fields/{field}": "Field",
    "get /v1/fields/{field}/versions": "FieldVersions",
    "get /v1/fields/{field}/series": "Series",
    "get /v1/jobs": "Jobs",
    "get /v1/jobs/{job}": "Job",
    "post /v1/jobs/{job}/cancel": "Job",
    "post /v1/jobs/{job}/resume": "Job",
    "get /v1/jobs/{job}/results": "JobResults",
    "get /v1/jobs/{job}/failures": "Items",
    "get /v1/jobs/{job}/deliveries": "Items",
    "get /v1/tiles/{name}/tilejson.json": "TileJSON",
    "get /v1/styles": "Styles",
    "get /v1/styles/{name}": "Style",
    "get /v1/legend/{name}.{format}": "Legend",
    "get /v1/ogc": "Landing",
    "get /v1/ogc/conformance": "Conformance",
    "get /v1/ogc/collections": "Collections",
    "get /v1/ogc/collections/{collection}": "Collection",
    "get /v1/ogc/collections/{collection}/{kind}/tiles": "TileSets",
    "get /v1/ogc/collections/{collection}/{kind}/tiles/{matrix_set}": "TileSet",
    "get /v1/ogc/tileMatrixSets": "TileMatrixSets",
    "get /v1/ogc/tileMatrixSets/{matrix_set}": "TileMatrixSet",
    "get /v1/edr": "Landing",
    "get /v1/edr/conformance": "Conformance",
    "get /v1/edr/collections": "Collections",
    "get /v1/edr/collections/{collection}": "Collection",
    "get /v1/stac": "StacCatalog",
    "get /v1/stac/collections": "StacCollections",
    "get /v1/stac/collections/{collection}": "StacCollection",
    "get /v1/stores": "Stores",
    "get /v1/variables": "Variables",
    "get /v1/models": "Models",
    "get /v1/models/{name}/{version}": "ModelCard",
    "get /v1/cubes": "Cubes",
    "get /v1/cubes/{cube}": "Cube",
    "get /v1/cubes/{cube}/outline": "Feature",
    "get /v1/cubes/{cube}/fields": "FeatureCollection",
    "get /v1/limits": "Limits",
    "get /v1/usage": "Usage",
    "post /v1/calendar": "Calendar",
    "post /v1/soil/profile": "SoilProfile",
    "post /v1/soil/scenario": "SoilScenario",
    "post /v1/forecast": "Forecast",
    "post /v1/statements": "Statement",
    "get /v1/statements": "Statements",
    "get /v1/statements/rulesets": "Rulesets",
    "get /v1/statements/{statement}": "Statement",
    "get /v1/statements/{statement}/verification": "Verification",
    "post /v1/statements/verify": "Verification",
    "get /.well-known/jwks.json": "Jwks",
    "post /v1/keys": "Key",
    "get /v1/keys": "Keys",
    "get /v1/keys/{key}": "Key",
    "delete /v1/keys/{key}": "Key",
    "post /v1/tokens": "Token",
    "post /v1/links": "Link",
    "get /v1/edr/collections/{collection}/locations": "FeatureCollection",
    "get /v1/edr/collections/{collection}/position": "Series",
    "get /v1/edr/collections/{collection}/area": "Series",
    "get /v1/edr/collections/{collection}/locations/{location}": "Series",
    "get /livez": "Alive",
    "get /readyz": "Ready",
    "get /v1/status": "Status",
    "get /version": "Version",
}
"""Operation -> shape of its JSON answers. An operation whose JSON has several shapes is in `EITHER`."""
UNSAID = "Successful Response"
"""What FastAPI says of an answer that its route does not describe."""
EITHER: dict[str, tuple[str, ...]] = {
    "get /v1/series": ("Series", "ManySeries", "NoSeries"),
    "post /v1/series": ("Series", "ManySeries", "NoSeries"),
    "post /v1/jobs": ("Job", "JobCost"),
    "get /v1/jobs/{job}/results.{ending}": ("ManySeries", "NoSeries"),
}


def install(app: FastAPI) -> None:
    """Let the app's description hold the shapes; made once, at the first request for it."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            add_shapes(plain())
        return plain()

    app.openapi = described  # type: ignore[method-assign]


def add_shapes(document: dict[str, Any]) -> None:
    """Add the shapes to an OpenAPI document, in place."""
    known = SHAPES | STATEMENT_SHAPES
    document.setdefault("components", {}).setdefault("schemas", {}).update(known)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method} {path}"
            shapes = EITHER.get(name) or ((ANSWERS[name],) if ANSWERS.get(name) else ())
            for code, response in operation.get("responses", {}).items() if isinstance(operation, dict) else ():
                # A part of a file (206) has the form of none.
                if code.startswith("2") and code != "206":
                    if response.get("description") == UNSAID:
                        response["description"] = known[shapes[0]]["description"] if shapes else "Done"
                    for kind, content in response.get("content", {}).items():
                        if kind == COVERAGE:
                            content["schema"] = ref("Coverage")
                        elif kind == GEOJSON and JSON in response["content"]:
                            # The same as the JSON, as a collection that maps can draw.
                            content["schema"] = ref("FeatureCollection")
                        elif kind in (JSON, GEOJSON) and shapes:
                            content["schema"] = (
                                ref(shapes[0]) if len(shapes) == 1 else {"anyOf": [ref(s) for s in shapes]}
                            )
