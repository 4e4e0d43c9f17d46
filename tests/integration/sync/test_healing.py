"""A cloud restored from yesterday's backup gets back what it lacks, closed streams too, and the totals are exact."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.balance import assert_books_balance
from tests.integration.sync.poisoned import tap_stream
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e


def runs_of_the_reader(world: World, count: int) -> None:
    """Each run opens streams of its own and leaves the former ones closed."""
    for _ in range(count):
        world.site.start("reader")
        world.await_flow(events=8)
        assert world.site.stop("reader") == 0


def backed_up(world: World) -> Path:
    """A copy of the cloud's database, made as SQLite makes them, while it runs."""
    target = world.cloud.path.with_name("backup.db")
    with closing(sqlite3.connect(world.cloud.path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def restore(world: World, backup: Path) -> None:
    world.site.kill("cloud")
    for end in ("", "-wal", "-shm"):
        world.cloud.path.with_name(world.cloud.path.name + end).unlink(missing_ok=True)
    shutil.copy(backup, world.cloud.path)
    world.site.start("cloud")


def healed(world: World) -> None:
    eventually(lambda: world.cloud.marks() == world.log.last_seqs(), "the cloud to have every stream to its end")
    world.await_delivered()
    assert_books_balance(world)


def test_a_cloud_restored_while_the_station_runs(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.prepare()
    world.site.start("cloud")
    world.site.start("sync")
    world.take_baseline()
    world.site.stop("reader")
    runs_of_the_reader(world, 1)
    world.await_delivered()
    backup = backed_up(world)
    runs_of_the_reader(world, 3)
    world.await_delivered()
    lost = set(world.cloud.marks())
    restore(world, backup)
    assert set(world.cloud.marks()) < lost
    assert world.log.pending() == 0  # the station had every reason to believe that all was well
    pid = world.site.pid("sync")
    healed(world)
    assert world.site.pid("sync") == pid


def test_a_stream_that_was_half_there_and_a_station_that_was_off_meanwhile(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.prepare()
    world.site.start("cloud")
    world.site.start("sync")
    world.take_baseline()
    eventually(lambda: world.cloud.path.exists() and world.cloud.events() > 3, "a stream half delivered")
    backup = backed_up(world)
    world.await_flow(events=20)
    world.site.stop("reader")
    runs_of_the_reader(world, 1)
    world.await_delivered()
    world.site.stop("sync")
    restore(world, backup)
    world.site.start("sync")
    healed(world)


def test_what_the_station_has_pruned_comes_back_as_a_gap_with_its_exact_counts(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.prepare()
    world.site.start("cloud")
    world.site.start("sync")
    world.take_baseline()
    eventually(lambda: world.cloud.path.exists() and world.cloud.events() > 3, "a stream half delivered")
    backup = backed_up(world)
    world.await_flow(events=30)
    world.site.stop("reader")
    runs_of_the_reader(world, 1)
    world.await_delivered()
    world.site.stop("sync")
    # Pruned by hand, as the reader prunes when space is short: acknowledged rows, from the front.
    number, stream, _ = tap_stream(world.log.path)
    with closing(sqlite3.connect(world.log.path)) as log, log:
        last = log.execute("SELECT max(position) FROM event WHERE stream = ?", (number,)).fetchone()[0]
        log.execute("DELETE FROM event WHERE position <= ?", (last - 6,))
    restore(world, backup)
    world.site.start("sync")
    log_ul = world.site.status()["log_ul"]
    eventually(lambda: world.site.totals()["volume_ul"] == log_ul, "the cloud to have every microlitre")
    eventually(lambda: world.cloud.marks() == world.log.last_seqs() | world.cloud.marks(), "every stream to its end")
    assert world.cloud.query("SELECT kind FROM notable WHERE kind = 'gap' AND stream = ?", (stream.hex,)) == [("gap",)]
    assert world.cloud.differences() == {}
