"""SIGTERM: the reader's last rows and a `shutdown` row are committed, sync's last heartbeat is posted, both are gone.

Within 5 s, whatever the cloud does; the time is the one promised figure of stopping and therefore asserted.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from demo import faults
from tests.fakes.supervisor import Supervisor
from tests.integration.balance import assert_books_balance
from tests.integration.wire import Message
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
MakeWorld = Callable[..., World]
PROMISED_S = 5.0


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    # A long commit interval and linger, so that something is always in the ring and in the outbox.
    world = make_world(overrides={"reader": {"commit_interval_s": 30}, "sync": {"linger_s": 0.5, "heartbeat_s": 60}})
    world.start("cloud", "meter:tap-1", "reader")
    world.log.await_kind("baseline", "tap-1")
    return world


def _beats(world: World) -> list[dict[str, Any]]:
    seen = [exchange for exchange in world.relay.exchanges if exchange.target == "/v1/heartbeat"]
    return [Message.parse(exchange.request).document()["payload"] for exchange in seen]


def _stop(world: World, *names: str) -> float:
    """SIGTERM for all of `names` at once; how long the last one took. Asserts their exit statuses."""
    began = time.monotonic()
    for name in names:
        os.kill(world.site.pid(name), signal.SIGTERM)
    eventually(lambda: not any(world.site.alive(name) for name in names), f"{names} to end", timeout_s=30)
    took_s = time.monotonic() - began
    assert [world.site.stop(name) for name in names] == [0] * len(names)
    return took_s


def test_the_reader_commits_its_ring_and_a_shutdown_row(world: World) -> None:
    lifetime = world.site.meter_counts().lifetime
    eventually(lambda: world.site.meter_counts().lifetime > lifetime + 100, "counts that wait in the ring")
    committed = world.log.rows()[-1].counts
    assert _stop(world, "reader") < PROMISED_S
    rows = world.log.rows()
    assert rows[-1].kind == "shutdown"
    assert rows[-1].meter_id is None
    last = [row for row in rows if row.meter_id == "tap-1"][-1]
    assert last.counts == world.site.meter_counts().counts > committed


def test_sync_posts_one_final_heartbeat(world: World) -> None:
    world.site.start("sync")
    eventually(lambda: world.log.pending() == 0 and _beats(world), "everything so far delivered")
    before = len(_beats(world))
    assert _stop(world, "sync") < PROMISED_S
    after = _beats(world)
    assert len(after) == before + 1
    assert after[-1]["state"] == "stopped"
    [(document,)] = world.cloud.query("SELECT document FROM heartbeat")
    assert json.loads(document)["state"] == "stopped"


def test_both_at_once_and_everything_arrives_later(world: World) -> None:
    world.site.start("sync")
    world.await_delivered()
    assert _stop(world, "reader", "sync") < PROMISED_S
    assert world.log.rows()[-1].kind == "shutdown"
    world.start("sync")
    world.await_delivered()
    assert world.cloud.marks() == world.log.last_seqs()
    assert world.cloud.volume_ul() == world.site.status()["log_ul"]


@pytest.mark.parametrize("trouble", ["hangs", "is cut off", "answers slowly", "answers 500"])
def test_gone_in_time_also_while_the_cloud(world: World, trouble: str) -> None:
    world.site.start("sync")
    eventually(lambda: world.log.pending() == 0 and _beats(world), "everything so far delivered")
    tried = world.site.status()["sync"]["requests"]
    if trouble == "answers slowly":
        world.relay.policy = lambda _: faults.delayed_answer(20)
    elif trouble == "answers 500":
        world.relay.policy = lambda _: faults.canned(500)
    else:
        world.relay.set_state("black-hole" if trouble == "hangs" else "cut")
    world.site.stop("reader")
    stopped = world.log.events()
    world.site.start("reader")
    eventually(lambda: world.log.events() > stopped, "something to send")
    eventually(lambda: world.site.status()["sync"]["requests"] > tried, "sync to try")
    marks = world.log.acknowledged()
    assert _stop(world, "reader", "sync") < PROMISED_S
    assert world.log.rows()[-1].kind == "shutdown"
    assert world.log.acknowledged() == marks


def test_stopped_while_it_waits_for_the_lock(world: World) -> None:
    # A second reader and a second sync wait for the first; SIGTERM ends the waiting at once.
    world.site.start("sync")
    world.await_delivered()
    with Supervisor(world.site, "reader") as reader, Supervisor(world.site, "sync") as sync:
        for second in (reader, sync):
            second.await_status("waiting")
            began = time.monotonic()
            assert second.stop() == 0
            assert time.monotonic() - began < PROMISED_S
    assert world.site.alive("reader")
    assert world.site.alive("sync")


def test_sigterm_while_starting_loses_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    for pause_s in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5):
        for name in ("sync", "reader"):
            world.site.start(name)
        time.sleep(pause_s)
        statuses = [world.site.stop(name) for name in ("sync", "reader")]
        # Before Python has installed a handler the signal itself ends the process; never anything else.
        assert set(statuses) <= {0, -signal.SIGTERM}, statuses
    world.start()
    world.await_flow(events=5)
    world.settle()
    assert_books_balance(world)


def test_the_supervisor_is_told(make_world: MakeWorld) -> None:
    world = make_world()
    world.start("cloud", "meter:tap-1")
    with Supervisor(world.site, "reader") as reader, Supervisor(world.site, "sync") as sync:
        for service, words in ((reader, "tap-1 ok"), (sync, "online for")):
            service.await_message("READY=1")
            service.await_message("WATCHDOG=1")
            service.await_status(words)
            service.await_status(" · ")
        for service in (sync, reader):
            assert service.stop() == 0
            assert "STOPPING=1" in service.messages


def test_stopped_as_it_starts_it_commits_what_it_has_polled(world: World) -> None:
    """Whatever the moment: it has not asked the meter yet, or what the meter told it is in the log."""
    world.start("meter:tap-1")
    world.take_baseline("steady")
    world.await_flow()
    world.site.stop("reader")
    for step in range(5):
        world.site.start("reader")
        time.sleep(0.1 + 0.07 * step)
        assert world.site.stop("reader") in {0, -signal.SIGTERM}
        logged = max(row.counts for row in world.log.rows() if row.meter_id == "tap-1")
        assert logged == world.site.meter_counts().lifetime, step
