"""Edge cases of the ten requirements: the worst moments, produced on purpose and not by luck."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from demo import faults
from demo.faults import Fault
from tests.integration.backlog import write_backlog
from tests.integration.balance import assert_books_balance
from tests.integration.wire import Answer, Message, send
from tests.integration.world import STEADY, World, eventually

pytestmark = pytest.mark.e2e
MakeWorld = Callable[..., World]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


def _flowing(world: World) -> None:
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")


def test_an_acknowledgement_lost_after_the_commit(world: World) -> None:
    _flowing(world)
    world.relay.inject(*[faults.lost_answer()] * 3)
    eventually(lambda: world.relay.pending_faults() == 0, "three answers lost")
    world.settle()
    lost = [exchange for exchange in world.ingests() if exchange.fault == "lost answer"]
    assert all(exchange.status == 200 for exchange in lost)
    said = [json.loads(exchange.answer_body)["data"] for exchange in world.ingests() if exchange.status == 200]
    assert any(data["inserted"] == 0 for data in said) or any(data["duplicates"] for data in said)
    assert_books_balance(world)


SLOW = """
CREATE VIEW slow AS
WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 60000000) SELECT max(x) FROM n;
CREATE TRIGGER stall AFTER INSERT ON batch BEGIN INSERT INTO stalled SELECT * FROM slow; END;
"""


def test_the_server_killed_in_the_middle_of_a_transaction(world: World) -> None:
    # A trigger keeps the ingest transaction busy for seconds after its batch is in and before it commits: the kill
    # cannot miss it. Nothing in the product knows of this.
    _flowing(world)
    eventually(lambda: world.cloud.events() > 0, "a first batch")
    with closing(sqlite3.connect(world.cloud.path, timeout=10)) as connection:
        connection.executescript("CREATE TABLE stalled (x);" + SLOW)
    known = len(world.ingests())
    eventually(lambda: len(world.ingests()) > known, "a request that stalls")
    time.sleep(0.5)
    assert world.ingests()[-1].answer == b""
    before = (world.cloud.events(), world.cloud.volume_ul(), world.cloud.marks(), world.cloud.batches())
    world.site.kill("cloud")
    assert (world.cloud.events(), world.cloud.volume_ul(), world.cloud.marks(), world.cloud.batches()) == before
    with closing(sqlite3.connect(world.cloud.path, timeout=10)) as connection:
        connection.executescript("DROP TRIGGER stall; DROP VIEW slow; DROP TABLE stalled;")
    world.settle()
    assert world.cloud.integrity() == "ok"
    assert_books_balance(world)


def test_the_clouds_database_is_locked_by_another(world: World) -> None:
    _flowing(world)
    eventually(lambda: world.cloud.events() > 0, "a first batch")
    with closing(sqlite3.connect(world.cloud.path, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = world.cloud.marks()
        world.await_flow(events=60)
        assert world.cloud.marks() == before
        other.rollback()
    world.settle()
    assert_books_balance(world)


def test_the_stations_log_is_locked_by_another(world: World) -> None:
    _flowing(world)
    world.await_flow(events=10)
    with closing(sqlite3.connect(world.log.path, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        before, counted = world.log.events(), world.site.meter_counts().lifetime
        # The meter is polled on although nothing can be written: its count goes on as it is told.
        eventually(lambda: world.site.meter_counts().lifetime >= counted + 180, "sixty polls while the log is locked")
        assert world.log.events() == before
        other.rollback()
    world.await_flow(events=10)
    world.settle()
    assert_books_balance(world)


def test_both_locked_again_and_again(world: World) -> None:
    _flowing(world)
    for _ in range(4):
        for path in (world.log.path, world.cloud.path):
            with closing(sqlite3.connect(path, timeout=10)) as other:
                other.execute("BEGIN IMMEDIATE")
                time.sleep(0.4)
                other.rollback()
    world.await_flow(events=10)
    world.settle()
    assert_books_balance(world)


def test_an_empty_outbox_sends_nothing(make_world: MakeWorld) -> None:
    world = make_world(meters=[replace(STEADY, pattern="idle")])
    world.start()
    world.log.await_kind("baseline", "tap-1")
    world.await_delivered()
    beats = sum(exchange.target == "/v1/heartbeat" for exchange in world.relay.exchanges)
    known = len(world.ingests())

    def beaten() -> bool:
        return sum(exchange.target == "/v1/heartbeat" for exchange in world.relay.exchanges) >= beats + 3

    eventually(beaten, "three more heartbeats")
    assert len(world.ingests()) == known
    assert world.log.pending() == 0


def test_a_backlog_of_100_000_events_drains_in_order(world: World) -> None:
    world.prepare()
    expected_ul = write_backlog(world.site, events=100_000, streams=4)
    world.start("cloud", "sync")
    world.await_delivered(timeout_s=120)
    sent: dict[str, int] = {}
    for exchange in world.ingests():
        document = Message.parse(exchange.request).document()
        stream, first = document["stream"]["id"], document["first_seq"]
        assert first == sent.get(stream, 0) + 1
        sent[stream] = first + len(document["counts"]) - 1
    assert sent == world.log.last_seqs() == world.cloud.marks()
    assert world.cloud.events() == sum(sent.values()) == 100_000
    assert world.cloud.volume_ul() == world.site.status()["acked_ul"] == expected_ul
    assert world.cloud.differences() == {}
    # Grown from 50 rows to 2,000 and never an event by itself.
    assert len(world.ingests()) <= 100_000 / 1_000


def test_the_same_batch_by_several_senders_at_once(world: World) -> None:
    world.start("cloud", "meter:tap-1", "reader")
    world.await_flow(events=30)
    world.relay.inject(Fault("captured", forward=False, reset=True))
    world.site.start("sync")
    eventually(lambda: world.relay.pending_faults() == 0, "a request to capture")
    world.site.kill("sync")
    captured = next(exchange for exchange in world.ingests())
    message = Message.parse(captured.request)
    rows = len(message.document()["counts"])
    answers = _at_once(lambda: send(world.site.cloud_port, message), times=8)
    assert [answer.status for answer in answers] == [200] * 8
    assert sorted(answer.document()["data"]["inserted"] for answer in answers) == [0] * 7 + [rows]
    assert world.cloud.events() == rows


def _at_once(call: Callable[[], Answer], times: int) -> list[Answer]:
    with ThreadPoolExecutor(times) as pool:
        return [future.result() for future in [pool.submit(call) for _ in range(times)]]
