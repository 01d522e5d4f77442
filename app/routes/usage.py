"""What a tenant has used, and what requests cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fieldflux.app.accounts.access import Access
from fieldflux.app.accounts.policy import COSTS
from fieldflux.app.accounts.used import used
from fieldflux.app.accounts.who import Caller, needs
from fieldflux.app.database import database_of
from fieldflux.app.members import Day
from fieldflux.app.problems import Refused
from fieldflux.app.reply import as_json, workspace_of

router = APIRouter(prefix="/v1", tags=["accounts"])

Reader = Annotated[Caller, Depends(needs("read"))]

LONGEST = 400


@router.get(
    "/usage",
    summary="Requests, cost and bytes by day and class of route",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}}},
)
async def usage(
    request: Request,
    who: Reader,
    first: Annotated[Day | None, Query(description="First day, UTC; 30 days ago without.")] = None,
    last: Annotated[Day | None, Query(description="Last day, included; today without.")] = None,
    key: Annotated[str, Query(description="Only of this key, by its id.", max_length=60)] = "",
) -> Response:
    """Of your tenant, with all its keys; a key without the scope `admin` sees its own. `allowance` is what this key has
    left, `costs` what each class of requests costs. It is written every two seconds."""
    today = datetime.now(UTC).date()
    until = last or today
    since = first or until - timedelta(days=30)
    days = (until - since).days + 1
    if not 1 <= days <= LONGEST:
        raise Refused("invalid-dates", f"Usage is given for 1 to {LONGEST} days; from {since} to {until} are {days}.")
    of = key if "admin" in who.scopes else who.key
    if key and of != key:
        raise Refused(
            "missing-scope", "A key sees its own usage; that of others needs the scope 'admin'.", scope="admin"
        )
    access: Access = request.app.state.access
    database = database_of(request)

    def work() -> list[dict[str, Any]]:
        access.meter.flush()
        return used(database, who.tenant, of, since, until)

    items = await to_thread.run_sync(work)
    rates = workspace_of(request).settings.rates
    allowance = None
    if access.allowances is not None and request.scope.get("fieldflux.who"):
        level, spent = access.allowances.state(request.scope["fieldflux.who"])
        allowance = {"burst_left": round(level, 3), "day_used": round(spent, 3)}
    body = {
        "tenant": who.tenant,
        "first": since,
        "last": until,
        "items": items,
        "total": {name: sum(item[name] for item in items) for name in ("requests", "cost", "bytes")},
        "rates": rates.model_dump(exclude={"by_address"}) if access.allowances is not None else None,
        "allowance": allowance,
        "costs": dict(COSTS),
    }
    return as_json(body, headers={"Cache-Control": "no-store"})
