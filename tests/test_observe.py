"""What is told of requests: metrics, logs as JSON, traces, readiness."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from fieldflux.app.observe.log import JsonLines, access
from prometheus_client.parser import text_string_to_metric_families

from .serving import serving, settings_of, toy_home, toy_registry

TILE = "/v1/tiles/gpp/2020-07-01/10/245/379.png"
ROUTE = "/v1/tiles/{name}/{when}/{z}/{x}/{y}.{format}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"), run_years=(2020,))


@pytest.fixture(scope="module")
def collected() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a collector of traces, and what it was sent."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def samples(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    reply = client.get("/metrics")
    assert reply.status_code == 200
    families = text_string_to_metric_families(reply.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_metrics_tell_of_routes_stages_caches_and_memory(home: Path) -> None:
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as client:
        for _ in range(5):
            assert client.get(TILE).status_code == 200
        client.get("/v1/tiles/none/2020-07-01/10/245/379.png")
        client.request("PROPFIND", "/v1/variables")
        client.get("/v1/nothing/here")
        found = samples(client)

        def value(name: str, **labels: str) -> float:
            return found[name, frozenset(labels.items())]

        assert value("fieldflux_request_seconds_count", method="GET", route=ROUTE, status="200") == 5
        assert value("fieldflux_request_seconds_count", method="GET", route=ROUTE, status="404") == 1
        assert any(dict(labels).get("method") == "other" for _, labels in found)
        assert not any(
            "PROPFIND" in dict(labels).values() or "/v1/nothing/here" in dict(labels).values() for _, labels in found
        )
        assert value("fieldflux_stage_seconds_count", kind="tile", stage="draw") == 5
        assert value("fieldflux_cost_units_total", kind="tile") == 6
        assert value("fieldflux_cache_hits_total", cache="pictures") >= 4
        assert value("fieldflux_store_reads_total") > 0
        assert value("fieldflux_chunks_waiting") == 0
        assert value("fieldflux_database_up") == 1
        assert value("process_resident_memory_bytes") > 1e7


def test_metrics_on_a_port_of_their_own(home: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(settings_of(home, metrics_port=port), toy_registry(home / "checkpoints")) as client:
        assert client.get("/metrics").status_code == 404
        assert "fieldflux_request_seconds" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_logs_are_lines_of_json_without_geometries(home: Path) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    access.addHandler(handler)
    level = access.level
    access.setLevel(logging.INFO)
    try:
        with serving(settings_of(home), toy_registry(home / "checkpoints")) as client:
            client.get(TILE, headers={"X-Request-Id": "mine-1", "Authorization": "Bearer ff_secret"})
            client.get("/v1/series", params={"geometry": "POLYGON((1 2, 3 4, 5 6, 1 2))", "token": "fft_secret"})
    finally:
        access.removeHandler(handler)
        access.setLevel(level)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    tile, series = lines
    assert tile["request_id"] == "mine-1"
    assert (tile["route"], tile["status"], tile["tenant"]) == (ROUTE, 200, "local")
    assert tile["ms"] > 0
    assert tile["bytes"] > 50
    assert set(tile["stages"]) == {"draw", "total"}
    assert series["route"] == "/v1/series"
    assert series["status"] == 422
    assert "POLYGON" not in written.getvalue()
    assert "secret" not in written.getvalue()


def test_traces_reach_a_collector(
    home: Path, collected: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    address, bodies = collected
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with serving(settings_of(home, otel=True), toy_registry(home / "checkpoints")) as client:
        client.get(TILE, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    spans = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    request = next(span for span in spans if span.name == f"GET {ROUTE}")
    draw = next(span for span in spans if span.name == "draw")
    assert request.trace_id.hex() == draw.trace_id.hex() == trace
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert draw.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= draw.start_time_unix_nano < draw.end_time_unix_nano
    told = {a.key: a.value.string_value or a.value.int_value for a in request.attributes}
    assert told["http.route"] == ROUTE
    assert told["http.response.status_code"] == 200


def test_readiness_tells_of_the_database(home: Path) -> None:
    away = settings_of(home, database_url="postgresql://nobody@127.0.0.1:1/nothing")
    with serving(away, toy_registry(home / "checkpoints")) as client:
        reply = client.get("/readyz")
        assert reply.status_code == 503
        assert [c["what"] for c in reply.json()["checks"] if not c["ok"]] == ["database"]
        # Maps do without it, and the metrics say so.
        assert client.get(TILE).status_code == 200
        assert samples(client)["fieldflux_database_up", frozenset()] == 0
