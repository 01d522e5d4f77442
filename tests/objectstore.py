"""A real server on loopback that speaks S3 (moto), for tests: it counts what is asked, and can fail as networks do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

KEY, SECRET = "AKIATESTTESTTESTTEST", "a-secret-that-no-log-may-hold"
_REFUSED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidAccessKeyId</Code><Message>The AWS Access Key Id you '
    b"provided does not exist in our records.</Message></Error>"
)


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass


class ObjectStore:
    """The server. asked: (method, path, range) of each request. damage: what becomes of the bytes of an answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.damage: Callable[[str, bytes], bytes] = lambda _path, body: body
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Come, or come back: what it holds is still there."""
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True, request_handler=_Silent)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Go away: nobody listens at the port."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append((environ["REQUEST_METHOD"], path, environ.get("HTTP_RANGE", "")))
        # As S3 does: moto takes any key.
        if f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", f"Credential={KEY}/"):
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(_REFUSED)))])
            return [_REFUSED]
        return [self.damage(path, b"".join(self._app(environ, start)))]


@contextmanager
def object_store(bucket: str = "fluxes") -> Iterator[ObjectStore]:
    """The server with a bucket, and the standard variables of the environment that lead to it."""
    server = ObjectStore()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        httpx.put(f"{server.url}/{bucket}").raise_for_status()
        try:
            yield server
        finally:
            server.stop()
