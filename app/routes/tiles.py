"""Map tiles, and the TileJSON that tells a map where they are."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from fieldflux.app.accounts.who import carried
from fieldflux.app.drawn import TileAsk, drawn
from fieldflux.app.look import MapQuery, TileJsonQuery
from fieldflux.app.picture import default_of, latest_of, served, style_of, when_of
from fieldflux.app.problems import Refused
from fieldflux.app.reply import as_json, workspace_of
from fieldflux.app.snapshots import LATEST, check_snapshot, store_of
from fieldflux.models.variables import Variable

router = APIRouter(prefix="/v1", tags=["map"])

MAX_ZOOM = 16
MIN_ZOOM = 3

VariableName = Annotated[str, Path(description="Variable, by its name in /v1/variables", examples=["gpp"])]
Time = Annotated[
    str,
    Path(
        description="A day (2021-07-15), a month (2021-07), a year (2021), a span of them (2021-04-01..2021-09-30), "
        "summed or averaged as the variable is, or `latest`",
        examples=["2021-07-15"],
    ),
]
Other = Annotated[str, Path(description="The time that is taken away", examples=["2020-07-15"])]
Zoom = Annotated[int, Path(description="Zoom, 0 to 22", json_schema_extra={"minimum": 0, "maximum": 22}, examples=[11])]
Column = Annotated[
    int, Path(description="Column from the west, below 2^z", json_schema_extra={"minimum": 0}, examples=[491])
]
RowNumber = Annotated[
    int, Path(description="Row from the north, below 2^z", json_schema_extra={"minimum": 0}, examples=[760])
]
Row = Annotated[str, Path(description="Row; with `@2x` after it, 512 pixels a side", examples=["760", "760@2x"])]
Format = Annotated[
    Literal["png", "webp", "tif", "npy"],
    Path(description="A picture (png, webp), or float32 values: GeoTIFF (EPSG:3857) or NumPy's own format"),
]
Snapshot = Annotated[
    str, Path(description="Snapshot or edition of the store, as in TileJSON; or `latest`", examples=["latest"])
]
Wanted = Annotated[MapQuery, Query()]

_SHOWN: Any = {
    200: {
        "description": "The tile. `X-Fieldflux-*` headers say what it holds; `X-Fieldflux-Missing`, how much it lacks",
        "content": {
            "image/png": {},
            "image/webp": {},
            "image/tiff; application=geotiff": {},
            "application/octet-stream": {},
        },
    },
    304: {"description": "The caller has it already"},
    307: {"description": "`latest`: at the address of the present snapshot"},
    410: {"description": "The store no longer holds that snapshot", "content": {"application/problem+json": {}}},
}
_FORMS = {
    "day": ["2021-07-15", "2021-07", "2021", "2021-04-01..2021-09-30"],
    "year": ["2021", "2020..2021"],
    "static": ["2021"],
}
_ADDRESS = "{z}/{x}/{y}.{format}"


@router.get(
    "/tiles/{name}/tilejson.json",
    summary="TileJSON 3.0.0 of a variable, with its legend, unit and times",
)
async def tilejson(request: Request, name: VariableName, asked: Annotated[TileJsonQuery, Query()]) -> Response:
    """The tiles' address holds `{time}`, for any time that tiles have, unless `when` is given."""
    from fieldflux.tiles.legend import legend_json, meaning_of

    workspace = workspace_of(request)
    place = workspace.place(asked.cube, asked.model)
    v = served(place, name)
    when = when_of(place, v, asked.when or default_of(place, v), asked.minus, asked.anomaly)
    meaning = meaning_of(v, when)
    store = workspace.store(place)
    west, south, east, north = place.cube.bounds_lonlat()
    years = place.cube.years
    query = {"cube": place.cube.id, "model": place.card.id, **_changes(asked), **carried(request)}
    legend = request.url_for("legend", name=v.name, format="svg").include_query_params(
        **_changes(asked), when=asked.when or default_of(place, v), **carried(request)
    )
    return as_json(
        {
            "tilejson": "3.0.0",
            "name": f"{v.long_name} · {place.cube.title}",
            "description": f"{v.long_name}, {meaning.words}{meaning.unit}. {place.cube.statement}",
            "attribution": place.cube.statement,
            "version": "1.0.0",
            "scheme": "xyz",
            "tiles": [_template(request, v, asked, query, store.edition if store else "")],
            "bounds": [west, south, east, north],
            "center": [(west + east) / 2, (south + north) / 2, 10],
            "minzoom": MIN_ZOOM,
            "maxzoom": MAX_ZOOM,
            "tilesize": 256 * asked.scale,
            "variable": v.name,
            "unit": meaning.unit,
            "period": v.period,
            "time": {
                "first": f"{years[0]}-01-01",
                "last": f"{years[-1]}-12-31",
                "interval": "P1D" if v.period == "day" else "P1Y",
                "years": years,
                "default": default_of(place, v),
                "forms": _FORMS[v.period],
                # What is said of the whole of a record is drawn at any time.
                **({"record": [str(day) for day in place.cube.record]} if v.period == "static" else {}),
            },
            "valid_range": [meaning.low, meaning.high],
            "legend": legend_json(v, style_of(v, asked, when), meaning),
            "legend_url": str(legend),
            "statement": place.cube.statement,
            "synthetic": place.cube.synthetic,
            "model": place.card.id,
            "cube": place.cube.id,
            "snapshot": store.snapshot if store else None,
            "edition": store.edition if store else None,
        },
        headers={"Cache-Control": "private, no-cache" if carried(request) else "no-cache"},
    )


