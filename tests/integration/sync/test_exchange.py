"""One request over a real connection: the other key once, the clock corrected once, whatever key the cloud knows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aquasmart_station.adapters.clock import SystemClock
from aquasmart_station.adapters.http import HttpCourier, HttpSettings
from aquasmart_station.core.conversation import CloudClock, Identity
from aquasmart_station.core.keyring import KeyRing
from aquasmart_station.core.outcome import Delivered, Hold, Outcome, Unverified
from aquasmart_station.services.exchange import Asked, Exchange
from tests.contract.messages import batch
from tests.fakes.scripted_cloud import Reply, ScriptedCloud

OLD, NEW, STRANGE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def identity(key: bytes, key_id: str) -> Identity:
    return Identity("demo-1", key_id, "0.1.0", key)


@contextmanager
def asking(cloud_key: bytes, *keys: Identity, **settings: Any) -> Iterator[tuple[ScriptedCloud, KeyRing, Exchange]]:
    with ScriptedCloud(cloud_key, **settings) as cloud:
        ring = KeyRing(keys)
        courier = HttpCourier(HttpSettings(f"http://127.0.0.1:{cloud.port}"))
        yield cloud, ring, Exchange(courier, ring, SystemClock(), CloudClock())


def answer(exchange: Exchange) -> Outcome:
    exchange.ask(Asked("/v1/ingest", json.dumps(batch()).encode(), TRACE))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        outcome = exchange.outcome(0.2)
        if outcome is not None:
            assert not exchange.under_way
            return outcome
    raise AssertionError("no outcome in time")


def test_the_newer_key_is_tried_first_and_kept() -> None:
    with asking(NEW, identity(NEW, "k2"), identity(OLD, "k1")) as (cloud, ring, exchange):
        assert isinstance(answer(exchange), Delivered)
        assert (exchange.requests, ring.current.key_id, len(cloud.seen)) == (1, "k2", 1)


def test_a_cloud_that_knows_only_the_older_key_is_spoken_to_with_that() -> None:
    with asking(OLD, identity(NEW, "k2"), identity(OLD, "k1")) as (_, ring, exchange):
        assert isinstance(answer(exchange), Delivered)
        assert (exchange.requests, ring.current.key_id) == (2, "k1")
        assert isinstance(answer(exchange), Delivered)
        assert exchange.requests == 3


def test_where_no_key_is_known_each_is_tried_once_and_then_shown() -> None:
    with asking(STRANGE, identity(NEW, "k2"), identity(OLD, "k1")) as (_, _, exchange):
        assert isinstance(answer(exchange), Unverified)
        assert exchange.requests == 2


def test_with_one_key_it_is_asked_once() -> None:
    with asking(STRANGE, identity(NEW, "k2")) as (_, _, exchange):
        assert isinstance(answer(exchange), Unverified)
        assert exchange.requests == 1


def test_a_revoked_key_and_an_unknown_one_come_to_the_hold_that_was_signed() -> None:
    with asking(NEW, identity(NEW, "k2"), identity(OLD, "k1")) as (cloud, _, exchange):
        cloud.always = Reply(403, "revoked")
        assert answer(exchange) == Hold("revoked", "as scripted")
        assert exchange.requests == 2
        # The next try begins with the other one, and comes to the same.
        assert answer(exchange) == Hold("revoked", "as scripted")


def test_a_clock_of_another_year_is_corrected_once() -> None:
    with asking(NEW, identity(NEW, "k2"), clock_offset_ms=86_400_000 * 400) as (cloud, _, exchange):
        assert isinstance(answer(exchange), Delivered)
        assert [seen.status for seen in cloud.seen] == [401, 200]
        assert isinstance(answer(exchange), Delivered)
        assert exchange.requests == 3


def test_the_trace_id_goes_along_in_the_header_too() -> None:
    with asking(NEW, identity(NEW, "k2")) as (cloud, _, exchange):
        answer(exchange)
        assert cloud.seen[0].headers["traceparent"].startswith(f"00-{TRACE}-")
