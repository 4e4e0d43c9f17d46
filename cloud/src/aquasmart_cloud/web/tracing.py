"""A span for each request of a station, under the trace that the station began, where there is a collector for it.

With the extra `otel` and OTEL_EXPORTER_OTLP_ENDPOINT. The parent is the station's own span, out of `traceparent`; a
request without one, or with a malformed one, has no span. Spans wait in a bounded queue and are dropped when nobody
takes them: no request waits for its trace, and none fails by it.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, Response, g, request

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
STATIONS = "/v1/"
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class ServerSpan:
    """One request as a span: times are wall clock, ns."""

    trace_id: str
    parent_id: str
    name: str
    status: int
    began_ns: int
    ended_ns: int


def install(app: Flask) -> None:
    """Nothing is installed without a collector's address or without the extra."""
    if not os.environ.get(ENDPOINT):
        return
    try:
        export = _exporting()
    except ImportError:
        app.logger.warning("%s is set, but the extra 'otel' is not installed: no spans", ENDPOINT)
        return
    app.before_request(_begin)

    def end(answer: Response) -> Response:
        match = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
        if match and request.path.startswith(STATIONS) and "began_ns" in g:
            # By the route, not the path: a name for each operation type, none for each meter.
            name = f"{request.method} {request.url_rule or STATIONS}"
            export(ServerSpan(match[1], match[2], name, answer.status_code, g.began_ns, time.time_ns()))
        return answer

    app.after_request(end)


def _begin() -> None:
    g.began_ns = time.time_ns()


def _exporting() -> Callable[[ServerSpan], None]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    processor = BatchSpanProcessor(OTLPSpanExporter())
    resource = Resource.create({"service.name": "aquasmart-cloud"})
    sampled = TraceFlags(TraceFlags.SAMPLED)

    def export(span: ServerSpan) -> None:
        trace_id = int(span.trace_id, 16)
        own = secrets.randbits(64) or 1
        processor.on_end(
            ReadableSpan(
                span.name,
                context=SpanContext(trace_id, own, is_remote=False, trace_flags=sampled),
                parent=SpanContext(trace_id, int(span.parent_id, 16), is_remote=True, trace_flags=sampled),
                resource=resource,
                attributes={"http.response.status_code": span.status},
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR if span.status >= 500 else StatusCode.UNSET),
                start_time=span.began_ns,
                end_time=max(span.began_ns, span.ended_ns),
            )
        )

    return export
