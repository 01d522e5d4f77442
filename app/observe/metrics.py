"""Metrics for Prometheus: what was asked, how long each stage took, what is kept, what waits. Of this process alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fieldflux.app.database import Database, DatabaseFault
from fieldflux.app.workspace import Workspace

from .request import Finished

if TYPE_CHECKING:
    from prometheus_client import Metric

REQUEST_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0)

MEDIA = "text/plain; version=0.0.4; charset=utf-8"

_TENSORSTORE = {
    "/tensorstore/cache/hit_count": ("fieldflux_chunk_cache_hits", "Chunks of stores found decoded in memory"),
    "/tensorstore/cache/miss_count": ("fieldflux_chunk_cache_misses", "Chunks of stores not found in memory"),
    "/tensorstore/kvstore/file/read": ("fieldflux_store_reads", "Reads of files of stores and cubes"),
    "/tensorstore/kvstore/file/bytes_read": ("fieldflux_store_read_bytes", "Bytes read of files of stores and cubes"),
}


class Metrics:
    """Counts requests, an `Observer`; `text` gives what Prometheus reads."""

    def __init__(self, workspace: Workspace, database: Database) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector

        self._registry = CollectorRegistry(auto_describe=True)
        self._seconds = Histogram(
            "fieldflux_request_seconds",
            "Time until a request was answered, by the template of its route",
            ("method", "route", "status"),
            buckets=REQUEST_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "fieldflux_stage_seconds",
            "Time of a stage of answering, as in Server-Timing, by class of route",
            ("kind", "stage"),
            buckets=STAGE_SECONDS,
            registry=self._registry,
        )
        self._sent = Counter(
            "fieldflux_sent_bytes", "Bytes of answers, by class of route", ("kind",), registry=self._registry
        )
        self._cost = Counter(
            "fieldflux_cost_units", "Units of cost, by class of route", ("kind",), registry=self._registry
        )
        # Looking a child up by its labels takes longer than counting.
        self._requests_of: dict[tuple[str, str, int], Any] = {}
        self._stages_of: dict[tuple[str, str], Any] = {}
        self._kinds: dict[str, tuple[Any, Any]] = {}
        self._registry.register(_State(workspace, database))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def __call__(self, request: Finished) -> None:
        name = (request.method, request.route, request.status)
        seconds = self._requests_of.get(name)
        if seconds is None:
            # A method is the caller's own word.
            method = request.method if request.method in _METHODS else "other"
            seconds = self._seconds.labels(method, request.route or "none", str(request.status))
            if method == request.method:
                self._requests_of[name] = seconds
        seconds.observe(request.seconds)
        kind = request.kind or "page"
        for stage, ms in request.stages.items():
            if stage != "total":
                self._stage(kind, stage).observe(ms / 1000)
        pair = self._kinds.get(kind)
        if pair is None:
            pair = self._kinds[kind] = self._sent.labels(kind), self._cost.labels(kind)
        pair[0].inc(request.sent)
        if request.cost:
            pair[1].inc(request.cost)

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format. It may ask the database: not on the event loop."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Serve the metrics on a port of their own, from a thread; what ends that. Raises OSError for a taken port."""
        from prometheus_client import start_http_server

        server, thread = start_http_server(port, host, self._registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop

    def _stage(self, kind: str, stage: str) -> Any:
        found = self._stages_of.get((kind, stage))
        if found is None:
            found = self._stages_of[kind, stage] = self._stages.labels(kind, stage)
        return found


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _State:
    """What is kept and what waits, as it is when it is asked for."""

    def __init__(self, workspace: Workspace, database: Database) -> None:
        self._workspace = workspace
        self._database = database

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._caches()
        yield from self._queues()
        yield from _chunks()
        yield from self._stored()

    def _caches(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        workspace = self._workspace
        caches = {"memory": workspace.memory, "pictures": workspace.pictures, "answers": workspace.answers}
        hits = CounterMetricFamily("fieldflux_cache_hits", "Found in a cache of this process", labels=["cache"])
        misses = CounterMetricFamily("fieldflux_cache_misses", "Not found in it", labels=["cache"])
        size = GaugeMetricFamily("fieldflux_cache_bytes", "Bytes that it holds", labels=["cache"])
        for name, cache in caches.items():
            hits.add_metric([name], cache.hits)
            misses.add_metric([name], cache.misses)
            size.add_metric([name], cache.used)
        yield from (hits, misses, size)

    def _queues(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        statuses = [queue.status() for queue in self._workspace.queues()]
        yield GaugeMetricFamily(
            "fieldflux_chunks_waiting", "Chunks that wait to be computed", sum(s.queued for s in statuses)
        )
        yield CounterMetricFamily(
            "fieldflux_chunks_computed", "Chunks computed on demand", sum(s.done for s in statuses)
        )
        yield CounterMetricFamily(
            "fieldflux_chunks_failed", "Chunks that could not be computed", sum(s.failed for s in statuses)
        )

    def _stored(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        up = GaugeMetricFamily("fieldflux_database_up", "Whether the database answers")
        jobs = GaugeMetricFamily("fieldflux_jobs", "Jobs, by state", labels=["state"])
        batches = GaugeMetricFamily("fieldflux_job_batches", "Batches of jobs, by state", labels=["state"])
        try:
            for metric, table in ((jobs, "jobs"), (batches, "job_batches")):
                for state, count in _by_state(self._database, table):
                    metric.add_metric([state], count)
            up.add_metric([], 1)
        except DatabaseFault:
            up.add_metric([], 0)
        yield from (up, jobs, batches)


def _by_state(database: Database, table: str) -> list[tuple[str, int]]:
    from sqlalchemy import column, func, select
    from sqlalchemy import table as named

    about = named(table, column("state"))
    with database.read() as connection:
        found = connection.execute(select(about.c.state, func.count()).group_by(about.c.state))
        return [(str(row[0]), int(row[1])) for row in found]


def _chunks() -> Iterator[Metric]:
    """What tensorstore counts itself, where it is in use."""
    from prometheus_client.core import CounterMetricFamily

    tensorstore = sys.modules.get("tensorstore")
    if tensorstore is None:
        return
    for found in tensorstore.experimental_collect_matching_metrics("/tensorstore/"):
        about = _TENSORSTORE.get(found["name"])
        if about is not None:
            yield CounterMetricFamily(*about, sum(value.get("value", 0) for value in found["values"]))
