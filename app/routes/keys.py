"""API keys of a tenant, and short-lived tokens for the addresses of map tiles."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fieldflux.app.accounts import keys as ring_keys
from fieldflux.app.accounts.access import Access
from fieldflux.app.accounts.doors import addresses
from fieldflux.app.accounts.keys import LONGEST_DAYS, LONGEST_LINK, TENANT, Hasher
from fieldflux.app.accounts.secret import secret_of
from fieldflux.app.accounts.tokens import LONGEST_MINUTES, Signer
from fieldflux.app.accounts.who import DOORS, OPERATOR, SCOPES, Caller, lacking, needs
from fieldflux.app.database import database_of
from fieldflux.app.paging import Cursor, PageLimit, from_cursor, page
from fieldflux.app.reply import as_json, workspace_of
from pydantic import BaseModel, ConfigDict, Field

router = APIRouter(prefix="/v1", tags=["accounts"])

Admin = Annotated[Caller, Depends(needs("admin"))]
Reader = Annotated[Caller, Depends(needs("read"))]
KeyId = Annotated[str, Path(description="The key's id", examples=["key_01kxyz"], max_length=60)]
OfTenant = Annotated[
    str,
    Query(description=f"Another tenant, for keys of the operator's own (`{OPERATOR}`); `*` for all.", max_length=64),
]

Scope = Annotated[str, Field(json_schema_extra={"enum": list(SCOPES)})]
Door = Annotated[str, Field(json_schema_extra={"enum": list(DOORS)})]

_NEVER = {"Cache-Control": "no-store"}
_JSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}}}}


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200, description="What it is for.", examples=["web map"])
    scopes: tuple[Scope, ...] = Field(
        default=("read",),
        max_length=20,
        description=f"What it allows: {', '.join(SCOPES)}. `read` gets, `fields` registers, `jobs` sends long work, "
        "`statements` makes carbon statements, `admin` keys.",
        examples=[["read", "fields"]],
    )
    days: int | None = Field(default=365, ge=1, le=LONGEST_DAYS, description="Days until it expires; null for never.")
    tenant: str = Field(
        default="",
        pattern=rf"^$|^{TENANT}$",
        description=f"Another tenant, for keys of the operator's own (`{OPERATOR}`); yours if empty.",
    )


class NewLink(BaseModel):
    """A link to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200, description="Who has it, or what for.", examples=["QGIS, Anna"])
    doors: tuple[Door, ...] = Field(
        default=("maps",),
        max_length=20,
        description=f"What it is for: {', '.join(DOORS)}. `maps`: tiles, legends, TileJSON, WMTS, OGC API - Tiles; "
        "`fields`: vector tiles and EDR locations of your fields; `series`: EDR; `stac`: the catalogue; "
        "`stores`: the stores as Zarr.",
        examples=[["maps", "stac"]],
    )
    days: int = Field(default=30, ge=1, le=LONGEST_LINK, description="Days until it expires.")
    tenant: str = Field(
        default="",
        pattern=rf"^$|^{TENANT}$",
        description=f"Another tenant, for keys of the operator's own (`{OPERATOR}`); yours if empty.",
    )


