"""Serving: the socket, the log, and a clean end."""

from __future__ import annotations

import errno
import ipaddress
import socket
from importlib.metadata import version
from typing import TYPE_CHECKING

from .memory import give_back
from .observe.log import set_up
from .problems import Refused
from .settings import Settings
from .wire import limited_http

if TYPE_CHECKING:
    from rich.console import Console


def listen(settings: Settings, console: Console) -> None:
    """Serve until a signal. Raises Refused where the port is taken or may not be used."""
    import uvicorn

    from .server import create_app

    give_back()
    check_open(settings)
    set_up(settings.log)
    bound = bind(settings.host, settings.port)
    port = bound.getsockname()[1]
    shown = "localhost" if settings.host in ("0.0.0.0", "127.0.0.1", "::", "::1") else settings.host
    console.print(
        f"[bold]Fieldflux {version('fieldflux')}[/]   map http://{shown}:{port}/   API http://{shown}:{port}/docs   "
        f"work folder {settings.home}",
        highlight=False,
        soft_wrap=True,
    )
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=list(settings.proxies),
        http=limited_http(settings.limits.header_bytes),
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[bound])


def check_open(settings: Settings) -> None:
    """Raises Refused where everybody on the network could use the server, and nobody said that they may."""
    if settings.accounts or settings.open or is_loopback(settings.host):
        return
    raise Refused(
        "invalid-request",
        f"Listening on {settings.host} without accounts lets everybody on the network use this server: set "
        f"FIELDFLUX_ACCOUNTS=on (then `fieldflux keys create`), or FIELDFLUX_OPEN=1 if that is meant.",
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Refused."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        taken = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise Refused(
            "invalid-request", f"{host}:{port} cannot be listened on: {taken}. Choose another port with --port."
        ) from None
    return found
