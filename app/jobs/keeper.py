"""Worker processes that belong to a server: started when there is work, started again when they die, ended with it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic

from fieldflux.app.database import Database, DatabaseFault
from fieldflux.app.settings import Settings

from . import queue
from .tidy import tidy

log = logging.getLogger("fieldflux.jobs")

LOOK_SECONDS = 5.0
WATCH_SECONDS = 0.5
TIDY_SECONDS = 60.0
END_SECONDS = 8.0


@dataclass(slots=True)
class _Slot:
    """A place for a process. deaths: since it last ended well; not_before: when it may be started again."""

    process: subprocess.Popen[str] | None = None
    name: str = ""
    deaths: int = 0
    not_before: float = 0.0


class Keeper:
    """Looks after the workers of one server, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = [_Slot() for _ in range(settings.jobs.workers)]
        self._wake, self._stop = Event(), False
        self._thread: Thread | None = None

    def start(self, database: Database) -> None:
        """Begin to look after work. Returns at once."""
        self._thread = Thread(target=self._keep, args=(database,), name="jobs", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is work."""
        self._wake.set()

    def alive(self) -> list[int]:
        """Process ids of the workers."""
        return [s.process.pid for s in self._slots if s.process is not None and s.process.poll() is None]

    def stop(self) -> None:
        """End the workers: they give back what they have in hand."""
        self._stop = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS + 5)

    def _keep(self, database: Database) -> None:
        looked = tidied = -1e9
        while not self._stop:
            try:
                for slot in self._slots:
                    self._reap(slot, database)
                now = monotonic()
                if self._wake.is_set() or now - looked >= LOOK_SECONDS or self._may_begin_again(now):
                    self._wake.clear()
                    looked = now
                    if self._slots and queue.work_waits(database):
                        self._fill()
                if now - tidied >= TIDY_SECONDS:
                    tidied = now
                    tidy(self._settings, database)
            except DatabaseFault as error:
                log.warning("%s", error)
            except Exception:
                log.exception("looking after the workers")
            # A dead worker should be noticed at once, new work of other servers within seconds.
            busy = any(slot.process is not None or slot.deaths for slot in self._slots)
            self._wake.wait(WATCH_SECONDS if busy else LOOK_SECONDS)
        self._end(database)

    def _may_begin_again(self, now: float) -> bool:
        """Whether the wait after a process's death is over, told once."""
        over = [slot for slot in self._slots if 0 < slot.not_before <= now]
        for slot in over:
            slot.not_before = 0.0
        return bool(over)

    def _fill(self) -> None:
        for slot in self._slots:
            if slot.process is None and monotonic() >= slot.not_before and not self._stop:
                self._begin(slot)

    def _begin(self, slot: _Slot) -> None:
        slot.name = queue.worker_name(f"{os.getpid()}-{secrets.token_hex(4)}")
        threads = str(max(1, self._settings.cores // len(self._slots)))
        slot.process = subprocess.Popen(
            [sys.executable, "-m", "fieldflux.app.jobs.worker"],
            stdin=subprocess.PIPE,
            text=True,
            # Ctrl-C in a terminal goes to the whole group; the server ends this process itself, and cleanly.
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads},
        )
        assert slot.process.stdin is not None
        said = json.dumps({"settings": self._settings.model_dump(mode="json"), "name": slot.name})
        try:
            slot.process.stdin.write(f"{said}\n")
            slot.process.stdin.flush()
        except OSError:
            # It died at once: that is seen in a moment.
            log.warning("a worker process could not be told its settings")

    def _reap(self, slot: _Slot, database: Database) -> None:
        """See whether a process has ended; what a dead one had in hand is free at once."""
        process = slot.process
        if process is None or process.poll() is None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        slot.process = None
        if process.returncode:
            log.warning("a worker process ended with %d", process.returncode)
            slot.deaths += 1
            slot.not_before = monotonic() + min(0.2 * 2**slot.deaths, 30.0)
            # Where this fails, the lease runs out; the place is free for the next process all the same.
            queue.release(database, slot.name)
        else:
            slot.deaths = 0

    def _end(self, database: Database) -> None:
        running = [slot for slot in self._slots if slot.process is not None]
        for slot in running:
            assert slot.process is not None
            if slot.process.stdin is not None:
                slot.process.stdin.close()
        until = monotonic() + END_SECONDS
        for slot in running:
            assert slot.process is not None
            try:
                slot.process.wait(timeout=max(0.1, until - monotonic()))
            except subprocess.TimeoutExpired:
                slot.process.kill()
                slot.process.wait()
                try:
                    queue.release(database, slot.name, counted=False)
                except DatabaseFault as error:
                    # Then their leases run out.
                    log.warning("%s", error)
