"""Somebody holds the station's log open for reading for minutes: the write-ahead log grows slowly, the station says
why, and nothing is lost. Real processes; the holder is one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aquasmart_station.adapters.log_file import JOURNAL_LIMIT_BYTES
from tests.integration.balance import volume_ul
from tests.integration.station.log_bench import lengthen
from tests.integration.world import STEADY, World, eventually

HOLD = """
import sqlite3, sys
log = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
log.execute("BEGIN")
print(log.execute("SELECT count(*) FROM event").fetchone()[0], flush=True)
sys.stdin.read()
"""
KEPT = ("tap-1", "tap-2")
"""Meters that keep their count: their rows wait for the commit interval."""
FORGETFUL = ("tap-3", "tap-4", "tap-5")
"""Each of their readings is committed at once, which brings the write-ahead log to its limit while a test waits."""


@contextmanager
def held(log: Path) -> Iterator[int]:
    """Another process with a read transaction that does not end; how many events it sees."""
    command = [sys.executable, "-c", HOLD, str(log)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        yield int(holder.stdout.readline())
        holder.communicate("")


class Size(NamedTuple):
    events: int
    bytes: int

    def per_event(self, before: Size) -> float:
        return (self.bytes - before.bytes) / (self.events - before.events)


def wal_bytes(world: World) -> int:
    return world.log.path.with_name("log.db-wal").stat().st_size


def size(world: World) -> Size:
    return Size(world.log.events(), wal_bytes(world))


def grown(world: World, events: int) -> float:
    """Bytes that the write-ahead log grows by per event, over as many events each time, between two commits."""
    start = wal_bytes(world)
    eventually(lambda: wal_bytes(world) > start, "the write-ahead log grows", every_s=0.01)
    before = size(world)
    eventually(lambda: world.log.events() >= before.events + events, f"{events} more events")
    start = wal_bytes(world)
    eventually(lambda: wal_bytes(world) > start, "the write-ahead log grows", every_s=0.01)
    return size(world).per_event(before)


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_somebody_who_reads_for_minutes_makes_commits_rarer_and_loses_nothing(
    make_world: Callable[..., World],
) -> None:
    meters = [replace(STEADY, id=name, flow_l_min=30.0) for name in KEPT]
    meters += [replace(STEADY, id=name, flow_l_min=30.0, volatile=True) for name in FORGETFUL]
    reader = {"poll_hz": 50, "commit_interval_s": 0.05}
    world = make_world(meters=meters, overrides={"reader": reader})
    world.start("cloud", *(f"meter:{meter.id}" for meter in meters))
    world.take_baseline()
    for name in FORGETFUL:
        world.with_pattern("idle", name)
    with held(world.log.path) as seen:
        assert seen > 0
        before = grown(world, 600)
        for name in FORGETFUL:
            world.with_pattern("steady", name)
        eventually(lambda: "wal-large" in world.site.status()["degraded"], "the reader says wal-large", every_s=0.5)
        assert wal_bytes(world) > JOURNAL_LIMIT_BYTES
        for name in FORGETFUL:
            world.with_pattern("idle", name)
        world.await_flow(300)  # the ends of their pours are committed at once, too
        after = grown(world, 600)
        print(f"write-ahead log per event: {before:.0f} bytes, while stretched {after:.0f}")
        assert after * 2 < before
        assert "wal-large" in world.site.status()["degraded"]
        said = " ".join(world.site.station("status").split())
        assert "end that program" in said
    eventually(lambda: "wal-large" not in world.site.status()["degraded"], "the reason goes")
    assert wal_bytes(world) <= JOURNAL_LIMIT_BYTES
    world.await_flow(200)
    assert wal_bytes(world) <= JOURNAL_LIMIT_BYTES, "it is used again"
    world.site.start("sync")
    world.settle()
    rolled = "SELECT meter_id, sum(volume_ul) FROM rollup WHERE grain = 'day' AND meter_id <> '' GROUP BY meter_id"
    booked = dict(world.cloud.query(rolled))
    for name in KEPT:
        assert booked[name] == volume_ul(world.site.meter_counts(name).lifetime) > 0
    assert {m["meter_id"]: m["log_ul"] for m in world.site.status()["meters"]} == booked
    assert set(world.cloud.differences()) <= {"unmeasured"}
    assert world.log.integrity() == "ok"


@pytest.mark.e2e
def test_a_meter_that_forgets_is_committed_at_once_until_the_log_is_long(make_world: Callable[..., World]) -> None:
    """A commit per reading is ten pages a second: at four times the limit even these rows wait for the interval."""
    reader = {"poll_hz": 20, "commit_interval_s": 1}
    world = make_world(meters=[replace(STEADY, volatile=True)], overrides={"reader": reader})
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    with held(world.log.path):
        lengthen(world.log.path, 5 << 20)
        eventually(lambda: "wal-large" in world.site.status()["degraded"], "the reader says wal-large", every_s=0.5)
        at_once = grown(world, 60)
        lengthen(world.log.path, 12 << 20)
        eventually(lambda: figures(world)["wal_bytes"] > 4 * JOURNAL_LIMIT_BYTES, "the reader sees it", every_s=0.5)
        waiting = grown(world, 60)
        print(f"write-ahead log per event of a volatile meter: {at_once:.0f} bytes, beyond 16 MiB {waiting:.0f}")
        assert waiting * 4 < at_once
    eventually(lambda: "wal-large" not in world.site.status()["degraded"], "the reason goes")
    world.await_flow(40)
    assert wal_bytes(world) <= JOURNAL_LIMIT_BYTES, "it is used again"
    world.site.start("sync")
    world.settle()
    status = world.site.status()
    assert status["log_ul"] == world.cloud.volume_ul() == status["acked_ul"]


def figures(world: World) -> dict[str, Any]:
    return {"wal_bytes": 0, **{k: v for k, v in world.site.status()["reader"].items() if v is not None}}
