"""What was used, from the database."""

from __future__ import annotations

from datetime import date
from typing import Any

from fieldflux.app.database import Database


def used(database: Database, tenant: str, key: str, first: date, last: date) -> list[dict[str, Any]]:
    """Usage of a tenant, or of one of its keys if `key` is not empty, by day, key and class. Raises DatabaseFault."""
    from sqlalchemy import select

    from .tables import usage

    query = (
        select(usage)
        .where(usage.c.tenant == tenant, usage.c.day.between(first.isoformat(), last.isoformat()))
        .order_by(usage.c.day, usage.c.api_key, usage.c.route_class)
    )
    if key:
        query = query.where(usage.c.api_key == key)
    with database.read() as connection:
        return [
            {
                "day": row["day"],
                "key": row["api_key"] or None,
                "class": row["route_class"],
                "requests": row["requests"],
                "cost": round(row["cost"], 3),
                "bytes": row["bytes"],
            }
            for row in connection.execute(query).mappings()
        ]
