"""How the server is: alive, ready, busy with what; which version it is."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fieldflux.app.accounts.access import Access, trouble
from fieldflux.app.accounts.who import caller
from fieldflux.app.database import Database
from fieldflux.app.fill import READY, Filler
from fieldflux.app.problems import problem_of, shorten_paths
from fieldflux.app.reply import as_json, workspace_of
from fieldflux.app.routes.catalog import CubeName, ModelName
from fieldflux.app.workspace import Workspace

router = APIRouter(tags=["health"])

_NEVER = {"Cache-Control": "no-store"}


@router.get("/livez", summary="Whether the process answers")
async def livez() -> Response:
    """It looks at nothing else; GET /readyz tells whether requests can be answered."""
    return as_json({"status": "alive"}, headers=_NEVER)


@router.get("/readyz", summary="Whether cubes, models and stores can be read, and what is being computed")
async def readyz(request: Request) -> Response:
    """200 when requests for the default cube and model can be answered; 503 with the reasons otherwise. With accounts
    on, names and reasons are for those who have a key."""
    workspace, filler = workspace_of(request), _filler(request)
    checks = await to_thread.run_sync(_checks, workspace)
    checks += await to_thread.run_sync(_kept, request.app.state.access, workspace.settings.jobs.lease_seconds)
    filling = filler.status
    # Without workers, jobs wait; all else goes on.
    ready = filling.state != "failed" and all(check["ok"] for check in checks if check["what"] != "jobs")
    if not caller(request).scopes:
        told = [{"what": check["what"], "ok": check["ok"]} for check in checks]
        return as_json({"status": "ready" if ready else "not ready", "checks": told}, 200 if ready else 503, _NEVER)
    return as_json(
        {
            "status": "ready" if ready else "not ready",
            "checks": checks,
            "fill": asdict(filling),
            "queue": _queue(workspace),
        },
        200 if ready else 503,
        _NEVER,
    )


@router.get("/v1/status", summary="What the server is busy with, in a sentence for people")
async def status(request: Request, cube: CubeName = "", model: ModelName = "") -> Response:
    """Cheap: a map may ask every two seconds while `busy`. `snapshot` changes when new tiles can be seen."""
    workspace, filling = workspace_of(request), _filler(request).status
    queue = _queue(workspace)
    found: dict[str, Any] = {**asdict(filling), "cube": None, "model": None, "snapshot": None, "queue": queue}
    try:
        place = workspace.place(cube, model)
        store = workspace.store(place)
        found |= {"cube": place.cube.id, "model": place.card.id, "snapshot": store.snapshot if store else None}
    except ValueError as error:
        if filling is READY:
            found |= {"state": "failed", "message": _sentence(error)}
    found["busy"] = found["state"] in ("building", "computing") or queue["waiting"] + queue["running"] > 0
    return as_json(found, headers=_NEVER)


@router.get("/version", summary="Versions of the server and of what it stands on")
async def versions() -> Response:
    """Of Fieldflux, Python and the libraries that numbers depend on."""
    libraries = ("torch", "numpy", "zarr", "tensorstore", "fastapi", "pyproj", "shapely", "exactextract")
    return as_json(
        {
            "fieldflux": version("fieldflux"),
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in libraries},
        }
    )


def _filler(request: Request) -> Filler:
    found: Filler = request.app.state.filler
    return found


def _queue(workspace: Workspace) -> dict[str, Any]:
    """What the background queues do, all together."""
    statuses = [queue.status() for queue in workspace.queues()]
    faults = [fault for s in statuses for fault in s.faults]
    if workspace.trouble:
        faults.append(workspace.trouble)
    return {
        "waiting": sum(s.queued for s in statuses),
        "running": sum(s.running is not None for s in statuses),
        "done": sum(s.done for s in statuses),
        "failed": [shorten_paths(fault) for fault in faults[-5:]],
    }


def _checks(workspace: Workspace) -> list[dict[str, Any]]:
    """The default cube and model, and every other one that is here."""
    found: list[dict[str, Any]] = []

    def check(what: str, name: str, look: Any) -> None:
        try:
            detail = look()
            found.append({"what": what, "name": name, "ok": True, "detail": detail or ""})
        except ValueError as error:
            found.append({"what": what, "name": name, "ok": False, "detail": _sentence(error)})

    def model() -> str:
        card = workspace.card()
        workspace.verify(card.id)
        return f"weights {card.weights_sha256[:12]}"

    check("model", workspace.settings.model, model)
    for name in workspace.cube_paths():
        check("cube", name, lambda name=name: f"{len(workspace.cube(name).years)} years")

    def store() -> str:
        held = workspace.store(workspace.place())
        return f"snapshot {held.snapshot}" if held else "nothing computed yet"

    check("store", workspace.settings.cube or "default", store)
    return found


def _kept(access: Access, lease_seconds: float) -> list[dict[str, Any]]:
    """The database, the keys in it, and the workers' signs of life."""
    database = access.meter.database
    found: list[dict[str, Any]] = []
    try:
        found.append({"what": "database", "name": "", "ok": True, "detail": database.check()})
        waiting, running, silent = _batches(database, lease_seconds)
    except ValueError as error:
        return [{"what": "database", "name": "", "ok": False, "detail": _sentence(error)}]
    if access.ring is not None:
        wrong = trouble(access)
        found.append({"what": "accounts", "name": "", "ok": not wrong, "detail": wrong or "on"})
    detail = f"{waiting} batches wait, {running} run"
    if silent:
        detail += f"; {silent} have had no sign of their worker for {2 * lease_seconds:.0f} s: is one running?"
    return [*found, {"what": "jobs", "name": "", "ok": not silent, "detail": detail}]


def _batches(database: Database, lease_seconds: float) -> tuple[int, int, int]:
    """Batches of jobs that wait, that run, and whose worker gave no sign long after its lease ran out."""
    from sqlalchemy import text

    query = text(
        "SELECT state, count(*), sum(CASE WHEN lease < :late THEN 1 ELSE 0 END) FROM job_batches GROUP BY state"
    )
    with database.read() as connection:
        rows = connection.execute(query, {"late": time.time() - lease_seconds})
        states = {row[0]: (int(row[1]), int(row[2] or 0)) for row in rows}
    return states.get("queued", (0, 0))[0], *states.get("running", (0, 0))


def _sentence(error: Exception) -> str:
    problem = problem_of(error)
    return problem.detail if problem else shorten_paths(str(error))
