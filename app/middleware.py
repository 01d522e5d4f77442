"""What every request passes: an id, timings, limits of its size, compression. Small ASGI classes, no framework."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping, MutableMapping, Sequence
from time import perf_counter, time
from typing import Any

from isal import igzip
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .observe.log import request_id as current_id
from .observe.request import Finished, Observer, template
from .problems import KINDS, Problem
from .settings import Limits

log = logging.getLogger("fieldflux")

_ID = re.compile(r"[\w.-]{1,64}")
# Below this size, the header and the processor time cost more than the bytes saved.
_SMALLEST = 1400
# A file that is sent in ranges stays as it is: ranges count its own bytes.
_NOT_SQUEEZED = {"content-encoding", "accept-ranges", "content-range"}
_TEXT = (
    "application/json",
    "application/problem+json",
    "application/geo+json",
    "application/x-ndjson",
    "application/prs.coverage+json",
    "text/",
    "image/svg",
    "application/javascript",
)
# A year, as browsers want it of a site that keeps to TLS.
_HSTS = "max-age=31536000"


def timing(scope: MutableMapping[str, Any]) -> dict[str, float]:
    """Stages of this request, name -> milliseconds; the handlers add theirs, `Server-Timing` shows them."""
    found: dict[str, float] = scope.setdefault("fieldflux.timing", {})
    return found


class RequestContext:
    """Gives each request an id and a Server-Timing header, turns what nobody foresaw into a problem, and tells
    observers of it once it was answered."""

    def __init__(self, app: ASGIApp, limits: Limits | None = None, observers: Sequence[Observer] = ()) -> None:
        self.app = app
        self.limits = limits or Limits()
        self.observers = tuple(observers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope["fieldflux.id"] = request_id
        current_id.set(request_id)
        stages = timing(scope)
        began, started = time(), perf_counter()
        status = sent = 0

        async def tagged(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                stages["total"] = 1000 * (perf_counter() - started)
                headers["X-Request-Id"] = request_id
                headers["Server-Timing"] = ", ".join(f"{name};dur={ms:.2f}" for name, ms in stages.items())
                headers["X-Content-Type-Options"] = "nosniff"
                if scope.get("scheme") == "https":
                    headers["Strict-Transport-Security"] = _HSTS
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            problem = _too_long(scope, self.limits)
            if problem is None:
                await self.app(scope, receive, tagged)
            else:
                await problem.response(scope["path"][:200], {"Connection": "close"})(scope, receive, tagged)
        except Exception:
            log.exception("request %s failed: %s %s", request_id, scope["method"], template(scope) or scope["path"])
            if status:
                raise
            problem = Problem(
                KINDS["internal"],
                f"The server failed at this request. Report it with the request id {request_id}.",
                {"request_id": request_id},
            )
            await problem.response(scope["path"])(scope, receive, tagged)
        finally:
            if self.observers:
                self._tell(scope, status, began, perf_counter() - started, sent)

    def _tell(self, scope: Scope, status: int, began: float, seconds: float, sent: int) -> None:
        caller, rule = scope.get("fieldflux.caller"), scope.get("fieldflux.rule")
        finished = Finished(
            scope["fieldflux.id"],
            scope["method"],
            template(scope),
            status,
            caller.tenant if caller else "",
            caller.key if caller else "",
            rule.kind if rule else "",
            scope.get("fieldflux.cost", 0.0),
            began,
            seconds,
            scope["fieldflux.timing"],
            sent,
            Headers(scope=scope).get("traceparent", ""),
        )
        for observer in self.observers:
            try:
                observer(finished)
            except Exception:
                # Whoever asked has their answer; counting it must not spoil it.
                log.exception("an observer failed at request %s", finished.id)


def _too_long(scope: Scope, limits: Limits) -> Problem | None:
    """What is wrong with a request whose address or header fields are longer than the limits."""
    address = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    if address > limits.url_bytes:
        return Problem(
            KINDS["address-too-long"],
            f"The address has {address:,} bytes; this server takes {limits.url_bytes:,}. Send a long geometry by POST.",
            {"limit": "url_bytes", "given": address, "allowed": limits.url_bytes},
        )
    fields = address + sum([len(name) + len(value) + 4 for name, value in scope["headers"]])
    if fields > limits.header_bytes:
        return Problem(
            KINDS["headers-too-long"],
            f"The address and the header fields have {fields:,} bytes; this server takes {limits.header_bytes:,}.",
            {"limit": "header_bytes", "given": fields, "allowed": limits.header_bytes},
        )
    return None


class BodyLimit:
    """Refuses a body over the limit, by its stated length or while it comes in, before anything parses it."""

    def __init__(self, app: ASGIApp, limit: int, uploads: Mapping[str, int] | None = None) -> None:
        """uploads: limits of addresses that take files, by their path."""
        self.app = app
        self.limit = limit
        self.uploads = dict(uploads or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        limit = self.uploads.get(scope["path"], self.limit)
        stated = Headers(scope=scope).get("content-length", "")
        if stated.isdigit() and int(stated) > limit:
            await self._refuse(int(stated), scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > limit:
                await self._refuse(len(body), scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)

    async def _refuse(self, given: int, scope: Scope, receive: Receive, send: Send) -> None:
        upload = scope["path"] in self.uploads
        allowed = self.uploads.get(scope["path"], self.limit)
        advice = "Send the file in parts." if upload else "Simplify the geometry."
        problem = Problem(
            KINDS["over-limit"],
            f"The body has {given:,} bytes or more; this server takes {allowed:,}. {advice}",
            {"limit": "upload_bytes" if upload else "body_bytes", "given": given, "allowed": allowed},
        )
        await problem.response(scope["path"], {"Connection": "close"})(scope, receive, send)


class Compress:
    """Gzip for text of some size, by ISA-L, which costs a tenth of zlib's time. Images are compressed as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        held: Message | None = None

        async def squeeze(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith(_TEXT) and not _NOT_SQUEEZED & set(headers):
                    headers.add_vary_header("Accept-Encoding")
                    if wanted:
                        held = message
                        return
            elif held is not None:
                start, held = held, None
                body = message.get("body", b"")
                # A body in parts goes as it is.
                if not message.get("more_body", False) and len(body) >= _SMALLEST:
                    body = igzip.compress(body, 1)
                    _as_gzip(MutableHeaders(scope=start), len(body))
                    message = {**message, "body": body}
                await send(start)
            await send(message)

        await self.app(scope, receive, squeeze)


def _as_gzip(headers: MutableHeaders, size: int) -> None:
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(size)
    # The same content in other bytes: by HTTP, a strong tag would lie.
    tag = headers.get("etag")
    if tag and not tag.startswith("W/"):
        headers["ETag"] = f"W/{tag}"
