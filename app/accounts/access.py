"""What a server needs to tell callers apart: put together from its settings."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fieldflux.app.database import Database, DatabaseFault
from fieldflux.app.settings import Settings

from .keys import other_secrets
from .limits import Allowances
from .meter import Meter
from .ring import Ring
from .secret import secret_of

log = logging.getLogger("fieldflux")


@dataclass(frozen=True, slots=True)
class Access:
    """ring: None with accounts off. allowances: None where nobody is limited."""

    ring: Ring | None
    allowances: Allowances | None
    meter: Meter


def access_of(settings: Settings, database: Database) -> Access:
    """Raises Refused where accounts are on and the server's secret cannot be had."""
    ring = None
    if settings.accounts:
        ring = Ring(database, secret_of(settings.home, settings.secret.get_secret_value()))
    limited = settings.accounts or settings.rates.by_address
    allowances = Allowances(settings.rates) if limited else None
    return Access(ring, allowances, Meter(database, settings.home, allowances))


def trouble(access: Access) -> str:
    """What is wrong with accounts, as a sentence, or empty. It asks the database."""
    if access.ring is None:
        return ""
    try:
        others = other_secrets(access.ring.database, access.ring.secret)
    except DatabaseFault as error:
        return f"Keys cannot be looked up: {error}"
    if not others:
        return ""
    return (
        f"{others} keys were made with another secret than this server's and are refused: give FIELDFLUX_SECRET of the "
        f"server that made them, or revoke them."
    )
