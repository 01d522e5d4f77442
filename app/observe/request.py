"""A request that was answered, as metrics, logs, traces and usage are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that was answered. It holds no key, no query and no body.

    route: its template, such as /v1/tiles/{name}/…, or "" where there is none. tenant, key: of the caller; key is an
    id. kind, cost: as `accounts.policy` has them. began: seconds since 1970. seconds: until the answer was sent.
    stages: name -> milliseconds. sent: bytes of the body. trace: the header `traceparent`, or "".
    """

    id: str
    method: str
    route: str
    status: int
    tenant: str
    key: str
    kind: str
    cost: float
    began: float
    seconds: float
    stages: Mapping[str, float]
    sent: int
    trace: str


class Observer(Protocol):
    """Is told of each request once it was answered, on the event loop: it takes microseconds, and never waits."""

    def __call__(self, request: Finished, /) -> None: ...


def template(scope: Mapping[str, Any]) -> str:
    """The template of the route that a request took, or "" where it took none: labels must not grow with addresses."""
    found: str = getattr(scope.get("route"), "path", "")
    return found
