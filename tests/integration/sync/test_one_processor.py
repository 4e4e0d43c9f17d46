"""One sync at a time: the lock goes with its holder's life, and a holder that slept through its end cannot write."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from demo.site import program
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e


def fence(world: World) -> tuple[int, int]:
    """Fencing number and process of whoever took over last."""
    with closing(sqlite3.connect(world.log.path, timeout=10)) as log:
        number, pid = log.execute("SELECT number, pid FROM fence").fetchone()
        return int(number), int(pid)


def second_sync(world: World) -> subprocess.Popen[str]:
    command = [program("aquasmart"), "--config", str(world.site.config_path), "sync"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def test_a_second_sync_waits_and_takes_over_when_the_first_dies(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.start()
    eventually(world.log.acknowledged, "a first acknowledgement")
    first = fence(world)
    waiting = second_sync(world)
    try:
        assert waiting.stderr is not None
        assert "another sync holds" in waiting.stderr.readline()
        world.await_flow(events=5)
        assert fence(world) == first
        world.site.kill("sync")
        eventually(lambda: fence(world) == (first[0] + 1, waiting.pid), "the waiting one to take over")
        marks = sum(world.log.acknowledged().values())
        eventually(lambda: sum(world.log.acknowledged().values()) > marks, "marks of the new one")
    finally:
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(20) == 0
        end(waiting)
    world.settle()
    assert world.cloud.marks() == world.log.last_seqs()
    assert world.cloud.events() == world.log.events()


def test_one_that_slept_through_its_replacement_moves_no_mark(make_world: Callable[..., World]) -> None:
    """A stopped process keeps its lock until it is killed; here the lock is taken from it, as if it had been.

    Removing the lock's file is what no software of ours does: it makes two holders, which is the worst that could
    happen, and the fence alone stands between them.
    """
    world = make_world()
    world.start()
    eventually(world.log.acknowledged, "a first acknowledgement")
    sleeper = world.site.pid("sync")
    os.kill(sleeper, signal.SIGSTOP)
    number, _ = fence(world)
    (world.site.root / "station" / "sync.lock").unlink()
    replacement = second_sync(world)
    try:
        eventually(lambda: fence(world) == (number + 1, replacement.pid), "the replacement to take over")
        marks = sum(world.log.acknowledged().values())
        eventually(lambda: sum(world.log.acknowledged().values()) > marks, "marks of the replacement")
        os.kill(sleeper, signal.SIGCONT)
        eventually(lambda: not world.site.alive("sync"), "the sleeper to end by itself")
        assert "another sync process has taken over" in world.site.log_tail("sync")
        with closing(sqlite3.connect(world.log.path, timeout=10)) as log:
            eventually(
                lambda: log.execute("SELECT max(fencing) FROM delivery").fetchone()[0] == number + 1, "its marks"
            )
        assert fence(world) == (number + 1, replacement.pid)
    finally:
        replacement.send_signal(signal.SIGTERM)
        assert replacement.wait(20) == 0
        end(replacement)
    world.settle()
    assert world.cloud.marks() == world.log.last_seqs()
    assert world.cloud.events() == world.log.events()


def test_a_stopped_one_is_replaced_by_its_watchdog(make_world: Callable[..., World]) -> None:
    """What systemd does: no keep-alive in time, so it is killed and started anew. The lock is free at once."""
    world = make_world()
    world.start()
    eventually(world.log.acknowledged, "a first acknowledgement")
    number, pid = fence(world)
    os.kill(world.site.pid("sync"), signal.SIGSTOP)
    beat = world.site.status()["sync"]["beat_age_ms"]
    eventually(lambda: world.site.status()["sync"]["beat_age_ms"] > beat + 1_000, "its heartbeat to grow old")
    world.site.kill("sync")
    started = time.monotonic()
    world.site.start("sync")
    eventually(lambda: fence(world)[0] == number + 1, "the new one to take over")
    assert time.monotonic() - started < 60
    assert fence(world)[1] != pid
    world.settle()
    assert world.cloud.marks() == world.log.last_seqs()
