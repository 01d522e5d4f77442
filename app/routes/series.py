"""Fluxes, yields and soil carbon over time, of a polygon, of many, or of registered fields."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fieldflux.app.accounts.costs import cost_of
from fieldflux.app.accounts.gate import charge
from fieldflux.app.accounts.who import caller
from fieldflux.app.address import PolygonQuery
from fieldflux.app.answer import Question, chunks_of, found_of, is_small
from fieldflux.app.ask import Ask
from fieldflux.app.collection import Collection, Feature, collection, features_of
from fieldflux.app.direct import DirectRoute
from fieldflux.app.formats.negotiate import FORMATS, format_of
from fieldflux.app.formats.write import written
from fieldflux.app.middleware import timing
from fieldflux.app.reply import same, workspace_of

if TYPE_CHECKING:
    from fieldflux.tiles.zonal import Shape

router = APIRouter(prefix="/v1", tags=["series"], route_class=DirectRoute)

DESCRIBED: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {found.media: {} for found in FORMATS.values()},
        "description": "Columns over `time`, with units and origin; of many, a member of `features` for each",
    },
}
FormatName = Annotated[
    str,
    Query(
        description=f"Format, instead of by `Accept`: {', '.join(FORMATS)}.",
        examples=["csv"],
        max_length=40,
        json_schema_extra={"enum": ["", *FORMATS]},
    ),
]


@router.post("/series", summary="Values over time of a field, or of many", response_class=Response, responses=DESCRIBED)
async def series(request: Request, ask: Ask, f: FormatName = "") -> Response:
    """Means over the field's cells, weighted by the exact area covered of each; totals in tonnes of carbon beside them.

    What the store holds is read; a field that it does not hold is computed on the spot. A region too large for that is
    queued, and answered with 503 and `Retry-After`. Of `features` or `fields`, each is answered by itself with its
    `status`: OK, PARTIAL (not all of its land or days have values) or FAILED (with the `problem`).
    """
    return await answer_to(request, ask, f)


@router.get(
    "/series",
    summary="Values over time of one field, by address",
    response_class=Response,
    responses={**DESCRIBED, 304: {"description": "The caller has it already"}},
)
async def series_by_address(
    request: Request,
    asked: Annotated[PolygonQuery, Query()],
) -> Response:
    """The same answer as POST /v1/series. It carries a strong `ETag` of the question and the store's snapshot: asked
    again with `If-None-Match`, it is answered with 304 before anything is read."""
    return await answer_to(request, asked.ask(asked.outline()), asked.f)


async def answer_to(request: Request, ask: Ask, f: str = "") -> Response:
    """The response to a question, in the format that the request asks for. A GET may be answered with 304."""
    from fieldflux.tiles.series import Unanswerable

    format = format_of(f or request.query_params.get("f", ""), request.headers.get("accept"))
    stages = timing(request.scope)
    started = perf_counter()
    asked = await _checked(request, ask)
    checked = perf_counter()
    stages["check"] = 1000 * (checked - started)
    answers, key = workspace_of(request).answers, ("series", asked.key, format.name)
    tag = f'"{hashlib.sha256(f"{key[1]} {format.name}".encode()).hexdigest()[:32]}"'
    reading = request.method in ("GET", "HEAD")
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "no-cache" if reading else "no-store"}
    if reading and same(request, tag):
        return Response(status_code=304, headers=headers)
    charge(request, cost_of(asked))

    def work() -> tuple[bytes, list[Feature]]:
        features = _read(asked)
        return written(asked, features, format), features

    # Of one polygon, so that an answer is a series or an error: a dashboard asks the same again and again.
    kept: bytes | None = answers.find(key) if asked.alone else None
    features: list[Feature] = []
    try:
        if kept is not None:
            body = kept
        elif asked.alone and is_small(_one(asked)) and format.name == "json" and not asked.request.statistics:
            body, features = work()
        else:
            body, features = await request.app.state.flights.run(key, request.app.state.pool, work)
    except Unanswerable as error:
        if error.code == "not-computed-yet":
            await to_thread.run_sync(have_computed, request, asked, error.chunks)
        raise
    if asked.alone and kept is None:
        answers.put(key, body, len(body) + 300)
    stages["series"] = 1000 * (perf_counter() - checked)
    late = [feature for feature in features if feature.problem and feature.problem.kind.slug == "not-computed-yet"]
    if late:
        chunks = sorted({chunk for feature in late for chunk in feature.chunks})
        await to_thread.run_sync(have_computed, request, asked, chunks)
        headers |= {"Retry-After": str(late[0].problem.kind.retry_after if late[0].problem else 10)}
    return Response(body, 200, headers, format.content_type)


async def _checked(request: Request, ask: Ask) -> Collection:
    workspace = workspace_of(request)
    if ask.geometry is not None:
        return collection(workspace, ask)
    # Databases block, and many outlines take their time.
    database = getattr(request.app.state, "database", None)
    return await to_thread.run_sync(collection, workspace, ask, database, caller(request).tenant)


def _read(asked: Collection) -> list[Feature]:
    if asked.alone:
        return [Feature(asked.given[0], found_of(_one(asked)))]
    return features_of(asked)


def _one(asked: Collection) -> Question:
    shape = asked.given[0].shape
    assert shape is not None
    return Question(asked.place, asked.source, asked.request, shape, asked.units)


def have_computed(request: Request, asked: Collection, chunks: Sequence[tuple[int, int, int]]) -> None:
    """Queue what a large question lacks, unless the filling comes to it anyway. Raises StoreReadOnly, StoreFull."""
    if request.app.state.filler.running:
        return
    workspace = workspace_of(request)
    queue = workspace.queue(asked.place)
    if asked.source.store is None:
        store = workspace.store_to_fill(asked.place)
        chunks = [c for shape in _shapes(asked) for c in chunks_of(_about(asked, shape), store)]
    for year, row, col in chunks:
        queue.request(row, col, year)


def _shapes(asked: Collection) -> list[Shape]:
    from fieldflux.tiles.zonal import BadGeometry, coverages

    shapes = [given.shape for given in asked.given if given.shape is not None]
    source = asked.source
    cube = source.cube
    found = coverages(
        shapes, cube.grid, cube.window, source.mask(), limits=source.limits, memory=source.memory, place=cube.hash
    )
    return [shape for shape, cover in zip(shapes, found, strict=True) if not isinstance(cover, BadGeometry)]


def _about(asked: Collection, shape: Shape) -> Question:
    from dataclasses import replace

    return Question(asked.place, asked.source, replace(asked.request, geometry=shape), shape)
