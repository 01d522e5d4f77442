"""A limit on header fields while they come in: before the application is called, nothing else bounds them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from .problems import KINDS, MEDIA, Problem

if TYPE_CHECKING:
    from asyncio import Protocol


def limited_http(most: int) -> type[Protocol]:
    """Uvicorn's HTTP protocol, with a connection closed whose request has more than `most` bytes before its body.

    What comes with the last piece read from the socket is counted once it is parsed, so that a few kilobytes more may
    pass; the application refuses those exactly.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class LimitedHttp(HttpToolsProtocol):
        heading = True
        ended = False
        counted = 0

        def on_message_begin(self) -> None:
            self.heading, self.counted = True, 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self.heading = False
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self.heading, self.ended, self.counted = True, True, 0
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            self.ended = False
            super().data_received(data)
            # A piece that ends a request is mostly its body.
            if not self.heading or self.ended:
                return
            self.counted += len(data)
            # What was begun and not finished; several short requests in one piece are none of that.
            if self.counted > most and not self.transport.is_closing():
                self.transport.write(_refusal(most))
                self.transport.close()

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002
            # The parser gives up before there is a request: also at addresses that it holds to be too long.
            given = len(getattr(self, "url", None) or b"")
            self.transport.write(_too_long(given) if given > MOST_PARSED else _unreadable())
            self.transport.close()

    return LimitedHttp


MOST_PARSED = 65_535
"""Bytes of an address beyond which the parser takes it for no request at all."""


def _refusal(most: int) -> bytes:
    return _answer(
        "headers-too-long",
        f"The address and the header fields have more than {most:,} bytes.",
        {"limit": "header_bytes", "allowed": most},
    )


def _too_long(given: int) -> bytes:
    return _answer(
        "address-too-long",
        f"The address has {given:,} bytes, more than can be read. Send what is long as the body of a POST.",
        {"given": given, "allowed": MOST_PARSED},
    )


def _unreadable() -> bytes:
    return _answer("bad-request", "What was sent is no HTTP/1.1 request.", {})


def _answer(slug: str, sentence: str, members: dict[str, object]) -> bytes:
    kind = KINDS[slug]
    body = orjson.dumps(Problem(kind, sentence, members).body(""))
    head = (
        f"HTTP/1.1 {kind.status} {HTTPStatus(kind.status).phrase}\r\nContent-Type: {MEDIA}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
