"""A worker process: takes batches from the queue, one after the other, and sends the webhooks that are due.

`python -m fieldflux.app.jobs.worker` is started by the server, which writes the settings to its standard input (they
may hold a password) and closes it to end the process. `fieldflux worker` runs the same on other machines that share
the database and the work folder.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from time import monotonic, perf_counter
from typing import TypeVar

from fieldflux.app.database import Database, DatabaseFault, database_url
from fieldflux.app.problems import problem_of, shorten_paths
from fieldflux.app.settings import Settings
from fieldflux.app.workspace import Workspace
from fieldflux.models.registry import Registry

from . import hook, pace, queue, tidy, work
from .queue import Claim

log = logging.getLogger("fieldflux.jobs")

POLL_SECONDS = 0.5
PATIENCE = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries while the database is away; the last one again and again."""
TIDY_SECONDS = 300.0

Result = TypeVar("Result")


class Stopped(Exception):
    """The worker was asked to end while it waited."""


class Worker:
    """One worker. name: of its leases. stop: set to end after what is in hand, which is given back if it takes long.

    registry: where models come from, as for `create_app`.
    """

    def __init__(
        self, settings: Settings, database: Database, name: str, stop: Event, registry: Registry | None = None
    ) -> None:
        self.settings, self.database, self.name, self.stop = settings, database, name, stop
        self.workspace = Workspace(settings, registry)
        self._begun = 0

    def work(self, idle_seconds: float | None = None) -> None:
        """Until stopped, or until there was nothing to do for so long."""
        calls = Thread(target=self._webhooks, name="webhooks", daemon=True)
        calls.start()
        idle_since = monotonic()
        try:
            while not self.stop.is_set():
                held = self._patiently(lambda: queue.claim(self.database, self.name, self.settings.jobs))
                if held is not None:
                    self.do(held)
                    idle_since = monotonic()
                elif idle_seconds is not None and monotonic() - idle_since > idle_seconds:
                    return
                else:
                    self.stop.wait(POLL_SECONDS)
        except Stopped:
            return
        finally:
            self.workspace.close()

    def do(self, held: Claim) -> None:
        """Do a batch and hand it in; what goes wrong is told to the job."""
        rules = self.settings.jobs
        with self._heart(held) as (told, cancel):
            try:
                started = perf_counter()
                outcome = work.do(self.workspace, self.database, held, told, cancel)
                seconds = perf_counter() - started
            except Exception as error:
                self._patiently(lambda error=error: self._failed(held, error, cancel))  # type: ignore[misc]
                return
            if cancel.is_set():
                self._patiently(lambda: queue.give_back(self.database, held))
                return
            counted = self._patiently(lambda: queue.finish(self.database, held, outcome, seconds, rules))
        self._begun += 1
        if counted:
            first = self._begun == 1
            self._patiently(lambda: pace.learn_batch(self.database, held, seconds, first))
        else:
            log.info("%s batch %d: handed in too late, or no longer wanted", held.job, held.number)

    def _failed(self, held: Claim, error: Exception, cancel: Event) -> None:
        rules = self.settings.jobs
        if cancel.is_set():
            queue.give_back(self.database, held)
            return
        problem = problem_of(error)
        full = isinstance(error, OSError) and problem is None and error.errno in _full()
        if full or (problem is not None and problem.kind.slug in ("disk-full", "read-only")):
            why = shorten_paths(str(error)) if problem is not None else "The disk is full."
            queue.give_back(self.database, held)
            queue.stop(
                self.database,
                held.job,
                "paused",
                f"{why} The job waits: what is done is kept. Once there is room, POST /v1/jobs/{held.job}/resume.",
                rules,
            )
        elif problem is not None and problem.kind.slug != "database-unavailable":
            said = {"code": problem.kind.slug, "detail": problem.detail}
            queue.give_back(self.database, held)
            queue.stop(self.database, held.job, "failed", problem.detail, rules, said)
        elif held.attempt >= rules.attempts and problem is None:
            log.exception("%s batch %d", held.job, held.number, exc_info=error)
            queue.stop(
                self.database,
                held.job,
                "failed",
                f"Batch {held.number + 1} failed {held.attempt} times by a fault of the server "
                f"({type(error).__name__}); its log says more.",
                rules,
            )
        else:
            log.warning("%s batch %d, try %d", held.job, held.number, held.attempt, exc_info=error)
            queue.give_back(self.database, held, counted=problem is None)
            self.stop.wait(POLL_SECONDS)

    @contextmanager
    def _heart(self, held: Claim) -> Iterator[tuple[Callable[[int], None], Event]]:
        """While it lasts, the lease is renewed and progress told; the event is set where the batch is not wanted."""
        cancel, ended = Event(), Event()
        progress = [0]
        rules = self.settings.jobs

        def beat() -> None:
            while not ended.wait(min(rules.lease_seconds / 3, 5.0)):
                try:
                    if not queue.renew(self.database, held, min(progress[0], held.items), rules):
                        cancel.set()
                except DatabaseFault as error:
                    log.warning("%s", error)

        def told(items: int) -> None:
            progress[0] = items
            if self.stop.is_set():
                cancel.set()

        thread = Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield told, cancel
        finally:
            ended.set()
            thread.join()

    def _webhooks(self) -> None:
        tidied = monotonic()
        while not self.stop.wait(POLL_SECONDS):
            try:
                due = hook.claim_delivery(self.database) if self.settings.webhook_hosts else None
                while due is not None and not self.stop.is_set():
                    hook.deliver(self.database, due, self.settings.webhook_hosts)
                    due = hook.claim_delivery(self.database)
                if monotonic() - tidied > TIDY_SECONDS:
                    tidied = monotonic()
                    tidy.tidy(self.settings, self.database)
            except DatabaseFault as error:
                log.warning("%s", error)
                self.stop.wait(PATIENCE[-1])
            except Exception:
                log.exception("webhooks")
                self.stop.wait(PATIENCE[-1])

    def _patiently(self, act: Callable[[], Result]) -> Result:
        """The result of a database's change, however long the database is away. Raises Stopped."""
        for tries in range(1 << 30):
            try:
                return act()
            except DatabaseFault as error:
                if error.code not in ("database-unavailable", "disk-full"):
                    raise
                log.warning("%s", error)
                if self.stop.wait(PATIENCE[min(tries, len(PATIENCE) - 1)]):
                    raise Stopped from None
        raise AssertionError


