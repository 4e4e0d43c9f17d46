"""Clocks at 1970, a day off, in 2038, or set in the middle of a pour: order, durations and times stay right.

The station's processes are real; only what they read as wall time is not the machine's.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aquasmart_station.core.model import Flag
from demo.site import program
from tests.fakes.wall_clock import WallClock
from tests.integration.balance import assert_books_balance
from tests.integration.world import World, eventually

pytestmark = pytest.mark.needs("faketime")
DAY_MS = 86_400_000


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path / "wall")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def to_1970() -> int:
    return -int(time.time()) + 3_600


def clock_command(world: World, prefix: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [*prefix, program("aquasmart"), "--config", str(world.site.config_path), "clock", *words]
    return subprocess.run(command, capture_output=True, text=True)


def boot_times(world: World) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(f"file:{world.log.path}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT offset_ms, source FROM boot_clock").fetchall()


def claimed(world: World) -> list[tuple[int, int]]:
    """Times of first and last row of every batch, as the station sent them."""
    with closing(sqlite3.connect(f"file:{world.cloud.path}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT at_from - believed_shift_ms, at_to - believed_shift_ms FROM batch").fetchall()


def test_the_time_arrives_in_the_middle_of_a_pour(world: World, wall: WallClock) -> None:
    began_ms = now_ms()
    wall.at(to_1970())
    world.site.wrappers["reader"] = wall.prefix
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.await_flow(events=20)
    assert boot_times(world) == []
    before = [row for row in world.log.raw() if row[6] < began_ms]
    assert len(before) >= 20
    assert all(row[5] & Flag.CLOCK_UNSET for row in before if row[4] == 0)
    wall.at(0)
    (offset_ms, source) = eventually(lambda: boot_times(world), "the boot's time is stored")[0]
    assert source in {"rtc", "restored", "ntp"}
    true_offset_ms = now_ms() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    assert abs(offset_ms - true_offset_ms) < 1_000
    world.await_flow(events=5)
    kept = [row for row in world.log.raw() if row[6] < began_ms]
    assert kept == before or len(kept) > len(before), "rows are never rewritten"
    assert kept[: len(before)] == before
    last = [row for row in world.log.raw() if row[4] == 0][-1]
    assert not last[5] & Flag.CLOCK_UNSET
    world.site.start("sync")
    world.settle()
    assert_books_balance(world)
    times = claimed(world)
    assert min(first for first, _ in times) >= began_ms - 1_000
    assert max(last for _, last in times) <= now_ms() + 1_000
    report = json.loads(world.site.station("clock", "--json"))
    assert report["boot"]["offset_ms"] == offset_ms


def test_a_batch_that_was_tried_before_the_time_was_known_is_told_with_it(world: World, wall: WallClock) -> None:
    began_ms = now_ms()
    wall.at(to_1970())
    world.site.wrappers |= {"reader": wall.prefix, "sync": wall.prefix}
    world.start("cloud", "meter:tap-1")
    world.relay.set_state("cut")
    world.take_baseline()
    world.site.start("sync")
    eventually(lambda: world.site.status()["sync_state"] == "offline", "sync has tried")
    world.await_flow(events=10)
    wall.at(0)
    eventually(lambda: boot_times(world), "the boot's time is stored")
    world.settle()
    assert_books_balance(world)
    assert min(first for first, _ in claimed(world)) >= began_ms - 1_000


@pytest.mark.parametrize("shift_s", [86_400, -86_400])
def test_a_station_a_day_off_signs_after_one_answer_and_its_rows_keep_their_order(
    world: World, wall: WallClock, shift_s: int
) -> None:
    wall.at(shift_s)
    world.site.wrappers |= {"reader": wall.prefix, "sync": wall.prefix}
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.await_flow(events=10)
    world.site.start("sync")
    world.await_delivered()
    wall.at(0)
    world.await_flow(events=10)
    world.settle()
    refused = [exchange for exchange in world.relay.exchanges if exchange.status == 401]
    # One ingest and one heartbeat may each meet it before either has learned; the step back costs no other.
    assert 1 <= len(refused) <= 2
    assert_books_balance(world)
    # Within each stream: a row of the station's own may overtake a reading that is still under way.
    for stream in {row[1] for row in world.log.raw()}:
        mono = [row[7] for row in world.log.raw() if row[1] == stream]
        assert mono == sorted(mono)


def test_a_glitch_to_2038_has_no_lasting_effect(world: World, wall: WallClock) -> None:
    wall.at(0)
    world.site.wrappers |= {"reader": wall.prefix, "sync": wall.prefix}
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_delivered()
    wall.at(int(datetime(2038, 1, 19, tzinfo=UTC).timestamp() - time.time()))
    world.await_flow(events=20)
    world.await_delivered()
    wall.at(0)
    world.await_flow(events=20)
    world.settle()
    assert_books_balance(world)
    report = json.loads(world.site.station("clock", "--json"))
    assert report["floor_source"] == "the cloud's last verified answer"
    assert abs(report["floor_ms"] - now_ms()) < DAY_MS
    assert report["behind_ms"] == 0
    assert all(abs(offset + time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000 - now_ms()) < DAY_MS
               for offset, _ in boot_times(world))  # fmt: skip


def test_a_clock_below_its_floor_is_named_and_may_not_be_set_by_everybody(world: World, wall: WallClock) -> None:
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_flow()
    world.settle()
    wall.at(-3 * 86_400)
    assert "BELOW its floor" in clock_command(world, wall.prefix).stdout
    assert json.loads(clock_command(world, wall.prefix, "--json").stdout)["behind_ms"] > 2 * DAY_MS
    unprivileged = ["setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time", *wall.prefix]
    refused = clock_command(world, unprivileged, "--raise")
    assert refused.returncode == 1
    assert "CAP_SYS_TIME" in refused.stderr
