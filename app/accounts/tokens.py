"""Signed tokens: what a map puts into the addresses of its tiles instead of a key. They read, and end.

A token holds the id of the key it was made with, and a time; a signature keeps both as they are. It falls with its key.
One made with a key lasts an hour at most; a link (`keys.create_link`) has a key of its own, and lasts as long as that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

from .secret import Secret

PREFIX = "fft_"
LONGEST_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes and reads tokens with a server's secret."""

    secret: Secret
    _key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", self.secret.derive("tokens"))

    def token(self, key: str, until: int) -> str:
        """A token of a key's id, up to a time, in seconds since 1970."""
        said = f"{until}.{key}".encode()
        return PREFIX + _to_text(said) + "." + _to_text(self._signature(said))

    def read(self, token: str) -> tuple[str, int] | None:
        """The key's id and the time up to which it holds; None for a token that this server did not make."""
        said, dot, signature = token.removeprefix(PREFIX).partition(".")
        if not token.startswith(PREFIX) or not dot or len(token) > 300:
            return None
        try:
            plain, signed = _from_text(said), _from_text(signature)
        except (ValueError, binascii.Error):
            return None
        if not hmac.compare_digest(self._signature(plain), signed):
            return None
        until, _, key = plain.decode().partition(".")
        return key, int(until)

    def _signature(self, said: bytes) -> bytes:
        return hmac.new(self._key, said, hashlib.sha256).digest()[:16]


def _to_text(given: bytes) -> str:
    return base64.urlsafe_b64encode(given).decode().rstrip("=")


def _from_text(given: str) -> bytes:
    return base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
