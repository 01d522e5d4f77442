"""Traces by OpenTelemetry, by option: a span for each request, and one for each of its stages.

The package comes with the extra `otel`. Where to send, and what to sample, is said in OpenTelemetry's own variables
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME).
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fieldflux.app.problems import Refused

from .request import Finished


class Traces:
    """Makes spans of requests, an `Observer`; sent in batches by a thread of OpenTelemetry's."""

    def __init__(self) -> None:
        """Raises Refused (invalid-request) where the package is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise Refused(
                "invalid-request",
                f"FIELDFLUX_OTEL is on, but a package is missing ({error.name}): pip install 'fieldflux[otel]', or "
                "leave FIELDFLUX_OTEL out.",
            ) from None
        # Said by OTEL_SERVICE_NAME instead where it is set.
        resource = Resource({"service.name": "fieldflux", "service.version": version("fieldflux")})
        self._provider = TracerProvider(resource=resource.merge(Resource.create()) if _named() else resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("fieldflux", version("fieldflux"))
        self._propagator = TraceContextTextMapPropagator()

    def __call__(self, request: Finished) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        above = self._propagator.extract({"traceparent": request.trace}) if request.trace else None
        began = int(request.began * 1e9)
        attributes: dict[str, Any] = {
            "http.request.method": request.method,
            "http.route": request.route,
            "http.response.status_code": request.status,
            "http.response.body.size": request.sent,
            "fieldflux.request_id": request.id,
            "fieldflux.tenant": request.tenant,
            "fieldflux.cost": request.cost,
        }
        name = f"{request.method} {request.route}".strip()
        span = self._tracer.start_span(name, above, SpanKind.SERVER, attributes, start_time=began)
        if span.is_recording():
            inside = set_span_in_context(span)
            at = began
            # Stages tell how long they took, in the order in which they ended; they are drawn one after another.
            for stage, ms in request.stages.items():
                if stage == "total":
                    continue
                child = self._tracer.start_span(stage, inside, start_time=at)
                at += int(ms * 1e6)
                child.end(at)
        if request.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(began + int(request.seconds * 1e9))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _named() -> bool:
    import os

    return bool(os.environ.get("OTEL_SERVICE_NAME") or os.environ.get("OTEL_RESOURCE_ATTRIBUTES"))
