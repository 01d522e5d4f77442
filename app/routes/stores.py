"""Stores as they lie on disk, read-only, for xarray and other readers of Zarr over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse
from fieldflux.app.ogc.links import linked, token_of, with_token
from fieldflux.app.ogc.places import id_of, place_of, places
from fieldflux.app.problems import Refused
from fieldflux.app.reply import same, tagged, workspace_of
from fieldflux.app.snapshots import store_of
from fieldflux.app.stores import check_path, file_of, sent

if TYPE_CHECKING:
    from fieldflux.tiles.folder import File
    from fieldflux.tiles.store import Store

router = APIRouter(prefix="/v1/stores", tags=["stores"])

StoreName = Annotated[str, Path(description="Cube, model and version", examples=["demo~kgml-ag-carbon~1"])]
_FILE: Any = {
    200: {
        "description": "The file: JSON where it is metadata",
        "content": {"application/octet-stream": {}, "application/json": {}},
    },
    206: {"description": "The range that was asked for", "content": {"application/octet-stream": {}}},
    304: {"description": "The caller has it already"},
    416: {"description": "The file is shorter than the range"},
}


@router.get("", summary="Stores, with the addresses of their Zarr hierarchies")
async def stores(request: Request) -> Response:
    """With a link for `stores`, the addresses carry its token in their path: xarray reads them as they are."""
    workspace = workspace_of(request)
    listed = []
    for place in places(workspace):
        store = workspace.store(place)
        if store is not None:
            zarr = str(request.url_for("store_file", store=id_of(place), path="zarr.json")).removesuffix("/zarr.json")
            zarr = with_token(zarr, token_of(request))
            listed.append(
                {
                    "id": id_of(place),
                    "cube": place.cube.id,
                    "model": place.card.id,
                    "snapshot": store.snapshot,
                    "edition": store.edition,
                    "years": [year for year in store.years if (store.computed(year) & store.occupied).any()],
                    "complete": [year for year in store.years if store.computed(year).all()],
                    "variables": list(store.variables),
                    "zarr": zarr,
                    "open": f"xarray.open_zarr('{zarr}', group='{store.years[-1]}')",
                }
            )
    return linked(request, {"stores": listed})


@router.get("/{store}/zarr/{path:path}", summary="A file of a store", response_class=Response, responses=_FILE)
@router.head("/{store}/zarr/{path:path}", summary="Whether a store has a file", include_in_schema=False)
async def store_file(
    request: Request,
    store: StoreName,
    path: Annotated[str, Path(description="Path in the Zarr hierarchy", examples=["zarr.json"])],
) -> Response:
    """Ranges are served, for shards. Chunks computed on demand lie elsewhere, and are not seen here."""
    check_path(path)
    found = store_of(workspace_of(request), place_of(workspace_of(request), store))
    nothing = Refused("not-found", f"The store '{store}' has no '{path}': nothing is computed there.")
    if found.waits:
        return await _from_elsewhere(request, found, path, nothing)
    file = file_of(found.path, path)
    if file is None:
        raise nothing
    if file.name == "zarr.json":
        return tagged(request, file.read_bytes(), "application/json")
    status = file.stat()
    tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if same(request, tag):
        return Response(status_code=304, headers=headers)
    return FileResponse(file, 200, headers, "application/octet-stream", stat_result=status)


async def _from_elsewhere(request: Request, store: Store, path: str, nothing: Refused) -> Response:
    def opened() -> tuple[File, bytes]:
        file = store.view.files.open(path)
        return file, file.read(file.size, 0) if path.endswith("zarr.json") else b""

    try:
        file, metadata = await to_thread.run_sync(opened)
    except FileNotFoundError:
        raise nothing from None
    if metadata:
        return tagged(request, metadata, "application/json")
    return await sent(request, file, f'"{file.tag}"')
