"""The book of statements: made, signed, kept as they were signed, listed, corrected by others. Every query is one
tenant's; nothing in it is ever changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from fieldflux.app.accounts.secret import Secret
from fieldflux.app.database import Database, utc_now
from fieldflux.app.ids import new_id
from fieldflux.app.problems import Refused
from fieldflux.app.workspace import Workspace

from .asked import StatementAsk
from .signing import SigningKey, canonical, signed, signing_key
from .statement import Before, document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from .land import Parcel


@dataclass(frozen=True, slots=True)
class Made:
    """A statement as it was signed, and whether it is new."""

    id: str
    content: bytes
    new: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A kept statement. successor: id of the one that corrects it."""

    id: str
    content: bytes
    sha256: str
    successor: str | None

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.content)
        return found


def known(database: Database, tenant: str, key: str, body: str) -> Made | None:
    """The statement that an Idempotency-Key made before. Raises Refused (idempotency-mismatch), DatabaseFault."""
    from sqlalchemy import select

    from .tables import statements

    s = statements.c
    with database.read() as connection:
        row = connection.execute(
            select(s.id, s.document, s.body_hash).where(s.tenant == tenant, s.idempotency_key == key)
        ).first()
    if row is None:
        return None
    if row.body_hash != body:
        raise Refused(
            "idempotency-mismatch",
            f"The Idempotency-Key '{key[:60]}' came with another body before, which made {row.id}.",
            statement=row.id,
        )
    return Made(row.id, row.document.encode(), False)


def make(
    workspace: Workspace,
    database: Database,
    secret: Secret,
    tenant: str,
    ask: StatementAsk,
    land: Sequence[Parcel],
    key: str | None,
    body: str,
) -> Made:
    """Work out a statement, sign it and keep it.

    Raises Refused (unknown-statement, superseded), what `statement.document` raises, DatabaseFault.
    """
    from sqlalchemy import insert
    from sqlalchemy.exc import IntegrityError

    from .tables import statements

    before = None if ask.supersedes is None else _before(database, tenant, ask.supersedes)
    said = document(workspace, ask, land, new_id("stm"), utc_now(), before)
    whole = signed(said, current_key(database, secret))
    content = canonical(whole)
    row = {
        "id": said["id"],
        "tenant": tenant,
        "name": ask.name,
        "kind": said["kind"],
        "use_class": ask.use_class,
        "model": said["model"]["id"],
        "version": said["version"],
        "created": said["created"],
        "sha256": whole["signature"]["sha256"],
        "supersedes": ask.supersedes,
        "idempotency_key": key,
        "body_hash": body,
        "document": content.decode(),
    }
    try:
        with database.begin() as connection:
            connection.execute(insert(statements).values(**row))
    except IntegrityError:
        # Another request with the same key, or another correction, came first, a moment ago.
        if key is not None and (made := known(database, tenant, key, body)) is not None:
            return made
        if ask.supersedes is not None:
            _before(database, tenant, ask.supersedes)
        raise
    return Made(said["id"], content, True)


def one(database: Database, tenant: str, id: str) -> Held:
    """A statement. Raises Refused (unknown-statement), DatabaseFault."""
    with database.read() as connection:
        return _one(connection, tenant, id)


def page(database: Database, tenant: str, limit: int, before: str, superseded: bool) -> list[dict[str, Any]]:
    """Up to `limit` statements, the newest first, from the one behind `before`; those superseded only where asked for.

    Raises DatabaseFault.
    """
    from sqlalchemy import select

    from .tables import statements

    s, later = statements.c, statements.alias("later")
    names = ("id", "name", "kind", "use_class", "model", "version", "created", "sha256", "supersedes")
    query = (
        select(*(s[name] for name in names), later.c.id.label("superseded_by"))
        .outerjoin(later, later.c.supersedes == s.id)
        .where(s.tenant == tenant)
        .order_by(s.id.desc())
        .limit(limit)
    )
    if not superseded:
        query = query.where(later.c.id.is_(None))
    if before:
        query = query.where(s.id < before)
    with database.read() as connection:
        return [{str(name): value for name, value in row.items()} for row in connection.execute(query).mappings()]


