"""Webhooks: signed as Standard Webhooks have it, sent to hosts that the operator allows and to nobody else.

A client names the address, so nothing is taken on trust. The host has to be in `Settings.webhook_hosts`; it is resolved
once for each try, its addresses are looked at, and the connection goes to one of those, whatever the name resolves to a
moment later. Redirects are not followed, and the answer's body is not read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
from fieldflux.app.database import Database, utc_now
from fieldflux.app.ids import new_id
from fieldflux.app.problems import Refused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

WAITS = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18000.0, 36000.0)
"""Seconds before each further try; after the last, the delivery has failed."""
TIMEOUT = 10.0
PRIVATE = "+private"
"""Behind a host in the settings: it may resolve to private and loopback addresses, and be called without TLS."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is due. attempts: tries before this one."""

    id: str
    job: str
    url: str
    secret: str
    body: str
    attempts: int


def new_secret() -> str:
    """A signing secret: "whsec_" and 32 random bytes in base64."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def signature(secret: str, message: str, timestamp: int, body: str) -> str:
    """The header `webhook-signature` of Standard Webhooks: "v1," and HMAC-SHA256 of id, time and body, in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = f"{message}.{timestamp}.{body}".encode()
    return f"v1,{base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()}"


def check_url(url: str, allowed: tuple[str, ...]) -> None:
    """Whether this server may call it, as far as its name tells. Raises Refused (webhook-refused)."""
    parts = urlsplit(url)
    try:
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if parts.scheme not in ("https", "http") or not host or parts.username is not None:
        raise Refused("webhook-refused", "A webhook's `url` is https://host/path, without a user's name in it.")
    if not allowed:
        raise Refused(
            "webhook-refused", "Webhooks are off on this server: ask GET /v1/jobs/{id} for the state instead."
        )
    if not any(_names(entry, host) for entry in allowed):
        raise Refused("webhook-refused", f"This server may not call '{host[:120]}'; its operator allows hosts by name.")
    if parts.scheme == "http" and not _may_be_private(host, allowed):
        raise Refused("webhook-refused", f"'{host[:120]}' is called by https only. Change the address.")


def address_of(host: str, port: int, allowed: tuple[str, ...]) -> str:
    """The address to connect to. Raises Refused (webhook-refused) where any of the host's is not public; OSError."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not _may_be_private(host, allowed):
        for each in found:
            address = ipaddress.ip_address(each.split("%")[0])
            mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
            if not address.is_global or address.is_multicast or (mapped is not None and not mapped.is_global):
                raise Refused("webhook-refused", f"'{host[:120]}' has an address that is not public.")
    return found[0]


def announce(connection: Connection, job: Row[Any], event: str, now: float, message: str = "") -> None:
    """Queue a message about a job for its webhook, if it has one that wants this event."""
    from sqlalchemy import insert

    from .tables import deliveries

    hook = job.webhook
    if not hook or event not in hook["events"]:
        return
    body = {
        "type": event,
        "timestamp": utc_now(),
        "data": {
            "id": job.id,
            "kind": job.kind,
            "name": job.name,
            "state": "running" if event == "job.started" else event.removeprefix("job."),
            "message": message,
            "href": f"/v1/jobs/{job.id}",
        },
    }
    connection.execute(
        insert(deliveries).values(
            id=new_id("msg"),
            job=job.id,
            tenant=job.tenant,
            event=event,
            body=orjson.dumps(body).decode(),
            state="waiting",
            created=utc_now(),
            attempts=0,
            next_at=now,
            message="",
        )
    )


def claim_delivery(database: Database) -> Delivery | None:
    """A message that is due; nobody else gets it within the time that a try takes. Raises DatabaseFault."""
    from sqlalchemy import select, update

    from .queue import now_of
    from .tables import deliveries, jobs

    d = deliveries.c
    with database.begin() as connection:
        now = now_of(connection)
        query = (
            select(d.id, d.job, d.body, d.attempts, jobs.c.webhook)
            .join(jobs, jobs.c.id == d.job)
            .where(d.state == "waiting", d.next_at <= now)
            .order_by(d.next_at)
            .limit(1)
            .with_for_update(of=deliveries, skip_locked=True)
        )
        row = connection.execute(query).first()
        if row is None:
            return None
        connection.execute(update(deliveries).where(d.id == row.id).values(next_at=now + 6 * TIMEOUT))
    return Delivery(row.id, row.job, row.webhook["url"], row.webhook["secret"], row.body, row.attempts)


def deliver(database: Database, due: Delivery, allowed: tuple[str, ...]) -> bool:
    """Send it, and note what came of it; whether it arrived. Raises DatabaseFault."""
    from sqlalchemy import update

    from .queue import now_of
    from .tables import deliveries

    status, message = send(due, allowed)
    arrived = status is not None and 200 <= status < 300
    final = arrived or status == 410 or due.attempts >= len(WAITS)
    values: dict[str, Any] = {"attempts": due.attempts + 1, "status": status, "message": message}
    if final:
        values |= {"state": "delivered" if arrived else "failed", "finished": utc_now()}
    with database.begin() as connection:
        if not final:
            values["next_at"] = now_of(connection) + WAITS[due.attempts]
        connection.execute(update(deliveries).where(deliveries.c.id == due.id).values(**values))
    return arrived


def send(due: Delivery, allowed: tuple[str, ...]) -> tuple[int | None, str]:
    """The answer's status, None without one, and what went wrong as a sentence, empty where nothing did."""
    import httpx

    parts = urlsplit(due.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        check_url(due.url, allowed)
        address = address_of(host, port, allowed)
    except Refused as error:
        return None, str(error)
    except OSError:
        return None, f"The host '{host[:120]}' cannot be resolved."
    timestamp = int(time.time())
    headers = {
        # The connection goes to the address that was looked at; the name is for the other side.
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "User-Agent": "fieldflux-webhook",
        "webhook-id": due.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(due.secret, due.id, timestamp, due.body),
    }
    url = httpx.URL(due.url).copy_with(host=address, port=port)
    try:
        with (
            httpx.Client(trust_env=False, follow_redirects=False, timeout=TIMEOUT) as client,
            client.stream(
                "POST", url, content=due.body.encode(), headers=headers, extensions={"sni_hostname": host}
            ) as reply,
        ):
            status = reply.status_code
    except httpx.TimeoutException:
        return None, f"'{host[:120]}' did not answer within {TIMEOUT:g} s."
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return None, f"'{host[:120]}' could not be called: {type(error).__name__}."
    if 200 <= status < 300:
        return status, ""
    return status, f"'{host[:120]}' answered with status {status}."


def as_delivery(row: Mapping[str, Any]) -> dict[str, Any]:
    """A delivery as it is listed."""
    names = ("id", "event", "state", "created", "finished", "attempts", "status", "message")
    return {name: row[name] for name in names}


def _names(entry: str, host: str) -> bool:
    name = entry.removesuffix(PRIVATE).lower()
    return name == "*" or host.lower() == name or (name.startswith(".") and host.lower().endswith(name))


def _may_be_private(host: str, allowed: tuple[str, ...]) -> bool:
    return any(entry.endswith(PRIVATE) and entry.removesuffix(PRIVATE).lower() == host.lower() for entry in allowed)
