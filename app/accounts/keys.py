"""API keys: made, listed, revoked. A key is shown once; what is kept is a keyed hash of it.

A key is 32 bytes by chance, so nobody finds one by trying, and a fast hash is enough: a slow one such as argon2
protects what people think up, and would cost every request 50 ms. The hash is keyed with the server's secret, so that
a copy of the database alone is of no use. The last characters of a key are a check, made with the same secret: a forged
or mistyped key is refused without asking the database.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fieldflux.app.database import Database, utc_now
from fieldflux.app.ids import new_id
from fieldflux.app.problems import Refused

from .secret import Secret
from .tokens import Signer
from .who import DOORS, LINK, SCOPES

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

PREFIX = "ff_"
TENANT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
LONGEST_DAYS = 3660
LONGEST_LINK = 366

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BODY, _CHECK = 52, 8
_TEXT = re.compile(rf"{PREFIX}[{_ALPHABET}]{{{_BODY + _CHECK}}}")


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key. hint: its first characters, by which its owner knows it again. Times are UTC, as text."""

    id: str
    tenant: str
    name: str
    hint: str
    scopes: tuple[str, ...]
    created: str
    expires: str | None
    revoked: str | None
    last_used: str | None

    @property
    def doors(self) -> tuple[str, ...]:
        """What the links are for, where the key is one: nobody has its text, only tokens that were signed with it."""
        return tuple(scope.removeprefix(LINK) for scope in self.scopes if scope.startswith(LINK))

    def state(self, now: str) -> str:
        """ "active", "expired" or "revoked", at a time as `utc_now` writes it."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


@dataclass(frozen=True, slots=True)
class Hasher:
    """Checks and hashes keys with a server's secret."""

    secret: Secret
    _keys: bytes = field(init=False, repr=False, compare=False)
    _checks: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Derived once: every request hashes its key.
        object.__setattr__(self, "_keys", self.secret.derive("keys"))
        object.__setattr__(self, "_checks", self.secret.derive("check"))

    def fresh(self) -> str:
        """A new key."""
        # 260 bits: the fewest whole characters that hold 32 bytes.
        number = secrets.randbits(5 * _BODY)
        body = _text(number, _BODY)
        return f"{PREFIX}{body}{self._check(body)}"

    def hash(self, text: str) -> str | None:
        """The hash under which a key is kept; None for a text that this server never gave out."""
        if not _TEXT.fullmatch(text):
            return None
        body, check = text[len(PREFIX) : -_CHECK], text[-_CHECK:]
        if not hmac.compare_digest(self._check(body), check):
            return None
        return hashlib.blake2b(text.encode(), key=self._keys, digest_size=32).hexdigest()

    def _check(self, body: str) -> str:
        digest = hashlib.blake2b(body.encode(), key=self._checks, digest_size=5).digest()
        return _text(int.from_bytes(digest), _CHECK)


def create(
    database: Database, hasher: Hasher, tenant: str, name: str, scopes: Iterable[str], days: int | None
) -> tuple[Key, str]:
    """Make a key, and its text, which is not kept. days: until it expires; None for never.

    Raises Refused (invalid-request) for a tenant, name, scope or number of days that cannot be; DatabaseFault.
    """
    return _make(database, hasher, tenant, name, check_scopes(scopes), days)


def create_link(
    database: Database, hasher: Hasher, signer: Signer, tenant: str, name: str, doors: Iterable[str], days: int
) -> tuple[Key, str]:
    """Make a link, and its token: a key of its own whose text nobody gets, so that it is listed, counted and revoked as
    keys are. doors: what it is for (`who.DOORS`). days: until it expires.

    Raises Refused (invalid-request), DatabaseFault.
    """
    given = set(doors)
    unknown = sorted(given - set(DOORS))
    if unknown or not given:
        what = f"'{unknown[0][:40]}' is not one" if unknown else "none is given"
        raise Refused("invalid-request", f"A link is for {', '.join(DOORS)}; {what}.", allowed=list(DOORS))
    if not 1 <= days <= LONGEST_LINK:
        raise Refused("invalid-request", f"A link expires after 1 to {LONGEST_LINK} days; given: {days} days.")
    scopes = ("read", *(f"{LINK}{door}" for door in DOORS if door in given))
    key, _ = _make(database, hasher, tenant, name, scopes, days)
    assert key.expires is not None
    return key, signer.token(key.id, int(datetime.fromisoformat(key.expires).timestamp()))


