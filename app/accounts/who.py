"""Who calls: a tenant, the key used and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from fieldflux.app.problems import Refused

ALL_SCOPES: frozenset[str] = frozenset({"read", "fields", "jobs", "admin"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request this is. tenant: every row of theirs carries it. key: id of the key, empty with accounts off."""

    tenant: str
    key: str
    scopes: frozenset[str]


def caller(request: Request) -> Caller:
    """The caller of a request; with accounts off, the one local tenant who may do everything."""
    _ = request
    return Caller("local", "", ALL_SCOPES)


def needs(scope: str) -> Callable[[Request], Caller]:
    """A dependency: the caller, who must have this scope. Raises Refused (missing-scope).

    `who: Annotated[Caller, Depends(needs("fields"))]`
    """

    def allowed(request: Request) -> Caller:
        found = caller(request)
        if scope not in found.scopes:
            raise Refused("missing-scope", f"This needs a key with the scope '{scope}'; this one has not.", scope=scope)
        return found

    return allowed
