"""The harvest of a polygon, forecast within its season."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fieldflux.app.accounts.gate import charge
from fieldflux.app.accounts.policy import series_cost
from fieldflux.app.forecast import ForecastAsk, ForecastQuestion, forecast_of, forecast_question
from fieldflux.app.reply import dumps, workspace_of
from fieldflux.app.routes.soil import polygon_of

router = APIRouter(prefix="/v1", tags=["series"])

_SENT: dict[str, Any] = {"response_class": Response}


@router.post(
    "/forecast",
    summary="Yield of a polygon's crops, forecast on a day of the season",
    responses={200: {"content": {"application/json": {}}, "description": "Each crop's yield, with its interval"}},
    **_SENT,
)
async def forecast(request: Request, ask: ForecastAsk) -> Response:
    """Weather before `issue_day` is the season's own; from that day on it is that of each earlier year of the cube,
    each continued by every member of the model.

    Yields are at market moisture in t ha-1 and bushels per acre, and as carbon; `by_weather_year` tells what each
    earlier year's weather would make of the season, in t ha-1. Intervals are calibrated on left-out years for the time
    that is left to harvest. A crop sown in autumn is forecast in the year of its harvest.
    """
    asked = await to_thread.run_sync(_question, request, ask)
    charge(request, series_cost(1, 365.0))
    workspace = workspace_of(request)

    def work() -> bytes:
        return dumps(forecast_of(workspace, asked))

    body = await request.app.state.flights.run(("forecast", asked.key), request.app.state.pool, work)
    return Response(body, 200, {"Cache-Control": "no-store"}, "application/json")


def _question(request: Request, ask: ForecastAsk) -> ForecastQuestion:
    return forecast_question(workspace_of(request), ask, polygon_of(request, ask))
