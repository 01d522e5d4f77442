"""How answers leave: JSON from numpy arrays with NaN as null, entity tags, caching; and what handlers get at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request, Response

from .workspace import Workspace

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def workspace_of(request: Request) -> Workspace:
    found: Workspace = request.app.state.workspace
    return found


def dumps(content: Any, options: int = 0) -> bytes:
    """JSON of plain values, dates and numpy arrays; NaN and infinite numbers become null. options: more of orjson's."""
    return orjson.dumps(content, option=_OPTIONS | options)


def as_json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response of JSON, as `dumps` writes it."""
    return Response(dumps(content), status, dict(headers or {}), "application/json")


def cached(request: Request, content: Any, media: str = "application/json") -> Response:
    """JSON with an entity tag; 304 where the caller has it already."""
    return tagged(request, dumps(content), media)


def tagged(request: Request, body: bytes, media: str) -> Response:
    """Bytes with an entity tag of their content; 304 where the caller has them already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if same(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media)


def same(request: Request, tag: str) -> bool:
    """Whether the caller holds the content of that entity tag (RFC 9110, weak comparison)."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or tag in {part.strip().removeprefix("W/") for part in given.split(",")}
