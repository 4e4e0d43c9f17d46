"""Spans of requests to an OpenTelemetry collector, where the extra `otel` is installed and a collector is named.

The collector is named as everywhere: OTEL_EXPORTER_OTLP_ENDPOINT. Spans are handed over finished, with the ids that
went out in `traceparent`; they wait in a bounded queue and are dropped when nobody takes them: nothing waits for one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..core.tracing import RequestSpan

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def span_sink(service: str) -> Callable[[RequestSpan], None]:
    """Where spans go; nowhere without a collector's address or without the extra."""
    if not os.environ.get(ENDPOINT):
        return _nowhere
    try:
        return _exporting(service)
    except ImportError:
        return _nowhere


def _nowhere(_: RequestSpan) -> None:
    pass


def _exporting(service: str) -> Callable[[RequestSpan], None]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    processor = BatchSpanProcessor(OTLPSpanExporter())
    resource = Resource.create({"service.name": service})

    def export(span: RequestSpan) -> None:
        sampled = TraceFlags(TraceFlags.SAMPLED)
        context = SpanContext(int(span.trace_id, 16), int(span.span_id, 16), is_remote=False, trace_flags=sampled)
        well = span.outcome == "Delivered"
        processor.on_end(
            ReadableSpan(
                f"{span.method} {span.target.partition('?')[0]}",
                context=context,
                resource=resource,
                attributes={"aquasmart.outcome": span.outcome, "aquasmart.answered": span.answered},
                kind=SpanKind.CLIENT,
                status=Status(StatusCode.OK if well else StatusCode.ERROR),
                start_time=span.began_ns,
                end_time=max(span.began_ns, span.ended_ns),
            )
        )

    return export
