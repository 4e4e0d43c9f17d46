"""The ten requirements of the source system, each against the real processes: meter, reader, sync, network, cloud."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from demo import faults
from demo.faults import Exchange, Fault
from tests.fakes.wall_clock import shifted
from tests.integration.balance import assert_books_balance
from tests.integration.wire import Message, send
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
MakeWorld = Callable[..., World]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


def captured_batch(world: World) -> Message:
    """A real ingest request that never reached the cloud."""
    world.start("cloud", "meter:tap-1", "reader")
    world.await_flow(events=10)
    # Heartbeats are lost too: one that came through would teach the station the cloud's clock.
    world.relay.policy = lambda _: Fault("captured", forward=False, reset=True)
    world.site.start("sync")
    eventually(world.ingests, "a request to capture")
    world.site.kill("sync")
    world.relay.policy = None
    return Message.parse(world.ingests()[0].request)


def test_requirement_01_on_disk_before_sending_and_after_kill_9(world: World) -> None:
    unwritten: list[Exchange] = []

    def seen(exchange: Exchange) -> None:
        if exchange.target == "/v1/ingest":
            document = Message.parse(exchange.request).document()
            last = world.log.last_seqs().get(document["stream"]["id"], 0)
            if last < document["first_seq"] + len(document["counts"]) - 1:
                unwritten.append(exchange)

    world.relay.policy = seen
    world.relay.set_state("cut")
    world.start()
    world.await_flow(events=20)
    for name in ("reader", "sync"):
        world.site.kill(name)
    before = world.log.raw()
    world.relay.set_state("pass")
    world.start()
    world.await_flow(events=5)
    world.settle()
    assert world.log.raw()[: len(before)] == before
    assert not unwritten
    assert world.cloud.marks() == world.log.last_seqs()


def test_requirement_02_several_events_per_request(make_world: MakeWorld) -> None:
    world = make_world(overrides={"reader": {"poll_hz": 10, "commit_interval_s": 0.1}, "sync": {"linger_s": 1}})
    world.start()
    world.await_flow(events=5)
    began, first, events = time.monotonic(), len(world.ingests()), world.log.events()
    world.await_flow(events=60)
    requests, elapsed_s = len(world.ingests()) - first, time.monotonic() - began
    assert world.log.events() - events >= 60
    assert requests <= elapsed_s / 1.0 + 1
    assert requests <= 60 / 5


def test_requirement_03_hmac_sha256_with_timestamp(world: World) -> None:
    world.start()
    eventually(lambda: len(world.relay.exchanges) >= 5, "five requests")
    for exchange in list(world.relay.exchanges):
        message = Message.parse(exchange.request)
        assert message.header("X-Signature") == message.signature(world.key())
        assert abs(int(message.header("X-Timestamp")) - time.time() * 1000) < 300_000
        assert world.key().hex() not in exchange.request.decode("latin-1")


def _altered(message: Message) -> Iterator[tuple[str, Message]]:
    """A captured request with one thing wrong at a time; its signature is the captured one's."""
    good, body = message.header("X-Signature"), message.document()
    flipped = "0" if good[-1] != "0" else "1"
    plain = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    yield "the body", message.with_body(message.body[:-9] + bytes([message.body[-9] ^ 1]) + message.body[-8:])
    yield "one digit of the signature", message.having(x_signature=good[:-1] + flipped)
    yield "upper-case digits", message.having(x_signature="v1=" + good[3:].upper())
    yield "an odd number of digits", message.having(x_signature=good[:-1])
    yield "too few digits", message.having(x_signature=good[:-2])
    yield "too many digits", message.having(x_signature=good + "00")
    yield "no signature", message.having(x_signature=None)
    yield "two signatures", message.twice("X-Signature", good)
    yield "two stations", message.twice("X-Station-Id", message.header("X-Station-Id"))
    yield "two timestamps", message.twice("X-Timestamp", message.header("X-Timestamp"))
    yield "two encodings", message.twice("Content-Encoding", "gzip")
    yield "the path", message.to("/v1/heartbeat")
    yield "a query string", message.to("/v1/ingest?x=1")
    yield "the station", message.having(x_station_id="demo-2")
    yield "the key's name", message.having(x_key_id="k2")
    yield "the timestamp", message.having(x_timestamp=str(int(message.header("X-Timestamp")) + 1))
    yield "the encoding", message.having(content_encoding=None)
    yield "an idempotency key", message.having(idempotency_key="7c9e6679-7425-40de-944b-e07fc1f90ae7")
    yield "if-match", message.having(if_match='"1"')
    yield "the same JSON unpacked", message.having(content_encoding=None).with_body(plain)
    pretty = json.dumps(body, indent=2).encode()
    yield "the same JSON pretty-printed", message.having(content_encoding=None).with_body(pretty)


