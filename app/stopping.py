"""Ctrl-C in commands that can be stopped and go on later."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def stopping(console: Console) -> Iterator[Event]:
    """Set by the first Ctrl-C (or SIGTERM), which asks for a clean stop; the second one stops at once."""
    cancel = Event()

    def stop(number: int, frame: object) -> None:  # noqa: ARG001
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        console.print("Stopping after what is in hand. Ctrl-C again stops at once.")

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
