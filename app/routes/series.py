"""A field's fluxes, yields and soil carbon over time."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fieldflux.app.answer import Question, answered, chunks_of, is_small, question
from fieldflux.app.ask import Ask
from fieldflux.app.middleware import timing
from fieldflux.app.reply import as_json, workspace_of

router = APIRouter(prefix="/v1", tags=["series"])


@router.post(
    "/series",
    summary="Daily, monthly or yearly values of a field",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}, "description": "Columns over `time`, with units and origin"}},
)
async def series(request: Request, ask: Ask) -> Response:
    """Means over the field's cells, weighted by the exact area covered of each; totals in tonnes of carbon beside them.

    What the store holds is read; a field that it does not hold is computed on the spot. A region too large for that is
    queued, and answered with 503 and `Retry-After`.
    """
    from fieldflux.tiles.series import Unanswerable

    stages = timing(request.scope)
    workspace = workspace_of(request)
    started = perf_counter()
    asked = question(workspace, ask)
    small = is_small(asked)
    checked = perf_counter()
    stages["check"] = 1000 * (checked - started)
    try:
        if small:
            found = answered(asked)
        else:
            key = ("series", asked.key)
            found = await request.app.state.flights.run(key, request.app.state.pool, lambda: answered(asked))
    except Unanswerable as error:
        if error.code == "not-computed-yet":
            await to_thread.run_sync(_queue, request, asked, error.chunks)
        raise
    stages["series"] = 1000 * (perf_counter() - checked)
    return as_json(found, headers={"Cache-Control": "no-store"})


def _queue(request: Request, asked: Question, chunks: Any) -> None:
    """Queue what a large question lacks, unless the filling comes to it anyway. Raises StoreReadOnly, StoreFull."""
    if request.app.state.filler.running:
        return
    workspace = workspace_of(request)
    queue = workspace.queue(asked.place)
    if asked.source.store is None:
        chunks = chunks_of(asked, workspace.store_to_fill(asked.place))
    for year, row, col in chunks:
        queue.request(row, col, year)
