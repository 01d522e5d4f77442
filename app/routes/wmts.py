"""WMTS 1.0.0, by key-value pairs and by addresses: for QGIS, GDAL and other GIS programs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fieldflux.app.drawn import Format, TileAsk, drawn
from fieldflux.app.look import Look
from fieldflux.app.ogc import capabilities
from fieldflux.app.ogc.links import linked_xml, token_of
from fieldflux.app.ogc.matrices import MERCATOR
from fieldflux.app.ogc.places import layer_of
from fieldflux.app.ogc.times import period_name
from fieldflux.app.picture import default_of, style_of, when_of
from fieldflux.app.problems import problem_of
from fieldflux.app.reply import workspace_of
from fieldflux.app.routes.tiles import Column, RowNumber, Zoom
from fieldflux.models.variables import VARIABLES

router = APIRouter(prefix="/v1/wmts", tags=["WMTS"])

_XML: Any = {200: {"description": "Capabilities, as XML", "content": {"application/xml": {}}}}
_TILE: Any = {
    200: {"description": "The tile", "content": {"image/png": {}, "image/webp": {}}},
    304: {"description": "The caller has it already"},
}

_ABOUT = {
    "service": "WMTS",
    "request": "GetCapabilities (without it) or GetTile",
    "version": "1.0.0",
    "layer": "Cube, model, version and variable, as in the capabilities",
    "style": "`default`, or a palette",
    "format": "image/png or image/webp",
    "tilematrixset": "WebMercatorQuad",
    "tilematrix": "Zoom",
    "tilerow": "Row",
    "tilecol": "Column",
    "time": "A day, month, year, or an interval",
    "cube": "Of GetCapabilities: cube; the default one if empty",
    "model": "Of GetCapabilities: model; the default one if empty",
}
_PARAMETERS = [
    {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": text}
    for name, text in _ABOUT.items()
]


class BadKey(ValueError):
    """A key-value request that WMTS does not allow; `locator` is the key."""

    def __init__(self, code: str, locator: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.locator = locator


@router.get(
    "/1.0.0/WMTSCapabilities.xml",
    summary="Capabilities of the WMTS: what GIS programs open",
    response_class=Response,
    responses=_XML,
)
async def wmts_capabilities(
    request: Request,
    cube: Annotated[str, Query(description="Cube; the default one if empty.")] = "",
    model: Annotated[str, Query(description="Model; the default one if empty.")] = "",
) -> Response:
    """The variables of one model on one cube, as layers with times, styles and legends."""
    return _capabilities(request, cube, model)


@router.get(
    "/1.0.0/{layer}/{style}/{time}/WebMercatorQuad/{matrix}/{row}/{col}.{format}",
    summary="A tile of a WMTS layer",
    response_class=Response,
    responses=_TILE,
)
async def wmts_tile(
    request: Request,
    layer: Annotated[
        str, Path(description="Cube, model, version and variable", examples=["demo~kgml-ag-carbon~1~gpp"])
    ],
    style: Annotated[str, Path(description="`default`, or a palette", examples=["default"])],
    time: Annotated[str, Path(description="A day, month, year or span, or `default`", examples=["2021-07-15"])],
    matrix: Zoom,
    row: RowNumber,
    col: Column,
    format: Annotated[Literal["png", "webp"], Path(description="png or webp")],
) -> Response:
    """As the capabilities' `ResourceURL` has it: what QGIS asks for. Rows come before columns."""
    return await drawn(request, _ask(request, layer, style, time, (matrix, col, row), format))


@router.get(
    "",
    summary="WMTS by key-value pairs: GetCapabilities, GetTile",
    response_class=Response,
    responses={
        **_TILE,
        200: {"content": {"application/xml": {}, "image/png": {}, "image/webp": {}}},
        400: {"description": "An OWS exception report", "content": {"application/xml": {}}},
        404: {"description": "An OWS exception report", "content": {"application/xml": {}}},
        422: {"description": "An OWS exception report", "content": {"application/xml": {}}},
    },
    openapi_extra={"parameters": _PARAMETERS},
)
async def wmts(request: Request) -> Response:
    """Keys may be in capitals, as WMTS has them. Errors come as OWS exception reports."""
    # Clients write the keys in any case, which typed query parameters cannot take.
    keys = {key.lower(): value for key, value in request.query_params.items() if key.lower() in _ABOUT}
    try:
        if keys.get("service", "WMTS").upper() != "WMTS":
            raise BadKey("InvalidParameterValue", "service", f"This is a WMTS, not a {keys['service'][:40]}.")
        operation = keys.get("request", "GetCapabilities").lower()
        if operation == "getcapabilities":
            return _capabilities(request, keys.get("cube", ""), keys.get("model", ""))
        if operation != "gettile":
            raise BadKey(
                "OperationNotSupported", "request", f"GetCapabilities and GetTile; not {keys['request'][:40]}."
            )
        return await drawn(request, _ask_of(request, keys))
    except BadKey as error:
        return _report(400, error.code, str(error), error.locator)
    except ValueError as error:
        problem = problem_of(error)
        if problem is None:
            raise
        return _report(problem.kind.status, "InvalidParameterValue", problem.detail, "")


def _report(status: int, code: str, text: str, locator: str) -> Response:
    body = capabilities.report(code, text, locator)
    return Response(body, status, {"Cache-Control": "no-store"}, "application/xml")


def _capabilities(request: Request, cube: str, model: str) -> Response:
    place = workspace_of(request).place(cube, model)
    root = str(request.url_for("wmts"))
    legends = str(request.url_for("legend", name="gpp", format="png")).removesuffix("/gpp.png")
    layers = [(place, VARIABLES[name]) for name in place.card.outputs]
    made = capabilities.capabilities(root, legends, layers, place.cube.statement, token_of(request))
    return linked_xml(request, made)


def _ask_of(request: Request, keys: dict[str, str]) -> TileAsk:
    numbers = []
    for key in ("tilematrix", "tilecol", "tilerow"):
        given = keys.get(key, "")
        if not given:
            raise BadKey("MissingParameterValue", key, f"GetTile needs {key.upper()}.")
        if not (given.isascii() and given.isdigit() and len(given) < 9):
            raise BadKey("InvalidParameterValue", key, f"{key.upper()} is a number; given: {given[:40]}.")
        numbers.append(int(given))
    if not keys.get("layer"):
        raise BadKey("MissingParameterValue", "layer", "GetTile needs LAYER, as the capabilities name it.")
    if keys.get("tilematrixset", MERCATOR) != MERCATOR:
        raise BadKey("InvalidParameterValue", "tilematrixset", f"The tile matrix set is {MERCATOR}.")
    media = keys.get("format", "image/png")
    format = capabilities.FORMATS.get(media)
    if format is None:
        raise BadKey("InvalidParameterValue", "format", f"{' or '.join(capabilities.FORMATS)}; given: {media[:40]}.")
    z, x, y = numbers
    return _ask(
        request,
        keys["layer"],
        keys.get("style", ""),
        keys.get("time", ""),
        (z, x, y),
        "png" if format == "png" else "webp",
    )


def _ask(request: Request, layer: str, style: str, time: str, at: tuple[int, int, int], format: Format) -> TileAsk:
    place, v = layer_of(workspace_of(request), layer)
    named = default_of(place, v) if time in ("", "default", "current") else period_name(time, place.cube.years)
    when = when_of(place, v, named)
    return TileAsk(place, v, when, *at, 256, format, style_of(v, Look(style=style), when))