def current_key(database: Database, secret: Secret) -> SigningKey:
    """The key that signs now; the first one is made here. Raises DatabaseFault."""
    newest, signing = _generations(database, secret)
    return signing_key(secret, signing) if signing is not None else _add(database, secret, newest + 1)


def renew_key(database: Database, secret: Secret) -> SigningKey:
    """Retire the key that signs now, and make another. What was signed stays good. Raises DatabaseFault."""
    from sqlalchemy import update

    from .tables import signing_keys

    k = signing_keys.c
    current_key(database, secret)
    made = _add(database, secret, _generations(database, secret)[0] + 1)
    with database.begin() as connection:
        old = (k.secret == secret.fingerprint, k.retired.is_(None), k.kid != made.kid)
        connection.execute(update(signing_keys).where(*old).values(retired=utc_now()))
    return made


def public_keys(database: Database) -> list[dict[str, Any]]:
    """Every key that ever signed here, as JWK, with `retired` where it is. Raises DatabaseFault."""
    from sqlalchemy import select

    from .tables import signing_keys

    k = signing_keys.c
    with database.read() as connection:
        rows = connection.execute(select(k.public, k.created, k.retired).order_by(k.created, k.kid)).all()
    return [
        {**orjson.loads(row.public), "created": row.created, **({"retired": row.retired} if row.retired else {})}
        for row in rows
    ]


def _generations(database: Database, secret: Secret) -> tuple[int, int | None]:
    """The last generation of a secret's keys, 0 for none, and the one that signs now.

    Of one look: who finds none makes the same first key as all others who found none.
    """
    from sqlalchemy import select

    from .tables import signing_keys

    k = signing_keys.c
    with database.read() as connection:
        rows = connection.execute(select(k.generation, k.retired).where(k.secret == secret.fingerprint)).all()
    signing = [row.generation for row in rows if row.retired is None]
    return max((row.generation for row in rows), default=0), max(signing, default=None)


def _add(database: Database, secret: Secret, generation: int) -> SigningKey:
    from fieldflux.app.fields.weights import upsert

    from .tables import signing_keys

    made = signing_key(secret, generation)
    row = {
        "kid": made.kid,
        "generation": generation,
        "secret": secret.fingerprint,
        "public": orjson.dumps(dict(made.public)).decode(),
        "created": utc_now(),
    }
    with database.begin() as connection:
        # Of two servers that make it at once, both make the same.
        connection.execute(upsert(connection, signing_keys).values(**row).on_conflict_do_nothing())
    return made


def _one(connection: Connection, tenant: str, id: str) -> Held:
    from sqlalchemy import select

    from .tables import statements

    s, later = statements.c, statements.alias("later")
    row = connection.execute(
        select(s.document, s.sha256, later.c.id)
        .outerjoin(later, later.c.supersedes == s.id)
        .where(s.id == id, s.tenant == tenant)
    ).first()
    if row is None:
        raise Refused(
            "unknown-statement",
            f"There is no statement '{id[:60]}'. Ids look like 'stm_…'; GET /v1/statements has yours.",
        )
    return Held(id, row[0].encode(), row[1], row[2])


def _before(database: Database, tenant: str, id: str) -> Before:
    """The statement that is to be corrected. Raises Refused (unknown-statement, superseded)."""
    held = one(database, tenant, id)
    if held.successor is not None:
        raise Refused(
            "superseded",
            f"The statement '{id[:60]}' was corrected before, by {held.successor}: correct that one.",
            superseded_by=held.successor,
        )
    found: Mapping[str, Any] = held.document
    return Before(id, held.sha256, int(found["version"]))
