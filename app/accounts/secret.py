"""The server's secret: what keys are hashed with and tokens signed with."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from fieldflux.app.problems import Refused

FILE = "secret"
_SHORTEST = 32


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret from which one key for each use is derived, so that no use tells anything of another."""

    _root: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Tells two secrets apart, and nothing else of them."""
        return self.derive("fingerprint").hex()[:12]

    def derive(self, use: str) -> bytes:
        """32 bytes for one use."""
        return hmac.new(self._root, f"fieldflux {use}".encode(), hashlib.sha256).digest()


def secret_of(home: Path, given: str = "") -> Secret:
    """The secret that is given (FIELDFLUX_SECRET, the same for all servers of a database), or that of the work folder,
    which is made where there is none.

    Raises Refused (invalid-request) for a short one, (read-only) where the folder cannot be written.
    """
    if given:
        if len(given) < _SHORTEST:
            raise Refused(
                "invalid-request",
                f"FIELDFLUX_SECRET has {len(given)} characters; it needs {_SHORTEST} or more, by chance, as "
                f"`openssl rand -hex 32` makes them.",
            )
        return Secret(given.encode())
    path = home / FILE
    try:
        if not path.exists():
            _make(path)
        return Secret(bytes.fromhex(path.read_text().strip()))
    except OSError as error:
        raise Refused(
            "read-only",
            f"The server's secret cannot be read or made at {path}: {error.strerror}. Give one by FIELDFLUX_SECRET.",
        ) from error
    except ValueError as error:
        raise Refused(
            "invalid-request",
            f"{path} does not hold a secret. Restore it: without it, all keys have to be made again.",
        ) from error


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{FILE}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        # Of two processes that start at once, one wins, and both read what it wrote.
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink()
