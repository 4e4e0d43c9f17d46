"""The trace runs from the station to the cloud: the real exporters of both, a real collector's end of OTLP."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from demo import faults
from tests.integration.world import World, eventually

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed: run make setup")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

pytestmark = pytest.mark.e2e


class Collector:
    """Takes OTLP over HTTP; spans by service."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, body: bytes) -> None:
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {entry.key: entry.value.string_value for entry in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                self.spans += [(named["service.name"], span) for span in of_scope.spans]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    yield made
    made.close()


def test_each_attempt_is_a_span_and_the_clouds_is_its_child(
    make_world: Callable[..., World], collector: Collector
) -> None:
    world = make_world()
    world.relay.inject(*[faults.canned(500, b"oops") for _ in range(2)])
    world.start()
    world.await_flow(10)
    world.await_delivered()

    def spans(service: str) -> list[Span]:
        return [span for name, span in collector.spans if name == service and "/v1/ingest" in span.name]

    def children() -> list[tuple[Span, Span]]:
        ours = {(span.trace_id, span.span_id): span for span in spans("aquasmart-station")}
        theirs = spans("aquasmart-cloud")
        return [(ours[key], child) for child in theirs if (key := (child.trace_id, child.parent_span_id)) in ours]

    pairs = eventually(lambda: len(children()) >= 3 and children(), "three batches seen from both ends")
    for parent, child in pairs:
        assert parent.kind == Span.SPAN_KIND_CLIENT
        assert child.kind == Span.SPAN_KIND_SERVER
        assert parent.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
    sent = {exchange.headers["traceparent"] for exchange in world.ingests()}
    assert {f"00-{p.trace_id.hex()}-{p.span_id.hex()}-01" for p, _ in pairs} <= sent
    by_trace: dict[bytes, set[bytes]] = {}
    for span in spans("aquasmart-station"):
        by_trace.setdefault(span.trace_id, set()).add(span.span_id)
    assert max(map(len, by_trace.values())) == 3  # two that met the fault, one that did not


def test_a_collector_that_is_not_there_delays_nothing(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    world = make_world()
    world.start()
    world.await_flow(30)
    world.await_delivered()
