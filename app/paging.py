"""Lists in pages: how many, and an opaque cursor that says after which item to go on.

A cursor names the last item seen, not a number of items: what is added or deleted meanwhile shifts nothing.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import orjson
from fastapi import Query

from .problems import Refused

PageLimit = Annotated[int, Query(ge=1, le=1000, description="Items in an answer, at most.")]
Cursor = Annotated[str, Query(description="`next` of the answer before; empty for the first page.", max_length=400)]


def to_cursor(*last: str | int) -> str:
    """The cursor after the item with these sort values."""
    return base64.urlsafe_b64encode(orjson.dumps(last)).decode().rstrip("=")


def from_cursor(cursor: str, kind: type[str] | type[int] = str, parts: int = 1) -> tuple[Any, ...] | None:
    """What `to_cursor` was given, values of that kind, or None for the first page. Raises Refused (invalid-cursor)."""
    if not cursor:
        return None
    try:
        found = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = None
    if not isinstance(found, list) or len(found) != parts or not all(_sorts(value, kind) for value in found):
        raise Refused(
            "invalid-cursor", f"'{cursor[:40]}' is no cursor. Send `next` of the answer before as it is, or none."
        )
    return tuple(found)


def _sorts(value: object, kind: type) -> bool:
    """Whether it can be looked up: databases refuse whole numbers beyond 64 bits and texts with NUL in them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return kind is int and 0 <= value < 2**63
    return kind is str and isinstance(value, str) and value.isprintable()


def page(items: list[Any], limit: int, cursor_of: Any) -> dict[str, Any]:
    """The answer of a list. items: up to limit + 1 of them, the last of which only tells that there are more.

    cursor_of: gives an item's sort values, as a tuple.
    """
    more = len(items) > limit
    shown = items[:limit]
    return {"items": shown, "next": to_cursor(*cursor_of(shown[-1])) if more else None}
