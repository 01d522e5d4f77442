"""Carbon statements: made and signed, read, corrected by others, verified; and the public keys."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from fieldflux.app.accounts.access import Access
from fieldflux.app.accounts.costs import cells_of
from fieldflux.app.accounts.gate import charge
from fieldflux.app.accounts.policy import series_cost
from fieldflux.app.accounts.secret import Secret, secret_of
from fieldflux.app.accounts.who import Caller, needs
from fieldflux.app.carbon.asked import StatementAsk
from fieldflux.app.database import database_of
from fieldflux.app.paging import Cursor, PageLimit, from_cursor, page
from fieldflux.app.problems import Refused
from fieldflux.app.reply import as_json, cached, same, workspace_of
from fieldflux.app.routes.series import have_computed

router = APIRouter(tags=["carbon statements"])

Maker = Annotated[Caller, Depends(needs("statements"))]
Reader = Annotated[Caller, Depends(needs("read"))]
StatementId = Annotated[str, Path(description="The statement's id", examples=["stm_01kxyz"], max_length=60)]
Recompute = Annotated[bool, Query(description="Also compute it again from the inputs here, and compare.")]

_NEVER = {"Cache-Control": "no-store"}
_JSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}}}}


@router.post(
    "/v1/statements",
    summary="Make a signed statement of the change of soil carbon of fields",
    status_code=201,
    response_class=Response,
    responses={
        201: {"content": {"application/json": {}}, "description": "The statement, as it is signed and kept"},
        200: {"content": {"application/json": {}}, "description": "The one that the same Idempotency-Key made before"},
    },
)
async def make_statement(
    request: Request,
    who: Maker,
    ask: StatementAsk,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="A text of your own. Sent again with the same body, it gives the same statement.",
            min_length=1,
            max_length=200,
        ),
    ] = None,
) -> Response:
    """Of a project over its baseline (`scenario`), or of years that have been (`years`). It holds the numbers with
    their standard errors, the inputs of a deduction, what the model's card says of its skill, and hashes of all it was
    made from. It is never changed: a correction is another statement that `supersedes` it. It issues no credits."""
    from fieldflux.app.carbon.figures import NotYet

    body, secret = await request.body(), _secret(request)

    def work() -> tuple[Any, bytes, bool]:
        made = _make(request, who.tenant, ask, idempotency_key, body, secret)
        return made.id, made.content, made.new

    try:
        id, content, new = await to_thread.run_sync(work)
    except NotYet as error:
        await to_thread.run_sync(have_computed, request, error.asked, error.chunks)
        raise
    headers = {**_NEVER, "Location": f"/v1/statements/{id}"}
    return Response(content, 201 if new else 200, headers, "application/json")


def _make(request: Request, tenant: str, ask: StatementAsk, key: str | None, body: bytes, secret: Secret) -> Any:
    from fieldflux.app.carbon import book
    from fieldflux.app.carbon.land import parcels
    from fieldflux.app.carbon.rulesets import ruleset
    from fieldflux.app.carbon.statement import check_use
    from fieldflux.app.jobs.book import body_hash
    from fieldflux.tiles.zonal import Limits

    workspace, database = workspace_of(request), database_of(request)
    said = body_hash(body)
    if key is not None and (before := book.known(database, tenant, key, said)) is not None:
        return before
    limits = workspace.settings.limits
    check_use(workspace, ask, ruleset(ask.ruleset, workspace.settings.home))
    land = parcels(ask, Limits(limits.vertices, limits.area_km2), limits.statement_features, database, tenant)
    _charge(request, [parcel.shape for parcel in land], ask)
    return book.make(workspace, database, secret, tenant, ask, land, key, said)


def _charge(request: Request, shapes: list[Any], ask: StatementAsk) -> None:
    cells = sum(cells_of(shape, 0.0625) for shape in shapes)
    years = 2 * ask.scenario.years if ask.scenario else 2 * len(ask.years or ())
    charge(request, series_cost(len(shapes), cells * 365 * years))


@router.get("/v1/statements", summary="Your statements, page by page", response_class=Response, responses=_JSON)
async def list_statements(
    request: Request,
    who: Reader,
    limit: PageLimit = 100,
    cursor: Cursor = "",
    superseded: Annotated[bool, Query(description="Also those that were corrected since.")] = True,
) -> Response:
    """The newest first. `superseded_by` names the statement that corrects one."""
    before = from_cursor(cursor)
    database = database_of(request)

    def work() -> list[dict[str, Any]]:
        from fieldflux.app.carbon import book

        return book.page(database, who.tenant, limit + 1, str(before[0]) if before else "", superseded)

    found = await to_thread.run_sync(work)
    return as_json(page(found, limit, lambda item: (item["id"],)), headers=_NEVER)


@router.get(
    "/v1/statements/rulesets",
    summary="Rulesets that statements may follow",
    response_class=Response,
    responses=_JSON,
)
async def list_rulesets(request: Request, _: Reader) -> Response:
    """With their equations, constants and what each use of a statement needs, as their files have it."""
    from fieldflux.app.carbon.rulesets import rulesets

    home = workspace_of(request).settings.home
    found = await to_thread.run_sync(rulesets, home)
    return cached(request, {"rulesets": [{**r.as_json(), "content": dict(r.content)} for r in found.values()]})


@router.post(
    "/v1/statements/verify",
    summary="Verify a statement: its signature, and whether its numbers come out again",
    response_class=Response,
    responses=_JSON,
)
async def verify_statement(
    request: Request,
    _: Reader,
    statement: Annotated[dict[str, Any], Body(description="The statement, as it was given out")],
    recompute: Recompute = True,
) -> Response:
    """`good` is true where the signature fits a key of this server and every number came out again. What differs is
    listed by its place in the document. `fieldflux verify` does the same without this server."""
    from fieldflux.app.carbon.verify import check_form

    check_form(statement)
    return await _verified(request, statement, recompute)


@router.get(
    "/v1/statements/{statement}",
    summary="A statement, as it was signed",
    response_class=Response,
    responses={**_JSON, 304: {"description": "The caller has it already"}},
)
async def get_statement(request: Request, who: Reader, statement: StatementId) -> Response:
    """Byte for byte what was signed, also once another one corrects it: `Link` then names that one."""
    from fieldflux.app.carbon import book

    held = await to_thread.run_sync(book.one, database_of(request), who.tenant, statement)
    headers = {"ETag": f'"{held.sha256[:32]}"', "Cache-Control": "private, no-cache"}
    if held.successor is not None:
        headers["Link"] = f'</v1/statements/{held.successor}>; rel="successor-version"'
    if same(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(held.content, 200, headers, "application/json")


@router.get(
    "/v1/statements/{statement}/table.csv",
    summary="A statement as a table, for registries",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}, "description": "A row for each field, then the row `total`"}},
)
async def statement_table(request: Request, who: Reader, statement: StatementId) -> Response:
    """Errors of fields do not add up to the error of all: what counts is the row `total`."""
    from fieldflux.app.carbon import book
    from fieldflux.app.carbon.table import as_csv

    held = await to_thread.run_sync(book.one, database_of(request), who.tenant, statement)
    headers = {**_NEVER, "Content-Disposition": f'attachment; filename="{held.id}.csv"'}
    return Response(as_csv(held.document), 200, headers, "text/csv; charset=utf-8")


@router.get(
    "/v1/statements/{statement}/verification",
    summary="Whether a statement of yours comes out again",
    response_class=Response,
    responses=_JSON,
)
async def statement_verification(
    request: Request, who: Reader, statement: StatementId, recompute: Recompute = True
) -> Response:
    """As POST /v1/statements/verify."""
    from fieldflux.app.carbon import book

    held = await to_thread.run_sync(book.one, database_of(request), who.tenant, statement)
    return await _verified(request, held.document, recompute)


@router.get(
    "/.well-known/jwks.json",
    summary="Public keys that statements are signed with (RFC 7517)",
    response_class=Response,
    responses=_JSON,
)
async def public_keys(request: Request) -> Response:
    """All that ever signed here; `retired` where a key signs no more: what it signed before stays good."""
    from fieldflux.app.carbon import book

    keys = await to_thread.run_sync(book.public_keys, database_of(request))
    return as_json({"keys": keys}, headers={"Cache-Control": "public, max-age=300"})


async def _verified(request: Request, said: dict[str, Any], recompute: bool) -> Response:
    from fieldflux.app.carbon import book
    from fieldflux.app.carbon.verify import verified

    workspace, database = workspace_of(request), database_of(request)
    if recompute:
        charge(request, _cost_again(said))

    def work() -> dict[str, Any]:
        return verified(said, book.public_keys(database), workspace if recompute else None).as_json()

    try:
        return as_json(await to_thread.run_sync(work), headers=_NEVER)
    except RecursionError:
        raise Refused("invalid-request", "The statement is nested too deeply to be one.") from None


def _cost_again(said: dict[str, Any]) -> float:
    """As making it; by what it says of itself, which is checked when it is computed again."""
    fields = said["fields"] if isinstance(said["fields"], list) else []
    cells = [f.get("cell_count") for f in fields if isinstance(f, dict)]
    years = said["period"].get("years") if isinstance(said.get("period"), dict) else None
    known = [float(n) for n in (*cells, years) if isinstance(n, int | float)]
    return series_cost(len(fields), sum(known[:-1] or [1.0]) * 730 * min(known[-1] if known else 1.0, 100.0))


def _secret(request: Request) -> Secret:
    access: Access = request.app.state.access
    if access.ring is not None:
        return access.ring.secret
    settings = workspace_of(request).settings
    return secret_of(settings.home, settings.secret.get_secret_value())
