"""The keys that this process has seen lately, so that a request does not wait for the database.

A key that another process revokes is refused here after ten seconds at most; one revoked here, at once. While the
database is away, keys that were good go on for five minutes.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from anyio import to_thread
from fieldflux.app.database import Database, DatabaseFault

from .keys import Hasher, Key, by_hash, by_id
from .secret import Secret
from .tokens import Signer
from .who import SHORT_DOORS, Caller

log = logging.getLogger("fieldflux")

FRESH = 10.0
STALE = 300.0
MOST = 10_000


@dataclass(slots=True)
class _Seen:
    key: Key | None
    until: float
    scopes: frozenset[str]
    looked: float
    good: float
    """When the database said so: after a failed look, `looked` is later."""


class BadKey(ValueError):
    """A key or token that does not fit; the sentence says why, as far as its owner may know."""


class Ring:
    """Finds callers by their keys and tokens. Of one event loop."""

    def __init__(self, database: Database, secret: Secret, clock: Callable[[], float] = time.monotonic) -> None:
        self.database = database
        self.secret = secret
        self.hasher = Hasher(secret)
        self.signer = Signer(secret)
        self._clock = clock
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    async def by_key(self, text: str) -> Caller:
        """The caller of a key. Raises BadKey, DatabaseFault."""
        hash = self.hasher.hash(text)
        if hash is None:
            raise BadKey("The key is not one of this server's: it is mistyped, or of another server.")
        seen = await self._look(hash, partial(by_hash, self.database, hash))
        key = self._good(seen)
        return Caller(key.tenant, key.id, seen.scopes)

    async def by_token(self, text: str) -> Caller:
        """The caller of a signed token: it reads, as its key does, what it is for. Raises BadKey, DatabaseFault."""
        said = self.signer.read(text)
        if said is None:
            raise BadKey("The token is not one of this server's. POST /v1/tokens makes one.")
        id, until = said
        if until <= time.time():
            raise BadKey("The token has expired. POST /v1/tokens makes another.")
        seen = await self._look(id, partial(by_id, self.database, id))
        key = self._good(seen)
        doors = frozenset(key.doors) or SHORT_DOORS
        return Caller(key.tenant, key.id, seen.scopes & {"read"}, text, doors)

    def forget(self) -> None:
        """Ask the database again for every key: one of them was changed."""
        self._seen.clear()

    async def _look(self, name: str, find: Callable[[], Key | None]) -> _Seen:
        now = self._clock()
        seen = self._seen.get(name)
        if seen is not None and now - seen.looked < FRESH:
            return seen
        if seen is not None:
            # Others who come meanwhile go on with what is known.
            seen.looked = now
        try:
            key = await to_thread.run_sync(find)
        except DatabaseFault:
            if seen is None or seen.key is None or now - seen.good > STALE:
                self._seen.pop(name, None)
                raise
            return seen
        until = float("inf") if key is None or key.expires is None else _seconds(key.expires)
        seen = _Seen(key, until, frozenset(key.scopes if key else ()), now, now)
        self._seen[name] = seen
        self._seen.move_to_end(name)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)
        return seen

    @staticmethod
    def _good(seen: _Seen) -> Key:
        if seen.key is None:
            raise BadKey("The key is not known here: it was made for another database, or deleted.")
        if seen.key.revoked is not None:
            raise BadKey(f"The key '{seen.key.name}' was revoked at {seen.key.revoked}.")
        if seen.until <= time.time():
            raise BadKey(f"The key '{seen.key.name}' expired at {seen.key.expires}.")
        return seen.key


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
