"""Map tiles, and the TileJSON that tells a map where they are."""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Callable, Hashable
from datetime import date
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response
from fieldflux.app.middleware import timing
from fieldflux.app.picture import moment_of, served, style_of
from fieldflux.app.problems import problem_of
from fieldflux.app.reply import as_json, same, workspace_of
from fieldflux.app.routes.catalog import CubeName, ModelName
from fieldflux.app.workspace import Place

if TYPE_CHECKING:
    from fieldflux.tiles.render import Tile

log = logging.getLogger("fieldflux")
router = APIRouter(prefix="/v1", tags=["map"])

Chunks: TypeAlias = tuple[tuple[int, int], ...]

# A tile's address may name the snapshot it is of (`v=`): its content then never changes.
FOREVER = "public, max-age=31536000, immutable"
# Without, a cache may keep it, but asks each time; that costs a 304.
ASK = "public, no-cache"
# Something is still being computed.
SOON = "no-store"

MAX_ZOOM = 16
MIN_ZOOM = 3

VariableName = Annotated[str, Path(description="Variable, by its name in /v1/variables", examples=["gpp"])]
StyleName = Annotated[str, Query(description="Palette instead of the variable's own; with `_r`, reversed.")]
Shown = Annotated[
    str,
    Query(alias="range", description="Lowest and highest value of the colours: `0,20`", pattern=r"^$|^[^,]+,[^,]+$"),
]


@router.get(
    "/tiles/{name}/tilejson.json",
    summary="TileJSON 3.0.0 of a variable, with its legend, unit and time range",
)
async def tilejson(
    request: Request,
    name: VariableName,
    when: Annotated[
        str, Query(description="Day or year to fill into the tiles' address", examples=["2021-07-15"])
    ] = "",
    format: Literal["png", "webp"] = "png",
    cube: CubeName = "",
    model: ModelName = "",
    style: StyleName = "",
    shown: Shown = "",
) -> Response:
    """The tiles' address holds `{time}` for a day (2021-07-15) or a year (2021), unless `when` is given."""
    from fieldflux.tiles.legend import legend_json

    workspace = workspace_of(request)
    place = workspace.place(cube, model)
    v = served(place, name)
    year_only = v.period == "year"
    years = place.cube.years
    moment = moment_of(place, v, when) if when else None
    colours = style_of(v, style, shown, year_only if moment is None else isinstance(moment, int))
    store = workspace.store(place)
    snapshot = store.snapshot if store else ""
    query = {"cube": place.cube.id, "model": place.card.id, "style": style, "range": shown, "v": snapshot}
    address = request.url_for("tile", name=v.name, when="WHEN", z="ZZ", x="XX", y="YY", format=format)
    url = str(address.include_query_params(**{key: value for key, value in query.items() if value}))
    for hole, filled in (("WHEN", str(moment) if moment else "{time}"), ("ZZ", "{z}"), ("XX", "{x}"), ("YY", "{y}")):
        url = url.replace(f"/{hole}", f"/{filled}")
    west, south, east, north = place.cube.bounds_lonlat()
    default = str(years[-1]) if year_only else f"{years[-1]}-07-15"
    return as_json(
        {
            "tilejson": "3.0.0",
            "name": f"{v.long_name} · {place.cube.title}",
            "description": f"{v.long_name}, {v.unit}. {place.cube.statement}",
            "attribution": place.cube.statement,
            "version": "1.0.0",
            "scheme": "xyz",
            "tiles": [url],
            "bounds": [west, south, east, north],
            "center": [(west + east) / 2, (south + north) / 2, 10],
            "minzoom": MIN_ZOOM,
            "maxzoom": MAX_ZOOM,
            "variable": v.name,
            "unit": v.unit if not isinstance(moment, int) else v.unit_over("year"),
            "period": v.period,
            "time": {
                "first": f"{years[0]}-01-01",
                "last": f"{years[-1]}-12-31",
                "years": years,
                "default": default,
            },
            "legend": legend_json(v, colours, isinstance(moment, int) or year_only),
            "statement": place.cube.statement,
            "synthetic": place.cube.synthetic,
            "model": place.card.id,
            "cube": place.cube.id,
            "snapshot": snapshot or None,
        },
        headers={"Cache-Control": "no-cache"},
    )