def _make(
    database: Database, hasher: Hasher, tenant: str, name: str, chosen: tuple[str, ...], days: int | None
) -> tuple[Key, str]:
    from .tables import keys

    if not re.fullmatch(TENANT, tenant):
        raise Refused(
            "invalid-request",
            f"A tenant's name is 1 to 64 letters, digits, '.', '_' and '-', as in acme-farms; given: '{tenant[:80]}'.",
        )
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise Refused("invalid-request", "A key's name is 1 to 200 characters, and tells what it is for.")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise Refused("invalid-request", f"A key expires after 1 to {LONGEST_DAYS} days, or never; given: {days} days.")
    text = hasher.fresh()
    now = datetime.now(UTC)
    expires = None if days is None else (now + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    key = Key(new_id("key"), tenant, name.strip(), text[: len(PREFIX) + 4], chosen, utc_now(), expires, None, None)
    row = {
        "id": key.id,
        "tenant": tenant,
        "name": key.name,
        "hash": hasher.hash(text),
        "secret": hasher.secret.fingerprint,
        "hint": key.hint,
        "scopes": " ".join(chosen),
        "created": key.created,
        "expires": expires,
    }
    with database.begin() as connection:
        connection.execute(keys.insert(), [row])
    return key, text


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Scopes in their usual order, each once. Raises Refused (invalid-request)."""
    given = set(scopes)
    unknown = sorted(given - set(SCOPES))
    if unknown or not given:
        what = f"'{unknown[0][:40]}' is none" if unknown else "none is given"
        raise Refused("invalid-request", f"Scopes are {', '.join(SCOPES)}; {what}.", allowed=list(SCOPES))
    return tuple(scope for scope in SCOPES if scope in given)


def listed(database: Database, tenant: str | None, limit: int, after: str = "") -> list[Key]:
    """Keys of a tenant, or of all, in the order they were made in, from that after an id on. Raises DatabaseFault."""
    from sqlalchemy import select

    from .tables import keys

    query = select(keys).where(keys.c.id > after).order_by(keys.c.id).limit(limit)
    if tenant is not None:
        query = query.where(keys.c.tenant == tenant)
    with database.read() as connection:
        return [_key(row) for row in connection.execute(query).mappings()]


def one(database: Database, tenant: str | None, id: str) -> Key:
    """A key of a tenant, or of any. Raises Refused (unknown-key), DatabaseFault."""
    found = _found(database, lambda c: c.id == id)
    if found is None or (tenant is not None and found.tenant != tenant):
        raise Refused("unknown-key", f"There is no key '{id[:40]}'.")
    return found


def by_hash(database: Database, hash: str) -> Key | None:
    """The key of a hash, whatever its state. Raises DatabaseFault."""
    return _found(database, lambda c: c.hash == hash)


def by_id(database: Database, id: str) -> Key | None:
    """The key of an id, whatever its state. Raises DatabaseFault."""
    return _found(database, lambda c: c.id == id)


def revoke(database: Database, tenant: str | None, id: str) -> Key:
    """Revoke a key of a tenant, or of any; one that is revoked stays as it is. Raises Refused (unknown-key)."""
    from .tables import keys

    one(database, tenant, id)
    with database.begin() as connection:
        connection.execute(keys.update().where(keys.c.id == id, keys.c.revoked.is_(None)).values(revoked=utc_now()))
    return one(database, tenant, id)


def other_secrets(database: Database, secret: Secret) -> int:
    """How many keys in use were made with another secret than this server's, and never fit. Raises DatabaseFault."""
    from sqlalchemy import func, select

    from .tables import keys

    query = select(func.count()).where(keys.c.revoked.is_(None), keys.c.secret != secret.fingerprint)
    with database.read() as connection:
        return int(connection.scalar(query) or 0)


def as_json(key: Key) -> dict[str, Any]:
    """A key as it is shown: everything but the key itself."""
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "hint": f"{key.hint}…",
        "scopes": [scope for scope in key.scopes if not scope.startswith(LINK)],
        "link": list(key.doors) or None,
        "state": key.state(utc_now()),
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "last_used": key.last_used,
    }


def _found(database: Database, where: Any) -> Key | None:
    from sqlalchemy import select

    from .tables import keys

    clause: ColumnElement[bool] = where(keys.c)
    with database.read() as connection:
        row = connection.execute(select(keys).where(clause)).mappings().first()
    return None if row is None else _key(row)


def _key(row: Any) -> Key:
    return Key(
        row["id"],
        row["tenant"],
        row["name"],
        row["hint"],
        tuple(row["scopes"].split()),
        row["created"],
        row["expires"],
        row["revoked"],
        row["last_used"],
    )


def _text(number: int, characters: int) -> str:
    return "".join(_ALPHABET[number >> 5 * i & 31] for i in range(characters))
