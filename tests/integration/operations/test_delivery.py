"""Operations from the real command through real sync to the real cloud, over a network that does its worst."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from demo.faults import Fault, response
from demo.site import SiteError
from tests.integration.operations.telling import (
    OPERATIONS,
    add,
    await_state,
    during,
    heard_by_cloud,
    query,
    signed,
    states,
    told,
    visit,
)
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
UNKNOWN_ROW = ("resend_event", "stream=0b9c0000-0000-4000-8000-000000000000", "seq=7", 'kind="pour"')


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.start()
    world.await_flow()
    return world


def test_q1_o1_o6_e1_e2_an_operation_is_delivered_and_kept_by_the_cloud(world: World) -> None:
    number = visit(world, "Ωμέγα 水")
    done = await_state(world, number, "done")
    assert done["attempts"] == 1
    [sent] = told(world)
    assert (sent.method, sent.target) == ("POST", "/v1/operations/service_visit")
    assert UUID.fullmatch(sent.headers["idempotency-key"])
    assert sent.headers["x-signature"].startswith("v1=")
    envelope = json.loads(sent.body)
    assert envelope["meta"]["trace_id"] == done["trace_id"]
    assert set(envelope["payload"]) == {"technician", "note", "visited_at"}
    [kept] = heard_by_cloud(world)
    assert (kept["type"], kept["payload"]["note"], kept["trace_id"]) == ("service_visit", "Ωμέγα 水", done["trace_id"])


def test_q2_i2_p3_a_burst_arrives_in_order_each_under_its_own_key(world: World) -> None:
    world.relay.set_state("cut")
    for index in range(5):
        visit(world, f"visit {index}")
    assert states(world) == ["pending"] * 5
    world.relay.set_state("pass")
    eventually(lambda: states(world) == ["done"] * 5, "all five delivered")
    delivered = [each for each in told(world) if each.status == 200]
    assert [json.loads(each.body)["payload"]["note"] for each in delivered] == [f"visit {n}" for n in range(5)]
    assert len({each.headers["idempotency-key"] for each in delivered}) == 5


def test_q3_transient_then_success_with_the_same_key_and_trace(world: World) -> None:
    during(world, signed(world, 500, "internal"), times=2)
    done = await_state(world, visit(world), "done")
    assert done["attempts"] == 3
    sent = told(world)
    assert len(sent) == 3
    assert len({each.headers["idempotency-key"] for each in sent}) == 1
    assert len({json.loads(each.body)["meta"]["trace_id"] for each in sent}) == 1
    assert len({each.headers["x-signature"] for each in sent}) == 3


def test_q4_q13_r20_a_permanent_refusal_ends_it_at_once_and_the_next_goes_on(world: World) -> None:
    refused = add(world, *UNKNOWN_ROW)
    after = visit(world)
    shown = await_state(world, refused, "refused")
    assert (shown["code"], shown["attempts"]) == ("not-found", 1)
    await_state(world, after, "done")
    assert sum(each.target.endswith("/7") for each in told(world)) == 1
    listed = world.site.station("operations", "list")
    assert "REFUSED" in listed
    assert "operations list" in world.site.station("status")


def test_b8_five_verified_answers_then_failed_and_retried_by_hand(world: World) -> None:
    during(world, signed(world, 503, "unavailable", {"Retry-After": "0"}), times=5)
    number = visit(world)
    shown = await_state(world, number, "failed")
    assert (shown["attempts"], shown["code"]) == (5, "unavailable")
    key = shown["idempotency_key"]
    assert "queued again" in world.site.station("operations", "retry", str(number))
    assert await_state(world, number, "done")["idempotency_key"] == key
    assert "not failed" in world.site.station("operations", "retry", str(number))


@pytest.mark.parametrize("status", [200, 403, 429])
def test_unsigned_answers_never_count_however_many(world: World, status: int) -> None:
    during(world, lambda _: Fault("unsigned", forward=False, answer=response(status, b"<html>hello")), times=5)
    number = visit(world)
    assert await_state(world, number, "done")["attempts"] == 1
    assert len(told(world)) == 6


def test_i10_in_progress_is_asked_again_after_two_seconds_and_does_not_count(world: World) -> None:
    during(world, signed(world, 409, "operation-in-progress"), times=6)
    began = time.monotonic()
    done = await_state(world, visit(world), "done")
    assert done["attempts"] == 1
    assert time.monotonic() - began >= 6 * 2


def test_q8_s4_a_wait_that_was_asked_for_is_kept(world: World) -> None:
    during(world, signed(world, 429, "rate-limited", {"Retry-After": "3"}), times=1)
    began = time.monotonic()
    await_state(world, visit(world), "done")
    assert time.monotonic() - began >= 3


def test_q7_n1_a_lost_answer_costs_a_repetition_and_no_second_effect(world: World) -> None:
    world.relay.inject(Fault("lost", answer=b"", reset=True), Fault("lost", answer=b""), path=OPERATIONS)
    done = await_state(world, visit(world), "done")
    assert done["attempts"] == 1
    assert len(told(world)) == 3
    assert len(heard_by_cloud(world)) == 1


def test_q6_i5_killed_in_flight_it_goes_out_again_and_is_done_once(world: World) -> None:
    world.relay.inject(Fault("held", delay_answer_s=3600), path=OPERATIONS)
    number = visit(world)
    eventually(lambda: heard_by_cloud(world), "the cloud has it")
    world.site.kill("sync")
    assert states(world) == ["pending"]
    world.site.start("sync")
    await_state(world, number, "done")
    assert len(heard_by_cloud(world)) == 1
    first, *_, last = told(world)
    assert first.headers["idempotency-key"] == last.headers["idempotency-key"]


def test_neither_lane_waits_for_the_other(world: World) -> None:
    world.relay.policy = lambda each: (
        signed(world, 503, "unavailable", {"Retry-After": "3000"})(each) if each.target.startswith(OPERATIONS) else None
    )
    visit(world)
    eventually(lambda: told(world), "the operation was told to wait")
    delivered = sum(world.log.acknowledged().values())
    eventually(lambda: sum(world.log.acknowledged().values()) > delivered + 20, "telemetry goes on")
    assert states(world) == ["pending"]


def test_telemetry_that_waits_does_not_hold_up_operations(world: World) -> None:
    world.relay.policy = lambda each: Fault("away", forward=False, reset=True) if "ingest" in each.target else None
    await_state(world, visit(world), "done")
    assert world.log.pending() > 0


def test_d5_a_damaged_operation_fails_before_any_request(world: World) -> None:
    world.relay.set_state("cut")
    number = visit(world)
    with closing(sqlite3.connect(world.site.root / "station" / "ops.db")) as connection:
        connection.execute('UPDATE operation SET parameters = \'{"technician": "A\'')
        connection.commit()
    world.relay.set_state("pass")
    assert await_state(world, number, "failed")["code"] == "unreadable"
    await_state(world, visit(world), "done")
    assert not any(b'"A' in each.body and b"Ada" not in each.body for each in told(world))


def test_o4_o5_what_cannot_be_sent_is_refused_before_it_is_queued(world: World) -> None:
    with pytest.raises(SiteError, match="service_visit lacks technician"):
        add(world, "service_visit", "note=x")
    with pytest.raises(SiteError, match="no type of operation"):
        add(world, "self_destruct")
    assert query(world, "SELECT count(*) FROM operation") == [(0,)]


def no_header(content: bytearray) -> None:
    content[:200] = b"\xff" * 200


def no_text_in_the_schema(content: bytearray) -> None:
    places = [found.start() + 2 for found in re.finditer(rb"CREATE TABLE", bytes(content))]
    assert places
    for place in places:
        content[place] ^= 1 << 7


def test_a_flipped_bit_in_the_number_of_the_schema_costs_no_operation(world: World) -> None:
    world.site.stop("sync")
    number = visit(world)
    path = world.site.root / "station" / "ops.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 16777218")
    world.site.start("sync")
    await_state(world, number, "done")
    assert not list(path.parent.glob("ops.db.damaged-*"))


@pytest.mark.parametrize("damage", [no_header, no_text_in_the_schema])
def test_d4_a_damaged_file_is_set_aside_and_both_services_go_on(
    world: World, damage: Callable[[bytearray], None]
) -> None:
    await_state(world, visit(world), "done")
    world.site.stop("sync")
    path = world.site.root / "station" / "ops.db"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    world.site.start("sync")
    eventually(lambda: list(path.parent.glob("ops.db.damaged-*")), "the damaged file set aside")
    eventually(path.exists, "a new file")
    await_state(world, visit(world), "done")
    events = world.log.events()
    eventually(lambda: world.log.events() > events, "the reader counts on")
