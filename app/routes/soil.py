"""Soil of a polygon: its carbon by depth, and its course under other management."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fieldflux.app.accounts.gate import charge
from fieldflux.app.accounts.policy import series_cost
from fieldflux.app.accounts.who import caller
from fieldflux.app.collection import Collection, Given
from fieldflux.app.problems import Refused
from fieldflux.app.reply import dumps, same, workspace_of
from fieldflux.app.routes.series import have_computed
from fieldflux.app.soil import (
    ScenarioAsk,
    SoilAsk,
    SoilQuestion,
    course_of,
    profile,
    profile_question,
    scenario_question,
)

router = APIRouter(prefix="/v1/soil", tags=["soil"])

_SENT: dict[str, Any] = {"response_class": Response}


@router.post(
    "/profile",
    summary="Soil organic carbon of a polygon by depth, and the processes that it results from",
    responses={
        200: {"content": {"application/json": {}}, "description": "Layers from the top down, with intervals"},
        304: {"description": "The caller has it already"},
    },
    **_SENT,
)
async def soil_profile(request: Request, ask: SoilAsk) -> Response:
    """Means over the polygon's cells, weighted by area, of soil at rest under the climate of the whole record.

    `stock` (gC m-2) and `density` (gC m-3) are of the layers `depth.top` to `depth.bottom`, whose stocks add up to
    `stocks`. It carries an `ETag`, as series do. A region too large to compute at once is queued, and answered with
    503 and `Retry-After`.
    """
    from fieldflux.tiles.question import Unanswerable

    asked = await to_thread.run_sync(_profile_question, request, ask)
    tag = f'"{asked.key[:32]}"'
    if same(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    charge(request, series_cost(1, float(len(asked.asked.request.variables))))

    def work() -> bytes:
        return dumps(profile(asked))

    try:
        body = await request.app.state.flights.run(("soil", asked.key), request.app.state.pool, work)
    except Unanswerable as error:
        if error.code == "not-computed-yet":
            one = asked.asked
            about = Collection(one.place, one.source, one.request, (Given(0, None, one.shape),), one.units, alone=True)
            await to_thread.run_sync(have_computed, request, about, error.chunks)
        raise
    return Response(body, 200, {"ETag": tag, "Cache-Control": "no-store"}, "application/json")


@router.post(
    "/scenario",
    summary="Change of soil organic carbon of a polygon under other tillage, residue or carbon input",
    responses={200: {"content": {"application/json": {}}, "description": "Columns over `year`, 0 being the present"}},
    **_SENT,
)
async def soil_scenario(request: Request, ask: ScenarioAsk) -> Response:
    """The soil rests under its present management; from there it goes on under what is given, year by year.

    `soc_change_30` and `soc_change_100` are gains since year 0 (gC m-2, tonnes in `total`), with intervals of the
    ensemble: each member's mean over the polygon first, their spread last. `balance` tells what entered and left.
    """
    asked = await to_thread.run_sync(_scenario_question, request, ask)
    charge(request, series_cost(1, 365.0 * ask.years))
    workspace = workspace_of(request)

    def work() -> bytes:
        return dumps(course_of(workspace, asked))

    body = await request.app.state.flights.run(("soil", asked.key), request.app.state.pool, work)
    return Response(body, 200, {"Cache-Control": "no-store"}, "application/json")


def _profile_question(request: Request, ask: SoilAsk) -> SoilQuestion:
    return profile_question(workspace_of(request), ask, polygon_of(request, ask))


def _scenario_question(request: Request, ask: ScenarioAsk) -> SoilQuestion:
    return scenario_question(workspace_of(request), ask, polygon_of(request, ask))


def polygon_of(request: Request, ask: SoilAsk) -> Any:
    """The polygon asked about, of the registry where it is a field. Raises Refused (unknown-field), DatabaseFault."""
    if ask.field is None:
        return ask.geometry
    from fieldflux.app.fields.find import by_ids
    from fieldflux.app.fields.register import unknown
    from shapely.geometry import mapping

    held = by_ids(request.app.state.database, caller(request).tenant, (ask.field,)).get(ask.field)
    if held is None:
        raise unknown(ask.field)
    if held.shape is None:
        raise Refused("not-found", f"The field '{ask.field}' has no outline.")
    return mapping(held.shape.geometry)
