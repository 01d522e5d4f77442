"""Vector tiles of registered fields, with the value of a variable for each."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fieldflux.app.accounts.who import carried
from fieldflux.app.database import database_of
from fieldflux.app.picture import served
from fieldflux.app.reply import as_json, same, workspace_of
from fieldflux.app.routes.catalog import CubeName, ModelName
from fieldflux.app.routes.fields import Reader
from fieldflux.app.routes.tiles import Column, RowNumber, Zoom
from fieldflux.app.workspace import Workspace

router = APIRouter(prefix="/v1/fields/tiles", tags=["fields"])

MEDIA = "application/vnd.mapbox-vector-tile"
MIN_ZOOM = 5
MAX_ZOOM = 16

Shown = Annotated[
    str, Query(description="Variable whose value each field carries; none without.", examples=["gpp"], max_length=40)
]
When = Annotated[
    str, Query(description="Day or year of the value; the last that is computed without.", examples=["2021-07-15"])
]


@router.get("/tilejson.json", summary="TileJSON 3.0.0 of your fields", response_class=Response)
async def tilejson(
    request: Request, who: Reader, variable: Shown = "", when: When = "", cube: CubeName = "", model: ModelName = ""
) -> Response:
    """The tiles' address carries the parameters that are given here. `vector_layers` describes the attributes; `unit`
    is that of `value`."""
    workspace, database = workspace_of(request), database_of(request)

    def work() -> tuple[Any, str, str, list[float] | None]:
        from fieldflux.app.fields.find import bounds

        values = _values(workspace, variable, when, cube, model)
        return values, *_unit_and_name(values), bounds(database, who.tenant)

    values, unit, name, bounds = await to_thread.run_sync(work)
    query = {"variable": variable, "when": when, "cube": cube, "model": model, **carried(request)}
    address = request.url_for("field_tile", z="ZZ", x="XX", y="YY")
    url = str(address.include_query_params(**{key: value for key, value in query.items() if value}))
    for hole, filled in (("ZZ", "{z}"), ("XX", "{x}"), ("YY", "{y}")):
        url = url.replace(f"/{hole}", f"/{filled}")
    attributes = {"id": "Id of the field", "external_id": "Your own id", "area_ha": "Area, ha"}
    if variable:
        attributes["value"] = f"{name}, {unit}"
    body = {
        "tilejson": "3.0.0",
        "name": "Fields" + (f" · {name}" if variable else ""),
        "scheme": "xyz",
        "tiles": [url],
        "minzoom": MIN_ZOOM,
        "maxzoom": MAX_ZOOM,
        **(
            {"bounds": bounds, "center": [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, 11]}
            if bounds
            else {}
        ),
        "vector_layers": [{"id": "fields", "minzoom": MIN_ZOOM, "maxzoom": MAX_ZOOM, "fields": attributes}],
        "variable": variable or None,
        "unit": unit or None,
        "when": str(values.moment) if values else None,
    }
    return as_json(body, headers={"Cache-Control": "private, no-cache"})


@router.get(
    "/{z}/{x}/{y}.mvt",
    summary="A vector tile of your fields (Mapbox Vector Tile 2.1)",
    response_class=Response,
    responses={
        200: {"content": {MEDIA: {}}, "description": "Layer `fields`: id, external_id, area_ha and value"},
        204: {"description": "No field lies in this tile"},
        304: {"description": "The caller has it already"},
    },
)
async def field_tile(
    request: Request,
    who: Reader,
    z: Zoom,
    x: Column,
    y: RowNumber,
    variable: Shown = "",
    when: When = "",
    cube: CubeName = "",
    model: ModelName = "",
) -> Response:
    """`value` is the mean over the field's cells weighted by the area covered of each; it is left out where nothing was
    computed. The entity tag changes with your fields and with what is computed. Of more than 10 000 fields in a tile
    the largest are shown, and `X-Fieldflux-Left-Out` counts the others."""
    from fieldflux.tiles.mercator import TileAddress

    address = TileAddress(z, x, y)
    workspace, database = workspace_of(request), database_of(request)

    def look() -> tuple[Any, str]:
        from fieldflux.app.fields.find import change_number

        values = _values(workspace, variable, when, cube, model)
        of_store = (
            (values.store.snapshot, values.place.card.id, values.place.cube.hash, values.moment) if values else ()
        )
        said = ("field tile", who.tenant, change_number(database, who.tenant), z, x, y, variable, of_store)
        return values, hashlib.sha256(repr(said).encode()).hexdigest()[:20]

    values, tag = await to_thread.run_sync(look)
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}
    if same(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)

    def work() -> Any:
        from fieldflux.app.fields.tile import draw

        return draw(workspace, database, who.tenant, address, values)

    drawn = workspace.pictures.find(tag)
    if drawn is None:
        drawn = await to_thread.run_sync(work)
        workspace.pictures.put(tag, drawn, len(drawn.content) + 200)
    if not drawn.fields:
        return Response(status_code=204, headers=headers)
    if drawn.left_out:
        headers["X-Fieldflux-Left-Out"] = str(drawn.left_out)
    return Response(drawn.content, 200, headers, MEDIA)


def _values(workspace: Workspace, variable: str, when: str, cube: str, model: str) -> Any:
    """What is to be shown of each field; None without a variable, or where nothing was computed."""
    from fieldflux.app.fields.tile import Values, latest, moment_of

    if not variable:
        return None
    place = workspace.place(cube, model)
    v = served(place, variable)
    years, yearly = place.cube.years, v.period != "day"
    asked = moment_of(when, years, yearly) if when and v.period != "static" else None
    store = workspace.store(place)
    if store is None:
        return None
    moment = asked if asked is not None else latest(store, years, yearly)
    return None if moment is None else Values(place, store, v.name, moment)


def _unit_and_name(values: Any) -> tuple[str, str]:
    from fieldflux.models.variables import VARIABLES

    if values is None:
        return "", ""
    v = VARIABLES[values.variable]
    return (v.unit_over("year") if isinstance(values.moment, int) else v.unit), v.long_name
