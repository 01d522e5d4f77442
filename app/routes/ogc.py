"""OGC API – Tiles, with OGC API – Common around it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fieldflux.app.drawn import TileAsk, drawn
from fieldflux.app.look import OgcTileQuery
from fieldflux.app.ogc import matrices, tilesets
from fieldflux.app.ogc.links import linked
from fieldflux.app.ogc.places import layer_of, places
from fieldflux.app.ogc.times import period_name
from fieldflux.app.picture import default_of, style_of, when_of
from fieldflux.app.problems import Refused
from fieldflux.app.reply import workspace_of
from fieldflux.app.routes.tiles import Column, RowNumber
from fieldflux.models.variables import VARIABLES

router = APIRouter(prefix="/v1/ogc", tags=["OGC API – Tiles"])

Collection = Annotated[
    str, Path(description="Cube, model, version and variable", examples=["demo~kgml-ag-carbon~1~gpp"])
]
Kind = Annotated[Literal["map", "coverage"], Path(description="Pictures, or values")]
SetName = Annotated[Literal["WebMercatorQuad", "FieldfluxCells"], Path(description="Tile matrix set")]


def _root(request: Request) -> str:
    return str(request.url_for("ogc_landing")).rstrip("/")


@router.get("", summary="Landing page (OGC API – Common)")
async def ogc_landing(request: Request) -> Response:
    """Links to all else; where a program that knows OGC API begins."""
    return linked(request, tilesets.landing(_root(request), str(request.base_url).rstrip("/")))


@router.get("/conformance", summary="Classes of OGC standards that this interface is tested for")
async def ogc_conformance(request: Request) -> Response:
    """By their identifiers, as OGC API – Common asks."""
    return linked(request, tilesets.conformance())


@router.get("/collections", summary="Collections: a variable of a cube and a model each")
async def ogc_collections(request: Request) -> Response:
    """Each with the links to its tilesets of maps (pictures) and coverages (values)."""
    layers = [(place, VARIABLES[name]) for place in places(workspace_of(request)) for name in place.card.outputs]
    return linked(request, tilesets.collections(_root(request), layers))


@router.get("/collections/{collection}", summary="A collection")
async def ogc_collection(request: Request, collection: Collection) -> Response:
    """With its extent, its times and its tilesets."""
    return linked(request, tilesets.collection(_root(request), *layer_of(workspace_of(request), collection)))


@router.get("/collections/{collection}/{kind}/tiles", summary="Tilesets of a collection")
async def ogc_tilesets(request: Request, collection: Collection, kind: Kind) -> Response:
    """Of maps (`map`) or values (`coverage`): in Web Mercator, and in the cells' own set, not resampled."""
    return linked(request, tilesets.tilesets(_root(request), *layer_of(workspace_of(request), collection), kind))


@router.get("/collections/{collection}/{kind}/tiles/{matrix_set}", summary="A tileset")
async def ogc_tileset(request: Request, collection: Collection, kind: Kind, matrix_set: SetName) -> Response:
    """With its limits, the template of its tiles and its layer."""
    place, v = layer_of(workspace_of(request), collection)
    return linked(request, tilesets.tileset(_root(request), place, v, kind, matrix_set))


@router.get(
    "/collections/{collection}/{kind}/tiles/{matrix_set}/{matrix}/{row}/{col}",
    summary="A tile of a tileset",
    response_class=Response,
    responses={
        200: {
            "description": "The tile, as a picture or as values",
            "content": {
                "image/png": {},
                "image/webp": {},
                "image/tiff; application=geotiff": {},
                "application/octet-stream": {},
            },
        },
        304: {"description": "The caller has it already"},
    },
)
async def ogc_tile(
    request: Request,
    collection: Collection,
    kind: Kind,
    matrix_set: SetName,
    matrix: Annotated[
        int, Path(description="Zoom, or matrix of the cells' own set", json_schema_extra={"minimum": 0}, examples=[11])
    ],
    row: RowNumber,
    col: Column,
    asked: Annotated[OgcTileQuery, Query()],
) -> Response:
    """Rows come before columns here, as OGC has it."""
    place, v = layer_of(workspace_of(request), collection)
    format = asked.f or ("png" if kind == "map" else "tif")
    if format not in tilesets.FORMATS[kind]:
        raise Refused(
            "not-acceptable",
            f"Tiles of this kind come as {' or '.join(tilesets.FORMATS[kind])}; given: {format}.",
            allowed=list(tilesets.FORMATS[kind]),
        )
    when = when_of(place, v, period_name(asked.datetime, place.cube.years) if asked.datetime else default_of(place, v))
    style = style_of(v, asked, when)
    if matrix_set == matrices.MERCATOR:
        return await drawn(request, TileAsk(place, v, when, matrix, col, row, 256, format, style))
    if not 0 <= matrix <= matrices.LEVELS:
        raise Refused("invalid-tile", f"FieldfluxCells has matrices 0 to {matrices.LEVELS}; given: {matrix}.")
    level = matrices.level_of(matrix)
    return await drawn(request, TileAsk(place, v, when, level, col, row, 256, format, style, "grid"))


@router.get("/tileMatrixSets", summary="Tile matrix sets")
async def ogc_matrix_sets(request: Request) -> Response:
    """Web Mercator, and the cells' own: an Albers grid, whose tiles are not resampled."""
    return linked(request, tilesets.matrix_sets(_root(request)))


@router.get("/tileMatrixSets/{matrix_set}", summary="A tile matrix set")
async def ogc_matrix_set(request: Request, matrix_set: SetName) -> Response:
    """The cells' own set is that of the default cube's grid."""
    if matrix_set == matrices.MERCATOR:
        return linked(request, matrices.mercator())
    return linked(request, matrices.cells(workspace_of(request).cube().grid))
