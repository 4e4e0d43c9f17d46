"""`traceparent` on every request: one trace per batch over all its attempts, the one that its body names."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from demo import faults
from tests.integration.wire import Message
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")


def test_a_batch_keeps_its_trace_over_its_attempts_and_each_attempt_is_a_span(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.relay.inject(*[faults.canned(500, b"oops") for _ in range(3)])
    world.start()
    world.await_flow(10)
    world.await_delivered()
    eventually(lambda: any(e.target == "/v1/heartbeat" for e in world.relay.exchanges), "a heartbeat")
    spans: dict[str, list[str]] = {}
    for exchange in world.relay.exchanges:
        message = Message.parse(exchange.request)
        found = FORM.fullmatch(message.header("traceparent"))
        assert found
        assert found[1] == message.document()["meta"]["trace_id"]
        spans.setdefault(found[1], []).append(found[2])
    assert max(len(attempts) for attempts in spans.values()) >= 2
    every = [span for attempts in spans.values() for span in attempts]
    assert len(set(every)) == len(every)
