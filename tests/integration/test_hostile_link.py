"""A network that loses, doubles, delays, cuts, lies and impersonates, between the real two sides.

An answer that is not signed may make sync slower or smaller and nothing else: no mark, no dead letter, no hold, no
clock offset (docs/protocol.md §2). At the end meter = log = cloud, to the microlitre.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from demo import faults
from demo.faults import Exchange, Fault
from tests.fakes.wall_clock import shifted
from tests.integration.balance import assert_books_balance
from tests.integration.test_kill_loop import dice_of_this_run
from tests.integration.wire import Message
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
MakeWorld = Callable[..., World]

PORTAL = b"<html><body><h1>Welcome to Station Wi-Fi</h1><form action=/login>...</form></body></html>"
FORGED_ACK = {"meta": {"trace_id": "f" * 32, "server_time": 4102444800000, "request_id": "0" * 32}}
FUTURE = json.dumps(
    {"type": "urn:aquasmart:problem:clock-skew", "status": 401, "code": "clock-skew", "server_time": 4102444800000}
).encode()


def _forged_ack(exchange: Exchange) -> bytes:
    """What somebody without the key would say to end a batch: everything right but the signature."""
    sent = Message.parse(exchange.request).document()
    stream = sent.get("stream", {}).get("id", "")
    data = {"stream": stream, "resend_from": [], "acked_through": 10**6, "inserted": 1, "duplicates": 0}
    document = FORGED_ACK | {"data": data | {"counts_through": 10**6, "cumulative_ul": 0, "notice": 0}}
    document["meta"] = {"trace_id": sent["meta"]["trace_id"], "server_time": 4102444800000, "request_id": "0" * 32}
    headers = {"X-Timestamp": "4102444800000", "X-Signature": "v1=" + "0" * 64, "Content-Type": "application/json"}
    return faults.response(200, json.dumps(document).encode(), headers)


UNSIGNED: dict[str, Callable[[Exchange], Fault]] = {
    "a captive portal's 200": lambda _: faults.canned(200, PORTAL, {"Content-Type": "text/html"}),
    "a forged acknowledgement": lambda exchange: Fault("forged", forward=False, answer=_forged_ack(exchange)),
    "a redirect": lambda _: faults.canned(302, b"", {"Location": "http://127.0.0.1:9/login"}),
    "a redirect that keeps the method": lambda _: faults.canned(307, b"", {"Location": "/v1/elsewhere"}),
    "401": lambda _: faults.canned(401, b'{"code":"bad-signature"}'),
    "401 clock-skew in the year 2100": lambda _: faults.canned(401, FUTURE, {"X-Timestamp": "4102444800000"}),
    "403": lambda _: faults.canned(403, b'{"code":"revoked","status":403}'),
    "404": lambda _: faults.canned(404, b"not here"),
    "409 sequence-gap": lambda _: faults.canned(409, b'{"code":"sequence-gap","expected_seq":99,"counts_through":5}'),
    "410": lambda _: faults.canned(410, b'{"code":"retired","status":410}'),
    "413": lambda _: faults.canned(413, b"too large"),
    "422": lambda _: faults.canned(422, b'{"code":"invalid","status":422}'),
    "426": lambda _: faults.canned(426, b'{"code":"upgrade-required"}'),
    "429": lambda _: faults.canned(429, b"", {"Retry-After": "1"}),
    "500": lambda _: faults.canned(500, b"oops"),
    "503 with Retry-After": lambda _: faults.canned(503, b"", {"Retry-After": "1"}),
}
ROUGH: tuple[Fault, ...] = (
    faults.lost_answer(),
    faults.lost_request(0),
    faults.lost_request(200),
    faults.doubled_request(),
    faults.doubled_answer(),
    faults.truncated_answer(20),
    faults.truncated_answer(250),
    faults.delayed_answer(0.6),
    faults.delayed_answer(5),
    faults.garbage(),
    faults.garbage(b"HTTP/1.1 999 ???\r\n\r\n"),
    faults.garbage(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"),
)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


def _flowing(world: World) -> None:
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    eventually(lambda: world.cloud.events() > 0, "a first batch delivered")


def test_no_unsigned_answer_changes_anything(world: World) -> None:
    _flowing(world)
    # Without the two that make it wait for seconds: test_a_network_that_only_lies has their kind.
    lies, told, marks_seen = [what for what in UNSIGNED if not what.startswith(("429", "503"))], [], []

    def lie(exchange: Exchange) -> Fault | None:
        if exchange.target != "/v1/ingest" or not lies:
            return None
        marks_seen.append(world.log.acknowledged())
        told.append(lies.pop(0))
        signed_at = int(Message.parse(exchange.request).header("X-Timestamp"))
        assert abs(signed_at - time.time() * 1000) < 60_000, f"the clock offset moved before {told[-1]}"
        return UNSIGNED[told[-1]](exchange)

    world.relay.policy = lie
    while lies:
        assert world.site.status()["sync_state"] != "hold", f"held after {told}"
        time.sleep(0.2)
    eventually(lambda: world.ingests()[-1].fault == "", "an honest exchange after the last lie")
    assert all(marks == marks_seen[0] for marks in marks_seen), told
    assert {exchange.target for exchange in world.relay.exchanges} == {"/v1/ingest", "/v1/heartbeat"}
    world.settle()
    assert_books_balance(world)


@pytest.mark.parametrize("what", ["a captive portal's 200", "503 with Retry-After"])
def test_a_network_that_only_lies_is_shown_and_holds_nothing(world: World, what: str) -> None:
    # Heartbeats too, so that no honest word is left.
    _flowing(world)
    world.relay.policy = UNSIGNED[what]
    eventually(lambda: any(exchange.fault for exchange in world.ingests()), "a first lie to an ingest request")
    marks = world.log.acknowledged()
    expected = "unverified" if "portal" in what else "offline"
    eventually(lambda: world.site.status()["sync_state"] == expected, f"sync to show {expected}", every_s=0.3)
    lies = sum(bool(exchange.fault) for exchange in world.relay.exchanges)
    eventually(lambda: sum(bool(e.fault) for e in world.relay.exchanges) >= lies + 2, "two more lies")
    assert world.site.status()["pending"] > 0
    assert world.log.acknowledged() == marks
    world.relay.policy = None
    world.settle()
    assert_books_balance(world)


def test_an_answer_to_another_request_is_not_taken(world: World) -> None:
    _flowing(world)
    genuine = eventually(
        lambda: next((exchange for exchange in world.ingests() if exchange.status == 200), None), "an answer recorded"
    )
    world.relay.inject(*[Fault("replayed answer", forward=False, answer=genuine.delivered)] * 3)
    eventually(lambda: world.relay.pending_faults() < 3, "a replayed answer")
    marks = world.log.acknowledged()
    eventually(lambda: world.relay.pending_faults() == 0, "three replayed answers")
    # Between two replayed answers nothing honest was said, so the marks stood still until the last was over.
    replayed = [exchange for exchange in world.ingests() if exchange.fault == "replayed answer"]
    first = {(Message.parse(e.request).document()["stream"]["id"], _first_seq(e)) for e in replayed}
    assert all(seq > marks.get(stream, 0) - 2_000 for stream, seq in first)
    assert len(first) == 1
    world.settle()
    assert_books_balance(world)


def _rows(exchange: Exchange) -> int:
    document = Message.parse(exchange.request).document()
    return len(document.get("counts", []))


def _first_seq(exchange: Exchange) -> int:
    return int(Message.parse(exchange.request).document()["first_seq"])


@pytest.mark.timeout(240)
def test_everything_at_random_and_the_books_balance(world: World) -> None:
    dice = dice_of_this_run()
    _flowing(world)
    met: set[str] = set()

    def policy(exchange: Exchange) -> Fault | None:
        if dice.random() < 0.35:
            return None
        fault = dice.choice(ROUGH) if dice.random() < 0.6 else dice.choice(list(UNSIGNED.values()))(exchange)
        met.add(fault.name)
        return fault

    world.relay.policy = policy
    enough, deadline = time.monotonic() + 12, time.monotonic() + 90
    while time.monotonic() < enough or len(met) < 8:
        assert time.monotonic() < deadline, f"only {met} in 90 s"
        world.relay.set_state(dice.choice(["pass", "pass", "pass", "cut", "black-hole"]))
        time.sleep(dice.uniform(0.3, 1.5))
    assert world.site.alive("sync")
    assert world.site.alive("reader")
    world.relay.policy = None
    world.settle()
    assert_books_balance(world)


def test_413_makes_batches_smaller_and_no_more(world: World) -> None:
    def too_large(exchange: Exchange) -> Fault | None:
        return faults.canned(413) if _rows(exchange) > 12 else None

    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.await_flow(events=60)
    world.relay.policy = too_large
    world.site.start("sync")
    world.await_delivered()
    assert max(_rows(exchange) for exchange in world.ingests()) > 12
    assert max(_rows(exchange) for exchange in world.ingests() if exchange.status == 200) <= 12
    world.relay.policy = None
    world.settle()
    assert_books_balance(world)


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("shift", ["+3h", "-2d"])
def test_clocks_that_differ_cost_one_request(world: World, shift: str) -> None:
    world.site.wrappers["sync"] = shifted(shift)
    _flowing(world)
    world.await_flow(events=10)
    world.settle()
    refused = [exchange for exchange in world.relay.exchanges if exchange.status == 401]
    # One ingest and one heartbeat may each meet it before either has learned; then never again.
    assert 1 <= len(refused) <= 2
    assert all(json.loads(exchange.answer_body)["code"] == "clock-skew" for exchange in refused)
    assert_books_balance(world)
