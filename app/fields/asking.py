"""A field's series as a question: the parameters of an address, and the outline, as the body of POST /v1/series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from fieldflux.app.ask import Ask
from fieldflux.app.problems import Refused
from pydantic import ValidationError


def field_ask(geometry: str, said: Mapping[str, Any]) -> Ask:
    """The question about an outline, JSON text. said: members of `Ask` by name; others are left out.

    Raises RequestValidationError.
    """
    members = {name: value for name, value in said.items() if name in Ask.model_fields}
    try:
        return Ask(**{**members, "geometry": orjson.loads(geometry)})
    except ValidationError as error:
        raise RequestValidationError(
            [{**e, "loc": ("query", *e["loc"])} for e in error.errors(include_url=False)]
        ) from error


def years_of(given: str) -> list[int]:
    """Years of "2021", "2019,2020" or "2019-2021". Raises Refused (invalid-dates)."""
    found: list[int] = []
    for part in given.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and len(first) == 4 and (not dash or (last.isdecimal() and len(last) == 4))):
            raise Refused("invalid-dates", f"`years` are as in 2021, 2019,2020 or 2019-2021; given: '{given[:80]}'.")
        found += range(int(first), int(last or first) + 1)
    return found
