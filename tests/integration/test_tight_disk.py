"""A full disk, while running and at boot; a disk that stalls; a log near its budget: the meter is never made to wait,
nothing counted is lost, and the station says what is wrong. Real processes, a real small file system."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aquasmart_station.adapters.live import LiveBoard
from aquasmart_station.core.model import Flag
from aquasmart_station.core.showing import ServiceState
from tests.integration.backlog import write_backlog
from tests.integration.balance import assert_books_balance
from tests.integration.small_disk import Filler, small_disk
from tests.integration.world import STEADY, World, eventually

MakeWorld = Callable[..., World]


@pytest.fixture
def tight(make_world: MakeWorld, tmp_path: Path) -> Iterator[tuple[World, Filler]]:
    """A site whose log is on a partition of 40 MiB; started by the test."""
    world = make_world(meters=(STEADY,))
    world.prepare()
    with small_disk(tmp_path / "image", world.site.root / "station", 40) as folder:
        yield world, Filler(folder)
        world.close()


def degraded(world: World) -> list[str]:
    """What the station says of a disk that is full; a busy one has `disk-slow` beside it."""
    found = reasons(world)
    assert not {"disk-full", "disk-low"} <= set(found), "one word for one disk"
    return [reason for reason in found if reason == "disk-full"]


def disk_reasons(world: World) -> set[str]:
    """What is wrong with the disk by the log's last word on it; empty again once all is well."""
    last = [row.data for row in world.log.rows() if row.kind == "degraded"][-1]
    return {"disk-full", "disk-low", "disk-slow"} & set(json.loads(last or "")["reasons"])


STALL_S = 7.0


def reasons(world: World) -> list[str]:
    return list(world.site.status()["degraded"])


def figures(world: World) -> dict[str, Any]:
    return dict(world.site.status()["reader"])


def settled(world: World) -> None:
    """The cloud gets everything, and it is the meter's own count."""
    world.settle()
    assert world.log.integrity() == "ok"
    assert_books_balance(world, pruned=True)


@pytest.mark.e2e
@pytest.mark.needs("loop")
def test_a_disk_that_fills_up_while_running(tight: tuple[World, Filler]) -> None:
    world, filler = tight
    reserve = world.site.root / "station" / "log.reserve"
    world.site.start("meter:tap-1")
    world.take_baseline()
    eventually(lambda: reserve.exists() and reserve.stat().st_blocks * 512 >= 8 << 20, "the reserve is allocated")
    filler.fill()
    eventually(lambda: degraded(world) == ["disk-full"], "the reader says disk-full")
    assert not reserve.exists()
    assert "degraded: disk-full: the data partition is full" in " ".join(world.site.station("status").split())
    # It goes on in the space that was kept for this, and beyond: the disk is filled a second time to the last block.
    world.await_flow(40)
    filler.fill()
    counted = world.site.meter_counts().lifetime
    eventually(lambda: world.site.meter_counts().lifetime > counted + 300, "the meter turns for a while")
    assert world.site.alive("reader")
    late_ms = world.site.status()["meters"][0]["figures"]["late_p99_ms"]
    filler.leave()
    eventually(lambda: degraded(world) == [] and reserve.exists(), "space again: the alarm ends, the reserve is back")
    rows = [row.data for row in world.log.rows() if row.kind == "degraded"]
    assert any('"disk-full"' in (row or "") for row in rows)
    eventually(lambda: not disk_reasons(world), "the last row that says why the station is degraded has no such reason")
    degraded_rows, sound_rows = world.log.flagged(Flag.DEGRADED)
    assert degraded_rows > 0, "no row counted on a full disk says so"
    assert sound_rows > 0, "rows from before say that they are degraded"
    settled(world)
    assert late_ms < STALL_S * 1_000 / 10


@pytest.mark.e2e
@pytest.mark.needs("loop")
def test_a_disk_that_is_full_at_boot_is_opened_with_the_reserve(tight: tuple[World, Filler]) -> None:
    world, filler = tight
    world.site.start("meter:tap-1")
    world.take_baseline()
    world.await_flow(20)
    eventually(lambda: figures(world)["reserve_held"], "the reserve")
    world.site.kill("reader")
    events = world.log.events()
    filler.fill()
    world.site.start("reader")
    eventually(lambda: world.log.events() > events + 20, "it counts and commits on a full disk")
    assert degraded(world) == ["disk-full"]
    assert not list((world.site.root / "station").glob("*corrupt*"))
    filler.leave()
    eventually(lambda: degraded(world) == [], "the alarm ends")
    settled(world)


@pytest.mark.e2e
@pytest.mark.needs("loop")
def test_a_disk_that_is_full_at_boot_with_no_reserve_left_is_waited_for(tight: tuple[World, Filler]) -> None:
    """Nothing can be opened; it is called full, not broken, and the meter remembers."""
    world, filler = tight
    world.site.start("meter:tap-1")
    world.take_baseline()
    world.await_flow(20)
    assert world.site.stop("reader") == 0
    (world.site.root / "station" / "log.reserve").unlink()
    filler.fill()
    world.site.start("reader")
    eventually(lambda: "disk-full" in degraded(world), "the reader says disk-full")
    assert "full" in figures(world)["text"]
    time.sleep(2.5)
    assert world.site.alive("reader")
    filler.leave()
    eventually(lambda: degraded(world) == [], "the alarm ends")
    world.await_flow(5)
    settled(world)


