"""STAC: a catalogue of cubes and models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fieldflux.app.ogc import stac
from fieldflux.app.ogc.links import linked
from fieldflux.app.ogc.places import place_of, places
from fieldflux.app.reply import workspace_of

router = APIRouter(prefix="/v1/stac", tags=["STAC"])


def _roots(request: Request) -> tuple[str, str]:
    return str(request.url_for("stac_catalog")), str(request.base_url).rstrip("/")


@router.get("", summary="STAC catalogue")
async def stac_catalog(request: Request) -> Response:
    """Where a STAC client begins: pystac-client, QGIS, STAC Browser."""
    return linked(request, stac.catalog(*_roots(request), list(places(workspace_of(request)))))


@router.get("/collections", summary="STAC collections: a cube and a model each")
async def stac_collections(request: Request) -> Response:
    """One for each model on each cube, with its times, variables and assets."""
    workspace = workspace_of(request)
    root, api = _roots(request)
    listed = [stac.collection(root, api, place, workspace.store(place)) for place in places(workspace)]
    links = [{"href": f"{root}/collections", "rel": "self", "type": "application/json"}]
    return linked(request, {"collections": listed, "links": links})


@router.get("/collections/{collection}", summary="A STAC collection, with datacube, projection and render extensions")
async def stac_collection(
    request: Request,
    collection: Annotated[str, Path(description="Cube, model and version", examples=["demo~kgml-ag-carbon~1"])],
) -> Response:
    """`cube:variables` has units and meanings; `assets`, the Zarr store, if there is one, and tiles."""
    workspace = workspace_of(request)
    place = place_of(workspace, collection)
    return linked(request, stac.collection(*_roots(request), place, workspace.store(place)))