def test_requirement_04_only_the_very_bytes_that_were_signed(world: World) -> None:
    message = captured_batch(world)
    port = world.site.cloud_port
    answers = {what: send(port, altered) for what, altered in _altered(message)}
    assert {what: answer.status for what, answer in answers.items()} == dict.fromkeys(answers, 401)
    assert not any("x-signature" in answer.headers for answer in answers.values())
    assert (world.cloud.events(), world.cloud.marks(), world.cloud.batches()) == (0, {}, [])
    assert send(port, message).status == 200
    assert world.cloud.events() == len(message.document()["counts"])


def test_requirement_05_the_same_batch_twice_counts_once(world: World) -> None:
    message = captured_batch(world)
    first = send(world.site.cloud_port, message)
    totals = world.site.totals()
    for again in (message, message.signed(world.key())):
        answer = send(world.site.cloud_port, again)
        assert (answer.status, answer.document()["data"]["inserted"]) == (200, 0)
    assert first.document()["data"]["inserted"] == len(message.document()["counts"])
    assert world.site.totals() == totals
    assert len(world.cloud.batches()) == 1


@pytest.mark.parametrize("trouble", ["unreachable", "hanging", "answering 500"])
def test_requirement_06_the_meter_is_polled_at_its_rate(world: World, trouble: str) -> None:
    world.start()
    eventually(lambda: world.cloud.events() > 0, "a first batch delivered")
    if trouble == "answering 500":
        world.relay.policy = lambda _: faults.canned(500)
    else:
        world.relay.set_state("cut" if trouble == "unreachable" else "black-hole")
    after = world.log.rows()[-1].position
    world.await_flow(events=80)
    times = [row.mono_ms for row in world.log.rows(after) if row.meter_id == "tap-1"]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # 20 polls a second, so 50 ms apart: the median shows the rate, the longest that nothing ever waited for the cloud.
    assert 40 <= sorted(gaps)[len(gaps) // 2] <= 60
    assert max(gaps) < 1_000
    assert world.log.pending() > 0


def test_requirement_07_cloud_station_and_meter_agree_exactly(world: World) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    mischief = [faults.lost_answer(), faults.lost_request(40), faults.canned(500), faults.truncated_answer(70)]
    world.relay.policy = lambda _: dice.choice(mischief) if dice.random() < 0.4 else None
    for _ in range(10):
        name = dice.choice(["cloud", "reader", "sync"])
        if dice.random() < 0.5:
            world.site.kill(name)
        else:
            world.site.stop(name)
        world.site.start(name)
        world.await_flow(events=dice.randrange(1, 15))
    world.relay.policy = None
    world.settle()
    assert_books_balance(world)


def test_requirement_08_an_old_request_is_refused(world: World) -> None:
    message = captured_batch(world)
    # What a captured request is six minutes later: rightly signed, its timestamp outside the window.
    for age_ms in (360_000, 86_400_000, -360_000):
        old = message.signed(world.key(), at_ms=time.time_ns() // 1_000_000 - age_ms)
        answer = send(world.site.cloud_port, old)
        assert (answer.status, answer.document()["code"]) == (401, "clock-skew")
    assert (world.cloud.events(), world.cloud.batches()) == (0, [])
    assert send(world.site.cloud_port, message.signed(world.key())).status == 200


@pytest.mark.needs("faketime")
def test_requirement_08_a_request_captured_six_minutes_ago(world: World) -> None:
    # The station signed it by a clock six minutes slow: to the cloud it is as old as that.
    world.site.wrappers["sync"] = shifted("-6m")
    message = captured_batch(world)
    assert message.header("X-Signature") == message.signature(world.key())
    answer = send(world.site.cloud_port, message)
    assert (answer.status, answer.document()["code"]) == (401, "clock-skew")
    assert (world.cloud.events(), world.cloud.batches()) == (0, [])


def test_requirement_09_no_fault_of_the_network_crashes_or_loses(world: World) -> None:
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    pids = {name: world.site.pid(name) for name in ("reader", "sync", "cloud")}
    world.relay.inject(
        faults.lost_request(0),
        faults.canned(500),
        faults.garbage(),
        faults.garbage(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
        faults.garbage(b"\xff" * 70_000),
        faults.truncated_answer(30),
        faults.delayed_answer(6),
    )
    eventually(lambda: world.relay.pending_faults() == 0, "every fault met")
    world.relay.set_state("cut")
    world.await_flow(events=20)
    world.relay.set_state("pass")
    eventually(lambda: world.ingests()[-1].status == 200, "a batch after all of it")
    assert {name: world.site.pid(name) for name in pids if world.site.alive(name)} == pids
    world.settle()
    assert_books_balance(world)


def test_requirement_10_reading_and_appending_at_once(world: World) -> None:
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    # Three more processes read the log all the time; each fails on a gap, on a damaged page, or when it is refused.
    onlookers = [
        subprocess.Popen([sys.executable, "-m", "tests.integration.onlooker", str(world.log.path), "100"])
        for _ in range(3)
    ]
    for _ in range(5):
        assert world.site.status()["log_ul"] >= 0
        world.site.station("tail", "-n", "5")
    assert [onlooker.wait(60) for onlooker in onlookers] == [0, 0, 0]
    world.settle()
    assert world.log.integrity() == "ok"
    assert_books_balance(world)