def run(settings: Settings, name: str, stop: Event, idle_seconds: float | None = None) -> None:
    """Work until stopped. Raises DatabaseFault where the database can never be used."""
    database = Database(database_url(settings.database_url, settings.home))
    try:
        Worker(settings, database, name, stop).work(idle_seconds)
    finally:
        database.close()


def _full() -> set[int]:
    from fieldflux.tiles.files import FULL

    return FULL


def main() -> int:
    """The process that a server starts: one line of settings on standard input, whose end is the end."""
    given = json.loads(sys.stdin.readline())
    settings = Settings(**given["settings"])
    stop, lock = Event(), Lock()

    def hear() -> None:
        sys.stdin.read()
        stop.set()
        # A batch that cannot be cancelled must not outlive its server for long; its lease runs out.
        time.sleep(20)
        with lock:
            os._exit(3)

    Thread(target=hear, daemon=True).start()
    if hasattr(os, "nice"):  # not on Windows
        os.nice(settings.jobs.nice)  # who looks at the map comes first
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(settings, given["name"], stop, settings.jobs.idle_seconds)
    except DatabaseFault as error:
        log.error("%s", error)
        return 1
    return 0


def stand_alone(settings: Settings) -> None:
    """`fieldflux worker`: until a signal; what is in hand is then given back."""
    import signal

    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    run(settings, queue.worker_name(secrets.token_hex(6)), stop)


if __name__ == "__main__":
    sys.exit(main())
