"""Jobs: series of thousands of fields, runs of regions, exports; with progress, results while they run, and resume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fieldflux.app.accounts.gate import charge
from fieldflux.app.accounts.policy import check_cost, job_cost
from fieldflux.app.accounts.who import Caller, needs
from fieldflux.app.database import Database, database_of
from fieldflux.app.jobs.asked import Job, body_schema, read_job
from fieldflux.app.jobs.files import MEDIA
from fieldflux.app.paging import Cursor, PageLimit, from_cursor, to_cursor
from fieldflux.app.problems import Refused
from fieldflux.app.reply import as_json, same, workspace_of
from fieldflux.app.workspace import Workspace
from starlette.responses import FileResponse

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

Owner = Annotated[Caller, Depends(needs("jobs"))]
JobId = Annotated[str, Path(description="The job's id", examples=["job_01kxyz"], max_length=60)]
State = Literal["", "queued", "running", "paused", "done", "failed", "cancelled"]
Ending = Annotated[
    Literal["parquet", "csv", "ndjson", "json", "netcdf", "nc"], Path(description="Format, as the ending of a file")
]

_NEVER = {"Cache-Control": "no-store"}
_JSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}}}}


def _file_of(*endings: str) -> dict[int | str, dict[str, Any]]:
    media: dict[str, Any] = {MEDIA[ending].split(";")[0]: {} for ending in endings}
    return {
        200: {"content": media, "description": "The file"},
        206: {"content": media, "description": "The part of it that `Range` asks for"},
        304: {"description": "The caller has it already"},
        416: {"content": {"text/plain": {}}, "description": "The file has no such part"},
    }


_SQUARE: Any = {
    "type": "Polygon",
    "coordinates": [[[-93.66, 42.03], [-93.65, 42.03], [-93.65, 42.036], [-93.66, 42.036], [-93.66, 42.03]]],
}
_EXAMPLES: dict[str, Any] = {
    "series": {
        "kind": "series",
        "features": {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "id": "north-40", "geometry": _SQUARE, "properties": {}}],
        },
        "variables": ["nee", "yield", "delta_soc"],
        "step": "year",
        "format": "parquet",
    },
    "registered": {"kind": "series", "query": {"properties": {"crop": "corn"}}, "years": [2021], "step": "month"},
    "run": {"kind": "run", "years": [2020, 2021], "bbox": [-93.7, 42.0, -93.6, 42.1]},
    "export": {"kind": "export", "variable": "nee", "years": [2021], "step": "month", "format": "geotiff"},
}


def _body() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    named = {name: {"value": value} for name, value in _EXAMPLES.items()}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": body_schema(), "examples": named},
                "application/geo+json": {"schema": {"type": "object"}},
                "application/vnd.apache.parquet": binary,
                "application/zip": binary,
            },
        }
    }


@router.post(
    "",
    summary="Send a job, or ask what it would cost",
    response_class=Response,
    status_code=202,
    responses={
        200: {
            "content": {"application/json": {}},
            "description": "With `dry_run`: cost and checks. Or: the job that the same Idempotency-Key made before",
        },
        202: {"content": {"application/json": {}}, "description": "The job is queued; `Location` is its address"},
    },
    openapi_extra=_body(),
)
async def create(
    request: Request,
    who: Owner,
    dry_run: Annotated[bool, Query(description="Check everything and tell the cost; nothing is kept.")] = False,
    ask: Annotated[
        str,
        Query(
            description="The job as JSON, where the body is a file of fields: GeoJSON, GeoParquet or a zipped "
            "shapefile.",
            examples=['{"kind": "series", "years": [2021], "step": "year"}'],
            max_length=6_000,
        ),
    ] = "",
    idempotency_key: Annotated[
        str | None,
        Header(
            description="A text of your own. Sent again with the same body, it gives the same job.",
            min_length=1,
            max_length=200,
        ),
    ] = None,
) -> Response:
    """Everything is checked before it is queued: what is wrong with all of it is a problem; what is wrong with some
    features is told in `rejected`, and they are answered as FAILED. The secret of a webhook is told here, and never
    again."""
    body = await request.body()
    workspace, database = workspace_of(request), database_of(request)

    def work() -> tuple[dict[str, Any], int]:
        return _create(workspace, database, who.tenant, body, ask, dry_run, idempotency_key, partial(charge, request))

    told, status = await to_thread.run_sync(work)
    if status == 202:
        request.app.state.keeper.wake()
    headers = dict(_NEVER) if dry_run else {**_NEVER, "Location": f"/v1/jobs/{told['id']}"}
    return as_json(told, status, headers)


def _create(
    workspace: Workspace,
    database: Database,
    tenant: str,
    body: bytes,
    ask: str,
    dry_run: bool,
    key: str | None,
    pay: Callable[[float], None],
) -> tuple[dict[str, Any], int]:
    from fieldflux.app.jobs import book, hook
    from fieldflux.app.jobs.plan import plan

    said = book.body_hash(ask, body)
    if key is not None and not dry_run:
        before = book.known(database, tenant, key, said)
        if before is not None:
            return book.one(database, tenant, before), 200
    job, features = _read(workspace, body, ask)
    if job.webhook is not None:
        hook.check_url(job.webhook.url, workspace.settings.webhook_hosts)
    planned = plan(workspace, database, tenant, job, features)
    units = job_cost(planned.cost)
    pay(check_cost(planned.cost) if dry_run else units)
    if dry_run:
        return {
            "kind": job.kind,
            "unit": planned.unit,
            "items": planned.items,
            "cost": {**planned.cost, "units": round(units, 3)},
            "rejected": list(planned.rejected),
        }, 200
    made = book.make(workspace.settings, database, tenant, job, planned, key, said)
    told = book.one(database, tenant, made.id)
    if made.secret and told["webhook"]:
        told["webhook"] |= {"secret": made.secret}
    return told, 202 if made.new else 200


def _read(workspace: Workspace, body: bytes, ask: str) -> tuple[Job, list[Any] | None]:
    """The job and, where the body is a file, its features."""
    from fieldflux.app.fields.uploads import read_features

    limits = workspace.settings.limits.model_copy(update={"features": workspace.settings.jobs.features})
    if ask:
        job = read_job(ask.encode())
        if job.kind != "series":
            raise Refused(
                "invalid-request", f"A job of the kind '{job.kind}' has no file of fields: send it as the body."
            )
        return job, read_features(body, limits)
    if body[:4] in (b"PAR1", b"PK\x03\x04"):
        raise Refused(
            "invalid-request", "The body is a file of fields. What is asked of them goes into `?ask=`, as JSON."
        )
    return read_job(body), None


@router.get("", summary="Your jobs, page by page", response_class=Response, responses=_JSON)
async def list_jobs(
    request: Request,
    who: Owner,
    limit: PageLimit = 100,
    cursor: Cursor = "",
    state: Annotated[State, Query(description="Only those in this state.")] = "",
    kind: Annotated[Literal["", "series", "run", "export"], Query(description="Only those of this kind.")] = "",
) -> Response:
    """The newest first."""
    before = from_cursor(cursor)
    database = database_of(request)

    def work() -> dict[str, Any]:
        from fieldflux.app.jobs import book

        found = book.page(database, who.tenant, limit + 1, str(before[0]) if before else "", state, kind)
        more = len(found) > limit
        return {"items": found[:limit], "next": to_cursor(found[limit - 1]["id"]) if more else None}

    return as_json(await to_thread.run_sync(work), headers=_NEVER)


@router.get("/{job}", summary="A job: its state, progress, counts and links", response_class=Response, responses=_JSON)
async def get_job(request: Request, who: Owner, job: JobId) -> Response:
    """`progress` counts what is done and kept, by items. `eta` is worked out from the pace so far."""
    database = database_of(request)

    def work() -> dict[str, Any]:
        from fieldflux.app.jobs import book

        return book.one(database, who.tenant, job)

    told = await to_thread.run_sync(work)
    wait = {"Retry-After": str(max(1, min(30, round(told["seconds_left"] or 1))))}
    return as_json(told, headers={**_NEVER, **(wait if told["state"] in ("queued", "running") else {})})


@router.post("/{job}/cancel", summary="Stop a job; what is done is kept", response_class=Response, responses=_JSON)
async def cancel(request: Request, who: Owner, job: JobId) -> Response:
    """At once: a batch that is in hand is not counted any more."""
    return await _change(request, who, job, "cancel")


@router.post("/{job}/resume", summary="Let a paused or failed job go on", response_class=Response, responses=_JSON)
async def resume(request: Request, who: Owner, job: JobId) -> Response:
    """With what is not done yet."""
    return await _change(request, who, job, "resume")


async def _change(request: Request, who: Caller, job: str, how: str) -> Response:
    workspace, database = workspace_of(request), database_of(request)

    def work() -> dict[str, Any]:
        from fieldflux.app.jobs import book

        book.change(workspace.settings, database, who.tenant, job, how)
        return book.one(database, who.tenant, job)

    told = await to_thread.run_sync(work)
    request.app.state.keeper.wake()
    return as_json(told, headers=_NEVER)


@router.delete("/{job}", summary="Cancel a job and delete its results", status_code=204, response_class=Response)
async def delete(request: Request, who: Owner, job: JobId) -> Response:
    """For good: results, files and what is known of it."""
    workspace, database = workspace_of(request), database_of(request)

    def work() -> None:
        from fieldflux.app.jobs import book

        book.remove(workspace.settings, database, who.tenant, job)

    await to_thread.run_sync(work)
    return Response(status_code=204)


@router.get(
    "/{job}/results", summary="Results, page by page, also while the job runs", response_class=Response, responses=_JSON
)
async def results(request: Request, who: Owner, job: JobId, limit: PageLimit = 100, cursor: Cursor = "") -> Response:
    """Of a series job: the answers of features, in order, as far as all before them are done. `next` is null when all
    have been given; while the job runs, the same cursor gives more later. Of other jobs: their files."""
    after = from_cursor(cursor, int, 2)
    workspace, database = workspace_of(request), database_of(request)

    def work() -> dict[str, Any]:
        from fieldflux.app.jobs.results import page

        at = (after[0], after[1]) if after else (0, 0)
        return page(workspace.settings.home, database, who.tenant, job, at, limit)

    told = await to_thread.run_sync(work)
    wait = {"Retry-After": "2"} if not told["complete"] and not told["items"] else {}
    return as_json(told, headers={**_NEVER, **wait})


@router.get("/{job}/failures", summary="Items that failed, with the reasons", response_class=Response, responses=_JSON)
async def failures(request: Request, who: Owner, job: JobId, limit: PageLimit = 100, cursor: Cursor = "") -> Response:
    """As far as the job is."""
    after = from_cursor(cursor, int, 2)
    database = database_of(request)

    def work() -> dict[str, Any]:
        from fieldflux.app.jobs import book

        begin = (after[0], after[1]) if after else (-1, -1)
        with database.read() as connection:
            row = book.row_of(connection, who.tenant, job)
            found = book.failures(connection, row["id"], begin, limit + 1)
        more = len(found) > limit
        shown = found[:limit]
        return {"items": [each for _, _, each in shown], "next": to_cursor(*shown[-1][:2]) if more else None}

    return as_json(await to_thread.run_sync(work), headers=_NEVER)


@router.get("/{job}/deliveries", summary="Messages to the job's webhook", response_class=Response, responses=_JSON)
async def deliveries(request: Request, who: Owner, job: JobId) -> Response:
    """Each with its tries, the last answer, and whether it arrived."""
    database = database_of(request)

    def work() -> dict[str, Any]:
        from fieldflux.app.jobs import book

        return {"items": book.deliveries_of(database, who.tenant, job), "next": None}

    return as_json(await to_thread.run_sync(work), headers=_NEVER)


@router.get(
    "/{job}/results.{ending}",
    summary="Results as one file, also while the job runs",
    responses=_file_of("parquet", "csv", "ndjson", "json", "nc"),
    response_class=Response,
)
async def results_file(request: Request, who: Owner, job: JobId, ending: Ending) -> Response:
    """Of a series job, with `Range`. While it runs, the file holds what is done so far, and `X-Fieldflux-Complete` is
    false. NetCDF can be had where it was asked for when the job was sent."""
    return await _file(request, who, job, "", "netcdf" if ending == "nc" else ending)


@router.get(
    "/{job}/results/{name}",
    summary="A file of a job that is done",
    responses=_file_of("tif", "zip", "nc"),
    response_class=Response,
)
async def named_file(
    request: Request,
    who: Owner,
    job: JobId,
    name: Annotated[str, Path(description="Name, as `links.files` has it.", examples=["nee-2021.tif"], max_length=200)],
) -> Response:
    """With `Range`: a GeoTIFF can be opened where it lies."""
    return await _file(request, who, job, name, "")


async def _file(request: Request, who: Caller, job: str, name: str, format: str) -> Response:
    workspace, database = workspace_of(request), database_of(request)

    def work() -> Any:
        from fieldflux.app.jobs import results

        home = workspace.settings.home
        if format:
            return results.series_file(home, database, who.tenant, job, format)
        return results.named(home, database, who.tenant, job, name)

    key = ("job", who.tenant, job, name, format)
    found = await request.app.state.flights.run(key, request.app.state.pool, work)
    tag = f'"{hashlib.sha256(found.key.encode()).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "X-Fieldflux-Complete": "true" if found.complete else "false",
    }
    if same(request, tag):
        return Response(status_code=304, headers=headers)
    return FileResponse(found.path, 200, headers, found.media, filename=found.name)
