"""Addresses in answers that carry the caller's token on, for programs that follow links and cannot send a header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fieldflux.app.accounts.who import carried
from fieldflux.app.reply import cached, tagged

_STORES = "/v1/stores/"


def with_token(address: str, token: str) -> str:
    """An address with a token in its query, of a store in its path; as it is without one. Its holes ({time}, {z}) stay.

    >>> with_token("http://a/{z}.png?f=png", "t"), with_token("http://a?", "t"), with_token("http://a", "")
    ('http://a/{z}.png?f=png&token=t', 'http://a?token=t&', 'http://a')
    """
    if not token:
        return address
    if _STORES in address:
        # Programs that read Zarr put the names of files behind the address.
        return address.replace(_STORES, f"{_STORES}{quote(token)}/", 1)
    if address.endswith("?"):
        return f"{address}token={quote(token)}&"
    return f"{address}{'&' if '?' in address else '?'}token={quote(token)}"


def carrying(content: Any, base: str, token: str) -> Any:
    """A document whose links (`href`) below an address carry a token."""
    if not token:
        return content
    if isinstance(content, Mapping):
        return {
            name: with_token(value, token)
            if name == "href" and isinstance(value, str) and value.startswith(f"{base}/v1/")
            else carrying(value, base, token)
            for name, value in content.items()
        }
    if isinstance(content, list | tuple):
        return [carrying(value, base, token) for value in content]
    return content


def token_of(request: Request) -> str:
    """The token that the caller came with, or nothing."""
    return carried(request).get("token", "")


def linked(request: Request, content: Any) -> Response:
    """JSON with an entity tag; its links carry the caller's token. 304 where the caller has it already."""
    token = token_of(request)
    return _own(cached(request, carrying(content, str(request.base_url).rstrip("/"), token)), token)


def linked_xml(request: Request, content: bytes) -> Response:
    """The same of a document whose links carry the token already."""
    return _own(tagged(request, content, "application/xml"), token_of(request))


def _own(response: Response, token: str) -> Response:
    if token:
        response.headers["Cache-Control"] = "private, no-cache"
    return response