@contextmanager
def stalled(path: Path) -> Iterator[None]:
    """No commit can end: another process holds the log for writing."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


@pytest.mark.e2e
def test_polls_stay_on_time_while_the_disk_stalls_for_seconds(make_world: MakeWorld) -> None:
    world = make_world()
    world.start("meter:tap-1")
    world.take_baseline()
    world.await_flow(20)
    with stalled(world.log.path):
        before = world.log.rows()[-1]
        time.sleep(STALL_S)
        state = world.site.status()
        assert world.log.rows()[-1].position == before.position
    # A poll that waited for the disk would be late by seconds; what a busy machine adds is far below.
    assert state["meters"][0]["figures"]["late_p99_ms"] < STALL_S * 1_000 / 10
    eventually(lambda: "disk-slow" in reasons(world), "the reader says disk-slow")
    world.await_flow(20)
    times_ms = [row.mono_ms for row in world.log.rows(before.position) if row.kind == "volume"]
    gaps_ms = [after - was for was, after in pairwise(times_ms)]
    assert len(times_ms) > 100
    assert sorted(gaps_ms)[int(len(gaps_ms) * 0.99)] < STALL_S * 1_000 / 10  # 20 readings a second: 50 ms apart
    settled(world)


@pytest.mark.e2e
def test_a_ring_near_capacity_is_merged_and_says_so(make_world: MakeWorld) -> None:
    """A ring of six seconds, a disk that takes nothing for longer."""
    world = make_world(overrides={"reader": {"ring_rows": 120}})
    world.start("meter:tap-1")
    world.take_baseline()
    world.await_flow(20)
    before = world.log.rows()[-1]
    with stalled(world.log.path):
        said = eventually(
            lambda: (state := world.site.status())["degraded"].count("ring-near-capacity") and state,
            "the reader says ring-near-capacity",
        )
        assert said["disk"]["ring_resolution_ms"] >= 1_000
        assert said["reader"]["hurry"]
        assert said["meters"][0]["figures"]["unbooked"] == 0
    eventually(lambda: "ring-near-capacity" not in reasons(world), "it is over")
    eventually(lambda: any(row.kind == "merged" for row in world.log.rows(before.position)), "merged rows in the log")
    degraded_rows = [row.data for row in world.log.rows() if row.kind == "degraded"]
    assert any("ring-near-capacity" in str(data) for data in degraded_rows)
    assert world.site.stop("reader") == 0
    counts = [row.counts for row in world.log.rows() if row.meter_id == "tap-1"]
    assert counts == sorted(counts)
    assert counts[-1] == world.site.meter_counts().lifetime
    for name in ("cloud", "sync"):
        world.site.start(name)
    world.await_delivered()
    assert world.cloud.volume_ul() == world.site.status()["log_ul"]
    assert world.cloud.events() == sum(world.log.last_seqs().values())
    assert world.cloud.differences() == {}


@pytest.mark.e2e
def test_sync_does_not_linger_when_the_reader_asks_it_to_hurry(make_world: MakeWorld) -> None:
    world = make_world(overrides={"sync": {"linger_s": 600}})
    world.prepare()
    write_backlog(world.site, events=10, streams=1)
    world.start("cloud", "sync")
    live = LiveBoard(world.site.root / "run" / "live.db")
    live.show("reader_state", ServiceState("running", "", {"hurry": False}, 0, 0))
    time.sleep(2.0)
    assert world.ingests() == []
    live.show("reader_state", ServiceState("running", "", {"hurry": True}, 0, 0))
    world.await_delivered(timeout_s=10)
    live.close()


@pytest.mark.e2e
def test_a_log_near_its_budget_thins_what_the_cloud_has_not_and_keeps_every_count(make_world: MakeWorld) -> None:
    """A week without the cloud in a second: a log at its budget of 1 MiB, then a reader that goes on."""
    world = make_world(overrides={"log": {"budget_mib": 1}})
    world.prepare()
    volume_ul = write_backlog(world.site, events=60_000, streams=3)
    world.site.start("meter:tap-1")
    world.site.start("reader")
    eventually(lambda: world.log.events() < 30_000, "the oldest events are merged")
    assert world.site.status()["disk"]["resolution_ms"] == 1_000
    eventually(lambda: "log-over-budget" not in reasons(world), "it is within its budget again")
    status = world.site.status()
    assert status["disk"]["used_bytes"] < 2 << 20
    assert status["disk"]["budget_bytes"] == 1 << 20
    assert status["acked_ul"] == 0
    assert status["log_ul"] >= volume_ul
    assert world.site.stop("reader") == 0
    for name in ("cloud", "sync"):
        world.site.start(name)
    world.await_delivered()
    status = world.site.status()
    assert world.cloud.volume_ul() == status["log_ul"] == status["acked_ul"]
    assert world.cloud.events() == sum(world.log.last_seqs().values())
    # The backlog's meter is another than the simulated one: its epoch begins without a former one that is known, or,
    # on a machine without a clock of its own, with time between them that nobody measured.
    assert world.cloud.differences() in ({"unknown-before": 0}, {"unmeasured": 0})
