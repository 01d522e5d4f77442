"""OGC API – EDR: series of positions, areas and registered fields, through the same path as /v1/series."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from fieldflux.app.database import database_of
from fieldflux.app.ogc import edr
from fieldflux.app.ogc.links import linked
from fieldflux.app.ogc.places import place_of, places
from fieldflux.app.reply import as_json, workspace_of
from fieldflux.app.routes.fields import Reader
from fieldflux.app.routes.series import answer_to
from fieldflux.tiles.steps import Step
from pydantic import BaseModel, Field

router = APIRouter(prefix="/v1/edr", tags=["OGC API – EDR"])

Collection = Annotated[str, Path(description="Cube, model and version", examples=["demo~kgml-ag-carbon~1"])]
_SERIES: Any = {
    200: {
        "content": {
            "application/prs.coverage+json": {},
            "application/geo+json": {},
            "application/json": {},
            "text/csv": {},
            "application/x-netcdf": {},
            "application/vnd.apache.parquet": {},
        }
    },
    304: {"description": "The caller has it already"},
}


class EdrQuery(BaseModel):
    """What all queries have."""

    datetime: str = Field(
        default="",
        description="A day, a month, a year, or an interval with `/` between; `..` for an open end. All years without.",
        examples=["2021-04-01/2021-10-31"],
    )
    parameters: str = Field(
        default="",
        alias="parameter-name",
        description="Variables, with commas between; all of the model's without.",
        examples=["gpp,nee"],
        max_length=2000,
    )
    step: Step = Field(default="day", description="As in /v1/series.")
    f: str = Field(
        default="",
        description=f"{', '.join(edr.FORMATS)}.",
        examples=["CoverageJSON"],
        json_schema_extra={"enum": ["", *edr.FORMATS]},
    )


class PositionQuery(EdrQuery):
    """Of a position."""

    coords: str = Field(description="WKT of a point, in longitude and latitude", examples=["POINT(-93.66 42.035)"])


class AreaQuery(EdrQuery):
    """Of an area."""

    coords: str = Field(
        description="WKT of a polygon or multipolygon, in longitude and latitude",
        examples=["POLYGON((-93.66 42.03, -93.65 42.03, -93.65 42.036, -93.66 42.036, -93.66 42.03))"],
    )


def _root(request: Request) -> str:
    return str(request.url_for("edr_landing"))


@router.get("", summary="Landing page of the EDR interface")
async def edr_landing(request: Request) -> Response:
    """Links to all else; where an EDR client begins."""
    return linked(request, edr.landing(_root(request), str(request.base_url).rstrip("/")))


@router.get("/conformance", summary="Classes of EDR that this interface is tested for")
async def edr_conformance(request: Request) -> Response:
    """By their identifiers."""
    return linked(request, {"conformsTo": list(edr.CONFORMANCE)})


@router.get("/collections", summary="EDR collections: a cube and a model each")
async def edr_collections(request: Request) -> Response:
    """Each with its extent, its parameters with units, and the queries that it answers."""
    return linked(request, edr.collections(_root(request), list(places(workspace_of(request)))))


@router.get("/collections/{collection}", summary="An EDR collection, with its parameters and queries")
async def edr_collection(request: Request, collection: Collection) -> Response:
    """`parameter_names` has units and meanings; `data_queries`, the addresses to ask."""
    return linked(request, edr.collection(_root(request), place_of(workspace_of(request), collection)))


@router.get(
    "/collections/{collection}/position",
    summary="Series of the cell at a position",
    response_class=Response,
    responses=_SERIES,
)
async def edr_position(request: Request, collection: Collection, asked: Annotated[PositionQuery, Query()]) -> Response:
    """The domain of the answer is the cell, 250 m wide, that holds the position: its value is of all of it."""
    place = place_of(workspace_of(request), collection)
    return await _series(request, place, asked, geometry=edr.cell_at(place, asked.coords))


@router.get("/collections/{collection}/area", summary="Series of an area", response_class=Response, responses=_SERIES)
async def edr_area(request: Request, collection: Collection, asked: Annotated[AreaQuery, Query()]) -> Response:
    """The mean over the area, not its cells: each cell counts by the exact part of it that is covered."""
    place = place_of(workspace_of(request), collection)
    return await _series(request, place, asked, geometry=edr.area_of(asked.coords))


@router.get(
    "/collections/{collection}/locations",
    summary="Locations: your registered fields, GeoJSON",
    response_class=Response,
    responses={200: {"content": {"application/geo+json": {}}}},
)
async def edr_locations(
    request: Request,
    who: Reader,
    collection: Collection,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most fields in the answer")] = 1000,
) -> Response:
    """`more` tells whether there are others: GET /v1/fields lists all, page by page."""
    from fieldflux.app.fields.find import Filter, page
    from fieldflux.app.fields.view import as_feature

    place_of(workspace_of(request), collection)
    database = database_of(request)
    found = await to_thread.run_sync(lambda: page(database, who.tenant, Filter(), limit + 1))
    shown = [as_feature(field) for field in found[:limit]]
    return as_json(
        {"type": "FeatureCollection", "features": shown, "more": len(found) > limit},
        headers={"Cache-Control": "no-store", "Content-Type": "application/geo+json"},
    )


@router.get(
    "/collections/{collection}/locations/{location}",
    summary="Series of a registered field",
    response_class=Response,
    responses=_SERIES,
)
async def edr_location(
    request: Request,
    who: Reader,
    collection: Collection,
    location: Annotated[str, Path(description="The field's id", examples=["fld_01J9ZK3W5T"], max_length=80)],
    asked: Annotated[EdrQuery, Query()],
) -> Response:
    """Of its current outline; the same values as GET /v1/fields/{field}/series."""
    from fieldflux.app.fields.find import field

    place = place_of(workspace_of(request), collection)
    database = database_of(request)
    # So that one that is not there is a 404, not a feature of the answer that failed.
    await to_thread.run_sync(lambda: field(database, who.tenant, location))
    return await _series(request, place, asked, fields=(location,))


async def _series(request: Request, place: Any, asked: EdrQuery, **of: Any) -> Response:
    format = edr.format_name(asked.f)
    return await answer_to(request, edr.question(place, asked.datetime, asked.parameters, asked.step, **of), format)
