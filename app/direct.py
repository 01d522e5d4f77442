"""Routes that are asked many times a second: their usual request is read in one pass, without FastAPI's machinery."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError


class DirectRoute(APIRoute):
    """A route that takes a request and a body (`async def endpoint(request, body, ...)`, the rest with defaults).

    A body of JSON that is as described, at an address without a query, goes straight to the endpoint. All else goes
    FastAPI's way, which finds the same, or says what is wrong; so does every request of a route without a body.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        described = super().get_route_handler()
        body = None if self.body_field is None else self.body_field.field_info.annotation
        if not (isinstance(body, type) and issubclass(body, BaseModel)):
            return described
        read, endpoint = body.model_validate_json, self.endpoint

        async def handler(request: Request) -> Response:
            if request.scope["query_string"] or request.headers.get("content-type") != "application/json":
                return await described(request)
            try:
                asked = read(await request.body())
            except ValidationError:
                return await described(request)
            found: Response = await endpoint(request, asked)
            return found

        return handler
