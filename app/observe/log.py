"""Logs: plain text, or a line of JSON for each event. Neither holds keys, queries or geometries."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

import orjson

from .request import Finished

access = logging.getLogger("fieldflux.access")

request_id: ContextVar[str] = ContextVar("fieldflux_request_id", default="")
"""Id of the request that is being answered, for the lines that are written meanwhile."""


class JsonLines(logging.Formatter):
    """Each record as one line of JSON: time, level, logger, message, and what was given as `extra={"fields": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        known = request_id.get()
        if known:
            line["request_id"] = known
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def set_up(kind: Literal["text", "json"]) -> None:
    """Write the log of this process to standard error. For programs' own entry points, not for libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if kind == "json" else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # A line for each request is for programs; people read what is unusual.
    access.setLevel(logging.INFO if kind == "json" else logging.WARNING)


def log_request(request: Finished) -> None:
    """Log a request that was answered, an `Observer`."""
    if not access.isEnabledFor(logging.INFO):
        return
    ms = round(1000 * request.seconds, 2)
    access.info(
        "%s %s %d",
        request.method[:20],
        request.route or "(no route)",
        request.status,
        extra={
            "fields": {
                "request_id": request.id,
                "tenant": request.tenant,
                "key": request.key,
                "method": request.method[:20],
                "route": request.route,
                "status": request.status,
                "ms": ms,
                "bytes": request.sent,
                "cost": round(request.cost, 3),
                "stages": {name: round(value, 2) for name, value in request.stages.items()},
            }
        },
    )