@router.get(
    f"/tiles/{{name}}/{{when}}/{_ADDRESS}",
    summary="A map tile (Web Mercator)",
    response_class=Response,
    responses=_SHOWN,
)
async def tile(
    request: Request, name: VariableName, when: Time, z: Zoom, x: Column, y: Row, format: Format, asked: Wanted
) -> Response:
    """Drawn from what is computed; never waits for computing. Chunks that are missing are transparent and are queued;
    `X-Fieldflux-Missing` then tells how many, and the tile is not to be kept.
    """
    return await _tile(request, name, when, "", (z, x, y), format, asked)


@router.get(
    f"/tiles/{{name}}/{{when}}/minus/{{other}}/{_ADDRESS}",
    summary="A map tile of the difference between two times",
    response_class=Response,
    responses=_SHOWN,
)
async def difference_tile(
    request: Request,
    name: VariableName,
    when: Time,
    other: Other,
    z: Zoom,
    x: Column,
    y: Row,
    format: Format,
    asked: Wanted,
) -> Response:
    """`when` less `other`, in a diverging palette around zero."""
    return await _tile(request, name, when, "", (z, x, y), format, asked.model_copy(update={"minus": other}))


@router.get(
    f"/snapshots/{{snapshot}}/tiles/{{name}}/{{when}}/{_ADDRESS}",
    summary="A map tile that may be kept for ever",
    response_class=Response,
    responses=_SHOWN,
)
async def versioned_tile(
    request: Request,
    snapshot: Snapshot,
    name: VariableName,
    when: Time,
    z: Zoom,
    x: Column,
    y: Row,
    format: Format,
    asked: Wanted,
) -> Response:
    """The same at an address that names the store's content, so that caches keep it; 410 once that was replaced."""
    return await _tile(request, name, when, snapshot, (z, x, y), format, asked)


@router.get(
    f"/snapshots/{{snapshot}}/tiles/{{name}}/{{when}}/minus/{{other}}/{_ADDRESS}",
    summary="A map tile of a difference that may be kept for ever",
    response_class=Response,
    responses=_SHOWN,
)
async def versioned_difference_tile(
    request: Request,
    snapshot: Snapshot,
    name: VariableName,
    when: Time,
    other: Other,
    z: Zoom,
    x: Column,
    y: Row,
    format: Format,
    asked: Wanted,
) -> Response:
    """As the other two together."""
    return await _tile(request, name, when, snapshot, (z, x, y), format, asked.model_copy(update={"minus": other}))


async def _tile(
    request: Request, name: str, when: str, snapshot: str, at: tuple[int, int, str], format: Format, asked: MapQuery
) -> Response:
    from fieldflux.tiles.mercator import TileAddress

    workspace = workspace_of(request)
    place = workspace.place(asked.cube, asked.model)
    v = served(place, name)
    z, x, y, size = _address(at, asked.size)
    if LATEST in (when, snapshot):
        TileAddress(z, x, y, size)  # refused here, not after the redirection
        store = store_of(workspace, place)
        resolved = str(latest_of(store, v)) if when == LATEST else when
        return _elsewhere(request, store.edition, v, resolved, at, format, asked, place.cube.id, place.card.id)
    kept = check_snapshot(workspace.store(place), snapshot or asked.v, must=bool(snapshot))
    moment = when_of(place, v, when, asked.minus, asked.anomaly)
    ask = TileAsk(place, v, moment, z, x, y, size, format, style_of(v, asked, moment))
    return await drawn(request, ask, kept)


def _address(at: tuple[int, int, str], size: int) -> tuple[int, int, int, int]:
    z, x, row = at
    y = row.removesuffix("@2x")
    # As int does, but no signs, spaces or other scripts.
    if not (y.isascii() and y.isdigit() and len(y) < 9):
        raise Refused("invalid-tile", f"A tile's row is a number, or a number and @2x; given: {row[:40]}.")
    return z, x, int(y), 512 if row.endswith("@2x") else size


def _changes(asked: MapQuery | TileJsonQuery) -> dict[str, Any]:
    """What was asked of looks and comparison, without what is as it is by itself."""
    names = ("style", "colormap", "range", "steps", "minus", "anomaly")
    return {name: getattr(asked, name) for name in names if getattr(asked, name)}


def _elsewhere(
    request: Request,
    edition: str,
    v: Variable,
    when: str,
    at: tuple[int, int, str],
    format: str,
    asked: MapQuery,
    cube: str,
    model: str,
) -> Response:
    z, x, y = at
    query: dict[str, Any] = {"cube": cube, "model": model, **_changes(asked), **carried(request)}
    query |= {"size": asked.size} if asked.size != 256 else {}
    # url_for takes a path's parts as they are, and a header holds no letters beyond Latin-1
    safe = {"snapshot": quote(edition, safe=""), "when": quote(when, safe="")}
    address = request.url_for("versioned_tile", **safe, name=v.name, z=z, x=x, y=y, format=format)
    address = address.include_query_params(**query)
    return Response(status_code=307, headers={"Location": str(address), "Cache-Control": "public, max-age=60"})


def _template(request: Request, v: Variable, asked: TileJsonQuery, query: dict[str, Any], edition: str) -> str:
    """The tiles' address with holes for the numbers, and for the time unless one was asked for."""
    holes = {"z": "0", "x": "1", "y": "2", "format": asked.format}
    if edition:
        whole = str(request.url_for("versioned_tile", snapshot=edition, name=v.name, when="WHEN", **holes))
    else:
        whole = str(request.url_for("tile", name=v.name, when="WHEN", **holes))
    front = whole.removesuffix(f"/WHEN/0/1/2.{asked.format}")
    ratio = "@2x" if asked.scale == 2 else ""
    return f"{front}/{asked.when or '{time}'}/{{z}}/{{x}}/{{y}}{ratio}.{asked.format}?{urlencode(query)}"