@router.get(
    "/tiles/{name}/{when}/{z}/{x}/{y}.{format}",
    summary="A map tile (Web Mercator)",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {}, "image/webp": {}}},
        304: {"description": "The caller has it already"},
    },
)
async def tile(
    request: Request,
    name: VariableName,
    when: Annotated[str, Path(description="Day, 2021-07-15, or year, 2021", examples=["2021-07-15"])],
    z: Annotated[int, Path(examples=[11])],
    x: Annotated[int, Path(examples=[491])],
    y: Annotated[int, Path(examples=[760])],
    format: Literal["png", "webp"],
    cube: CubeName = "",
    model: ModelName = "",
    style: StyleName = "",
    shown: Shown = "",
    size: Annotated[Literal[256, 512], Query(description="Side, pixels")] = 256,
    v: Annotated[str, Query(description="Snapshot of the store, as in TileJSON: the tile may be kept for ever")] = "",
) -> Response:
    """Drawn from what is computed; never waits for computing. Chunks that are missing are transparent and are queued;
    `X-Fieldflux-Missing` then tells how many, and the tile is not to be kept.
    """
    from fieldflux.tiles import render
    from fieldflux.tiles.mercator import TileAddress

    stages = timing(request.scope)
    workspace = workspace_of(request)
    place = workspace.place(cube, model)
    what = served(place, name)
    moment = moment_of(place, what, when)
    colours = style_of(what, style, shown, isinstance(moment, int))
    store = workspace.store(place)
    if store is None:
        _begin(request, place)
        blank = render.empty_tile(size, format, workspace.memory)
        TileAddress(z, x, y, size)
        return Response(blank.content, 200, {"Cache-Control": SOON, "X-Fieldflux-Missing": "all"}, blank.media_type)

    snapshot = store.snapshot
    tag = render.tag(f"{place.card.id} {snapshot}", what.name, moment, z, x, y, size, format, colours)
    caching = {"ETag": f'"{tag}"', "Cache-Control": FOREVER if v and v == snapshot else ASK}
    if same(request, caching["ETag"]):
        return Response(status_code=304, headers=caching)
    started = perf_counter()

    def draw() -> Tile:
        return render.tile(
            store, what.name, moment, z, x, y, size=size, fmt=format, style=colours, memory=workspace.memory
        )

    drawn = workspace.pictures.get(tag, draw, lambda t: len(t.content) + 200)
    stages["draw"] = 1000 * (perf_counter() - started)
    # Chunks without any farm land stay as they are.
    missing = tuple(chunk for chunk in drawn.missing if store.occupied[chunk])
    if missing:
        _queue(request, place, missing, moment)
        caching |= {"Cache-Control": SOON, "X-Fieldflux-Missing": str(len(missing))}
    return Response(drawn.content, 200, caching, drawn.media_type)


def _begin(request: Request, place: Place) -> None:
    """Make the store, so that the next tile can say what it lacks."""
    workspace = workspace_of(request)
    _behind(request, ("store", place.cube.hash, place.card.id), lambda: workspace.queue(place))


def _queue(request: Request, place: Place, missing: Chunks, moment: date | int) -> None:
    year = moment if isinstance(moment, int) else moment.year
    workspace = workspace_of(request)

    def ask() -> None:
        queue = workspace.queue(place)
        for row, col in missing:
            queue.request(row, col, year)

    _behind(request, ("queue", place.cube.hash, place.card.id, year, missing), ask)


def _behind(request: Request, key: Hashable, work: Callable[[], object]) -> None:
    """Do work behind the answer, off the event loop: the first time, the model is loaded, which takes seconds."""
    # What fills the store will come to these chunks; computing them here as well would only slow it down.
    if request.app.state.filler.running:
        return
    workspace = workspace_of(request)

    def done(future: Future[object]) -> None:
        error = None if future.cancelled() else future.exception()
        workspace.trouble = str(error or "")
        if error is not None and problem_of(error) is None:
            workspace.trouble = "Computing in the background failed; the server's log says more."
            log.error("computing in the background failed", exc_info=error)

    request.app.state.flights.start(key, request.app.state.pool, work).add_done_callback(done)
