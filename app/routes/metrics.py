"""Metrics for Prometheus."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fieldflux.app.accounts.who import caller, lacking
from fieldflux.app.observe.metrics import MEDIA, Metrics
from fieldflux.app.problems import Refused
from fieldflux.app.reply import workspace_of

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Metrics, for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}},
)
async def metrics(request: Request) -> Response:
    """Of this process: time by route and by stage, caches, reads of stores, queues, jobs, memory. With accounts on, for
    admin keys of the operator's tenant; or, on a port of its own (FIELDFLUX_METRICS_PORT), for whoever reaches that."""
    if workspace_of(request).settings.metrics_port:
        raise Refused("not-found", "Metrics are on a port of their own here.")
    if not caller(request).is_operator:
        raise lacking("admin")
    found: Metrics = request.app.state.metrics
    return Response(await to_thread.run_sync(found.text), headers={"Cache-Control": "no-store"}, media_type=MEDIA)
