"""Who calls: a tenant, the key used and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from fieldflux.app.problems import Refused

SCOPES: tuple[str, ...] = ("read", "fields", "jobs", "statements", "admin")
ALL_SCOPES: frozenset[str] = frozenset(SCOPES)

DOORS: tuple[str, ...] = ("maps", "fields", "series", "stac", "stores")
"""What a token in an address can be for: maps (tiles, legends, TileJSON, WMTS, OGC API - Tiles), registered fields
(vector tiles, EDR locations), series (EDR), the STAC catalogue, the stores (Zarr)."""
SHORT_DOORS: frozenset[str] = frozenset({"maps", "fields"})
"""What a token that lasts an hour at most is for."""
LINK = "link:"
"""Before a door, among the scopes of a key that is a link."""

OPERATOR = "local"
"""The tenant of whoever runs the server: what was registered without accounts is theirs, and they may make keys for
other tenants."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request this is. tenant: every row of theirs carries it. key: id of the key, empty with accounts off.

    token: the signed token that was given in the address instead of a key, or empty. doors: what that is for.
    """

    tenant: str
    key: str
    scopes: frozenset[str]
    token: str = ""
    doors: frozenset[str] = frozenset()

    @property
    def is_operator(self) -> bool:
        return self.tenant == OPERATOR and "admin" in self.scopes


LOCAL = Caller(OPERATOR, "", ALL_SCOPES)
"""With accounts off, the one local tenant, who may do everything."""

NOBODY = Caller("", "", frozenset())
"""A caller without a key at an address that needs none."""


def caller(request: Request) -> Caller:
    """The caller of a request, as `gate.Gate` found them."""
    # No fallback: where the gate was passed by, nobody may do anything.
    found: Caller = request.scope["fieldflux.caller"]
    return found


def needs(scope: str) -> Callable[[Request], Caller]:
    """A dependency: the caller, who must have this scope. Raises Refused (missing-scope).

    `who: Annotated[Caller, Depends(needs("fields"))]`
    """

    def allowed(request: Request) -> Caller:
        found = caller(request)
        if scope not in found.scopes:
            raise lacking(scope)
        return found

    return allowed


def lacking(scope: str) -> Refused:
    """What is answered to a key without a scope that it needs."""
    error = Refused("missing-scope", f"This needs a key with the scope '{scope}'; this one has not.", scope=scope)
    error.headers = {"WWW-Authenticate": f'Bearer realm="fieldflux", error="insufficient_scope", scope="{scope}"'}
    return error


def carried(request: Request) -> dict[str, str]:
    """Query parameters that addresses in an answer need to work as this request did: its token, where it had one."""
    found = caller(request)
    return {"token": found.token} if found.token else {}