class NewToken(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minutes: int = Field(default=LONGEST_MINUTES, ge=1, le=LONGEST_MINUTES, description="How long it lasts.")


@router.post(
    "/keys",
    summary="Make an API key; it is shown this once",
    status_code=201,
    response_class=Response,
    responses={201: {"content": {"application/json": {}}, "description": "`key` is the key; it is not kept"}},
)
async def create(request: Request, who: Admin, given: NewKey) -> Response:
    """Send it as `Authorization: Bearer` or `X-API-Key`. Only a hash of it is kept: where it is lost, make another."""
    tenant = _tenant(who, given.tenant)
    hasher, database = _hasher(request), database_of(request)

    def work() -> tuple[ring_keys.Key, str]:
        return ring_keys.create(database, hasher, tenant, given.name, given.scopes, given.days)

    key, text = await to_thread.run_sync(work)
    return as_json({**ring_keys.as_json(key), "key": text}, 201, {**_NEVER, "Location": f"/v1/keys/{key.id}"})


@router.get("/keys", summary="Your keys, page by page", response_class=Response, responses=_JSON)
async def list_keys(
    request: Request, who: Admin, limit: PageLimit = 100, cursor: Cursor = "", tenant: OfTenant = ""
) -> Response:
    """All that were made, with their state (active, expired, revoked) and when each was last used."""
    after = from_cursor(cursor)
    chosen = None if tenant == "*" and who.is_operator else _tenant(who, tenant)
    database = database_of(request)

    def work() -> list[ring_keys.Key]:
        return ring_keys.listed(database, chosen, limit + 1, str(after[0]) if after else "")

    found = await to_thread.run_sync(work)
    shown = page([ring_keys.as_json(key) for key in found], limit, lambda item: (item["id"],))
    return as_json(shown, headers=_NEVER)


@router.get("/keys/{key}", summary="A key, without the key itself", response_class=Response, responses=_JSON)
async def get_key(request: Request, who: Admin, key: KeyId) -> Response:
    """Its scopes, state (active, expired, revoked) and when it was last used."""
    found = await to_thread.run_sync(ring_keys.one, database_of(request), _own(who), key)
    return as_json(ring_keys.as_json(found), headers=_NEVER)


@router.delete("/keys/{key}", summary="Revoke a key", response_class=Response, responses=_JSON)
async def revoke(request: Request, who: Admin, key: KeyId) -> Response:
    """It is refused from now on, here at once, by other servers of the same database within ten seconds. It stays in
    the list, as its usage does. Tokens that were made with it fall with it."""
    found = await to_thread.run_sync(ring_keys.revoke, database_of(request), _own(who), key)
    access: Access = request.app.state.access
    if access.ring is not None:
        access.ring.forget()
    return as_json(ring_keys.as_json(found), headers=_NEVER)


@router.post(
    "/links",
    summary="A link for GIS programs, which cannot send a key: a token for the addresses of maps and catalogues",
    status_code=201,
    response_class=Response,
    responses={201: {"content": {"application/json": {}}, "description": "`token`, shown this once, and addresses"}},
)
async def link(request: Request, who: Admin, given: NewLink) -> Response:
    """Addresses with `?token=` open in QGIS and other programs; those in their answers carry it on. A link only reads
    what it is for, shows no key, and ends. GET /v1/keys lists it, DELETE /v1/keys/{id} revokes it."""
    tenant = _tenant(who, given.tenant)
    hasher, database = _hasher(request), database_of(request)
    signer = Signer(hasher.secret)

    def work() -> tuple[ring_keys.Key, str]:
        return ring_keys.create_link(database, hasher, signer, tenant, given.name, given.doors, given.days)

    key, text = await to_thread.run_sync(work)
    root = str(request.base_url).rstrip("/")
    told = {**ring_keys.as_json(key), "token": text, "addresses": addresses(root, key.doors, text)}
    return as_json(told, 201, {**_NEVER, "Location": f"/v1/keys/{key.id}"})


@router.post(
    "/tokens",
    summary="A token for the addresses of map tiles",
    status_code=201,
    response_class=Response,
    responses={201: {"content": {"application/json": {}}, "description": "`token`, for `?token=`, and when it ends"}},
)
async def token(request: Request, who: Reader, given: NewToken | None = None) -> Response:
    """For map programs that cannot send a header: `?token=` with tiles, legends, TileJSON, WMTS and OGC API - Tiles,
    whose addresses then carry it on. It reads, for an hour at most, and falls with the key that it was made with.
    POST /v1/links makes one that lasts longer."""
    asked = given or NewToken()
    until = int(time.time()) + 60 * asked.minutes
    access: Access = request.app.state.access
    # With accounts off, nobody asks for it; a program that does everything the same way gets one all the same.
    signer = access.ring.signer if access.ring is not None else Signer(_hasher(request).secret)
    ends = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return as_json({"token": signer.token(who.key, until), "expires": ends, "scopes": ["read"]}, 201, _NEVER)


def _tenant(who: Caller, asked: str) -> str:
    if not asked or asked == who.tenant:
        return who.tenant
    if not who.is_operator:
        raise lacking("admin")
    return asked


def _own(who: Caller) -> str | None:
    return None if who.is_operator else who.tenant


def _hasher(request: Request) -> Hasher:
    access: Access = request.app.state.access
    if access.ring is not None:
        return access.ring.hasher
    settings = workspace_of(request).settings
    return Hasher(secret_of(settings.home, settings.secret.get_secret_value()))
